"""How long the steps are. What decides about them are a few numbers for each sample, in NumPy arrays."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._lanes import greatest
from ._solver import Slope

__all__ = ["PID", "Fixed", "Numbers"]

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Fixed:
    """Steps of one length; the last one is shorter where the time doesn't divide by it.

    Arguments:
        jump_ts: as for `PID`; steps of the full length begin anew at each.
    """

    dt: float
    jump_ts: Any = None

    def __post_init__(self) -> None:
        if not self.dt > 0.0:
            raise ValueError(f"Fixed(dt={self.dt!r}): the length of a step is positive, in either direction of time")


@dataclass(frozen=True)
class PID:
    """Steps as long as the error allows: the root mean square of `error / (atol + rtol max(|y₀|, |y₁|))` stays below 1.

    Arguments:
        rtol, atol: the tolerances; by default 1e-6 and 1e-9 for float64, 1e-4 and 1e-6 for float32.
        pcoeff, icoeff, dcoeff: the controller's coefficients, of which each step's factor is
            `safety e₀^-(p+i+d)/k e₁^(p+2d)/k e₂^-d/k` with the errors `e` of this step and the two before, and `k` the
            solver's order.
        safety, factor_min, factor_max: the factor's own factor, and its bounds.
        dtmin, dtmax: bounds of the steps; a step that would have to be shorter than `dtmin` ends the solution.
        jump_ts: times at which `f` or a derivative of it jumps, as a sequence or tensor: a step ends at each, and the
            next one begins with a slope and a length of its own. No step looks across: at a jump, `f` gets the time
            next to it on the step's side. Differentiable.

    Source: Hairer, Nørsett & Wanner (1993), II.4; Söderlind (2003), doi:10.1145/641876.641877.
    """

    rtol: float | None = None
    atol: float | None = None
    pcoeff: float = 0.0
    icoeff: float = 1.0
    dcoeff: float = 0.0
    safety: float = 0.9
    factor_min: float = 0.2
    factor_max: float = 10.0
    dtmin: float = 0.0
    dtmax: float = float("inf")
    jump_ts: Any = None

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            value = getattr(self, name)
            if value is not None and not value >= 0.0:
                raise ValueError(f"PID({name}={value!r}): a tolerance is a number that isn't negative")
        if self.rtol == 0.0 and self.atol == 0.0:
            raise ValueError("PID(rtol=0, atol=0): one of the tolerances has to be positive")
        for name in ("safety", "factor_min", "dtmax"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"PID({name}={getattr(self, name)!r}): it is positive")
        if not (self.factor_min <= 1.0 <= self.factor_max and self.factor_max > 1.0):
            given = f"factor_min={self.factor_min!r}, factor_max={self.factor_max!r}"
            raise ValueError(f"PID({given}): a step gets shorter and longer, by factors below and above 1")

    def tolerances(self, dtype: torch.dtype) -> tuple[float, float]:
        """`rtol` and `atol` for states of a dtype."""
        rtol, atol = (1e-6, 1e-9) if dtype in (torch.float64, torch.complex128) else (1e-4, 1e-6)
        return rtol if self.rtol is None else self.rtol, atol if self.atol is None else self.atol

    def ratio(self, error: Tensor, y0: Tensor, y1: Tensor) -> Numbers:
        """Each row's error over what is tolerated, shape (rows,)."""
        rtol, atol = self.tolerances(y0.dtype)
        error, y0, y1 = error.detach(), y0.detach(), y1.detach()
        scale = torch.maximum(y0.abs(), y1.abs()).mul_(rtol).add_(atol)
        return self.norm(error / scale)

    def norm(self, x: Tensor) -> Numbers:
        """The root mean square of each row of `x` (rows, n), shape (rows,)."""
        return greatest(torch.linalg.vector_norm(x, dim=-1)).astype(np.float64) / x.shape[-1] ** 0.5

    def factor(self, order: int, e0: Numbers, e1: Numbers, e2: Numbers) -> Numbers:
        """By what the next step is longer, for the errors of this step and the two before, shape (rows,)."""
        p, i, d = (x / order for x in (self.pcoeff, self.icoeff, self.dcoeff))
        factor = self.safety * np.maximum(e0, 1e-10) ** -(p + i + d)
        if p or d:
            factor *= np.maximum(e1, 1e-10) ** (p + 2 * d) * np.maximum(e2, 1e-10) ** -d
        return np.fmin(np.fmax(factor, self.factor_min), self.factor_max)

    @np.errstate(divide="ignore", over="ignore", invalid="ignore")
    def first(self, slope: Slope, t: Tensor, y: Tensor, k: Tensor, order: int) -> Numbers:
        """A first step for each row, shape (rows,), at the cost of one slope.

        Source: Hairer, Nørsett & Wanner (1993), II.4, "Starting step size".
        """
        rtol, atol = self.tolerances(y.dtype)
        scale = atol + rtol * y.abs()
        d0, d1 = self.norm(y / scale), self.norm(k / scale)
        h0 = np.where((d0 < 1e-5) | (d1 < 1e-5), 1e-6, 0.01 * d0 / np.maximum(d1, 1e-300))
        h = torch.as_tensor(h0, dtype=t.dtype, device=t.device)
        d2 = self.norm((slope(t + h, y + h[:, None] * k) - k) / scale) / h0
        steepest = np.maximum(d1, d2)
        h1 = (0.01 / np.maximum(steepest, 1e-15)) ** (1 / (order + 1))
        h1 = np.where(steepest <= 1e-15, np.maximum(h0 * 1e-3, 1e-6), h1)
        return np.minimum(100 * h0, h1)
