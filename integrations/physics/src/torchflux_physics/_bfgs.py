"""BFGS with its whole matrix, for networks of up to some thousands of numbers."""

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchflux import trainables

from ._lbfgs import Polished, Run, Seen

__all__ = ["BFGS"]

SMALLEST = 1e-150
"""Whose square is still a float64."""
_Step = tuple[np.ndarray, np.ndarray]


class BFGS:
    """Lowers a loss by self-scaled BFGS in float64, with SciPy's search for a step that meets Wolfe's conditions.

    It keeps an n × n matrix for n trained numbers, and beside each evaluation takes some n² operations: a few
    milliseconds for a thousand numbers. L-BFGS knows the last steps alone, and for the loss of an equation, whose
    curvatures differ by many orders of magnitude, takes many times as many.

    What is known of the curvature is kept from call to call. So other points may be drawn between two calls.

    >>> from torchflux import Dense
    >>> model, x = Dense(2, 1).double(), torch.randn(50, 2, dtype=torch.float64)
    >>> wanted = x @ torch.tensor([[1.0], [-100.0]], dtype=torch.float64)
    >>> polish = BFGS(model)
    >>> polish(lambda: (model(x) - wanted).square().mean(), 30).loss < 1e-12
    True

    Sources: Al-Baali (1998), doi:10.1023/A:1018315205474; for equations Kiyani et al. (2025), arXiv:2501.16371.
    """

    inverse: Tensor
    """The inverse of the second derivatives, as far as it is known, (n, n)."""

    def __init__(self, model: Any) -> None:
        self.model = model
        n = sum(p.numel() for p in trainables(model))
        self.inverse, self.known = torch.eye(n, dtype=torch.float64), False

    def __call__(self, loss: Callable[[], Tensor], iterations: int = 1000, *, seen: Seen | None = None) -> Polished:
        """Lowers `loss()`; the points must not change meanwhile. `seen(iteration, loss)` may raise `StopIteration`.

        A step to where the loss isn't finite is shortened.

        **Raises:** `FloatingPointError` where it isn't at the start.
        """
        run = Run(loss, trainables(self.model), seen)
        at, x = _Remembered(run), run.vector()
        value, slope = at(x)
        for iteration in range(1, iterations + 1):
            if np.linalg.norm(slope) < SMALLEST:
                return run.ended(iteration - 1, "the slope is zero")
            found = self.step(at, x, value, slope)
            if found is None and not self.known:
                return run.ended(iteration, "the loss falls no further")
            if found is None:  # what is known is no longer right
                self.forget()
                continue
            step, foreseen = found
            (value, later), x = at(x + step), x + step
            self.learn(*map(torch.from_numpy, (step, later - slope, foreseen)))
            slope = later
            if run.stopped(iteration, value):
                return run.ended(iteration, "stopped by the caller")
        return run.ended(iterations, "all iterations were made")

    def step(self, at: "_Remembered", x: np.ndarray, value: float, slope: np.ndarray) -> "_Step | None":
        """A step along the direction that the matrix gives, and the change of the slope that it foresees.

        None where no step lowers the loss as it should.
        """
        from scipy.optimize import line_search

        size = 1.0 if self.known else 1 / float(np.linalg.norm(slope))
        direction = -size * (self.inverse @ torch.from_numpy(slope)).numpy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says by None that it failed
            length = line_search(
                lambda z: at.tried(z)[0], lambda z: at.tried(z)[1], x, direction, slope, value, maxiter=20
            )[0]
        return None if length is None else (length * direction, -length * size * slope)

    def learn(self, s: Tensor, y: Tensor, foreseen: Tensor) -> None:
        """From the change y (n,) of the slope over a step s (n,), where another one was foreseen.

        H ← (H - (Hy sᵀ + s Hyᵀ) / sᵀy + yᵀHy ssᵀ / (sᵀy)²) / τ + ssᵀ / sᵀy, τ = min(1, sᵀy / sᵀ foreseen).
        """
        sy = float(s @ y)
        if sy < SMALLEST:  # or below zero
            return
        if not self.known:
            self.inverse.mul_(sy / (y @ y))
        tau = min(1.0, sy / float(s @ foreseen)) if self.known else 1.0
        moved = self.inverse @ y
        half = s * ((y @ moved) / (sy**2 * tau) + 1 / sy) / 2 - moved / (sy * tau)
        self.inverse.addmm_(torch.stack([s, half], 1), torch.stack([half, s]), beta=1 / tau)
        self.known = True

    def forget(self) -> None:
        """Nothing is known of the curvature."""
        self.inverse.copy_(torch.eye(len(self.inverse)))
        self.known = False

    def state_dict(self) -> dict[str, Any]:
        """What is known, for a checkpoint."""
        return {"inverse": self.inverse, "known": self.known}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """What was known."""
        self.inverse.copy_(state["inverse"])
        self.known = bool(state["known"])


class _Remembered:
    """Loss and slope at a vector; those of the last one aren't computed again."""

    def __init__(self, run: Run) -> None:
        self.run, self.last = run, (np.zeros(0), (0.0, np.zeros(0)))

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        if not np.array_equal(x, self.last[0]):
            self.run.put(torch.from_numpy(x))
            value = self.run.closure().item()
            self.last = x.copy(), (value, self.run.slope())
        return self.last[1]

    def tried(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """The same in a search for a step, which turns back from a loss that isn't finite."""
        try:
            return self(x)
        except FloatingPointError:
            return math.inf, np.zeros_like(x)
