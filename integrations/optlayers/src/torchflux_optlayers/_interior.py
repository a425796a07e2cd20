"""Mehrotra's predictor-corrector method on a batch of programs, each with its own steps and its own end.

Sources: Mehrotra (1992), doi:10.1137/0802028; the start: Vandenberghe (2010), "The CVXOPT linear and quadratic cone
program solvers"; the proximal terms: Schwan, Jiang, Kuhn & Jones (2023), arXiv 2304.00290.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ._constants import CENTRED, CERTAIN, CORRECTIONS, DELTA, FURTHER, NEAR, NEXT_GUESS, SECOND_GUESS, STALLED, STEP
from ._polish import Guess, polished, settled
from ._reduced import factor, inner, weights
from ._scaling import Program
from ._solution import Status

__all__ = ["Found", "Point", "interior_point"]


class Point(NamedTuple):
    """Where the method is: x (B, n), forces z and slacks s (B, k); in equations the force has any sign, and s is 1."""

    x: Tensor
    z: Tensor
    s: Tensor

    def of(self, which: Tensor) -> "Point":
        """Some of them."""
        return Point(*(v[which] for v in self))


class Found(NamedTuple):
    """The end of each search: a guess with its factor, a status, and how many matrices were factorised."""

    guess: Guess
    status: Tensor
    iterations: Tensor


class Residuals(NamedTuple):
    """Of the conditions at a point: dual (B, n), primal (B, k); what says how large they are, and proofs."""

    dual: Tensor
    primal: Tensor
    merit: Tensor
    infeasible: Tensor
    unbounded: Tensor


def interior_point(
    program: Program, warm: tuple[Tensor, Tensor] | None, good: Tensor, tol: float, max_iterations: int
) -> Found:
    """Solves programs that are equilibrated, those that are `good`; `warm` is a point and its forces."""
    zeros, count = torch.zeros_like(program.p), program.p.new_zeros(len(program.p), dtype=torch.int64)
    guess = Guess(zeros, torch.zeros_like(program.d), program.equal.clone(), torch.zeros_like(program.Q), ~good)
    found = Found(guess, torch.full_like(count, Status.MAX_ITERATIONS), count)
    if warm is not None:
        x, force = (v[good] for v in warm)
        live, here = good.nonzero()[:, 0], program.of(good)
        found = _corrected(here, live, here.equal | (force > 0), x, force, found)
        found = _begun(program, found, good, warm, tol, max_iterations)
    found = _begun(program, found, good, None, tol, max_iterations)
    return found._replace(guess=settled(program, found.guess))


def _begun(
    program: Program, found: Found, good: Tensor, warm: tuple[Tensor, Tensor] | None, tol: float, max_iterations: int
) -> Found:
    """Searches from a start for what isn't found yet; from a cold one for what a warm one has led astray."""
    live = (good & (found.status == Status.MAX_ITERATIONS)).nonzero()[:, 0]
    if not len(live):
        return found
    here = program.of(live)
    point = _start(here) if warm is None else _shifted(here, warm[0][live], warm[1][live])
    found.iterations[live] += 1
    return _search(here, live, point, found, tol, max_iterations)


def _corrected(program: Program, live: Tensor, active: Tensor, x: Tensor, force: Tensor, found: Found) -> Found:
    """Ends the searches whose active rows are these, or nearly: corrects them while fewer and fewer are wrong."""
    least = torch.full_like(live, active.shape[1] + 1)
    for _ in range(CORRECTIONS):
        guess, better = polished(program, active, x, force)
        found.iterations[live] += 1
        found = _ended(found, live, guess, guess.right, Status.SOLVED)
        wrong = (better != active).sum(1)
        going = ~guess.right & (wrong < least)
        if not going.any():
            break
        live, active, x, force, least = (v[going] for v in (live, better, x, force, wrong))
        program = program.of(going)
    return found


def _ended(found: Found, live: Tensor, guess: Guess, which: Tensor, status: Status) -> Found:
    """With the ends of some of the searches that are going on."""
    if not which.any():
        return found
    found.status[live[which]] = int(status)
    return found._replace(guess=found.guess.put(live[which], guess.of(which)))


def _start(program: Program) -> Point:
    """The least squares solution, with slacks and forces shifted until they are positive."""
    Q, p, C, d, equal = program
    weight = torch.where(equal, 1 / DELTA, 1.0)
    x = _solve(factor(Q, C, weight), inner(C.mT, weight * d) - p)
    ahead = inner(C, x) - d
    return Point(x, torch.where(equal, weight * ahead, _positive(ahead, equal)), _positive(-ahead, equal))


def _positive(v: Tensor, equal: Tensor) -> Tensor:
    """Shifted so that all are positive; 1 in equations."""
    if not v.shape[1]:
        return v
    least = torch.where(equal, torch.inf, v).amin(1, keepdim=True)
    return torch.where(equal, 1.0, torch.where(least > 0, v, v - least + 1))


def _shifted(program: Program, x: Tensor, force: Tensor) -> Point:
    """A warm start moved off the boundary: s z is the same in all rows, and s - z is what it was."""
    v = program.d - inner(program.C, x) - force
    root = (v.square() + 4 * NEAR).sqrt()
    s = torch.where(program.equal, 1.0, torch.where(v > 0, (v + root) / 2, 2 * NEAR / (root - v)))
    return Point(x, torch.where(program.equal, force, NEAR / s), s)


class _Course(NamedTuple):
    """How searches went until now: the merit at the last guess, the least one within the tolerance, the point to end
    at, and how far x has moved last, in relation to it."""

    guessed_at: Tensor
    close_at: Tensor
    best: Point
    moved: Tensor

    def of(self, which: Tensor) -> "_Course":
        """Some of them."""
        return _Course(self.guessed_at[which], self.close_at[which], self.best.of(which), self.moved[which])

    def at(self, point: Point, merit: Tensor, tol: float) -> tuple["_Course", Tensor]:
        """With a point that is reached, and whether to go on from it: to where the active rows can be told."""
        close = merit <= tol
        keeps = (close | self.close_at.isinf())[:, None]
        best = Point(*(torch.where(keeps, a, b) for a, b in zip(point, self.best, strict=True)))
        on = (merit < FURTHER * self.close_at) | ~self.settled(tol)
        close_at = torch.where(close, torch.minimum(merit, self.close_at), self.close_at)
        return self._replace(close_at=close_at, best=best), on

    def settled(self, tol: float) -> Tensor:
        """Which x have come to rest."""
        return self.moved <= tol**0.5


def _search(program: Program, live: Tensor, point: Point, found: Found, tol: float, max_iterations: int) -> Found:
    """Steps until every program has an end."""
    never = torch.full_like(point.x[:, 0], torch.inf)
    course = _Course(never, never, point, never)
    for _ in range(max_iterations):
        at = _residuals(program, point)
        guess = (at.merit < NEXT_GUESS * course.guessed_at) | course.guessed_at.isinf() | (at.merit <= tol)
        found, exact = _guessed(program, live, point, found, guess)
        guessed_at = torch.where(guess, at.merit.clamp(max=SECOND_GUESS / NEXT_GUESS), course.guessed_at)
        course, on = course._replace(guessed_at=guessed_at).at(point, at.merit, tol)
        open_ = ~exact & course.close_at.isinf()
        close = ~exact & ~open_ & ~on
        found = _as_it_is(program, live, course.best, found, close, Status.SOLVED)
        found = _as_it_is(program, live, point, found, open_ & at.infeasible, Status.INFEASIBLE)
        found = _as_it_is(program, live, point, found, open_ & at.unbounded & ~at.infeasible, Status.UNBOUNDED)
        going = ~(exact | close | (open_ & (at.infeasible | at.unbounded)))
        if not going.all():
            live, course, point = live[going], course.of(going), point.of(going)
            program, at = program.of(going), Residuals(*(v[going] for v in at))
        if not len(live):
            return found
        before = point.x
        point, moved = _step(program, point, at)
        found.iterations[live] += 1
        if not moved.all():
            found = _given_up(program, live, course, found, ~moved, tol)
            live, course, point, program = live[moved], course.of(moved), point.of(moved), program.of(moved)
            before = before[moved]
        if not len(live):
            return found
        course = course._replace(moved=_largest(point.x - before) / (1 + _largest(point.x)))
    return _given_up(program, live, course, found, torch.ones_like(live, dtype=torch.bool), tol)


def _given_up(program: Program, live: Tensor, course: _Course, found: Found, which: Tensor, tol: float) -> Found:
    """Ends searches that can't go on: solved within the tolerance, or not."""
    close = (course.close_at <= tol) & course.settled(tol)
    found = _as_it_is(program, live, course.best, found, which & close, Status.SOLVED)
    return _as_it_is(program, live, course.best, found, which & ~close, Status.MAX_ITERATIONS)


def _guessed(program: Program, live: Tensor, point: Point, found: Found, which: Tensor) -> tuple[Found, Tensor]:
    """Tries some points' active rows; says which were right."""
    exact = torch.zeros_like(which)
    if not which.any():
        return found, exact
    x, z, s = point.of(which)
    found = _corrected(program.of(which), live[which], program.equal[which] | (z > s), x, z, found)
    exact[which] = found.status[live[which]] == Status.SOLVED
    return found, exact


def _as_it_is(program: Program, live: Tensor, point: Point, found: Found, which: Tensor, status: Status) -> Found:
    """Ends some searches where they are."""
    if not which.any():
        return found
    x, z, s = point.of(which)
    some = program.of(which)
    active = some.equal | (z > s)
    end = Guess(x, z, active, factor(some.Q, some.C, weights(active)), torch.ones_like(x[:, 0], dtype=torch.bool))
    found.status[live[which]] = int(status)
    return found._replace(guess=found.guess.put(live[which], end))


def _residuals(program: Program, point: Point) -> Residuals:
    """How far a point is from a solution, and whether it proves that there is none."""
    Q, p, C, d, equal = program
    x, z, s = point
    curve, pull, ahead = inner(Q, x), inner(C.mT, z), inner(C, x)
    dual, primal = curve + p + pull, ahead + torch.where(equal, 0.0, s) - d
    cost = ((curve / 2 + p) * x).sum(1).abs()
    gap = torch.where(equal, 0.0, s * z).sum(1) / (1 + cost)
    merit = torch.stack((_relative(dual, curve, p, pull), _largest(primal / (1 + d.abs())), gap)).amax(0)
    below, down = -(d * z).sum(1), -(p * x).sum(1)
    infeasible = (below > 0) & (_largest(pull) <= CERTAIN * below)
    leaves = torch.where(equal, ahead.abs(), ahead.clamp(min=0))
    unbounded = (down > 0) & (torch.maximum(_largest(curve), _largest(leaves)) <= CERTAIN * down)
    return Residuals(dual, primal, merit, infeasible, unbounded)


def _largest(v: Tensor) -> Tensor:
    return v.abs().amax(1) if v.shape[1] else v.new_zeros(len(v))


def _relative(residual: Tensor, *terms: Tensor) -> Tensor:
    return _largest(residual) / (1 + torch.stack([_largest(v) for v in terms]).amax(0))


def _solve(low: Tensor, right: Tensor) -> Tensor:
    return torch.cholesky_solve(right[..., None], low)[..., 0]


def _step(program: Program, point: Point, at: Residuals) -> tuple[Point, Tensor]:
    """One predictor and one corrector; says which points moved."""
    Q, _, C, _, equal = program
    x, z, s = point
    weight = torch.where(equal, 1 / DELTA, z / s)
    low = factor(Q, C, weight)

    def direction(product: Tensor) -> Point:
        """Newton's, for which s dz + z ds = -product."""
        shift = torch.where(equal, at.primal / DELTA, (z * at.primal - product) / s)
        dx = _solve(low, -at.dual - inner(C.mT, shift))
        along = inner(C, dx)
        return Point(dx, weight * along + shift, torch.where(equal, 0.0, -at.primal - along))

    def reach(by: Point, share: float) -> Tensor:
        """The share of the way along which s and z stay positive, at most 1, shape (B, 1)."""
        ratio = torch.where(by.s < 0, -s / by.s, torch.inf), torch.where((by.z < 0) & ~equal, -z / by.z, torch.inf)
        return torch.cat((torch.ones_like(x[:, :1]), *(share * r for r in ratio)), 1).amin(1, keepdim=True)

    rows = (~equal).sum(1, keepdim=True).clamp(min=1)
    mean = torch.where(equal, 0.0, s * z).sum(1, keepdim=True) / rows
    ahead = direction(s * z)
    far = reach(ahead, 1.0)
    left = torch.where(equal, 0.0, (s + far * ahead.s) * (z + far * ahead.z)).sum(1, keepdim=True) / rows
    centre = torch.where(mean > 0, (left / mean) ** 3 * mean, 0.0)
    by = direction(s * z + ahead.s * ahead.z - centre)
    far = reach(by, STEP)
    later = torch.where(equal, 0.0, (s + far * by.s) * (z + far * by.z)).sum(1, keepdim=True) / rows
    if (cycles := later > mean).any():  # as Mehrotra's method may: Cartis (2009), Appl. Numer. Math. 59
        safe = direction(s * z - CENTRED * mean)
        by = Point(*(torch.where(cycles, a, b) for a, b in zip(safe, by, strict=True)))
        far = torch.where(cycles, reach(safe, STEP), far)
    moved = (far[:, 0] > STALLED) & torch.isfinite(by.x).all(1)
    return Point(x + far * by.x, z + far * by.z, s + far * by.s), moved
