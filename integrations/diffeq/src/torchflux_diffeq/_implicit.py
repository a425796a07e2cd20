"""Steady states, and their gradient by the implicit function theorem."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchflux import leaves

from ._adjoint import Adjoint, Task
from ._captures import replaceable, replaced
from ._controller import PID, Fixed
from ._field import Field
from ._lanes import greatest, transformed
from ._linear import dense, krylov
from ._march import March, Status, tensor
from ._solution import Solution
from ._solve import solve
from ._solver import Solver

__all__ = ["Implicit", "steady_state"]

Tree = Any
Rest = Callable[[Tensor], Tensor]
"""The slopes at rest: states (rows, n) to slopes (rows, n)."""


@dataclass(frozen=True)
class Implicit(Adjoint):
    """The gradient of a steady state `f(t, y, args) = 0`, by the implicit function theorem; no step is kept.

    The solution ends as soon as the state is steady: when the root mean square of `f / (atol + rtol |y|)` is at most 1
    at the end of a step, so that a unit of time would change the state by less than the tolerance. A sample that isn't
    steady at the last time fails (`Status.NOT_STEADY`). There can be no times between the first and the last.

    The gradient flows to `args` and to what `f` uses. `y0` and `ts` have none (`None`): of a steady state that is
    isolated, they decide at most which one is found. That it is isolated is checked where the Jacobian is formed.

    Arguments:
        rtol, atol: of the slope; by default 1e-6 and 1e-9 for float64, 1e-4 and 1e-6 for float32.
        largest: the numbers of a state up to which its Jacobian is formed and factored, which can be differentiated any
            number of times; for more numbers, GMRES solves by products with the Jacobian, for one gradient.

    Source: Bai, Kolter & Koltun (2019), arXiv:1909.01377; Saad & Schultz (1986), doi:10.1137/0907058.
    """

    rtol: float | None = None
    atol: float | None = None
    largest: int = 256

    def solve(self, task: Task) -> March:
        """Marches until the slope vanishes."""
        if task.saver is not None:
            raise ValueError("Implicit: a steady state has no times on the way, so pass ts=(first, last)")
        if task.y0.is_complex():
            raise TypeError("Implicit: y0 is complex; pass its real and imaginary parts as two tensors")
        found = replace(task, method=replace(task.method, arrived=self.steady)).march(False)
        y = found.y.detach()
        k = task.problem.on(None)(tensor(found.t, y), y)
        found.evaluations += 1
        found.status[(found.status == Status.SUCCESS) & ~self.steady(y, k)] = Status.NOT_STEADY
        good = np.flatnonzero(found.status == Status.SUCCESS)
        if len(good) and (torch.is_grad_enabled() or transformed()):
            end = self._taped(task.problem, good, tensor(found.t[good], y), y[good])
            y = y.index_copy(0, torch.as_tensor(good, device=y.device), end)
        return replace(found, y=y)

    def steady(self, y: Tensor, k: Tensor) -> NDArray[np.bool_]:
        """Whether states (rows, n) with the slopes `k` are steady."""
        rtol, atol = PID(self.rtol, self.atol).tolerances(y.dtype)
        ratio: NDArray[Any] = greatest((k / (atol + rtol * y.abs())).square().mean(-1))
        return ratio <= 1.0

    def _taped(self, problem: Field, rows: NDArray[np.int64], t: Tensor, y: Tensor) -> Tensor:
        """The steady states of some rows, differentiable."""
        slope = lambda y: problem.on(rows)(t, y)
        if transformed():
            return _by_newton(slope, y)
        used = replaceable(slope, y)
        if used is not None:
            return _Steady.apply(y, slope, used, self.largest, *used) if used else y
        if y.shape[-1] > self.largest:
            raise ValueError(
                "Implicit: f uses a tensor that can be differentiated but that no operation shows, so its gradient "
                "would be missed; hand it to a torch operation in f, or raise Implicit(largest=) above the state's "
                f"{y.shape[-1]} numbers"
            )
        return _by_newton(slope, y)


def _by_newton(slope: Rest, y: Tensor) -> Tensor:
    """The steady states after two steps of Newton's method, whose derivatives are right up to the third.

    One step makes the error quadratic in it, and so the first derivative right; the second step the next two.
    """
    exact, units = y, torch.eye(y.shape[-1], dtype=y.dtype, device=y.device)
    for _ in range(2):
        found: Any = torch.func.vjp(slope, exact)
        k, pull = found
        jacobian = torch.stack([pull(unit.expand_as(k))[0] for unit in units], 1)
        exact = exact - dense(jacobian, k)
    return y + (exact - exact.detach())


class _Steady(torch.autograd.Function):
    """A steady state as a function of what the slope uses."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, slope: Rest, names: list[Tensor], largest: int, *used: Tensor) -> Tensor:
        """The state that was found."""
        end = y.clone()
        ctx.slope, ctx.names, ctx.largest = slope, names, largest
        ctx.save_for_backward(end, *used)
        return end

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        """`-(∂f/∂used)ᵀ (∂f/∂y)⁻ᵀ g`; differentiable itself, as the state is this function's own result."""
        again = torch.is_grad_enabled()
        end, *used = ctx.saved_tensors
        with torch.enable_grad():
            y, *others = [x.view_as(x) for x in (end if again else end.detach().requires_grad_(), *used)]
            with replaced(ctx.names, others):
                k = ctx.slope(y)
        pull = lambda v: torch.autograd.grad(k, y, v, retain_graph=True, create_graph=again, allow_unused=True)[0]
        if y.shape[-1] <= ctx.largest:
            rows = [pull(torch.zeros_like(k).index_fill(1, torch.tensor(i), 1.0)) for i in range(k.shape[1])]
            jacobian = torch.stack([torch.zeros_like(y) if row is None else row for row in rows], 1)
            λ = dense(jacobian.mT, g)
        elif again:
            raise NotImplementedError(
                f"Implicit: a second derivative with {y.shape[-1]} numbers: raise Implicit(largest=) so that the "
                "Jacobian is formed, or differentiate once"
            )
        else:
            λ = krylov(pull, g)
        wanted = [x for x, needed in zip(others, ctx.needs_input_grad[4:], strict=True) if needed]
        found = iter(torch.autograd.grad(k, wanted, -λ, create_graph=again, allow_unused=True))
        return None, None, None, None, *(next(found) if needed else None for needed in ctx.needs_input_grad[4:])


def steady_state(
    f: Callable[..., Tree],
    y0: Tree,
    args: Tree = None,
    *,
    solver: Solver | None = None,
    controller: PID | Fixed | None = None,
    adjoint: Implicit | None = None,
    t0: float = 0.0,
    horizon: float = 1e6,
    dt0: float | None = None,
    max_steps: int = 4096,
    batched: bool = False,
    throw: bool = True,
) -> Solution:
    """The state to which `dy/dt = f(t, y, args)` comes from `y0`, and its gradient by the implicit function theorem.

    It is `solve` with `Implicit()`, from `t0` to at most `t0 + horizon`; `.y` is the steady state, and `.t` the time
    at which it was reached, of each sample with `batched=True`. The gradient flows to `args` and what `f` uses, not to
    `y0`. Where the slopes are stiff, an implicit `solver` takes fewer steps.

    Arguments:
        f, y0, args, solver, dt0, max_steps, batched, throw: as for `solve`.
        controller: how the steps are chosen; by default `PID` with a hundredth of the adjoint's tolerances, so that it
            is not the steps' errors that keep a slope from vanishing.
        adjoint: when a state counts as steady, and how the linear system is solved (default `Implicit()`).
        t0: the first time that `f` gets.
        horizon: how long it may take.

    Raises:
        SolveError: a sample wasn't steady in time, and `throw` is true.

    >>> rate = torch.tensor(2.0, requires_grad=True)
    >>> y = steady_state(lambda t, y, rate: rate - y**2, torch.ones(1), rate).y
    >>> torch.autograd.grad(y.sum(), rate)[0]  # of the square root
    tensor(0.3536)
    """
    options: dict[str, Any] = {"dt0": dt0, "max_steps": max_steps, "batched": batched, "throw": throw}
    adjoint = adjoint or Implicit()
    if controller is None:
        dtype = next((x.dtype for _, x in leaves(y0) if isinstance(x, Tensor)), torch.float32)
        controller = PID(*(x / 100 for x in PID(adjoint.rtol, adjoint.atol).tolerances(dtype)))
    return solve(f, y0, (t0, t0 + horizon), args, solver=solver, controller=controller, adjoint=adjoint, **options)
