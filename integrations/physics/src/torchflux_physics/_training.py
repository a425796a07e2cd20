"""What helps a hand-written loop: weights that balance or follow time, points where the residual is large."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from torchflux import trainables

from ._points import Points
from ._problem import Batch, Problem
from ._residual import residuals

__all__ = ["causal_loss", "check_losses", "gradient_balance", "ntk_balance", "refined", "relative_error"]


def relative_error(ours: Tensor, exact: Tensor) -> float:
    """‖ours - exact‖₂ / ‖exact‖₂ over all points.

    >>> relative_error(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 0.0]))
    1.0
    """
    if ours.shape != exact.shape:
        raise ValueError(f"{tuple(ours.shape)} can't be compared with {tuple(exact.shape)}")
    return ((ours - exact).norm() / exact.norm()).item()


def check_losses(problem: Problem, models: Any, batch: Batch, losses: Mapping[str, Tensor]) -> None:
    """Nothing, if all losses are finite.

    **Raises:** `FloatingPointError` that names the terms that aren't, and the first points where.
    """
    bad = [name for name, loss in losses.items() if not loss.isfinite()]
    if not bad:
        return
    with torch.no_grad():
        parts = problem.residuals(models, batch)
    lines = [_where(problem, name, parts[name], batch[name.split(".")[0]]) for name in bad]
    raise FloatingPointError(
        "; ".join(lines) + ". Try a lower learning rate, float64, or a look at the equation there."
    )


def _where(problem: Problem, name: str, part: Tensor, at: Points) -> str:
    rows = (~part.isfinite()).nonzero()[:, 0]
    if not len(rows):
        return f"the loss {name} isn't finite, though its residual is: it is too large to be squared"
    numbers = at.points[rows[0]].tolist()
    place = ", ".join(f"{c} = {x:g}" for c, x in zip(problem.coordinates, numbers, strict=True))
    return f"the residual {name} isn't finite at {len(rows)} of {len(part)} points, the first at {place}"


def gradient_balance(losses: Mapping[str, Tensor], model: Any) -> dict[str, float]:
    """Weights that give the terms' gradients the same norm, that of their sum.

    w_i = Σ_j ‖∇L_j‖ / ‖∇L_i‖. Mix them into the old ones, as in the example, every hundred steps or so.

    >>> from torchflux import Dense
    >>> model = Dense(1, 1, bias=False)
    >>> y = model(torch.ones(1, 1)).sum()
    >>> gradient_balance({"a": y, "b": 3 * y}, model)
    {'a': 4.0, 'b': 1.3333333730697632}

    Source: Wang et al. (2023), An expert's guide to training PINNs, arXiv:2308.08468, section 4.2.
    """
    norms = {name: _slope(loss, model).norm() for name, loss in losses.items()}
    total = torch.stack(list(norms.values())).sum()
    return {name: (total / norm).item() if norm > 0 else 1.0 for name, norm in norms.items()}


def _slope(loss: Tensor, model: Any) -> Tensor:
    parts = trainables(model)
    found = torch.autograd.grad(loss, parts, retain_graph=True, allow_unused=True)
    return torch.cat(
        [torch.zeros_like(x).flatten() if g is None else g.flatten() for x, g in zip(parts, found, strict=True)]
    )


def ntk_balance(problem: Problem, models: Any, batch: Batch) -> dict[str, float]:
    """Weights by the neural tangent kernel: the inverse of its mean diagonal for each term, times their sum.

    The diagonal's entries are ‖∂r(x)/∂θ‖² at the term's points, one reverse pass each: take a batch of some tens.

    Source: Wang, Yu & Perdikaris (2022), doi:10.1016/j.jcp.2021.110768.
    """
    parts = problem.residuals(models, batch)
    means = {name: torch.stack([_slope(r, models).square().sum() for r in part]).mean() for name, part in parts.items()}
    total = torch.stack(list(means.values())).sum()
    return {name: (total / mean).item() if mean > 0 else 1.0 for name, mean in means.items()}


def causal_loss(residual: Tensor, t: Tensor, tolerance: float = 1.0, chunks: int = 16) -> tuple[Tensor, Tensor]:
    """The mean square of a residual in which later times count once the earlier ones are met.

    The span of t is cut into chunks; chunk i has the weight exp(-tolerance Σ_{j<i} L_j), a constant for gradients.

    **Arguments:** `residual` (n,), as of `problem.residuals`; `t` (n,), the times; `tolerance`, raised in the course.

    **Returns:** the loss, and the weights (chunks,); when the last is near 1, all times count.

    Source: Wang, Sankaran & Perdikaris (2024), doi:10.1016/j.cma.2024.116813.
    """
    residual = residual.abs() if residual.is_complex() else residual
    low, high = t.min(), t.max()
    which = ((t - low) / (high - low).clamp(min=torch.finfo(t.dtype).tiny) * chunks).long().clamp(max=chunks - 1)
    counts = torch.zeros(chunks, dtype=residual.dtype, device=t.device).index_add(0, which, torch.ones_like(residual))
    sums = torch.zeros_like(counts).index_add(0, which, residual.square())
    losses = sums / counts.clamp(min=1)
    before = torch.cat([losses.new_zeros(1), losses.detach().cumsum(0)[:-1]])
    weights = torch.exp(-tolerance * before)
    return (weights * losses).sum() / (counts > 0).sum(), weights


def refined(
    problem: Problem,
    models: Any,
    name: str,
    points: Points,
    n: int,
    *,
    candidates: int = 10_000,
    power: float = 1.0,
    generator: torch.Generator | None = None,
) -> Points:
    """`points` with n more, drawn of `candidates` in proportion to |residual|^power + its mean.

    **Arguments:** `name` of the equation or condition. A large power takes the very largest.

    Source: Wu et al. (2023), doi:10.1016/j.cma.2022.115671 (RAD; Lu et al.'s RAR, 2021, is a large power).
    """
    problem.check_names([name], "refined points")
    if n > candidates:
        raise ValueError(f"{n} points can't be chosen of {candidates} candidates: raise `candidates`")
    residual, region = problem.terms[name]
    drawn = region.sample(candidates, generator=generator).to(points.points)
    with torch.no_grad():
        parts = residuals(
            residual, models, drawn.points, problem.params, coordinates=problem.coordinates, data=drawn.data
        )
    size = torch.stack([part.abs() for part in parts.values()]).amax(0).double() ** power
    chances = (size / size.mean().clamp(min=torch.finfo(torch.float64).tiny) + 1).cpu()
    chosen = drawn[torch.multinomial(chances, n, generator=generator).to(drawn.points.device)]
    data = {key: torch.cat([x, chosen.data[key]]) for key, x in points.data.items()}
    return Points(torch.cat([points.points, chosen.points]), data)
