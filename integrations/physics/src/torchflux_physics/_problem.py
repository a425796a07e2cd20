"""A problem: equations in a domain and conditions, each by its name, and their losses for a model."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ._condition import Condition
from ._domain import Boundary, Domain
from ._points import Cloud, Points, Region
from ._residual import residuals

__all__ = ["Batch", "Problem"]

Batch = Mapping[str, Points]


@dataclass(frozen=True)
class Problem:
    """Equations that hold in a domain, and conditions that hold elsewhere.

    **Arguments:**

    - `domain`: where the equations hold.
    - `equations`: a residual, written for one point (see `residuals`), or several by name.
    - `conditions`: `Condition`s by name.
    - `params`: constants and unknowns that residuals ask for by name; a module or tensor among them can be trained.
    - `weights`: of losses, by name; 1 where none is given.

    A residual that is a dict has a loss for each of its numbers, `name.key`.

    **Raises:** `ValueError` for names that are there twice or no term's, and for a condition's points with other
    coordinates or outside the domain.

    >>> import torch
    >>> from torchflux_physics import Dirichlet, Interval
    >>> line = Interval("x", 0, 1)
    >>> poisson = Problem(line, lambda u: u.xx + 1, {"ends": Dirichlet("u", 0.0, on=line.boundary)})
    >>> batch = poisson.sample({"equation": 10, "ends": 2}, generator=torch.Generator().manual_seed(0))
    >>> exact = lambda p: p * (1 - p) / 2
    >>> {name: f"{loss.item():.0e}" for name, loss in poisson(exact, batch).items()}
    {'equation': '0e+00', 'ends': '0e+00'}
    """

    domain: Region
    equations: Any
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, given in (("conditions", self.conditions), ("weights", self.weights), ("params", self.params)):
            if not isinstance(given, Mapping):
                raise TypeError(f"{what} are a dict by name, one for each; given: a {type(given).__name__}")
        twice = sorted(set(self.equations_by_name) & set(self.conditions))
        if twice:
            raise ValueError(f"an equation and a condition are both called {', '.join(twice)}; names are one of a kind")
        self.check_names(self.weights, "weights")
        for name, condition in self.conditions.items():
            self._check_region(name, condition.on)

    def _check_region(self, name: str, on: Region) -> None:
        """A condition has the domain's coordinates, in their order, and its own points lie in the domain."""
        if tuple(on.coordinates) != tuple(self.coordinates):
            raise ValueError(
                f"the points of {name} have the coordinates {', '.join(on.coordinates)}; those of the domain are "
                f"{', '.join(self.coordinates)}, in this order"
            )
        if isinstance(on, Cloud | Boundary | Domain) and isinstance(self.domain, Domain):
            points = (
                on.points if isinstance(on, Cloud) else on.sample(32, generator=torch.Generator().manual_seed(0)).points
            )
            try:
                self.domain.check(points)
            except ValueError as error:
                raise ValueError(f"the points of {name} belong into the domain: {error}") from None

    @property
    def coordinates(self) -> tuple[str, ...]:
        """The names of the domain's coordinates, in the order of the points' columns."""
        return self.domain.coordinates

    @property
    def equations_by_name(self) -> Mapping[str, Callable[..., Any]]:
        """The equations; a single one is called `equation`."""
        return self.equations if isinstance(self.equations, Mapping) else {"equation": self.equations}

    @property
    def terms(self) -> dict[str, tuple[Callable[..., Any], Region]]:
        """Every equation and condition: its residual and its region."""
        equations = {name: (residual, self.domain) for name, residual in self.equations_by_name.items()}
        return equations | {name: (each.residual, each.on) for name, each in self.conditions.items()}

    def sample(
        self,
        counts: Mapping[str, int],
        *,
        generator: torch.Generator | None = None,
        method: str = "uniform",
        dtype: torch.dtype | None = None,
        device: Any = None,
    ) -> dict[str, Points]:
        """Points for each term, by `method`: `"uniform"`, `"latin"` (hypercube) or `"sobol"`.

        **Raises:** `ValueError` for a term without points, and for a name that is no term's.
        """
        self.check_names(counts, "counts")
        without = [name for name in self.terms if not counts.get(name)]
        if without:
            raise ValueError(
                f"{', '.join(without)} would have no points, so no part in the loss; give counts for all terms"
            )
        where = {"dtype": dtype or torch.get_default_dtype(), "device": device}
        regions = {name: region for name, (_, region) in self.terms.items()}
        drawn = {
            name: region.sample(counts[name], generator=generator, method=method) for name, region in regions.items()
        }
        return {name: points.to(**where) for name, points in drawn.items()}

    def residuals(self, models: Any, batch: Batch, params: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """Each term's residual at each of its points, (n,) by name.

        **Arguments:** `models` as for `residuals`; `params`: instead of some of the problem's own.
        """
        self.check_names(batch, "points")
        known = {**self.params, **(params or {})}
        found: dict[str, Tensor] = {}
        for name, (residual, _) in self.terms.items():
            at = batch.get(name)
            if at is None or not len(at):
                raise ValueError(f"{name} has no points in this batch; a mean over none would be NaN")
            parts = residuals(residual, models, at.points, known, coordinates=self.coordinates, data=at.data)
            found |= {name if key == "residual" else f"{name}.{key}": part for key, part in parts.items()}
        return found

    def __call__(self, models: Any, batch: Batch, params: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """The mean square of each term's residual, by name."""
        parts = self.residuals(models, batch, params)
        return {name: (part.abs() if part.is_complex() else part).square().mean() for name, part in parts.items()}

    def total(self, losses: Mapping[str, Tensor], weights: Mapping[str, float] | None = None) -> Tensor:
        """The weighted sum of losses; `weights` instead of the problem's own, by the name of a term or of its part.

        **Raises:** `ValueError` for a weight of what is no loss.
        """
        if weights is not None:
            self.check_names({name.split(".")[0]: 1 for name in weights}, "weights")
        weights = {**self.weights, **(weights or {})}
        terms = {name.split(".")[0] for name in losses}
        unknown = sorted(name for name in weights if "." in name and name.split(".")[0] in terms and name not in losses)
        if unknown:
            raise ValueError(
                f"weights for {', '.join(unknown)}, which no loss is called: there are {', '.join(losses)}"
            )
        of = lambda name: weights.get(name, weights.get(name.split(".")[0], 1.0))
        return torch.stack([of(name) * loss for name, loss in losses.items()]).sum()

    def check_names(self, given: Iterable[str], what: str) -> None:
        """Names that aren't a term's are refused: a misspelt one would count for nothing."""
        unknown = sorted({name.split(".")[0] for name in given} - set(self.terms))
        if unknown:
            raise ValueError(
                f"{what} for {', '.join(unknown)}, which no term is called: there are {', '.join(self.terms)}"
            )
