"""What `solve` does with an `SDE`: which path it takes, what it refuses, and how states between the steps are had."""

import math
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch as functorch

from torchflux import leaves

from ._adjoint import Adjoint, Discrete
from ._brownian import BrownianTree, Path
from ._controller import Fixed
from ._lanes import greatest
from ._methods import Tsit5
from ._save import Indices, Passed, Saved, Saver
from ._sde import SDE, StochasticField
from ._solver import Solver
from ._stochastic import EulerMaruyama, StochasticHeun, StochasticSolver

__all__ = ["StochasticSaver", "refuse", "stochastic", "usual"]

Tree = Any


def usual(f: Any) -> Solver:
    """The solver that an equation gets if none is named."""
    if not isinstance(f, SDE):
        return Tsit5()
    return EulerMaruyama() if f.calculus == "ito" else StochasticHeun()


def refuse(f: Any, solver: Solver, adjoint: Adjoint, generator: Any) -> None:
    """Refuses what doesn't go together, with what to write instead."""
    if not isinstance(f, SDE):
        if isinstance(solver, StochasticSolver):
            raise TypeError(f"{solver} solves stochastic equations: pass f as SDE(drift, diffusion), or another solver")
        if generator is not None:
            raise TypeError("generator= is given, but nothing is random here: pass f as SDE(drift, diffusion)")
        return
    if not isinstance(solver, StochasticSolver):
        raise TypeError(f"{solver} solves ordinary equations, f is an SDE: pass a solver like {usual(f)}")
    if solver.calculus != f.calculus:
        others = (
            "EulerMaruyama() or Milstein()" if f.calculus == "ito" else "StochasticHeun() or StratonovichMilstein()"
        )
        raise ValueError(
            f"{solver} is for {solver.calculus} equations, and the SDE is read as {f.calculus}: pass {others}, or, if "
            f"it is the other equation that you mean, SDE(..., calculus={solver.calculus!r})"
        )
    if f.noise not in solver.noises:
        raise ValueError(f"{solver} takes {' or '.join(solver.noises)} noise, not {f.noise}: pass {usual(f)}")
    if not isinstance(adjoint, Discrete):
        raise TypeError(f"adjoint={adjoint}: a stochastic equation is differentiated by Discrete()")


def stochastic(
    sde: SDE, y0: Tree, args: Tree, times: Tensor, solver: Solver, controller: Any, batched: bool, generator: Any
) -> tuple[StochasticField, Saver | None]:
    """The problem, and what takes its states at the times between."""
    if not isinstance(controller, Fixed):
        raise ValueError(f"controller={controller}: the steps of an SDE are fixed, so pass controller=Fixed(dt)")
    if _differentiated(times):
        raise ValueError("ts is to be differentiated: the path of an SDE has no derivative by the time")
    begin, end = (float(t) for t in greatest(times[[0, -1]]))
    if end < begin:
        raise ValueError("the times of an SDE increase: its path can't be had backward from its end")
    if sde.noise == "general" and not isinstance(y0, Tensor):
        parts = [path for path, x in leaves(y0) if isinstance(x, Tensor)]
        raise TypeError(f"noise='general' takes a state that is one tensor, not one of {len(parts)}: join its parts")
    path = Path(_tree(generator, begin, end, controller.dt), controller.dt, end)
    problem = StochasticField(sde, y0, args, batched, path)
    return problem, StochasticSaver(times, solver, problem) if len(times) > 2 else None


def _differentiated(x: Tensor) -> bool:
    """Whether a derivative by a tensor is wanted, in any transform that is under way."""
    forward = torch.autograd.forward_ad
    while True:
        if x.requires_grad or (forward._current_level >= 0 and forward.unpack_dual(x).tangent is not None):
            return True
        if not functorch.is_functorch_wrapped_tensor(x):
            return False
        x = functorch.get_unwrapped(x)


def _tree(generator: Any, begin: float, end: float, dt: float) -> BrownianTree:
    """The motions: those that the user passes, or new ones.

    The new tree's time is that of a power of two of steps, so that each step's end is one of the coarser nodes, and a
    path stays the same when the steps are halved.
    """
    if isinstance(generator, BrownianTree):
        _refuse_coarse(generator, begin, end, dt)
        return generator
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"generator={generator!r}: an SDE takes its noise from a torch.Generator, or a BrownianTree")
    words = torch.randint(0, 2**32, (2,), generator=generator, device=generator.device)
    if functorch.is_batchedtensor(words):
        raise ValueError("vmap(randomness='different'): the lanes of a vmap share a path; use batched=True")
    high, low = greatest(words).tolist()
    whole = dt * 2 ** math.ceil(math.log2((end - begin) / dt))
    return BrownianTree(high << 32 | low, begin, max(begin + whole, end))


def _refuse_coarse(tree: BrownianTree, begin: float, end: float, dt: float) -> None:
    """Refuses a tree that ends too early, or whose rounding of times changes the steps."""
    if not (tree.t0 <= begin and end <= tree.t1):
        raise ValueError(f"{tree} is asked for its values from {begin:g} to {end:g}: make it for the whole time")
    steps, offset = dt / tree.tol, (begin - tree.t0) / tree.tol
    exact = all(abs(x - round(x)) < 1e-6 for x in (steps, offset)) and round(steps) > 0
    if steps < 100 and not exact:
        raise ValueError(f"{tree} rounds times to {tree.tol:g}, too far for steps of {dt:g}: give it a smaller tol")


class StochasticSaver(Saver):
    """The states at times between the steps, by steps of the same method that end there.

    They are as good as those at the steps' ends, and asking for them doesn't change the path.
    """

    def __init__(self, times: Tensor, solver: Solver, problem: StochasticField) -> None:
        super().__init__(times, solver)
        self.problem = problem

    def states(self, passed: Passed, rows: Indices, t: Tensor, dt: Tensor, y: Tensor, slopes: Tensor) -> Saved:
        """The states at the times that steps of `rows` (m,) pass, from `y` (m, n) with the drift `slopes` (1, m, n)."""
        steps, times = (torch.as_tensor(index, device=y.device) for index in passed[:2])
        places = torch.as_tensor(passed.times + rows[passed.steps] * len(self.inner), device=y.device)
        begins = t[steps]
        lengths = (self.inner[times] - begins).to(self.inner.dtype)
        points = (begins.to(self.inner.dtype), lengths, y[steps], slopes[0][steps])
        every = [slice(None)] if self.problem.batched else [slice(i, i + 1) for i in range(len(steps))]
        return Saved(places, torch.cat([self._steps(passed, rows, i, *(x[i] for x in points)) for i in every]))

    def _steps(self, passed: Passed, rows: Indices, i: slice, *points: Tensor) -> Tensor:
        """The ends of some of the shorter steps."""
        ends = self.numbers[passed.times[i]]
        slope = self.problem.over(rows[passed.steps[i]], passed.begins[i], ends, ahead=False)
        return self.solver.advance(slope, *points)  # type: ignore[attr-defined]
