"""Stochastic differential equations: what is given to `solve`, and the same as slopes of rows."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import jvp

from ._brownian import Path
from ._field import Field
from ._lanes import greatest
from ._solver import Slope

__all__ = ["SDE", "StochasticField", "StochasticSlope"]

Tree = Any
Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]

NOISES = ("diagonal", "scalar", "general")
CALCULI = ("ito", "stratonovich")


@dataclass(frozen=True)
class SDE:
    """The equation `dy = drift(t, y, args) dt + diffusion(t, y, args) dW`, to be solved by `solve` with `Fixed(dt)`.

    States at times between the steps come from shorter steps of the same method along the same path: they are as good
    as those at the steps' ends, and asking for them changes nothing else. Gradients are those along the path.

    Arguments:
        drift: shaped and nested as the state.
        diffusion: what the Brownian motions count, by `noise`:
            "diagonal": shaped and nested as the state; each number of the state has a motion of its own.
            "scalar": shaped and nested as the state; one motion moves all of a sample's numbers.
            "general": shaped as the state, which is one tensor, with one more, last axis: the motions.
        noise: one of these. Additive noise, whose diffusion doesn't depend on the state, may be any of them.
        calculus: "ito" or "stratonovich": which equation is meant. They differ by half of the diffusion's derivative
            along itself in the drift, and agree for additive noise. A solver of the other one is refused.

    Raises:
        ValueError, TypeError: the arguments don't fit.

    >>> from torchflux_diffeq import Fixed, solve
    >>> sde = SDE(lambda t, y, args: -y, lambda t, y, args: 0.1 * torch.ones_like(y))
    >>> generator = torch.Generator().manual_seed(0)
    >>> y0 = torch.ones(5, 2)
    >>> solve(sde, y0, (0.0, 1.0), controller=Fixed(0.01), batched=True, generator=generator).ys.shape
    torch.Size([2, 5, 2])
    """

    drift: Callable[..., Tree]
    diffusion: Callable[..., Tree]
    noise: str = "diagonal"
    calculus: str = "ito"

    def __post_init__(self) -> None:
        for name in ("drift", "diffusion"):
            if not callable(getattr(self, name)):
                raise TypeError(
                    f"SDE({name}={getattr(self, name)!r}): it is a function of the time, the state and args"
                )
        for name, known in (("noise", NOISES), ("calculus", CALCULI)):
            if getattr(self, name) not in known:
                raise ValueError(f"SDE({name}={getattr(self, name)!r}): it is one of {', '.join(map(repr, known))}")


class StochasticField(Field):
    """The drift as a field, which comes with the diffusion and the noise."""

    def __init__(self, sde: SDE, y0: Tree, args: Tree, batched: bool, path: Path) -> None:
        super().__init__(sde.drift, y0, args, batched, backward=False)
        self.noise, self.path = sde.noise, path
        self.diffusion = (_Matrix if sde.noise == "general" else Field)(sde.diffusion, y0, args, batched, False)

    def on(self, rows: Indices | None) -> "StochasticSlope":
        """The drift of some samples, with the rest of their equations."""
        return StochasticSlope(super().on(rows), self.diffusion.on(rows), self.noise, self.path, rows)

    def over(self, rows: Indices, t: Numbers, ends: Numbers, ahead: bool = True) -> "StochasticSlope":
        """The same for steps from `t` to `ends` (rows,)."""
        return self.on(rows).over(t, ends, ahead)


class StochasticSlope:
    """The drift of some samples (rows, n), and what moves them besides, over the step that `over` has named last."""

    increments: Callable[[int], Numbers]

    def __init__(self, drift: Slope, diffusion: Slope, noise: str, path: Path, rows: Indices | None) -> None:
        self.drift, self.diffusion, self.kind, self.path, self.rows = drift, diffusion, noise, path, rows

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """The drift."""
        return self.drift(t, y)

    def over(self, t: Numbers, ends: Numbers, ahead: bool = True) -> "StochasticSlope":
        """The same for steps from `t` to `ends` (rows,), each of them exact; `ahead` says that others will follow."""
        rows = np.arange(len(t)) if self.rows is None else self.rows
        look_up = self.path.increments if ahead else self.path.apart
        self.increments = partial(look_up, rows, t, ends)
        return self

    def along(self, t: Tensor, y: Tensor) -> Tensor:
        """The diffusion and its derivative along itself, shape (2, rows, n), where each row has one motion for all of
        its numbers, or each number one.
        """
        if self.kind == "diagonal" and not y.is_complex():  # a diagonal matrix of derivatives is its product with ones
            g, slopes = self._derivative(t, y, torch.ones_like(y))
            return torch.stack((g, slopes * g))
        g = self.diffusion(t, y)
        return torch.stack((g, self._derivative(t, y, g)[1]))

    def _derivative(self, t: Tensor, y: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        """The diffusion, and its derivative in a direction."""
        return jvp(lambda y: self.diffusion(t, y), (y.contiguous(),), (direction.contiguous(),))[:2]

    def mixes(self, t: Tensor, y: Tensor) -> bool:
        """Whether the diffusion of one number depends on another: then the derivatives are no diagonal matrix, and it
        matters whether they come before another one or behind it.
        """
        numbers = torch.arange(y.shape[1], dtype=torch.float64, device=y.device)
        for shift, irrational in ((0.0, 5**0.5), (0.1, 2**0.5)):  # multiples of which are never alike
            scale = (1 + numbers * irrational % 1).to(y.dtype)
            state = y + shift * scale
            ones, scaled = (self._derivative(t, state, x.expand_as(y))[1] for x in (torch.ones_like(scale), scale))
            tolerated = 1e-4 * (ones.abs().amax(1) + scaled.abs().amax(1))
            if greatest(((scaled - scale * ones).abs() > tolerated[:, None]).any().int()):
                return True
        return False

    def noise(self, g: Tensor) -> Tensor:
        """The increments of the motions that a diffusion `g` counts, shape (rows, motions)."""
        motions = {"diagonal": g.shape[1], "scalar": 1, "general": g.shape[-1]}[self.kind]
        return torch.as_tensor(self.increments(motions), dtype=g.dtype.to_real(), device=g.device)


class _Matrix(Field):
    """A row of numbers, one for each motion, for each of the state's."""

    def ravel(self, tree: Tree, rows: int) -> Tensor:
        """Shape (rows, n, motions)."""
        return tree.reshape(rows, -1, tree.shape[-1])

    def check(self, slope: Tree, rows: int, f: str = "f", what: str = "slope") -> None:
        """Compares what the function gave with the state."""
        due = (rows, *self.y0.shape[1:]) if self.batched else tuple(self.y0.shape)
        if not isinstance(slope, Tensor) or slope.dim() != len(due) + 1 or tuple(slope.shape[:-1]) != due:
            found = tuple(slope.shape) if isinstance(slope, Tensor) else type(slope).__name__
            raise ValueError(f"the diffusion is {found}, its state {due}: general noise takes one more, last axis")
        if slope.dtype != self.y0.dtype:
            raise TypeError(f"the diffusion is {slope.dtype}, its state {self.y0.dtype}: convert one of them")
        self.checked = True
