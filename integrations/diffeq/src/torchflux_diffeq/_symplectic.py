"""Methods for mechanics: steps that keep the phase space's volume, so that energies don't drift away."""

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from torchflux import leaves

from ._lanes import greatest
from ._solver import Slope, Solver, Step

__all__ = ["SemiImplicitEuler", "Verlet", "Yoshida4"]


OUTER = 1 / (2 - 2 ** (1 / 3))
"""Yoshida's weight, for which the third powers of the parts cancel."""


class _Separable(Solver):
    """A method for states `(q, p)` with `dq/dt = v(t, p)` and `dp/dt = g(t, q)`, as of an energy `T(p) + V(q)`.

    As rows of numbers, the positions are the first half of the state, the momenta the second.
    """

    def check(self, y0: Any) -> None:
        """Refuses what isn't two parts of one shape."""
        shapes = [tuple(x.shape) for _, x in leaves(y0) if isinstance(x, Tensor)]
        if not isinstance(y0, tuple | list | dict) or len(y0) != 2 or len(shapes) != 2 or shapes[0] != shapes[1]:
            raise ValueError(
                f"{self} takes a state (q, p) of positions and momenta, that is a tuple, list or dict of two tensors "
                f"of one shape, and y0 is a {type(y0).__name__} with tensors of the shapes {shapes}"
            )

    def begin(self, slope: Slope, t: Tensor, y: Tensor, k: Tensor) -> None:
        """Refuses slopes of the positions that depend on the positions, and of the momenta on the momenta."""
        n = y.shape[-1] // 2
        for part, name in ((slice(n), "first"), (slice(n, None), "second")):
            moved = y.clone()
            moved[:, part] += 1e-2 * (1 + y[:, part].abs())
            change = (slope(t, moved) - k)[:, part].abs().amax(-1)
            if (greatest(change) > greatest(k.abs().amax(-1)) * torch.finfo(y.dtype).eps ** 0.5).any():
                raise ValueError(
                    f"{self} takes separable systems, dq/dt = v(t, p) and dp/dt = g(t, q), and the {name} part of f's "
                    f"result changes with the {name} part of the state: choose another solver"
                )


class SemiImplicitEuler(_Separable):
    """The first-order method that moves by the new momenta: symplectic Euler. Give it `Fixed(dt)`.

    Source: de Vogelaere (1956); Hairer, Lubich & Wanner (2006), Geometric Numerical Integration, VI.3.

    >>> import torch
    >>> from torchflux_diffeq import Fixed, SemiImplicitEuler, solve
    >>> pendulum = lambda t, state, args: (state[1], -torch.sin(state[0]))
    >>> start = torch.tensor([1.0]), torch.tensor([0.0])
    >>> q, p = solve(pendulum, start, (0.0, 100.0), solver=SemiImplicitEuler(), controller=Fixed(0.25)).ys
    >>> energies = (p**2 / 2 - torch.cos(q))[:, 0]
    >>> abs(energies[-1] - energies[0]) < 0.1
    tensor(True)
    """

    order = 1

    def step(self, slope: Slope, t: Tensor, dt: Tensor, y: Tensor, k: Tensor, error: bool = False) -> Step:
        """A kick, and a drift with the new momenta."""
        h = dt[:, None]
        (q, p), (_, force) = y.chunk(2, -1), k.chunk(2, -1)
        p = p + h * force
        velocity, _ = slope(t + dt, torch.cat((q, p), -1)).chunk(2, -1)
        end = torch.cat((q + h * velocity, p), -1)
        return Step(end, slope(t + dt, end))


class Verlet(_Separable):
    """The second-order leapfrog of Störmer (1907) and Verlet (1967), doi:10.1103/PhysRev.159.98. Give it `Fixed(dt)`.

    Kick, drift, kick: symplectic and reversible, and angular momenta of central forces are kept to rounding.

    >>> import torch
    >>> from torchflux_diffeq import Fixed, Verlet, solve
    >>> spring = lambda t, state, args: {"q": state["p"], "p": -state["q"]}
    >>> start = {"q": torch.tensor([1.0]), "p": torch.tensor([0.0])}
    >>> solve(spring, start, (0.0, 2 * torch.pi), solver=Verlet(), controller=Fixed(0.05)).ys["q"][-1]
    tensor([1.0000])
    """

    order = 2
    parts: ClassVar[tuple[float, ...]] = (1.0,)

    def step(self, slope: Slope, t: Tensor, dt: Tensor, y: Tensor, k: Tensor, error: bool = False) -> Step:
        """One leapfrog after the other; a kick's force is that of the next one's first."""
        (q, p), (_, force) = y.chunk(2, -1), k.chunk(2, -1)
        for before, part in zip(np.cumsum((0.0, *self.parts)).tolist(), self.parts, strict=False):
            h = part * dt[:, None]
            p = p + h / 2 * force
            velocity, _ = slope(t + (before + part / 2) * dt, torch.cat((q, p), -1)).chunk(2, -1)
            q = q + h * velocity
            _, force = slope(t + (before + part) * dt, torch.cat((q, p), -1)).chunk(2, -1)
            p = p + h / 2 * force
        end = torch.cat((q, p), -1)
        return Step(end, slope(t + dt, end))


class Yoshida4(Verlet):
    """The fourth-order method of three leapfrogs, one of them backward. Give it `Fixed(dt)`.

    Symplectic and reversible.

    Source: Yoshida (1990), doi:10.1016/0375-9601(90)90092-3; Forest & Ruth (1990), doi:10.1016/0167-2789(90)90019-L.

    >>> import torch
    >>> from torchflux_diffeq import Fixed, Yoshida4, solve
    >>> spring = lambda t, state, args: (state[1], -state[0])
    >>> start = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    >>> q, p = solve(spring, start, (0.0, 100.0), solver=Yoshida4(), controller=Fixed(0.25)).ys
    >>> ((q**2 + p**2)[-1] - 1).abs() < 1e-3
    tensor([True])
    """

    order = 4
    parts = (OUTER, 1 - 2 * OUTER, OUTER)
