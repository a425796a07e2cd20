"""What a method is: an object that makes a step."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

__all__ = ["Slope", "Solver", "Step"]

Slope = Callable[[Tensor, Tensor], Tensor]
"""`slope(t, y)`: times of shape (rows,) and states of shape (rows, n) to slopes of shape (rows, n)."""


class Step(NamedTuple):
    """What a step gives, for each of its rows.

    Arguments:
        y: the state at its end, shape (rows, n); not finite where the step has failed, which shortens it.
        slope: the slope there, which is the next step's first, shape (rows, n).
        error: an estimate of the local error, shape (rows, n), if there is one.
        slopes: what the solver's own `dense` makes use of, shapes (rows, n).
    """

    y: Tensor
    slope: Tensor
    error: Tensor | None = None
    slopes: Sequence[Tensor] = ()


class Solver(ABC):
    """A one-step method. To write one, derive from this class: `order` and `step` are enough.

    A step is made for many samples at once: times and lengths have the shape (rows,), states and slopes (rows, n),
    whatever the user's state is nested like. A solver holds nothing of the solution, so one object serves many.

    Arguments:
        order: of the solution, by which the first step is chosen.
        error_order: the power of the step's length that the error's estimate falls with (default: `order`).
        estimates: whether it estimates its error, so that `PID` can adapt its steps; otherwise it takes `Fixed(dt)`.

    >>> import torch
    >>> from torchflux_diffeq import Fixed, Solver, Step, solve
    >>> class Ralston(Solver):
    ...     order = 2
    ...     def step(self, slope, t, dt, y, k, error=False):
    ...         h = dt[:, None]
    ...         y = y + h * (k + 3 * slope(t + 2 / 3 * dt, y + 2 / 3 * h * k)) / 4
    ...         return Step(y, slope(t + dt, y))
    >>> solve(lambda t, y, args: -y, torch.ones(1), (0.0, 1.0), solver=Ralston(), controller=Fixed(0.1)).ys[-1]
    tensor([0.3685])
    """

    order: int
    estimates: bool = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @property
    def error_order(self) -> int:
        """The power of the step's length that the error's estimate falls with."""
        return self.order

    def check(self, y0: Any) -> None:  # noqa: B027 - most methods take any state
        """Refuses states that the method isn't made for, by a `ValueError` or `TypeError`; `y0` is the user's."""

    def begin(self, slope: Slope, t: Tensor, y: Tensor, k: Tensor) -> None:  # noqa: B027 - and any problem
        """Refuses problems that the method isn't made for, before the first step; `k` is the slope at `t` and `y`."""

    @abstractmethod
    def step(self, slope: Slope, t: Tensor, dt: Tensor, y: Tensor, k: Tensor, error: bool = False) -> Step:
        """One step of length `dt` (rows,) from `y` (rows, n) at `t` (rows,), where the slope is `k`.

        Where `error` is true, it estimates the local error. All operations can be differentiated, and treat the rows
        one by one.
        """

    def dense(self, slope: Slope, t: Tensor, dt: Tensor, y: Tensor, k: Tensor, step: Step) -> Sequence[Tensor]:
        """What `inside` needs of a step that was made, shapes (rows, n); asked for where a state inside is wanted."""
        return k, step.slope, (step.y - y) / dt[:, None]

    def inside(self, θ: Tensor, dt: Tensor, y: Tensor, slopes: Tensor) -> Tensor:
        """The state at the part `θ` (points,) of steps from `y` (points, n); `slopes` (any, points, n) are `dense`'s.

        By default it is the cubic through the states and slopes at both ends, of third order.

        Source: Hairer, Nørsett & Wanner (1993), Solving Ordinary Differential Equations I, eq. II.6.7.
        """
        first, last, mean = slopes
        θ, h = θ[:, None], dt[:, None]
        return y + θ * h * (mean + (1 - θ) * ((1 - θ) * (first - mean) - θ * (last - mean)))
