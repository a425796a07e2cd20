"""The continuous adjoint: the solution backward in time, with the cotangent beside the state."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.polynomial.legendre import leggauss
from numpy.typing import NDArray
from torch import Tensor

from ._adjoint import Adjoint, Task
from ._captures import Noted, closed, independent, unhooked
from ._controller import PID, Fixed
from ._lanes import greatest, transformed
from ._march import March, Method, march, tensor
from ._save import Indices, Saved, Saver
from ._solution import MESSAGES, Status
from ._solver import Solver

__all__ = ["Back", "Backsolve", "Backsolved", "Sums"]

CHUNK = 1024
"""The slopes whose tape is held at once, if a batch isn't larger."""


@dataclass(frozen=True)
class Backsolve(Adjoint):
    """The gradient by the adjoint equation, solved backward in time together with the state: optimise, then discretise.

    Its memory doesn't grow with the number of steps. But it is the gradient of the equation, not of the numbers that
    were computed: it is right to the tolerance only, and differs from `Discrete`'s by about as much. The state is
    solved again backward from each time that was asked for, which is unstable where the solution forgets its past (a
    stiff or dissipative problem) and wrong where it is chaotic. Use `Discrete()` unless memory forbids it.

    Each sample of a batch has steps of its own on the way back, too. The gradient flows to `y0`, `ts`, `args` and
    everything that `f` uses; the parameters' is a Gauss quadrature along the steps, so that they don't count in the
    error. There are no second derivatives, and no `torch.func`: both are refused.

    Arguments:
        solver, controller: for the way back (default: the same as for the solution).
        using: tensors that `f` uses where no operation shows them, as `apply` of a `torch.autograd.Function` does; that
            none is missed is checked at every slope, and refused otherwise.

    Source: Chen, Rubanova, Bettencourt & Duvenaud (2018), arXiv:1806.07366. The quadrature: Kim, Ji, Deng, Ma &
    Rackauckas (2021), arXiv:2103.15341.
    """

    solver: Solver | None = None
    controller: PID | Fixed | None = None
    using: tuple[Tensor, ...] = field(default=(), repr=False)

    def solve(self, task: Task) -> March:
        """Marches, and remembers nothing but the states that were asked for."""
        if transformed():
            raise NotImplementedError("Backsolve in torch.func's transforms: use Discrete(), or Forward() for a jvp")
        if not torch.is_grad_enabled():
            return task.march(False)
        noted = Noted(task.problem, self.using, "name it in Backsolve(using=(...)), or use Discrete()")
        found = march(noted, task.y0, task.times, task.method, task.saver, False)
        used = independent(noted.used)
        if not any(x.requires_grad for x in (task.y0, task.times, *used)):
            return found
        method = replace(task.method, dt0=None, arrived=None)
        method = replace(method, solver=self.solver or method.solver, controller=self.controller or method.controller)
        try:
            method.solver.check(task.y0)
        except ValueError as error:
            raise ValueError(
                f"Backsolve's way back has states and cotangents in one tensor, which {method.solver} doesn't take: "
                "pass Backsolve(solver=..., controller=...), or use Discrete()"
            ) from error
        back = Back(task, method, found.t, used)
        return task.having(Backsolved.apply(task.states(found), back, task.y0, task.times, *used), found)


class Backsolved(torch.autograd.Function):
    """The states that were found, as a function of the first states, of the times, and of what `f` uses."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, back: "Back", y0: Tensor, times: Tensor, *used: Tensor) -> Tensor:
        """The states after the first."""
        states = states.clone()
        ctx.back = back
        ctx.save_for_backward(y0, states, times, *used)
        return states

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        """Their cotangents, solved backward."""
        if torch.is_grad_enabled():
            who, instead = ctx.back.name, ctx.back.instead
            raise NotImplementedError(f"{who} has no second derivatives (create_graph=True): {instead}")
        y0, states, *_ = ctx.saved_tensors
        found = ctx.back.run([y0, *states], [y0, *g], ctx.needs_input_grad[3], ctx.needs_input_grad[4:])
        return None, None, *found


@dataclass(frozen=True)
class Back:
    """The way back. `reached` (rows,) is how far each sample came, `used` what the slopes use."""

    task: Task
    method: Method
    reached: NDArray[np.float64]
    used: list[Tensor]
    name: ClassVar[str] = "Backsolve"
    instead: ClassVar[str] = "use Discrete()"

    def run(self, states: list[Tensor], cotangents: list[Tensor], of_times: bool, wanted: Any) -> Any:
        """The cotangents of the first states, of the times, and of what is used, from those of the states."""
        times = greatest(self.task.times).astype(np.float64)
        sums = Sums(self, [u for u, needed in zip(self.used, wanted, strict=True) if needed])
        λ, moved = torch.zeros_like(states[0]), torch.zeros_like(self.task.times)
        for i in reversed(range(1, len(times))):
            rows = np.flatnonzero(self.reached >= times[i])
            if not len(rows):
                continue
            which = torch.as_tensor(rows, device=λ.device)
            λ = λ.index_add(0, which, cotangents[i][which])
            if of_times:
                moved[i] = self.drift(rows, times[i], states[i], cotangents[i])
            λ = λ.index_copy(0, which, self.segment(rows, times[i - 1], times[i], states[i][which], λ[which], sums))
        if of_times:
            moved[0] = -self.drift(np.arange(len(λ)), times[0], states[0], λ)
        found = iter(sums.found)
        return λ, moved if of_times else None, *(next(found) if needed else None for needed in wanted)

    def drift(self, rows: Indices, t: float, y: Tensor, λ: Tensor) -> Tensor:
        """How fast the loss changes with the time of states."""
        which = torch.as_tensor(rows, device=y.device)
        k = self.task.problem.on(rows)(tensor(np.full(len(rows), t), y), y[which])
        return (λ[which].conj() * k).sum().real

    def segment(self, rows: Indices, start: float, end: float, y: Tensor, λ: Tensor, sums: "Sums") -> Tensor:
        """The cotangents of some samples' states at `start`, from those at `end`, where the states are `y`."""
        sums.rows = rows
        span = tensor(np.array([-end, -start]), y)
        found = march(_Pairs(self, rows), torch.cat([y, λ], -1), span, self.method, sums, False)
        failed = np.flatnonzero(found.status)
        if len(failed):
            t, status = -found.t[failed[0]] * self.task.problem.sign, Status(found.status[failed[0]])
            who = f" of samples {rows[failed].tolist()}" if self.task.problem.batched else ""
            raise RuntimeError(
                f"{self.name}: the way back{who} stopped at t = {t:g}; {MESSAGES[status]}. A solution can be unstable "
                f"backward in time: {self.instead}"
            )
        return found.y.tensor_split(2, -1)[1]

    def taped(self, rows: Indices, t: Tensor, y: Tensor) -> Tensor:
        """The slopes of samples with their tape, all of whose ends are known."""
        k = self.task.problem.on(rows)(t, y)
        if not closed(k, [t, y, *self.used]):  # a Jacobian is by the time, too
            when = float(t.detach()[0]) * self.task.problem.sign
            raise ValueError(
                f"{self.name}: at t = {when:g}, f uses a tensor that it hadn't used on the way there: {self.instead}"
            )
        return k


@dataclass(frozen=True)
class _Pairs:
    """The slopes of states and cotangents, side by side, for the time that runs backward."""

    back: Back
    rows: Indices

    def on(self, rows: Indices | None) -> Callable[[Tensor, Tensor], Tensor]:
        """The slopes of some samples."""
        return partial(self._slope, self.rows if rows is None else self.rows[rows])

    def _slope(self, rows: Indices, t: Tensor, pair: Tensor) -> Tensor:
        again = pair.requires_grad  # for a Jacobian
        with torch.enable_grad():
            y, λ = (pair if again else pair.detach().requires_grad_()).tensor_split(2, -1)
            k = self.back.taped(rows, -t, y)
            (pulled,) = (
                torch.autograd.grad(k, y, λ, create_graph=again, allow_unused=True) if k.requires_grad else (None,)
            )
        both = torch.cat([-k, torch.zeros_like(y) if pulled is None else pulled], -1)
        return both if again else both.detach()


class Sums(Saver):
    """The integral of `λᵀ ∂f/∂used` over the steps back, by Gauss's formula; it has the place of a `Saver`."""

    def __init__(self, back: Back, used: list[Tensor]) -> None:
        self.back, self.used, self.solver = back, used, back.method.solver
        self.rows = np.zeros(0, np.int64)
        self.found = [torch.zeros_like(u) for u in used]
        nodes, weights = leggauss(self.solver.order // 2 + 1)
        self.nodes, self.weights_of_nodes = (nodes + 1) / 2, weights / 2

    def passed(self, t: Any, ends: Any) -> Any:
        """Every step counts."""
        return () if self.used else None

    def states(self, passed: Any, rows: Indices, t: Tensor, dt: Tensor, y: Tensor, slopes: Tensor) -> Saved:
        """Adds what the steps contribute, and saves nothing."""
        batched = self.back.task.problem.batched
        for θ, weight in zip(self.nodes, self.weights_of_nodes, strict=True):
            part = torch.full_like(t, θ)
            pairs = self.solver.inside(part, dt, y, slopes)
            size = max(CHUNK, len(self.rows)) if batched else 1
            for i in range(0, len(pairs), size):
                s = slice(i, i + size)
                self.add(self.rows[rows[s]], -(t + part * dt)[s], pairs[s], weight * dt[s])
        return Saved(torch.zeros(0, dtype=torch.long, device=y.device), y.new_zeros(0, y.shape[-1]))

    def add(self, rows: Indices, t: Tensor, pairs: Tensor, weights: Tensor) -> None:
        """Adds what points contribute."""
        y, λ = pairs.detach().tensor_split(2, -1)
        with torch.enable_grad():
            k = self.back.taped(rows, t, y.requires_grad_())
        if k.requires_grad:
            with unhooked(self.used):
                found = torch.autograd.grad(k, self.used, weights[:, None] * λ, retain_graph=True, allow_unused=True)
            for total, part in zip(self.found, found, strict=True):
                total += 0 if part is None else part
