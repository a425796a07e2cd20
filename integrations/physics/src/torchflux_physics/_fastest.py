"""The fastest way to a problem's losses, chosen by measurement."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from torchflux import trainables

from ._compiled import compiled
from ._problem import Batch, Problem
from ._reverse import by_reverse
from ._training import check_losses

__all__ = ["Chosen", "fastest"]

Losses = Callable[..., dict[str, Tensor]]
WORTH = 60.0
"""Seconds of training from which on it is tried whether compilation, of ten seconds or more, pays."""
ROUNDS, CALLS = 5, 3


@dataclass(frozen=True)
class Chosen:
    """The losses of a problem by the way that was fastest, called like the problem itself.

    - `name` of the way;
    - `seconds` that each took for the losses and their gradient, by name;
    - `left_out`: why others weren't measured, by name.
    """

    name: str
    losses: Losses
    seconds: Mapping[str, float]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, models: Any, batch: Batch, params: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """The mean square of each term's residual, by name."""
        return self.losses(models, batch, params)

    def __str__(self) -> str:
        times = ", ".join(f"{name} {1e3 * each:.2g} ms" for name, each in self.seconds.items())
        others = "".join(f"; {name}: {why}" for name, why in self.left_out.items())
        return f"{self.name} ({times}{others})"


def fastest(
    problem: Problem,
    models: Any,
    batch: Batch,
    evaluations: int = 10_000,
    params: Mapping[str, Any] | None = None,
    *,
    backend: str = "inductor",
) -> Chosen:
    """The way that takes the least time for losses and gradient of this batch: jets, reverse mode, or compiled.

    That all have the same losses and gradients is checked first. Compilation is tried only where `evaluations` of the
    fastest other way would take more than a minute; it is that of `compiled`, with this `backend`.

    **Raises:** `FloatingPointError` for losses that aren't finite; `ValueError` where two ways differ, as they do for a
    model with dropout, or one whose results depend on other points (batch normalisation in training).

    >>> from torchflux_physics import Interval, perceptron
    >>> problem = Problem(Interval("x", 0, 1), lambda u: u.xx - u)
    >>> model, batch = perceptron(1, 8, 2), problem.sample({"equation": 100})
    >>> losses = fastest(problem, model, batch, evaluations=100)
    >>> losses.name in ("jets", "reverse mode"), losses.left_out
    (True, {'compiled': 'not tried for so few evaluations'})
    >>> list(losses(model, batch))
    ['equation']
    """
    check_losses(problem, models, batch, problem(models, batch, params))
    ways: dict[str, Losses] = {
        "jets": problem,
        "reverse mode": lambda models, batch, params=None: problem(by_reverse(models), batch, params),
    }
    trained = trainables([models, dict(problem.params), dict(params or {})])
    seconds, left_out = _measured(_calls(ways, problem, models, batch, params, trained)), {}
    if evaluations * min(seconds.values()) < WORTH:
        left_out["compiled"] = "not tried for so few evaluations"
    else:
        ways["compiled"] = compiled(problem, backend=backend)
        try:
            seconds = _measured(_calls(ways, problem, models, batch, params, trained))
        except RuntimeError as error:  # as PyTorch's compiler raises: no C++ compiler, an operation that it lacks
            left_out["compiled"] = str(error).strip().splitlines()[0]
    name = min(seconds, key=seconds.__getitem__)
    return Chosen(name, ways[name], seconds, left_out)


def _calls(
    ways: Mapping[str, Losses], problem: Problem, models: Any, batch: Batch, params: Any, trained: list[Tensor]
) -> dict[str, Callable[[], list[Tensor]]]:
    """Each way to the losses, followed by the gradient of their sum."""

    def call(losses: Losses) -> list[Tensor]:
        found = losses(models, batch, params)
        total = problem.total(found)
        if not trained or not total.requires_grad:
            return list(found.values())
        slopes = torch.autograd.grad(total, trained, allow_unused=True)
        return [
            *found.values(),
            *(torch.zeros_like(x) if g is None else g for x, g in zip(trained, slopes, strict=True)),
        ]

    return {name: lambda losses=losses: call(losses) for name, losses in ways.items()}  # type: ignore[misc]


def _measured(calls: Mapping[str, Callable[[], list[Tensor]]]) -> dict[str, float]:
    """Seconds of each, the least of rounds in which they take turns."""
    found = {name: call() for name, call in calls.items()}
    first = next(iter(found))
    for name, numbers in found.items():
        _check_equal(first, found[first], name, numbers)
    seconds = dict.fromkeys(calls, float("inf"))
    for _ in range(ROUNDS):
        for name, call in calls.items():
            _wait()
            begun = time.perf_counter()
            for _ in range(CALLS):
                call()
            _wait()
            seconds[name] = min(seconds[name], (time.perf_counter() - begun) / CALLS)
    return seconds


def _check_equal(first: str, expected: list[Tensor], name: str, given: list[Tensor]) -> None:
    """Losses and gradients agree, to half of the digits, of the largest among them."""
    largest = torch.stack([x.detach().abs().max() for x in expected if x.numel()]).max()
    tolerance = torch.finfo(largest.dtype).eps ** 0.5 * largest
    for a, b in zip(expected, given, strict=True):
        if not torch.allclose(a, b, rtol=0.0, atol=tolerance.item()):
            gap = (a - b).abs().max() / largest
            raise ValueError(
                f"losses or gradients by {first} and by {name} differ by {gap:.1e} of the largest. Is the model "
                "random (dropout)? Do its results at a point depend on others (batch normalisation)? Call the problem."
            )


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
