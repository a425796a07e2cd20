"""The methods for stochastic differential equations."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from ._sde import NOISES
from ._solver import Slope, Solver, Step

__all__ = ["EulerMaruyama", "Milstein", "StochasticHeun", "StochasticSolver", "StratonovichMilstein"]


class StochasticSolver(Solver):
    """A method for an `SDE`. To write one, derive from this class and define `advance`.

    Its slope is the drift, and has `slope.diffusion(t, y)`, shape (rows, n), or (rows, n, motions) for general noise;
    `slope.noise(g)`, the increments over the step of the motions that a diffusion `g` counts, shape (rows, motions);
    and `slope.along(t, y)`, the diffusion together with its derivative along itself.

    Arguments:
        calculus: in which it reads the equation: "ito" or "stratonovich".
        noises: the kinds of noise that it is made for.
    """

    order = 1
    calculus: ClassVar[str]
    noises: ClassVar[tuple[str, ...]] = NOISES

    @abstractmethod
    def advance(self, slope: Any, t: Tensor, dt: Tensor, y: Tensor, k: Tensor) -> Tensor:
        """The state at the end of a step of length `dt` (rows,) from `y` (rows, n) at `t`, where the drift is `k`."""

    def step(self, slope: Slope, t: Tensor, dt: Tensor, y: Tensor, k: Tensor, error: bool = False) -> Step:
        """A step, and the drift at its end."""
        end = self.advance(slope, t, dt, y, k)
        return Step(end, slope(t + dt, end))

    def dense(self, slope: Slope, t: Tensor, dt: Tensor, y: Tensor, k: Tensor, step: Step) -> Sequence[Tensor]:
        """The drift, which a shorter step begins with."""
        return (k,)

    def inside(self, θ: Tensor, dt: Tensor, y: Tensor, slopes: Tensor) -> Tensor:
        """Refuses: a path between two of its states isn't known from them."""
        raise ValueError(f"{self} can't interpolate: a path is random between its steps; name the times wanted in ts")


class EulerMaruyama(StochasticSolver):
    """The Itô method of Maruyama (1955), `y + f dt + g ΔW`: of strong order 1/2 (additive noise: 1), and weak order 1.

    Source: Kloeden & Platen (1992), Numerical Solution of Stochastic Differential Equations, 10.2, doi:10.1007/978-3-
    662-12616-5.
    """

    calculus = "ito"

    def advance(self, slope: Any, t: Tensor, dt: Tensor, y: Tensor, k: Tensor) -> Tensor:
        """Everything as it is at the beginning."""
        g = slope.diffusion(t, y)
        return y + dt[:, None] * k + _applied(g, slope.noise(g))


class Milstein(StochasticSolver):
    """The Itô method of Milstein (1974), `y + f dt + g ΔW + g g' (ΔW² - dt) / 2`: of strong and weak order 1.

    It takes scalar noise, or diagonal noise whose diffusion depends, for each number of the state, on that number only:
    where that isn't so, the method would need more of the motions than their increments, and it refuses. The
    derivative comes by forward mode.

    Source: Kloeden & Platen (1992), 10.3.
    """

    calculus = "ito"
    noises = ("diagonal", "scalar")

    def begin(self, slope: Any, t: Tensor, y: Tensor, k: Tensor) -> None:
        """Refuses diagonal noise whose diffusion depends on other numbers of the state than its own."""
        if slope.kind == "diagonal" and slope.mixes(t, y):
            raise ValueError(
                f"{self}: the diffusion of one number of the state depends on another number; use EulerMaruyama() or "
                "StochasticHeun()"
            )

    def advance(self, slope: Any, t: Tensor, dt: Tensor, y: Tensor, k: Tensor) -> Tensor:
        """Everything as it is at the beginning, and the diffusion's change during the step."""
        g, along = slope.along(t, y)
        dw = slope.noise(g)
        return y + dt[:, None] * k + g * dw + 0.5 * along * self._square(dw, dt[:, None])

    def _square(self, dw: Tensor, dt: Tensor) -> Tensor:
        """Twice the integral of the motion by itself."""
        return dw * dw - dt


class StratonovichMilstein(Milstein):
    """The Stratonovich method of Milstein (1974), `y + f dt + g ΔW + g g' ΔW² / 2`: of strong and weak order 1.

    Like `Milstein`, it takes scalar noise, or diagonal noise that doesn't mix the numbers of the state.

    Source: Kloeden & Platen (1992), 10.3.
    """

    calculus = "stratonovich"

    def _square(self, dw: Tensor, dt: Tensor) -> Tensor:
        return dw * dw


class StochasticHeun(StochasticSolver):
    """The Stratonovich method of Heun: the mean of drift and diffusion at the beginning and at Euler's end.

    It is of strong order 1/2, and 1 for scalar noise, for additive noise and for diagonal noise that doesn't mix the
    numbers of the state; of weak order 1; without noise it is Heun's method, of order 2.

    Source: Rümelin (1982), doi:10.1137/0719041; Kloeden & Platen (1992), 15.5.
    """

    calculus = "stratonovich"

    def advance(self, slope: Any, t: Tensor, dt: Tensor, y: Tensor, k: Tensor) -> Tensor:
        """Predicts by Euler's method, and corrects."""
        h, g = dt[:, None], slope.diffusion(t, y)
        dw = slope.noise(g)
        end = y + h * k + _applied(g, dw)
        return y + 0.5 * h * (k + slope(t + dt, end)) + _applied(0.5 * (g + slope.diffusion(t + dt, end)), dw)


def _applied(g: Tensor, dw: Tensor) -> Tensor:
    """What the motions do to the state: `g` (rows, n) or (rows, n, motions), `dw` (rows, motions)."""
    return g * dw if g.dim() == 2 else (g @ dw.to(g.dtype)[..., None])[..., 0]
