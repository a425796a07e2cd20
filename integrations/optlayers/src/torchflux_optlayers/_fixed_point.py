"""Fixed points of functions."""

from collections.abc import Callable
from typing import Any

from ._adjoint import Adjoint
from ._implicit import solved
from ._iterate import Solver
from ._newton import Newton
from ._outcome import Solution
from ._problem import FixedPoints

__all__ = ["fixed_point"]

Tree = Any


def fixed_point(
    fn: Callable[..., Tree],
    y0: Tree,
    args: Tree = None,
    *,
    solver: Solver | None = None,
    adjoint: Adjoint | None = None,
    batched: bool = False,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 256,
    throw: bool = True,
) -> Solution:
    """The `y` with `fn(y, args) = y`, and its derivatives by all that `fn` uses.

    Arguments:
        fn: the function; what it returns is laid out like `y`.
        y0: where to start; any tree of tensors, floats and modules. Floats become tensors of float64 without axes.
        args: any tree, for `fn`.
        solver: `Newton()` (the default), `Broyden()`, `Anderson()` or `Scipy(method)`.
        adjoint: `Implicit(linear_solver=Dense())` (the default), or `Unrolled()` for the gradient of the steps.
        batched: whether the tensors of `y0` and of the results have a batch in front, whose elements don't depend on
            each other. Each has a stop and a status of its own; see `per_sample`.
        rtol, atol: the tolerance, `atol + rtol |y|`, of Newton's last step, or of what other solvers leave; by default
            1e-8 and 1e-10 for float64, 1e-5 and 1e-6 for float32.
        max_steps: of the solver.
        throw: whether an element that isn't solved is an error.

    Returns:
        A `Solution`: value, status, stats, message.

    Raises:
        SolveError: elements weren't solved, and `throw` is true; it has the `solution`.
        ValueError, TypeError: fn was given or returns something of the wrong kind, or the solution isn't isolated
            and so has no derivative.

    >>> import torch
    >>> rate = torch.tensor(0.5, requires_grad=True)
    >>> y = fixed_point(lambda y, rate: torch.cos(rate * y), 1.0, rate).value
    >>> torch.autograd.grad(y, rate)[0]  # -sin(rate y) y / (1 + rate sin(rate y))
    tensor(-0.3218)

    Source of the gradient: Bai, Kolter & Koltun (2019), arXiv:1909.01377.
    """
    options: dict[str, Any] = {"adjoint": adjoint, "batched": batched, "rtol": rtol, "atol": atol}
    return solved(FixedPoints, fn, y0, args, solver=solver or Newton(), **options, max_steps=max_steps, throw=throw)
