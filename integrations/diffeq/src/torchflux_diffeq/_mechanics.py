"""Layers of mechanics: the motion that follows from the derivatives of an energy or of a Lagrangian."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchflux import treelike

from ._divergence import pullback
from ._neural_ode import Flow, Times
from ._solution import Solution

__all__ = ["HamiltonianNN", "LagrangianNN", "Separable"]


State = Tensor | tuple[Tensor, Tensor]


class Motion(Flow):
    """What both have in common: states (B, 2n) of which the first half are positions, and a number for each."""

    def time_derivative(self, x: Tensor, t: float | Tensor = 0.0) -> Tensor:
        """`dx/dt` at states (B, 2n), which may be trained on measured derivatives without solving anything."""
        return self.slope(torch.as_tensor(t, dtype=x.dtype, device=x.device), x)

    def value(self, t: Tensor, x: Tensor) -> Tensor:
        """The model's number for each state, (B,)."""
        self.check(x)
        value = self.model(t, x) if self.time else self.model(x)
        if value.shape not in ((len(x),), (len(x), 1)):
            raise ValueError(
                f"the model of {type(self).__name__} gave {tuple(value.shape)} for {len(x)} states: one number for each"
            )
        return value.reshape(len(x))

    def check(self, x: Tensor) -> None:
        """Refuses states that don't fall in two halves."""
        if x.dim() != 2 or x.shape[1] % 2:
            name = type(self).__name__
            raise ValueError(f"{name} got states {tuple(x.shape)}: their shape is (B, 2n), with positions first")


@treelike
class Separable:
    """An energy that is a sum, `kinetic(p) + potential(q)`: for it, symplectic solvers are explicit.

    Arguments:
        kinetic, potential: functions of momenta and positions, (B, n) → (B,) or (B, 1).

    x: (B, 2n) → (B,)

    >>> energy = Separable(lambda p: (p * p).sum(1) / 2, lambda q: -torch.cos(q).sum(1))
    >>> energy(torch.tensor([[0.0, 2.0]]))
    tensor([1.])
    """

    kinetic: Callable[[Tensor], Tensor]
    potential: Callable[[Tensor], Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        """The energy of each state."""
        q, p = x.chunk(2, 1)
        return self.kinetic(p).reshape(len(x)) + self.potential(q).reshape(len(x))


@treelike
class HamiltonianNN(Motion):
    """The motion whose energy is `model`: `dq/dt = ∂H/∂p`, `dp/dt = -∂H/∂q`. It conserves it, whatever was learnt.

    Arguments:
        model: the energy of states, (B, 2n) → (B,) or (B, 1), with positions first and momenta second; with `time=True`
            it is called with time and states, and is no longer conserved. A `Separable` one is solved as pairs
            `(q, p)`, which symplectic solvers take; so `layer.solve(x).ys` is a pair.
        ts, time, options: as for `NeuralODE`.

    x: (B, 2n) → (B, 2n). `layer.time_derivative(x)` is the slope.

    >>> from torchflux import Chain, Dense
    >>> layer = HamiltonianNN(Chain(Dense(2, 32, torch.tanh), Dense(32, 1)), (0.0, 2.0))
    >>> layer(torch.zeros(4, 2)).shape, layer.time_derivative(torch.zeros(4, 2)).shape
    (torch.Size([4, 2]), torch.Size([4, 2]))

    Source: Greydanus, Dzamba & Yosinski (2019), arXiv:1906.01563.
    """

    def slope(self, t: Tensor, y: State, args: Any = None) -> State:
        """The symplectic gradient of the energy."""
        energy, pull = pullback(lambda x: self.value(t, x), _joined(y))
        dq, dp = pull(torch.ones_like(energy)).chunk(2, 1)
        return (dp, -dq) if isinstance(y, tuple) else torch.cat([dp, -dq], 1)

    def solve(self, x: Tensor, ts: Times | None = None, **options: Any) -> Solution:
        """The whole solution, see `NeuralODE`."""
        self.check(x)
        return Flow.solve(self, tuple(x.chunk(2, 1)) if isinstance(self.model, Separable) else x, ts, **options)

    def trajectory(self, x: Tensor, ts: Times | None = None) -> Tensor:
        """The states at all times, (S, B, 2n)."""
        return _joined(self.solve(x, ts).ys)

    def __call__(self, x: Tensor) -> Tensor:
        """The states at the last time."""
        return self.trajectory(x, (self.ts[0], self.ts[-1]))[-1]


def _joined(state: State) -> Tensor:
    """Positions and momenta in one tensor."""
    return torch.cat(state, -1) if isinstance(state, tuple) else state


@treelike
class LagrangianNN(Motion):
    """The motion whose Lagrangian is `model`, in any coordinates: no momenta have to be known.

    The accelerations solve the Euler-Lagrange equation, `∂²L/∂v² a = ∂L/∂q - ∂²L/∂v∂q v - ∂²L/∂v∂t`. Where the first
    matrix is singular, the sample's solution fails as undefined: an activation with a second derivative is needed, such
    as softplus.

    Arguments:
        model: the Lagrangian of states, (B, 2n) → (B,) or (B, 1), with positions first and velocities second; with
            `time=True` it is called with time and states.
        ts, time, options: as for `NeuralODE`.

    x: (B, 2n) → (B, 2n). `layer.time_derivative(x)` is the velocity and the acceleration.

    >>> pendulum = LagrangianNN(lambda x: x[:, 1] ** 2 / 2 + torch.cos(x[:, 0]))
    >>> pendulum.time_derivative(torch.tensor([[torch.pi / 2, 0.5]]))
    tensor([[ 0.5000, -1.0000]])

    Source: Cranmer et al. (2020), arXiv:2003.04630.
    """

    def slope(self, t: Tensor, y: Tensor, args: Any = None) -> Tensor:
        """Velocities and accelerations."""
        n = y.shape[1] // 2
        z = torch.cat([y, t.to(y.dtype).expand(len(y))[:, None]], 1)
        gradient, pull = pullback(self._by_all, z)
        units = torch.eye(2 * n + 1, dtype=y.dtype, device=y.device)[n : 2 * n]
        rows = torch.stack([pull(unit.expand_as(z)) for unit in units], 1)  # ∂²L/∂vᵢ∂(q, v, t)
        v = y[:, n:]
        mixed = torch.einsum("bij,bj->bi", rows[:, :, :n], v) + rows[:, :, -1]
        a, singular = torch.linalg.solve_ex(rows[:, :, n:-1], gradient[:, :n] - mixed)
        return torch.cat([v, a.masked_fill(singular[:, None] != 0, float("nan"))], 1)

    def _by_all(self, z: Tensor) -> Tensor:
        """The Lagrangian's derivative by positions, velocities and time (B, 2n + 1)."""
        value, pull = pullback(lambda z: self.value(z[:, -1], z[:, :-1]), z)
        return pull(torch.ones_like(value))
