"""What every workload is made of, and the peers that are installed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numba
import numpy as np

__all__ = [
    "JITS",
    "Workload",
    "along",
    "compiled_both_ways",
    "jax",
    "missing",
    "native_reverse",
    "vector",
    "warp",
    "warp_gradient",
]

missing: list[str] = []
"""A line for every peer that isn't here."""


def _jax() -> ModuleType | None:
    try:
        import jax
    except ImportError:
        missing.append("JAX is not installed (pip install jax==0.10.2): its rows are left out")
        return None
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_platforms", "cpu")
    return jax


def _warp() -> ModuleType | None:
    try:
        import warp
    except ImportError:
        missing.append("Warp is not installed (pip install warp-lang): its rows are left out")
        return None
    warp.config.log_level = warp.LOG_ERROR
    warp.init()
    return warp


jax, warp = _jax(), _warp()

JITS = {"": numba.njit, ", no division check": numba.njit(error_model="numpy")}
"""Numba's default settings, and its error_model="numpy", with which a division by zero is not looked for."""


@dataclass
class Workload:
    """One computation, as every peer does it; every call returns the value, or the value and the gradient."""

    title: str
    base: str
    """The hand-written gradient to which the others are compared."""
    primals: dict[str, Callable[[], Any]] = field(default_factory=dict)
    gradients: dict[str, Callable[[], Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    line: Callable[[np.ndarray], float] | None = None
    """The hand-written value at a distance from the arguments that are differentiated, for finite differences."""
    loose: float = 1e-9
    """The largest relative error of a gradient that passes."""


def compiled_both_ways(name: str, f: Callable[..., Any], *args: Any) -> dict[str, Callable[[], Any]]:
    """A hand-written function under both settings of Numba, called with these arguments."""
    compiled = {f"{name}{how}": jit(f) for how, jit in JITS.items()}
    return {name: lambda f=f: f(*args) for name, f in compiled.items()}


def native_reverse(f: Any, *args: Any) -> Callable[[], Any]:
    """Reverse mode of a native function where `gradient` would choose forward mode."""
    special, flat = f.specialised(args)
    values = [*flat, *special.constants, 1.0]
    return lambda: special.operation.reverse(values)


def along(f: Callable[..., float], wanted: tuple[Any, ...], *rest: Any) -> Callable[[np.ndarray], float]:
    """A function of the distance from the first arguments, all their numbers in a row."""

    def at(distance: np.ndarray) -> float:
        args, start = [], 0
        for x in wanted:
            part = distance[start : start + np.size(x)]
            args.append(x + part.reshape(x.shape) if isinstance(x, np.ndarray) else x + float(part[0]))
            start += np.size(x)
        return f(*args, *rest)

    return at


def vector(result: Any) -> np.ndarray:
    """All the numbers of a nested result in a row."""
    if result is None:
        return np.empty(0)
    if isinstance(result, tuple | list):
        return np.concatenate([vector(part) for part in result])
    return np.ravel(np.asarray(result.detach() if hasattr(result, "detach") else result, dtype=np.float64))


def warp_gradient(kernel: Any, dim: int, inputs: list[Any], wanted: list[Any], loss: Any) -> Callable[[], Any]:
    """A Warp kernel's value and gradient, both launches recorded once, as is fastest."""
    arrays = [x for x in inputs if hasattr(x, "grad")]
    grads = [x.grad for x in arrays if x.grad is not None]
    forward = warp.launch(kernel, dim=dim, inputs=inputs, device="cpu", record_cmd=True)
    adjoints = [getattr(x, "grad", None) for x in inputs]
    backward = warp.launch(
        kernel, dim=dim, inputs=inputs, adj_inputs=adjoints, adj_outputs=[], adjoint=True, device="cpu", record_cmd=True
    )
    clear, seed, value = [g.numpy() for g in grads], loss.grad.numpy(), loss.numpy()  # all are views of the arrays
    out = [x.grad.numpy() for x in wanted]

    def call() -> Any:
        for view in clear:
            view.fill(0.0)
        value.fill(0.0)
        seed.fill(1.0)
        forward.launch()
        backward.launch()
        return value[0], out

    return call
