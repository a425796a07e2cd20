"""A step of an explicit Runge-Kutta method, for many samples at once."""

from collections.abc import Sequence
from functools import cache
from itertools import accumulate, repeat
from typing import ClassVar

import torch
from torch import Tensor

from ._solver import Slope, Solver, Step
from ._tableau import Tableau

__all__ = ["ExplicitRungeKutta"]


class ExplicitRungeKutta(Solver):
    """A method that is its tableau.

    A slope is added to all the sums that need it as soon as it is there: the states of the stages to come, the
    step's end, and the error. That is one operation a stage, with a short tape.
    """

    tableau: ClassVar[Tableau]

    @property
    def order(self) -> int:  # type: ignore[override]
        """The order of its solution."""
        return self.tableau.order

    @property
    def estimates(self) -> bool:  # type: ignore[override]
        """Whether it estimates its error, so that the steps can adapt."""
        return self.tableau.error is not None

    def step(self, slope: Slope, t: Tensor, dt: Tensor, y: Tensor, k: Tensor, error: bool = False) -> Step:
        """One step of length `dt` (rows,) from `y` (rows, n) at `t` (rows,), where the slope is `k`."""
        c, columns, ones = _constants(self.tableau, error, y.dtype, y.device)
        times = torch.addr(t.expand(len(c), -1), c, dt).unbind()
        lengths, sums = dt[:, None], ones * y if error else y.expand(len(ones), -1, -1)
        slopes = [k]
        for i, column in enumerate(columns):
            sums = torch.addcmul(sums, column, lengths * k)
            first, sums = sums.split_with_sizes((1, len(column) - 1))
            state = first.squeeze(0)
            k = slope(times[i], state)
            slopes.append(k)
        if not error:
            return Step(state, k, None, slopes)
        last = self.tableau.error[-1]  # type: ignore[index]
        return Step(state, k, torch.add(sums[0], lengths * k, alpha=float(last)), slopes)

    def dense(self, slope: Slope, t: Tensor, dt: Tensor, y: Tensor, k: Tensor, step: Step) -> Sequence[Tensor]:
        """The stages' slopes."""
        return step.slopes

    def weights(self, θ: Tensor, dt: Tensor) -> Tensor:
        """What the slopes count in the state at the part `θ` (points,) of steps, shape (stages, points)."""
        dense = torch.as_tensor(self.tableau.dense, dtype=θ.dtype, device=θ.device)
        return dense @ torch.stack(list(accumulate(repeat(θ, dense.shape[1]), torch.mul))) * dt

    def inside(self, θ: Tensor, dt: Tensor, y: Tensor, slopes: Tensor) -> Tensor:
        """The state at the part `θ` (points,) of steps: `y` (points, n), `slopes` (stages, points, n)."""
        return y + (self.weights(θ, dt)[..., None] * slopes).sum(0)


@cache
def _constants(
    tableau: Tableau, error: bool, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Where the stages stand, the weights of each slope, and which of the sums start at the state."""
    rows = tableau.stages - 1
    ones = torch.ones(rows + error, 1, 1, dtype=dtype, device=device)
    if error:
        ones[-1] = 0.0
    columns = [
        torch.as_tensor(column[: rows - i + error, None, None], dtype=dtype, device=device)
        for i, column in enumerate(tableau.columns)
    ]
    return torch.as_tensor(tableau.c[1:], dtype=dtype, device=device), columns, ones
