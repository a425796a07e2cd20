"""How the gradient of a solution is computed."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch._C._functorch import TransformType, get_interpreter_stack

from ._iterate import Found, Solver
from ._lanes import any_of, transformed
from ._linear_solvers import Dense, LinearSolver

__all__ = ["Implicit", "Unrolled"]

Function = Callable[[Tensor], Tensor]


class Adjoint(ABC):
    """How the gradient of a solution is computed."""

    unrolls: ClassVar[bool] = False
    """Whether the solver's steps have a tape."""

    @abstractmethod
    def differentiable(self, solver: Solver, problem: Any, found: Found, throw: bool) -> Tensor:
        """The points that were found (rows, n), with their derivatives."""


@dataclass(frozen=True)
class Unrolled(Adjoint):
    """The gradient of what the solver computed, step by step; the steps' tape is held, and it flows to `y0` as well.

    Lengths and dampings count as given. An element that fails may make the gradient of what all share NaN.

    >>> from torchflux_optlayers import root
    >>> c = torch.tensor(4.0, requires_grad=True)
    >>> torch.autograd.grad(root(lambda y, c: y**2 - c, 1.0, c, adjoint=Unrolled()).value, c)[0]
    tensor(0.2500)
    """

    unrolls: ClassVar[bool] = True

    def differentiable(self, solver: Solver, problem: Any, found: Found, throw: bool) -> Tensor:
        """They have it."""
        return found.y


@dataclass(frozen=True)
class Implicit(Adjoint):
    """The gradient by the implicit function theorem, of the solution itself; no step is kept, and `y0` has none.

    It flows to `args` and everything else that `fn` uses. From the solution on, steps of Newton's method with a tape
    leave the numbers as they are, and each makes one more order of derivatives right.

    It holds in backward, forward mode and `torch.func`'s transforms. Code under `torch.compile` calls the solver, which
    isn't traced: `fullgraph=True` and transforms of compiled code are not possible.

    Arguments:
        linear_solver: of the systems with the Jacobian: `Dense()`, or `CG()`, `GMRES()` and `NormalCG()`, which don't
            form it (but inside of transforms they do), and whose failure is an error when the gradient is computed.
        orders: how often the solution can be differentiated; each takes one evaluation. One more is an error.

    >>> from torchflux_optlayers import root
    >>> third = lambda c: root(lambda y, c: y**2 - c, 1.0, c, adjoint=Implicit(orders=3)).value
    >>> for _ in range(3):
    ...     third = torch.func.grad(third)
    >>> third(torch.tensor(4.0))  # 3/8 c^(-5/2)
    tensor(0.0117)

    Source: Griewank & Walther (2008), doi:10.1137/1.9780898717761, 15.1; Blondel et al. (2022), arXiv:2105.15183.
    """

    linear_solver: LinearSolver = field(default_factory=Dense)
    orders: int = 2

    def __post_init__(self) -> None:
        if self.orders < 1:
            raise ValueError(f"Implicit(orders={self.orders}): it is at least 1")

    def differentiable(self, solver: Solver, problem: Any, found: Found, throw: bool) -> Tensor:
        """By the equations that the solver's solution satisfies."""
        wanted = transformed() or (torch.is_grad_enabled() and solver.depends(problem, found.y.detach()))
        if not wanted or not found.y.numel():
            return found.y.detach()
        equations, z, failed = solver.equations(problem, found, throw)
        exact = lifted(equations, z, failed, self, throw)
        if z is found.y:
            return exact
        exact = exact[:, : found.y.shape[-1]]
        return found.y + (exact - exact.detach())


def lifted(equations: Function, z: Tensor, failed: Tensor, adjoint: Implicit, throw: bool = True) -> Tensor:
    """`z` (rows, k) with the derivatives of the solution of `equations(z) = 0`; of failed rows they are NaN.

    Raises:
        ValueError: the equations' Jacobian has no inverse, and `throw` is true.
    """
    z = z.detach()
    safe = _safe(z, failed) if any_of(failed) else z
    value = equations(safe)
    if not (transformed() or value.requires_grad):
        return z
    levels = [level.key() for level in get_interpreter_stack() or ()]
    if levels.count(TransformType.Jvp) > 1:
        raise NotImplementedError("nested forward mode is silently zero here (pytorch#197867): take one in reverse")
    correction = adjoint.linear_solver.correction(equations, safe, failed, throw)
    y = safe - correction(value)
    for _ in range(adjoint.orders - 1):
        y = y - correction(equations(y))
    y = _Limited.apply(y, y, adjoint.orders, adjoint.orders)
    return torch.where(failed.unsqueeze(-1), z + (y - safe), y) if safe is not z else y


def _safe(z: Tensor, failed: Tensor) -> Tensor:
    """Points at which the equations are likely to have derivatives: a mate's, or 0, in place of NaN."""
    fine = z.isfinite().all(-1) & ~failed
    first = fine & (fine.cumsum(0) == 1)
    mate = torch.where(first.unsqueeze(-1), z, 0.0).sum(0)
    return torch.where(z.isfinite().all(-1, keepdim=True), z, mate)


class _Limited(torch.autograd.Function):
    """A solution whose derivatives are right up to some order; one more is an error.

    Each derivative passes on what can be differentiated once less. So that none goes another way, the solution itself
    gets a share of it as well, which is 0.
    """

    @staticmethod
    def forward(x: Tensor, y: Tensor, left: int, orders: int) -> Tensor:
        """The same."""
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keeps how many are left."""
        _, y, ctx.left, ctx.orders = inputs
        ctx.save_for_backward(y)
        ctx.save_for_forward(y)

    @staticmethod
    def backward(ctx: Any, *g: Any) -> Any:
        """One less."""
        (y,) = ctx.saved_tensors
        less = _one_less(ctx, g[0], y)
        return less, 0 * less.sum_to_size(y.shape), None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """One less."""
        return _one_less(ctx, tangents[0], *ctx.saved_tensors)

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Tensor, y: Tensor, left: int, orders: int) -> Any:
        """The same for more of them."""
        x = x.expand(info.batch_size, *x.shape) if in_dims[0] is None else x.movedim(in_dims[0], 0)
        return _Limited.apply(x, y if in_dims[1] is None else y.movedim(in_dims[1], 0), left, orders), 0


def _one_less(ctx: Any, direction: Tensor, y: Tensor) -> Tensor:
    """A cotangent or tangent, which can be differentiated once less."""
    if not ctx.left:
        more = ctx.orders + 1
        raise NotImplementedError(f"derivative {more} of a solution: ask for it with adjoint=Implicit(orders={more})")
    found: Tensor = _Limited.apply(direction, y, ctx.left - 1, ctx.orders)
    return found
