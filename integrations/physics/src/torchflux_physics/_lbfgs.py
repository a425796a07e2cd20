"""L-BFGS after Adam: PyTorch's, or SciPy's L-BFGS-B in float64."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchflux import trainables

__all__ = ["Polished", "lbfgs", "scipy_lbfgs"]


@dataclass(frozen=True)
class Polished:
    """How a minimisation ended: the loss, iterations, evaluations of loss and gradient, and why it stopped."""

    loss: float
    iterations: int
    evaluations: int
    message: str


Seen = Callable[[int, float], Any]
ROUND = 20


def lbfgs(
    loss: Callable[[], Tensor], model: Any, iterations: int = 1000, *, history: int = 50, seen: Seen | None = None
) -> Polished:
    """Lowers `loss()`, a function of all that trains in `model`, by PyTorch's L-BFGS with a strong-Wolfe search.

    The points must not change meanwhile. `seen(iteration, loss)` is called after every 20 iterations; it may raise
    `StopIteration`.

    **Raises:** `FloatingPointError` where the loss isn't finite; the model is then as it was at the best one.

    Source: Liu & Nocedal (1989), doi:10.1007/BF01589116.
    """
    run = Run(loss, trainables(model), seen)
    options: Any = {"max_iter": ROUND, "max_eval": 5 * ROUND, "tolerance_grad": 0.0, "tolerance_change": 0.0}
    optimiser = torch.optim.LBFGS(run.parts, history_size=history, line_search_fn="strong_wolfe", **options)
    for iteration in range(ROUND, iterations + ROUND, ROUND):
        before = run.best
        optimiser.step(run.closure)
        if run.stopped(iteration, run.best):
            return run.ended(iteration, "stopped by the caller")
        if run.best >= before:
            return run.ended(iteration, "the loss falls no further")
    return run.ended(iterations, "all iterations were made")


def scipy_lbfgs(
    loss: Callable[[], Tensor], model: Any, iterations: int = 10_000, *, history: int = 50, seen: Seen | None = None
) -> Polished:
    """The same by SciPy's L-BFGS-B, whose own numbers are float64: a float64 model ends several digits lower.

    Source: Byrd, Lu, Nocedal & Zhu (1995), doi:10.1137/0916069.
    """
    from scipy.optimize import minimize

    run = Run(loss, trainables(model), seen)

    def value_and_slope(x: np.ndarray) -> tuple[float, np.ndarray]:
        run.put(torch.from_numpy(x))
        return run.closure().item(), run.slope()

    def after(intermediate_result: Any) -> None:
        done.append(float(intermediate_result.fun))
        if run.stopped(len(done), done[-1]):
            raise StopIteration

    done: list[float] = []
    options = {"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": history, "ftol": 0.0, "gtol": 0.0}
    found = minimize(value_and_slope, run.vector(), jac=True, method="L-BFGS-B", callback=after, options=options)
    return run.ended(len(done), str(found.message))


class Run:
    """A minimisation: the parameters, the best ones so far, and the count of evaluations."""

    def __init__(self, loss: Callable[[], Tensor], parts: list[Tensor], seen: Seen | None) -> None:
        self.loss, self.parts, self.seen = loss, parts, seen
        self.best, self.evaluations, self.kept = float("inf"), 0, [p.detach().clone() for p in parts]

    def closure(self) -> Tensor:
        """The loss, with gradients in place."""
        for p in self.parts:
            p.grad = None
        value = self.loss()
        value.backward()
        self.evaluations += 1
        if not value.isfinite():
            self.put_back()
            raise FloatingPointError(
                f"the loss is {value.item()} at evaluation {self.evaluations}; the best was {self.best:g}"
            )
        if value.item() < self.best:
            self.best, self.kept = value.item(), [p.detach().clone() for p in self.parts]
        return value.detach()

    def stopped(self, iteration: int, loss: float) -> bool:
        try:
            if self.seen is not None:
                self.seen(iteration, loss)
        except StopIteration:
            return True
        return False

    def vector(self) -> np.ndarray:
        return torch.cat([p.detach().flatten().double().cpu() for p in self.parts]).numpy()

    def slope(self) -> np.ndarray:
        slopes = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parts]
        return torch.cat([g.flatten().double().cpu() for g in slopes]).numpy()

    def put(self, vector: Tensor) -> None:
        sizes = [p.numel() for p in self.parts]
        with torch.no_grad():
            for p, piece in zip(self.parts, vector.split(sizes), strict=True):
                p.copy_(piece.view(p.shape))

    def put_back(self) -> None:
        with torch.no_grad():
            for p, kept in zip(self.parts, self.kept, strict=True):
                p.copy_(kept)

    def ended(self, iterations: int, message: str) -> Polished:
        """The best parameters are put in place."""
        self.put_back()
        return Polished(self.best, iterations, self.evaluations, message)
