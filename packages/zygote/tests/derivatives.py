"""One checker for every test: gradients, forward mode and second derivatives against finite differences."""

import copy
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from torchflux_zygote import gradient, ignore, pushforward


def leaves(x: Any) -> list[Any]:
    """The numbers and arrays in some arguments, in order."""
    if isinstance(x, float | torch.Tensor | np.ndarray):
        return [x]
    if isinstance(x, tuple | list):
        return [leaf for part in x for leaf in leaves(part)]
    if isinstance(x, dict):
        return [leaf for part in x.values() for leaf in leaves(part)]
    if dataclasses.is_dataclass(x):
        return [leaf for field in dataclasses.fields(x) for leaf in leaves(getattr(x, field.name))]
    if is_object(x):
        return leaves(vars(x))
    return []


def is_object(x: Any) -> bool:
    return dataclasses.is_dataclass(x) or (hasattr(x, "__dict__") and not callable(x))


def vector(x: Any) -> np.ndarray:
    """All numbers in some arguments, as one vector."""
    parts = [np.asarray(leaf.detach() if isinstance(leaf, torch.Tensor) else leaf).reshape(-1) for leaf in leaves(x)]
    return np.concatenate(parts).astype(float) if parts else np.zeros(0)


def filled(x: Any, numbers: Any) -> Any:
    """`x` again, with numbers from an iterator."""
    if isinstance(x, float):
        return float(next(numbers))
    if isinstance(x, torch.Tensor):
        return torch.tensor([next(numbers) for _ in range(x.numel())], dtype=x.dtype).reshape(x.shape)
    if isinstance(x, np.ndarray):
        return np.array([next(numbers) for _ in range(x.size)], dtype=x.dtype).reshape(x.shape)
    if isinstance(x, tuple | list):
        parts = [filled(part, numbers) for part in x]
        return type(x)(*parts) if hasattr(x, "_fields") else type(x)(parts)
    if isinstance(x, dict):
        return {key: filled(part, numbers) for key, part in x.items()}
    if is_object(x):
        twin = copy.copy(x)
        for key, part in vars(x).items():
            object.__setattr__(twin, key, filled(part, numbers))
        return twin
    return x


def fresh(args: Any, v: np.ndarray) -> Any:
    return filled(args, iter(v.tolist()))


def laid_out(x: Any, numbers: Any) -> Any:
    """A direction laid out like gradients are: like `x`, but an object is a dict by attribute."""
    if isinstance(x, float | torch.Tensor | np.ndarray):
        return filled(x, numbers)
    if isinstance(x, tuple | list):
        parts = [laid_out(part, numbers) for part in x]
        return type(x)(*parts) if hasattr(x, "_fields") else type(x)(parts)
    if isinstance(x, dict):
        return {key: laid_out(part, numbers) for key, part in x.items()}
    if is_object(x):
        return {key: laid_out(part, numbers) for key, part in vars(x).items()}
    return None


def dense(grads: Any, args: Any) -> np.ndarray:
    """Gradients as one vector, zero for None."""
    if isinstance(args, float | torch.Tensor | np.ndarray):
        return np.zeros(np.size(vector(args))) if grads is None else vector(grads)
    if isinstance(args, tuple | list):
        parts = [dense(None if grads is None else g, x) for g, x in zip(grads or [None] * len(args), args, strict=True)]
    elif isinstance(args, dict):
        parts = [dense(None if grads is None else grads[key], x) for key, x in args.items()]
    elif is_object(args):
        fields = vars(args)
        parts = [dense(grads[k] if isinstance(grads, dict) else getattr(grads, k), x) for k, x in fields.items()]
    else:
        return np.zeros(0)
    return np.concatenate(parts) if parts else np.zeros(0)


def number(y: Any) -> float:
    return float(y)


def differences(f: Callable[..., Any], args: tuple[Any, ...], step: float = 1e-6) -> np.ndarray:
    """The gradient of `f(*args)` by central differences."""
    v = vector(args)
    found = []
    for i in range(len(v)):
        e = np.zeros_like(v)
        e[i] = step * max(1.0, abs(v[i]))
        found.append((number(f(*fresh(args, v + e))) - number(f(*fresh(args, v - e)))) / (2 * e[i]))
    return np.array(found)


def close(given: Any, expected: Any, tolerance: float = 1e-6, what: str = "") -> None:
    scale = 1 + np.max(np.abs(expected), initial=0.0)
    np.testing.assert_allclose(np.asarray(given) / scale, np.asarray(expected) / scale, atol=tolerance, err_msg=what)


def dotted(grads: Any, direction: Any) -> Any:
    """⟨grads, direction⟩; transformable, as the second derivative goes through it."""
    if grads is None or direction is None:
        return 0.0
    total = 0.0
    if isinstance(grads, tuple | list):
        for i in range(len(grads)):
            total = total + dotted(grads[i], direction[i])
        return total
    if isinstance(grads, dict):
        for key in grads:
            total = total + dotted(grads[key], direction[key])
        return total
    if isinstance(grads, float):
        return grads * direction
    if isinstance(grads, torch.Tensor | np.ndarray):
        return (grads * direction).sum()
    for key in direction:
        total = total + dotted(getattr(grads, key), direction[key])
    return total


def slope(f: Any, direction: Any, *args: Any) -> Any:
    """The derivative of f in a direction, by its gradient."""
    return dotted(gradient(f, *args), direction)


def copied(x: Any) -> Any:
    """A copy of an argument, so that a function that changes it can be differentiated twice; transformable."""
    if isinstance(x, list):
        return [copied(part) for part in x]
    if isinstance(x, dict):
        return {key: copied(x[key]) for key in x}
    if isinstance(x, np.ndarray):
        return x.copy()
    if isinstance(x, torch.Tensor):
        return x.clone()
    if dataclasses.is_dataclass(x):
        return type(x)(*[copied(getattr(x, key)) for key in vars_of(x)])
    return x


def vars_of(x: Any) -> list[str]:
    return [field.name for field in ignore(dataclasses.fields, x)]


def on_copies(f: Any, *args: Any) -> Any:
    return f(*[copied(x) for x in args])


def check(
    f: Callable[..., Any], *args: Any, second: bool = True, forward: bool = True, tolerance: float = 1e-6
) -> None:
    """Gradient, forward mode and second derivative (reverse and forward over reverse) of a scalar function."""
    v, rng = vector(args), np.random.default_rng(0)
    expected = differences(f, args)
    again = fresh(args, v)
    grads = gradient(f, *again)
    close(dense(grads, args), expected, tolerance, "gradient")
    w = rng.normal(size=len(v))
    direction = tuple(laid_out(args, iter(w.tolist())))
    if forward:
        tangent = pushforward(f, *fresh(args, v))(*direction)
        close(number(0.0 if tangent is None else tangent), expected @ w, tolerance, "forward mode")
    if second:
        bent = functools.partial(slope, functools.partial(on_copies, f), direction)
        curved = differences(bent, args, 1e-5)
        close(dense(gradient(bent, *fresh(args, v)), args), curved, 20 * tolerance, "reverse over reverse")
        u = rng.normal(size=len(v))
        along = pushforward(bent, *fresh(args, v))(*laid_out(args, iter(u.tolist())))
        close(number(0.0 if along is None else along), curved @ u, 20 * tolerance, "forward over reverse")
