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

from ._captures import captured, unhooked
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
    slopes had no tape at first, some weren't noted. The sequential part is NumPy's, so the state is on the CPU.
    """
    accepted = track.steps - track.rejected
    if sum(len(made.rows) for made in track.made) < accepted.sum():
        return False
    longest = int(accepted.max(initial=0))
    numbers = sum(made.slopes.numel() for made in track.made)
    n = track.y.shape[-1]
    real = track.y.device.type == "cpu" and not track.y.is_complex()
    return bool(track.made) and real and 0 < 4 * n <= longest * stages and numbers * n <= LARGEST


@dataclass(frozen=True)
class _Steps:
    """The accepted steps in the order in which they were made; they are the last axis of all tensors.

    `rows` are the samples of each round of steps; `a` (stages, stages) makes the stages' states of the slopes;
    `weights` (stages, points) the saved states of those of the steps `at` (points,), their lengths included;
    `jacobians` (stages, n, n, steps) are the slopes' derivatives, by the numbers of the states last.
    """

    rows: list[Indices]
    dt: Tensor
    a: Tensor
    at: Tensor
    weights: Tensor
    jacobians: Tensor

    def sweep(self, end: Tensor, slopes: Tensor) -> Tensor:
        """Back through each step by itself, for `m` cotangents at once.

        From those of the state at its end (m, n, steps), and of its slopes (stages, m, n, steps), come those of the
        state at its beginning; those of the slopes get what the end adds to them.
        """
        states = torch.empty_like(slopes)
        flat = states.flatten(1)
        for i in reversed(range(len(slopes))):
            later = torch.mv(flat[i + 1 :].T, self.a[i + 1 :, i]).view_as(end)
            slopes[i].addcmul_(later, self.dt)
            states[i] = _dot(self.jacobians[i][:, None], slopes[i].transpose(0, 1)[:, :, None])
            if i == len(slopes) - 1:
                states[i] += end
        return states.sum(0)

    def back(self, end: Tensor, saved: Tensor) -> tuple[Tensor, Tensor]:
        """The cotangents of the first states (samples, n), and of all slopes (stages, n, steps)."""
        stages, n, _, steps = self.jacobians.shape
        columns = saved.new_zeros(stages, n + 1, n, steps)
        columns[:, 0].index_add_(2, self.at, self.weights[:, None] * saved.T)
        unit = torch.eye(n + 1, n, dtype=saved.dtype, device=saved.device).roll(1, 0)
        begin = self.sweep(unit[..., None].expand(columns.shape[1:]), columns)
        begin[0].index_add_(1, self.at, saved.T)
        constant, matrix = begin[0].T.numpy(), begin[1:].permute(2, 1, 0).contiguous().numpy()
        ends, λ, stop = np.empty((steps, n), constant.dtype), end.numpy().copy(), steps
        for rows in reversed(self.rows):
            which = slice(stop - len(rows), stop)
            ends[which] = λ[rows]
            λ[rows] = np.matmul(matrix[which], λ[rows, :, None])[..., 0] + constant[which]
            stop = which.start
        slopes = columns[:, 0] + _dot(columns[:, 1:].transpose(0, 1), torch.from_numpy(ends).T[:, None, None])
        return torch.from_numpy(λ), slopes


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """The sum of the products along the first axis: for many small matrices at once faster than `matmul`."""
    total = a[0] * b[0]
    for x, y in zip(a[1:], b[1:], strict=True):
        total.addcmul_(x, y)
    return total


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
    """All of a solution: its steps, the slopes of all of them with their tape, and the way to make it again.

    `places` (points,) are those of the saved states.
    """

    steps: _Steps
    places: Tensor
    slopes: Tensor
    replay: Callable[[Tensor], tuple[Tensor, list[Saved]]]

    def swept(self, y0: Tensor, inputs: list[Tensor], end: Tensor, saved: Tensor) -> list[Any]:
        """The cotangents of the inputs, of which `y0` may be the first."""
        begin, slopes = self.steps.back(end, saved)
        first = inputs[:1] if inputs and inputs[0] is y0 else []
        rest = inputs[len(first) :]
        if not rest:
            return [begin]
        flat = slopes.transpose(1, 2).flatten(0, 1)
        with unhooked(rest):
            others = torch.autograd.grad(self.slopes, rest, flat, retain_graph=True, allow_unused=True)
        return [begin] * len(first) + list(others)

    def taped(self, y0: Tensor, inputs: list[Tensor], end: Tensor, saved: Tensor) -> list[Any]:
        """The same, differentiable."""
        last, states = self.replay(y0)
        results, cotangents = [last], [end]
        if states:
            order = torch.cat([x.places for x in states]).argsort()
            results.append(torch.cat([x.states for x in states])[order])
            cotangents.append(saved[self.places.argsort()])
        with unhooked(inputs):
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
    steps, a = joined(track.made), torch.as_tensor(solver.tableau.a, dtype=y0.dtype)
    y, k, lengths = steps.y, steps.slopes, tensor(steps.dt, y0)
    states = ((a @ k.flatten(1)).view_as(k) * lengths[:, None] + y).flatten(0, 1).requires_grad_()
    when = tensor(steps.t + np.multiply.outer(solver.tableau.c, steps.dt), y).flatten()
    everyone = np.tile(steps.rows, len(k))
    if _heavy(problem, len(y0), everyone, when, states):
        return None
    again = _slopes(problem, everyone, when, states, k.flatten(0, 1))
    if again is None:
        return None
    slopes, used = again
    at = places = torch.zeros(0, dtype=torch.long)
    weights, values = lengths.new_zeros(len(k), 0), y[:0]
    passed = None if saver is None else saver.passed(steps.t, steps.ends)
    if saver is not None and passed is not None:
        at, places = torch.as_tensor(passed.steps), saver.places(passed, steps.rows)
        weights = saver.weights(passed, torch.as_tensor(steps.t), torch.as_tensor(steps.dt))
        values = y.index_select(0, at) + (weights[..., None] * k.index_select(1, at)).sum(0)
    rows = [made.rows for made in track.made]
    every = _Steps(rows, lengths, a, at, weights, _jacobians(slopes, states, len(k)))
    end, values = _Solved.apply(track.y, values, _Whole(every, places, slopes, replay), y0, *used)
    return end, [Saved(places, values)]


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


def _jacobians(slopes: Tensor, states: Tensor, stages: int) -> Tensor:
    """The slopes' derivatives by their states, shape (stages, n, n, steps)."""
    units = torch.eye(slopes.shape[1], dtype=slopes.dtype, device=slopes.device)
    rows = [
        torch.autograd.grad(slopes, states, unit.expand_as(slopes), retain_graph=True, allow_unused=True)[0]
        for unit in units
    ]
    found = torch.stack([torch.zeros_like(states) if row is None else row for row in rows])
    return found.unflatten(1, (stages, -1)).permute(1, 0, 3, 2).contiguous()
