"""The discrete adjoint of all steps together, for states of few numbers.

What has to be done one step after the other is linear algebra of the state's size. The slopes' derivatives, which cost
nearly everything, need only the states, and those are known: so `f` is called once, with every stage of every step. The
gradient is that of `replay`, to rounding.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._captures import captured
from ._field import Field
from ._march import March, joined, tensor
from ._runge_kutta import ExplicitRungeKutta
from ._save import Indices, Saved, Saver

__all__ = ["together", "worthwhile"]

LARGEST = 2**24
"""The most numbers that the slopes' derivatives may take."""
HEAVY = 2**20
"""The multiplications from which on a slope of all samples costs what it computes, not that it is called."""


def worthwhile(track: March, stages: int) -> bool:
    """Whether as many derivatives as the state has numbers are cheaper than a sweep through the steps.

    A derivative of all slopes at once costs about as much as four slopes one by one. It takes every step: where the
    slopes had no tape at first, some weren't noted.
    """
    accepted = track.steps - track.rejected
    if sum(len(made.rows) for made in track.made) < accepted.sum():
        return False
    longest = int(accepted.max(initial=0))
    numbers = sum(made.slopes.numel() for made in track.made)
    n = track.y.shape[-1]
    return bool(track.made) and 4 * n <= longest * stages and numbers * n <= LARGEST


@dataclass(frozen=True)
class _Steps:
    """The accepted steps, sample by sample: `first` (samples,) is where each sample's begin, `made` how many they are.

    `a` (stages, stages) makes the stages' states of the slopes; `weights` (stages, points) the saved states of those of
    the steps `at` (points,), their lengths included.
    """

    first: Indices
    made: Indices
    dt: Tensor
    a: Tensor
    at: Tensor
    weights: Tensor
    jacobians: Tensor

    def sweep(self, end: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
        """Back through each step by itself, for several cotangents at once.

        From those of the state at its end (steps, n, m), and of its slopes (stages, steps, n, m), come those of the
        state at its beginning, and those of the slopes with what the end adds to them.
        """
        slopes = slopes.clone()
        begin = torch.zeros_like(end)
        for i in reversed(range(len(slopes))):
            state = self.jacobians[i].mT @ slopes[i]
            if i == len(slopes) - 1:
                state += end
            slopes[:i] += (self.a[i, :i, None] * self.dt)[..., None, None] * state
            begin += state
        return begin, slopes

    def back(self, end: Tensor, saved: Tensor) -> tuple[Tensor, Tensor]:
        """The cotangents of the first states (samples, n), and of all slopes (stages, steps, n)."""
        stages, steps, n = self.jacobians.shape[:3]
        slopes = saved.new_zeros(stages, steps, n).index_add(1, self.at, self.weights[..., None] * saved)
        direct = saved.new_zeros(steps, n).index_add(0, self.at, saved)
        columns = saved.new_zeros(stages, steps, n, n + 1)
        columns[..., 0] = slopes
        unit = torch.eye(n, n + 1, dtype=saved.dtype, device=saved.device).roll(1, 1).expand(steps, n, n + 1)
        begin, _ = self.sweep(unit, columns)
        constant, matrix = (begin[..., 0] + direct).numpy(), begin[..., 1:].numpy()
        ends, λ = np.empty((steps, n), constant.dtype), end.numpy().copy()
        for number in reversed(range(int(self.made.max()))):
            rows = np.flatnonzero(self.made > number)
            which = self.first[rows] + number
            ends[which] = λ[rows]
            λ[rows] = np.matmul(matrix[which], λ[rows, :, None])[..., 0] + constant[which]
        _, slopes = self.sweep(torch.from_numpy(ends)[..., None], slopes[..., None])
        return torch.from_numpy(λ), slopes[..., 0]


class _Solved(torch.autograd.Function):
    """The states that `march` found, as a function of the first states and of what `f` uses."""

    @staticmethod
    def forward(ctx: Any, end: Tensor, saved: Tensor, whole: "_Whole", y0: Tensor, *used: Tensor) -> Any:
        """The states at the end, and those that are saved."""
        ctx.whole = whole
        ctx.save_for_backward(y0, *used)
        return end.clone(), saved.clone()

    @staticmethod
    def backward(ctx: Any, end: Tensor, saved: Tensor) -> Any:
        """Their cotangents: by one sweep, or, where they will be differentiated themselves, by a replay with a tape."""
        wanted = ctx.needs_input_grad[3:]
        inputs = [x for x, needed in zip(ctx.saved_tensors, wanted, strict=True) if needed]
        pull = ctx.whole.taped if torch.is_grad_enabled() else ctx.whole.swept
        found = iter(pull(ctx.saved_tensors[0], inputs, end, saved))
        return None, None, None, *(next(found) if needed else None for needed in wanted)


@dataclass(frozen=True)
class _Whole:
    """All of a solution: its steps, the slopes of all of them with their tape, and the way to make it again."""

    steps: _Steps
    slopes: Tensor
    replay: Callable[[Tensor], tuple[Tensor, list[Saved]]]

    def swept(self, y0: Tensor, inputs: list[Tensor], end: Tensor, saved: Tensor) -> list[Any]:
        """The cotangents of the inputs, of which `y0` may be the first."""
        begin, slopes = self.steps.back(end, saved)
        first = inputs[:1] if inputs and inputs[0] is y0 else []
        rest = inputs[len(first) :]
        if not rest:
            return [begin]
        flat = slopes.flatten(0, 1)
        return [begin] * len(first) + list(
            torch.autograd.grad(self.slopes, rest, flat, retain_graph=True, allow_unused=True)
        )

    def taped(self, y0: Tensor, inputs: list[Tensor], end: Tensor, saved: Tensor) -> list[Any]:
        """The same, differentiable."""
        last, states = self.replay(y0)
        results, cotangents = [last], [end]
        if states:
            order = torch.cat([x.places for x in states]).argsort()
            results.append(torch.cat([x.states for x in states])[order])
            cotangents.append(saved)
        return list(torch.autograd.grad(results, inputs, cotangents, create_graph=True, allow_unused=True))


def together(
    problem: Field,
    y0: Tensor,
    solver: ExplicitRungeKutta,
    track: March,
    saver: Saver | None,
    replay: Callable[[Tensor], tuple[Tensor, list[Saved]]],
) -> tuple[Tensor, list[Saved]] | None:
    """The end's and the saved states, differentiable; `None` where `f` can't be called with all states at once."""
    all_steps = joined(track.made)
    by_row = np.argsort(all_steps.rows, kind="stable")
    rows, t, ends, dt = (getattr(all_steps, name)[by_row] for name in ("rows", "t", "ends", "dt"))
    y, k = all_steps.y[by_row], all_steps.slopes[:, by_row]
    begins, lengths, a = tensor(t, y), tensor(dt, y), torch.as_tensor(solver.tableau.a, dtype=y.dtype)
    states = (y + torch.einsum("ij,jsn->isn", a, k) * lengths[:, None]).flatten(0, 1).requires_grad_()
    when = tensor(t + np.multiply.outer(solver.tableau.c, dt), y).flatten()
    everyone = np.tile(rows, len(k))
    if _heavy(problem, len(y0), everyone, when, states):
        return None
    again = _slopes(problem, everyone, when, states, k.flatten(0, 1))
    if again is None:
        return None
    slopes, used = again
    at, weights, saved = torch.zeros(0, dtype=torch.long), lengths.new_zeros(len(k), 0), []
    passed = None if saver is None else saver.passed(t, ends)
    if saver is not None and passed is not None:
        at, weights = torch.as_tensor(passed.steps), saver.weights(passed, begins, lengths)
        saved = [saver.states(passed, rows, begins, lengths, y, k)]
    made = track.steps - track.rejected
    jacobians = _jacobians(slopes, states).view(*k.shape, -1)
    steps = _Steps(made.cumsum() - made, made, lengths, a, at, weights, jacobians)
    values = saved[0].states if saved else y.new_zeros(0, y.shape[-1])
    end, values = _Solved.apply(track.y, values, _Whole(steps, slopes, replay), y0, *used)
    return end, [Saved(saved[0].places, values)] if saved else []


def _heavy(problem: Field, samples: int, rows: Indices, t: Tensor, y: Tensor) -> bool:
    """Whether the derivatives by every number of the state cost more than the calls that they save.

    A network multiplies each sample with all of its parameters, which one slope shows.
    """
    numbers = samples * y.shape[-1]
    if numbers < 64:
        return False
    one = _slopes(problem, rows[:1], t[:1], y[:1], None)
    return one is None or numbers * sum(x.numel() for x in one[1]) > HEAVY


def _slopes(
    problem: Field, rows: Indices, t: Tensor, y: Tensor, known: Tensor | None
) -> tuple[Tensor, list[Tensor]] | None:
    """The slopes at many states at once, and what they use, if they are those that may be known."""
    try:
        with torch.enable_grad():
            found = captured(lambda t, y: problem.everywhere(rows, t, y), t, y)
    except (RuntimeError, ValueError, TypeError, IndexError):  # what f says when it is made for one state
        return None
    if found is None or not found[0].requires_grad:
        return None
    if known is None:
        return found
    close = (found[0].detach() - known).abs().max() <= 1e-5 * known.abs().max()
    return found if close else None


def _jacobians(slopes: Tensor, states: Tensor) -> Tensor:
    """The slopes' derivatives by their states, shape (points, n, n)."""
    rows = [
        torch.autograd.grad(slopes[:, i].sum(), states, retain_graph=True, allow_unused=True)[0]
        for i in range(slopes.shape[1])
    ]
    return torch.stack([torch.zeros_like(states) if row is None else row for row in rows], 1)
