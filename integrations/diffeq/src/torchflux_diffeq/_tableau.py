"""Butcher tableaus of explicit Runge-Kutta methods."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["Tableau"]

Matrix = NDArray[np.float64]
Weights = tuple[tuple[int, float], ...]
"""Slopes by their numbers, and what they count."""


@dataclass(frozen=True, eq=False)
class Tableau:
    """An explicit method whose last stage is the slope at the end of the step, which is the next step's first.

    Any explicit method has this form: its weights are the last row of `a`, as the step's end is one more stage.

    Arguments:
        order: that of the solution.
        a: the stages' weights, strictly lower triangular, shape (stages, stages); the last row makes the step.
        c: where in the step the stages stand, shape (stages,).
        error: weights of the local error's estimate, shape (stages,); `None` without one.
        dense: polynomials of the slopes' weights inside a step, shape (stages, degree): `y(θ) - y(0)` is
            `dt Σᵢ kᵢ Σⱼ dense[i, j] θ^(j + 1)`.
    """

    order: int
    a: Matrix
    c: Matrix
    error: Matrix | None
    dense: Matrix

    @property
    def stages(self) -> int:
        """The number of stages, the slope at the end included."""
        return len(self.c)

    @cached_property
    def columns(self) -> list[Matrix]:
        """For each slope but the last, its weights in the stages that follow, and in the error if there is one."""
        rows = self.a if self.error is None else np.vstack([self.a, self.error])
        return [np.ascontiguousarray(rows[i + 1 :, i]) for i in range(self.stages - 1)]

    @cached_property
    def stage_weights(self) -> tuple[tuple[float, Weights], ...]:
        """For each stage but the first, where it stands and the slopes that make its state."""
        return tuple((float(c), _weights(row)) for c, row in zip(self.c[1:], self.a[1:], strict=True))

    @cached_property
    def error_weights(self) -> Weights:
        """The slopes that make the error."""
        return () if self.error is None else _weights(self.error)

    @cached_property
    def dense_weights(self) -> tuple[tuple[int, tuple[float, ...]], ...]:
        """The slopes that make a state inside of a step: their numbers and polynomials, the highest power first."""
        rows = ((i, tuple(map(float, row[::-1]))) for i, row in enumerate(self.dense))
        return tuple((i, powers) for i, powers in rows if any(powers))


def _weights(row: Matrix) -> Weights:
    """The numbers of the slopes that count, and how much they do."""
    return tuple((i, float(weight)) for i, weight in enumerate(row) if weight)


def hermite(a: Matrix) -> Matrix:
    """The cubic through the states and slopes at both ends of a step, as weights of the slopes; third order.

    Source: Hairer, Nørsett & Wanner (1993), Solving Ordinary Differential Equations I, eq. II.6.7.
    """
    dense = np.outer(a[-1], [0.0, 3.0, -2.0])
    dense[0] += [1.0, -2.0, 1.0]
    dense[-1] += [0.0, -1.0, 1.0]
    return dense
