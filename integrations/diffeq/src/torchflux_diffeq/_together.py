"""The discrete adjoint of all steps together, for states of few numbers.

What has to be done one step after the other is linear algebra of the state's size. The slopes' derivatives, which cost
nearly everything, need only the states, and those are known: so `f` is called once, with every stage of every step. The
gradient is that of `replay`, to rounding.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._captures import captured, unhooked
from ._field import Field
from ._held import numbers_of
from ._march import March, joined, tensor
from ._runge_kutta import ExplicitRungeKutta
from ._save import Indices, Saved, Saver

__all__ = ["least", "together", "worthwhile"]

LARGEST = 2**24
"""The most numbers that the slopes' derivatives may take."""
BLOCK = 2**17
"""The numbers that are gone back through at once: they stay in the processor's cache."""
FEWEST = 4
"""The steps from which on this is cheaper than their tape, whatever their size."""
HEAVY = 2**20
"""The multiplications from which on a slope of all samples costs what it computes, not that it is called."""


def least(problem: Field, y0: Tensor, stages: int) -> float:
    """From how many steps on as many derivatives as the state has numbers are cheaper than a sweep through the steps.

    A derivative of all slopes at once costs about as much as four slopes one by one. The sequential part is NumPy's,
    for real numbers on the CPU.
    """
    suited = y0.is_cpu and not y0.is_complex() and not _heavy(y0, numbers_of(problem.f))
    return max(4 * y0.shape[-1] / stages, FEWEST) if suited else math.inf


def _heavy(y0: Tensor, parameters: int) -> bool:
    """Whether the derivatives by every number of the state cost more than the calls that they save.

    A network multiplies each sample with all of its parameters.
    """
    return y0.numel() >= 64 and y0.numel() * parameters > HEAVY


def worthwhile(track: March, enough: float) -> bool:
    """Whether the steps are that many, and all are there: where the slopes had no tape at first, some weren't noted."""
    accepted, n = track.steps - track.rejected, track.y.shape[-1]
    if not track.made or sum(made.accepted.sum() for made in track.made) < accepted.sum():
        return False
    return accepted.max() >= enough and accepted.sum() * len(track.made[0].slopes) * n * n <= LARGEST


@dataclass(frozen=True)
class _Steps:
    """The accepted steps in the order in which they were made; they are the last axis of all tensors.

    `rows` are the samples of each round of steps; `a` (stages, stages) makes the stages' states of the slopes;
    `weights` (stages, points) the saved states of those of the steps `at` (points,), their lengths included;
    `jacobians`, one (stages, n, steps) for each number of the slopes, are their derivatives by those of the states.
    """

    rows: list[Indices]
    dt: Tensor
    a: Tensor
    at: Tensor
    weights: Tensor
    jacobians: list[Tensor]

    def blocks(self) -> Iterator[tuple[slice, list[Indices]]]:
        """The rounds from the last to the first, as many at a time as a processor's cache holds."""
        stages, n, stop = self.jacobians[0].shape
        most, begin = BLOCK // (stages * n * (1 + n)), stop
        block: list[Indices] = []
        for rows in reversed(self.rows):
            if block and stop - begin + len(rows) > most:
                yield slice(begin, stop), block
                stop, block = begin, []
            begin -= len(rows)
            block.append(rows)
        yield slice(begin, stop), block

    def sweep(self, which: slice, saved: Tensor) -> tuple[Tensor, Tensor]:
        """Back through each of some steps by itself: cotangents as affine functions of that of the state at its end.

        From what the saved states add to those of the slopes (stages, n, steps) come those of the slopes (stages, n,
        1 + n, steps) and of the state at the step's beginning (n, 1 + n, steps): first the constant, then the matrix.
        """
        stages, n, steps = saved.shape
        slopes, states = (saved.new_empty(stages, n, 1 + n, steps) for _ in range(2))
        flat, end = states.flatten(1), torch.eye(1 + n, dtype=saved.dtype)[1:, :, None]
        jacobians = torch.stack([x[..., which] for x in self.jacobians], 1)[..., None, :]
        parts = zip(slopes, saved, states, jacobians, strict=True)
        for i, (slope, constant, state, jacobian) in reversed(list(enumerate(parts))):
            torch.mul(torch.mv(flat[i + 1 :].T, self.a[i + 1 :, i]).view_as(slope), self.dt[which], out=slope)
            slope[:, 0] += constant
            torch.mul(jacobian[0], slope[0], out=state)
            for row, number in zip(jacobian[1:], slope[1:], strict=True):
                state.addcmul_(row, number)
            if i == stages - 1:
                state += end
        return slopes, states.sum(0)

    def back(self, end: Tensor, saved: Tensor) -> tuple[Tensor, Tensor]:
        """The cotangents of the first states (samples, n), and of all slopes (stages, n, steps)."""
        stages, n, steps = self.jacobians[0].shape
        total = saved.new_zeros(stages, n, steps).index_add_(2, self.at, self.weights[:, None] * saved.T)
        begins = saved.new_zeros(n, steps).index_add_(1, self.at, saved.T)
        λ = np.vstack([np.ones((1, len(end)), begins.numpy().dtype), end.T.numpy()])
        for which, rounds in self.blocks():
            slopes, begin = self.sweep(which, total[..., which])
            begin[:, 0] += begins[:, which]
            pull, stop = begin.numpy(), begin.shape[-1]
            ends = np.empty_like(pull[0])
            for rows in rounds:
                part = slice(stop - len(rows), stop)
                ends[:, part] = after = λ.take(rows, 1)
                λ[1:, rows] = (pull[..., part] * after).sum(1)
                stop = part.start
            torch.mul(slopes, torch.from_numpy(ends), out=slopes)
            torch.sum(slopes, 2, out=total[..., which])
        return torch.from_numpy(λ[1:].T), total


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


class _Apart(torch.autograd.Function):
    """The identity, through which no gradient comes until `passed` has something in it.

    What `f` uses may have made the first states, too, and the gradient by it is the one with those held.
    """

    @staticmethod
    def forward(ctx: Any, y0: Tensor, passed: list[bool]) -> Tensor:
        """The same."""
        ctx.passed = passed
        return y0.view_as(y0)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        """The same, or nothing."""
        return g if ctx.passed else None, None


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
        passed: list[bool] = []
        begin = _Apart.apply(y0, passed)
        wanted = [begin if x is y0 else x for x in inputs]
        last, states = self.replay(begin)
        results, cotangents = [last], [end]
        if states:
            order = torch.cat([x.places for x in states]).argsort()
            results.append(torch.cat([x.states for x in states])[order])
            cotangents.append(saved[self.places.argsort()])
        with unhooked(inputs):
            found = torch.autograd.grad(results, wanted, cotangents, create_graph=True, allow_unused=True)
        passed.append(True)
        return list(found)


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
    states = (a @ k.flatten(1)).view_as(k).mul_(lengths[:, None]).add_(y).flatten(0, 1).requires_grad_()
    when = tensor(steps.t + np.multiply.outer(solver.tableau.c, steps.dt), y).flatten()
    everyone = np.tile(steps.rows, len(k))
    if _heavy(y0, _used(problem, y0, everyone, when, states)):
        return None
    again = _slopes(problem, everyone, when, states)
    if again is None or not _close(again[0], k):
        return None
    slopes, used = again
    at = places = torch.zeros(0, dtype=torch.long)
    weights, values = lengths.new_zeros(len(k), 0), y[:0]
    passed = None if saver is None else saver.passed(steps.t, steps.ends)
    if saver is not None and passed is not None:
        at, places = torch.as_tensor(passed.steps), saver.places(passed, steps.rows)
        weights = saver.weights(passed, torch.as_tensor(steps.t), torch.as_tensor(steps.dt))
        values = y.index_select(0, at) + k.index_select(1, at).mul_(weights[..., None]).sum(0)
    rows = [made.rows[made.accepted] for made in track.made]
    every = _Steps(rows, lengths, a, at, weights, _jacobians(slopes, states, len(k)))
    end, values = _Solved.apply(track.y, values, _Whole(every, places, slopes, replay), y0, *used)
    return end, [Saved(places, values)]


def _used(problem: Field, y0: Tensor, rows: Indices, t: Tensor, y: Tensor) -> int:
    """How many numbers a slope uses: those of the parameters of `f`, or else what one slope shows."""
    known = numbers_of(problem.f)
    one = _slopes(problem, rows[:1], t[:1], y[:1]) if not known and y0.numel() >= 64 else None
    return known if one is None else sum(x.numel() for x in one[1])


def _slopes(problem: Field, rows: Indices, t: Tensor, y: Tensor) -> tuple[Tensor, list[Tensor]] | None:
    """The slopes at many states at once, and what they use, if that can be found."""
    try:
        with torch.enable_grad():
            found = captured(lambda t, y: problem.everywhere(rows, t, y), t, y)
    except (RuntimeError, ValueError, TypeError, IndexError):  # what f says when it is made for one state
        return None
    return None if found is None or not found[0].requires_grad else found


def _close(slopes: Tensor, known: Tensor) -> bool:
    """Whether the slopes (stages * steps, n) are those that are known, shape (stages, steps, n)."""
    difference = (slopes.detach() - known.flatten(0, 1)).view_as(known)
    return bool((_largest(difference) <= 1e-5 * _largest(known)).all())


def _largest(x: Tensor) -> Tensor:
    """The largest magnitude of each number, for all stages and steps: in two parts, the first of which is quick."""
    return torch.maximum(x.amax(0), -x.amin(0)).amax(0)


def _jacobians(slopes: Tensor, states: Tensor, stages: int) -> list[Tensor]:
    """The derivatives of each number of the slopes by the states, shape (stages, n, steps)."""
    found = []
    for unit in torch.eye(slopes.shape[1], dtype=slopes.dtype):
        row = torch.autograd.grad(slopes, states, unit.expand_as(slopes), retain_graph=True, allow_unused=True)[0]
        row = torch.zeros_like(states) if row is None else row
        found.append(row.unflatten(0, (stages, -1)).transpose(1, 2))
    return found
