"""Roots of functions."""

from collections.abc import Callable
from typing import Any

from ._adjoint import Adjoint
from ._implicit import solved
from ._iterate import Solver
from ._newton import Newton
from ._outcome import Solution
from ._problem import Roots

__all__ = ["root"]

Tree = Any


def root(
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
    """The `y` with `fn(y, args) = 0`, and its derivatives by all that `fn` uses.

    Arguments:
        fn: the function; it returns as many numbers as there are in `y`, in any tree, each of the dtype of `y`.
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
    >>> c = torch.tensor([4.0, 9.0], requires_grad=True)
    >>> solution = root(lambda y, c: y**2 - c, torch.ones(2), c)
    >>> solution.value, torch.autograd.grad(solution.value.sum(), c)[0]
    (tensor([2., 3.], grad_fn=<...>), tensor([0.2500, 0.1667]))

    Source of the gradient: Blondel et al. (2022), arXiv:2105.15183.
    """
    options: dict[str, Any] = {"adjoint": adjoint, "batched": batched, "rtol": rtol, "atol": atol}
    return solved(Roots, fn, y0, args, solver=solver or Newton(), **options, max_steps=max_steps, throw=throw)
