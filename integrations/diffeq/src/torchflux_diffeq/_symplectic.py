"""Methods for mechanics: steps that keep the phase space's volume, so that energies don't drift away."""

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from torchflux import leaves

from ._lanes import greatest
from ._solver import Slope, Solver, Step

__all__ = ["SemiImplicitEuler", "Verlet", "Yoshida4"]


GOLDEN = (5**0.5 - 1) / 2
OUTER = 1 / (2 - 2 ** (1 / 3))
"""Yoshida's weight of the first and last parts, for which the third powers of the parts cancel."""


class _Separable(Solver):
    """A method for states `(q, p)` with `dq/dt = v(t, p)` and `dp/dt = g(t, q)`, as of an energy `T(p) + V(q)`.

    As rows of numbers, the positions are the first half of the state, the momenta the second.
    """

    def check(self, y0: Any) -> None:
        """Refuses what isn't a pair of trees of the same shapes."""
        pair = tuple(y0.values()) if isinstance(y0, dict) else y0
        found = [_shapes(part) for part in pair] if isinstance(pair, tuple | list) else [_shapes(y0)]
        if len(found) != 2 or found[0] != found[1]:
            shapes = " and ".join(str([shape for _, shape in part]) for part in found)
            raise ValueError(
                f"{self} takes a state (q, p) of positions and momenta, that is a tuple, list or dict of two tensors, "
                f"or trees of tensors, of the same shapes, and y0 is a {type(y0).__name__} of {shapes}"
            )

    def begin(self, slope: Slope, t: Tensor, y: Tensor, k: Tensor) -> None:
        """Refuses slopes of the positions that depend on the positions, and of the momenta on the momenta.

        That is looked for beside the start, which may be at rest: both halves of the state are moved a little, by
        uneven amounts that don't leave differences as they are, and then each is moved back.
        """
        n, eps = y.shape[-1] // 2, torch.finfo(y.dtype).eps
        uneven = 1 + torch.arange(2 * n, dtype=t.dtype, device=y.device) * GOLDEN % 1
        moved = y + 1e-2 * uneven * (1 + y.abs())
        there = slope(t, moved)
        for name, half in (("first", slice(n)), ("second", slice(n, None))):
            back = moved.clone()
            back[:, half] = y[:, half]
            change = (slope(t, back) - there)[:, half].abs().amax(-1)
            if greatest((change > 1024 * eps * there[:, half].abs().amax(-1)).int()).any():
                raise ValueError(
                    f"{self} takes separable systems, dq/dt = v(t, p) and dp/dt = g(t, q), and the {name} part of f's "
                    f"result changes with the {name} part of the state, as with friction: choose another solver"
                )


def _shapes(tree: Any) -> list[tuple[str, tuple[int, ...]]]:
    """Where a tree has its tensors, and their shapes."""
    return [(path, tuple(x.shape)) for path, x in leaves(tree) if isinstance(x, Tensor)]


class SemiImplicitEuler(_Separable):
    """The first-order method that moves by the new momenta: symplectic Euler. Give it `Fixed(dt)`.

    Like the other symplectic methods here, it takes a state `(q, p)`, a pair of tensors or trees of the same shapes,
    and a separable system: `f`'s first part, `dq/dt`, depends on `t` and `p` alone, the second, `dp/dt`, on `t` and
    `q`, as `∂T/∂p` and `-∂V/∂q` of an energy `T(p) + V(q)`. That is tried at the start, and refused otherwise. The
    error of such an energy doesn't grow, and angular momenta in central forces are kept to rounding, at the ends of the
    steps. Between them a state is the dense output's, without that: choose times that are multiples of `dt`.

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


class _Leapfrogs(_Separable):
    """One leapfrog after the other, of which each makes a part of the step."""

    parts: ClassVar[tuple[float, ...]]

    def step(self, slope: Slope, t: Tensor, dt: Tensor, y: Tensor, k: Tensor, error: bool = False) -> Step:
        """Kick, drift, kick; the last kick's force is that of the next leapfrog's first."""
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


class Verlet(_Leapfrogs):
    """The second-order leapfrog of Störmer (1907) and Verlet (1967), doi:10.1103/PhysRev.159.98. Give it `Fixed(dt)`.

    Symplectic and reversible. States and equations are those of `SemiImplicitEuler`.

    >>> import torch
    >>> from torchflux_diffeq import Fixed, Verlet, solve
    >>> spring = lambda t, state, args: {"q": state["p"], "p": -state["q"]}
    >>> start = {"q": torch.tensor([1.0]), "p": torch.tensor([0.0])}
    >>> solve(spring, start, (0.0, 2 * torch.pi), solver=Verlet(), controller=Fixed(0.05)).ys["q"][-1]
    tensor([1.0000])
    """

    order = 2
    parts = (1.0,)


class Yoshida4(_Leapfrogs):
    """The fourth-order method of three leapfrogs, one of them backward. Give it `Fixed(dt)`.

    Symplectic and reversible. States and equations are those of `SemiImplicitEuler`.

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
