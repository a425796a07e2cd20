"""The compiled route: machine code for a whole batch, kept on disk, its elements shared out to threads."""

import importlib.util
import re
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._scaling import Program

__all__ = ["available", "native_pullback", "native_reduced", "native_solve"]

MODULES = ("_constants", "_native_algebra", "_native_interior", "_native_batch")


@cache
def available() -> bool:
    """Whether the package that makes machine code is installed."""
    return importlib.util.find_spec("torchflux_zygote") is not None


def native_solve(
    program: Program, warm: tuple[Tensor, Tensor] | None, tol: float, max_iterations: int
) -> tuple[Tensor, ...]:
    """The fields of a `Result` for programs on the CPU, of any dtype."""
    arrays = [*map(_array, program)]
    B, k, n = arrays[2].shape
    x, force = (
        (np.zeros((B, n)), np.zeros((B, k))) if warm is None else (v.double().numpy(force=True).copy() for v in warm)
    )
    counts, residuals, active = (np.empty(B, np.int64), np.empty(B, np.int64)), np.empty((B, 2)), np.empty((B, k), bool)
    outs = x, force, *counts, residuals, active, np.empty((B, n, n)), np.empty((B, n + k + 1))
    run = _compiled().solve_some
    _share_out(lambda a, b: run(a, b, *arrays, tol, max_iterations, warm is not None, *outs), B)
    return tuple(torch.from_numpy(v) for v in outs)


def native_reduced(*system: Tensor) -> tuple[Tensor, Tensor]:
    """`_route.reduced_system` on the CPU."""
    arrays = [*map(_array, system)]
    u, v = np.empty_like(arrays[-2]), np.empty_like(arrays[-1])
    run = _compiled().reduce_some
    _share_out(lambda a, b: run(a, b, *arrays, u, v), len(u))
    return torch.from_numpy(u), torch.from_numpy(v)


def native_pullback(*given: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients for Q, p, C and d: of a reduced system with its right-hand side, and the solution x and force."""
    arrays = [*map(_array, given)]
    Q, C, r, t = arrays[0], arrays[1], arrays[6], arrays[7]
    outs = np.empty_like(Q), np.empty_like(r), np.empty_like(C), np.empty_like(t)
    run = _compiled().pull_some
    _share_out(lambda a, b: run(a, b, *arrays, *outs), len(Q))
    dQ, dp, dC, dd = (torch.from_numpy(v) for v in outs)
    return dQ, dp, dC, dd


def _array(x: Tensor) -> np.ndarray:
    """The numbers of a tensor on the CPU: floats in double precision, others as they are."""
    return np.ascontiguousarray(x.detach().numpy(), np.float64 if x.is_floating_point() else None)


def _share_out(run: Callable[[int, int], None], n: int) -> None:
    """Runs a loop's range, in threads if the first of it says that this is worth while (machine code holds no lock)."""
    if torch.get_num_threads() < 2 or n < 2:
        run(0, n)
        return
    from torchflux_zygote._native._operation import share_out

    start = time.perf_counter()
    run(0, 1)
    share_out(run, 1, n, (time.perf_counter() - start) * n)


@cache
def _compiled() -> Any:
    """The program's modules as one, so that its hash can't be stale."""
    from torchflux_zygote._native._compile import loaded

    return loaded("\n".join(_text(name) for name in MODULES), "qp", "optlayers")


def _text(name: str) -> str:
    """A module's text without what it imports from the others."""
    text = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    return re.sub(r"^from torchflux_optlayers\.\w+ import (\([^)]*\).*|.*)\n", "", text, flags=re.MULTILINE)
