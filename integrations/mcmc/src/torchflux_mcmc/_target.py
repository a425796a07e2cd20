"""What is sampled: a log density of positions, seen as a function of rows."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from ._positions import Positions

__all__ = ["NOISE", "LogDensity", "Target"]

NOISE = (
    "it would be another one at each call. Switch dropout off (`model.eval()`), or draw before and pass the numbers as "
    "the batch"
)
LogDensity = Callable[..., Tensor]
"""`logdensity(position, *batch)`: a scalar, up to a constant."""


def _recording() -> AbstractContextManager[Any]:
    """Outside of inference mode, in which there are no gradients."""
    return torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext()


class Target:
    """A log density's values and gradients at the positions of all chains.

    Arguments:
        logdensity: of one position; with `batched` of all chains' positions at once, shape (chains,). One that has an
            attribute `vectorized`, which is false, is called for one chain after the other.
        positions: their layout.
        batch: whatever else it takes.
    """

    def __init__(
        self, logdensity: LogDensity, positions: Positions, batched: bool, batch: tuple[Any, ...] = ()
    ) -> None:
        self.logdensity, self.positions, self.batched, self.batch = logdensity, positions, batched, batch

    def value(self, rows: Tensor) -> Tensor:
        """The log density of each row, shape (chains,)."""
        if self.batched:
            return self._whole(rows)
        if len(rows) == 1 or not getattr(self.logdensity, "vectorized", True):
            return torch.stack([self._one(row) for row in rows])
        try:
            return vmap(self._one, randomness="error")(rows)
        except RuntimeError as error:
            if "random operation" in str(error):
                raise ValueError(f"the log density draws random numbers: {NOISE}") from error
            if "vmap" in str(error):
                error.add_note("all chains are evaluated at once: branch with torch.where, or pass batched=True")
            raise

    def value_and_gradient(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The log densities (chains,) and their gradients (chains, n)."""
        with _recording(), torch.enable_grad():
            rows = (rows.clone() if rows.is_inference() else rows.detach()).requires_grad_()
            value = self.value(rows)
            if not value.requires_grad:
                raise ValueError("the log density doesn't depend on the position in a way that can be differentiated")
            (gradient,) = torch.autograd.grad(value.sum(), rows)
        return value.detach(), gradient

    def of(self, which: Any) -> "Target":
        """That of some of the chains."""
        return self

    def require_any_number(self, rows: Tensor) -> None:
        """Refuses a density of all chains that can't take one of them alone."""
        if self.batched and len(rows) > 1:
            with torch.no_grad():
                self.value(rows[:1])

    def require_all_parts(self) -> None:
        """Refuses a log density that one of the position's parts doesn't change: it would wander off."""
        chains = self.positions.chains
        with _recording(), torch.enable_grad():
            lanes = [x.detach().clone() if chains else x.detach().clone()[None] for _, x in self.positions.parts]
            parts = [(x if self.batched else x[0]).requires_grad_() for x in lanes]
            value = self.logdensity(self.positions.filled(parts), *self.batch)
            self._checked(value, (self.positions.lanes,) if self.batched else ())
            slopes: Any = [None] * len(parts)
            if value.requires_grad:
                slopes = torch.autograd.grad(value.sum(), parts, allow_unused=True)
        for (path, _), slope in zip(self.positions.parts, slopes, strict=True):
            if slope is None:
                name = f"position[{path!r}]" if path else "the position"
                raise ValueError(f"the log density doesn't depend on {name}: leave it out, or give it a density")

    def _whole(self, rows: Tensor) -> Tensor:
        try:
            return self._checked(self.logdensity(self.positions.tree(rows, len(rows)), *self.batch), (len(rows),))
        except (RuntimeError, ValueError) as error:
            if len(rows) == self.positions.lanes:
                raise
            raise ValueError(
                f"the log density can't take {len(rows)} of the {self.positions.lanes} chains, as is needed where they "
                "build their own trees: data of each chain's own are for hmc, or a part of the position, which is a "
                f"block of gibbs that stays as it is. What it said: {error}"
            ) from error

    def _one(self, row: Tensor) -> Tensor:
        return self._checked(self.logdensity(self.positions.tree(row), *self.batch), ())

    def _checked(self, value: Any, shape: tuple[int, ...]) -> Tensor:
        if not isinstance(value, Tensor):
            raise TypeError(f"the log density returned {value!r}: return a tensor of shape {shape}")
        if tuple(value.shape) != shape:
            due = "one number for each chain" if shape else "a scalar: sum over the data"
            raise ValueError(f"the log density has the shape {tuple(value.shape)}, not {shape}: return {due}")
        return value
