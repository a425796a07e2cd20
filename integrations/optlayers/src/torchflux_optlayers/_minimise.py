"""Minima of functions."""

from collections.abc import Callable
from typing import Any

from ._adjoint import Adjoint
from ._implicit import solved
from ._iterate import Solver
from ._lbfgs import LBFGS
from ._outcome import Solution
from ._problem import Minima

__all__ = ["minimise"]

Tree = Any


def minimise(
    fn: Callable[..., Tree],
    y0: Tree,
    args: Tree = None,
    *,
    solver: Solver | None = None,
    adjoint: Adjoint | None = None,
    batched: bool = False,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 1024,
    throw: bool = True,
) -> Solution:
    """A `y` at which `fn(y, args)` is (locally) least, and its derivatives by all that `fn` uses.

    They are those of the equation that the gradient is zero; a start where it is zero is returned, whatever it is.

    Arguments:
        fn: the function; it returns one number, or with `batched=True` one for each element, shape (B,).
        y0: where to start; any tree of tensors, floats and modules. Floats become tensors of float64 without axes.
        args: any tree, for `fn`.
        solver: `LBFGS()` (the default), `GradientDescent()` or `Scipy(method)`, which takes bounds and constraints.
        adjoint: `Implicit(linear_solver=Dense())` (the default), or `Unrolled()` for the gradient of the steps.
        batched: whether the tensors of `y0` and of the results have a batch in front, whose elements don't depend on
            each other. Each has a stop and a status of its own; see `per_sample`.
        rtol, atol: of the largest entry of the gradient, `atol + rtol |y|` with the largest of `y`; by default 1e-8
            and 1e-10 for float64, 1e-5 and 1e-6 for float32.
        max_steps: of the solver.
        throw: whether an element that isn't solved is an error.

    Returns:
        A `Solution`: value, status, stats, message.

    Raises:
        SolveError: elements weren't solved, and `throw` is true; it has the `solution`.
        ValueError, TypeError: fn was given or returns something of the wrong kind, or the solution isn't isolated
            and so has no derivative.

    >>> import torch
    >>> target = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> y = minimise(lambda y, target: ((y - target) ** 2).sum() + (y**2).sum(), torch.zeros(2), target).value
    >>> y, torch.autograd.grad(y.sum(), target)[0]
    (tensor([0.5000, 1.0000], grad_fn=<...>), tensor([0.5000, 0.5000]))

    Source of the gradient: Gould et al. (2016), arXiv:1607.05447.
    """
    options: dict[str, Any] = {"adjoint": adjoint, "batched": batched, "rtol": rtol, "atol": atol}
    return solved(Minima, fn, y0, args, solver=solver or LBFGS(), **options, max_steps=max_steps, throw=throw)
