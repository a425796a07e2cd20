"""Nonlinear least squares."""

from collections.abc import Callable
from typing import Any

from ._adjoint import Adjoint
from ._implicit import solved
from ._iterate import Solver
from ._levenberg_marquardt import LevenbergMarquardt
from ._outcome import Solution
from ._problem import LeastSquares

__all__ = ["least_squares"]

Tree = Any


def least_squares(
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
    """A `y` at which the sum of squares `½ |fn(y, args)|²` is (locally) least, and its derivatives by what `fn` uses.

    They are exact, also where residuals are left: those of the equation that the gradient is zero.

    Arguments:
        fn: the residuals, any tree of tensors.
        y0: where to start; any tree of tensors, floats and modules. Floats become tensors of float64 without axes.
        args: any tree, for `fn`.
        solver: `LevenbergMarquardt()` (the default), `GaussNewton()`, `Scipy(method)`, or one of `minimise`.
        adjoint: `Implicit(linear_solver=Dense())` (the default), or `Unrolled()` for the gradient of the steps.
        batched: whether the tensors of `y0` and of the results have a batch in front, whose elements don't depend on
            each other. Each has a stop and a status of its own; see `per_sample`.
        rtol, atol: of a step that is hardly damped, `atol + rtol |y|`; by default 1e-8 and 1e-10 for float64, 1e-5 and
            1e-6 for float32.
        max_steps: of the solver.
        throw: whether an element that isn't solved is an error.

    Returns:
        A `Solution`: value, status, stats, message.

    Raises:
        SolveError: elements weren't solved, and `throw` is true; it has the `solution`.
        ValueError, TypeError: fn was given or returns something of the wrong kind, or the solution isn't isolated
            and so has no derivative.

    >>> import torch
    >>> t = torch.linspace(0, 1, 20)
    >>> seen = (2 * torch.exp(-3 * t)).requires_grad_()
    >>> start = {"a": torch.tensor(1.0), "rate": torch.tensor(1.0)}
    >>> fit = least_squares(lambda y, seen: y["a"] * torch.exp(-y["rate"] * t) - seen, start, seen)
    >>> fit.value["rate"]
    tensor(3..., grad_fn=<...>)

    Source of the gradient: Gould et al. (2016), arXiv:1607.05447.
    """
    options: dict[str, Any] = {"adjoint": adjoint, "batched": batched, "rtol": rtol, "atol": atol}
    return solved(
        LeastSquares, fn, y0, args, solver=solver or LevenbergMarquardt(), **options, max_steps=max_steps, throw=throw
    )
