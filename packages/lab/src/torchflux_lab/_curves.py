"""The metrics of a run as curves: one plot for each number that is measured."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Curve", "Plot", "plots"]

STEP = "step"  # the entry of a line that is the horizontal axis; without it the lines of a curve are counted
DECADES = 2  # positive numbers that span more than this many are shown on a logarithmic axis


@dataclass(frozen=True)
class Curve:
    """Finite numbers by step; the name is that of the strings in its lines."""

    name: str
    x: list[float]
    y: list[float]
    missing: int = 0  #: how many were not finite

    @property
    def label(self) -> str:
        """The name, and what cannot be seen."""
        return f"{self.name} ({self.missing} not finite)".strip() if self.missing else self.name


@dataclass(frozen=True)
class Plot:
    """The curves of one number."""

    name: str
    axis: str
    curves: list[Curve]

    @property
    def x_range(self) -> tuple[float, float]:
        """The first and the last step."""
        return _range(x for curve in self.curves for x in curve.x)

    @property
    def y_range(self) -> tuple[float, float]:
        """The least and the greatest number."""
        return _range(y for curve in self.curves for y in curve.y)

    @property
    def is_counted(self) -> bool:
        """Whether all steps are whole numbers."""
        return all(x == int(x) for curve in self.curves for x in curve.x)

    @property
    def is_logarithmic(self) -> bool:
        """Whether the numbers want a logarithmic axis."""
        low, high = self.y_range
        return low > 0 and math.log10(high / low) > DECADES

    def height(self, y: float) -> float:
        """Where a number stands on the vertical axis, from 0 to 1."""
        return place(y, *self.y_range, logarithmic=self.is_logarithmic)

    def width(self, x: float) -> float:
        """Where a step stands on the horizontal axis, from 0 to 1."""
        return place(x, *self.x_range)


def plots(lines: Iterable[dict[str, Any]]) -> list[Plot]:
    """The plots of metrics: lines with a `step`, numbers, and strings that tell curves apart.

    >>> found, = plots([{"mode": "plain", "step": i, "loss": 1 / (1 + i)} for i in range(3)])
    >>> found.name, found.axis, found.curves[0].name, found.curves[0].y
    ('loss', 'step', 'plain', [1.0, 0.5, 0.3333333333333333])
    """
    found: dict[str, dict[str, list[tuple[float | None, float]]]] = {}
    for line in lines:
        step = _number(line.get(STEP))
        curve = ", ".join(x for x in line.values() if isinstance(x, str) and _number(x) is None)
        for key, value in line.items():
            if key != STEP and (y := _number(value)) is not None:
                found.setdefault(key, {}).setdefault(curve, []).append((step, y))
    return [plot for name, curves in found.items() if (plot := _plot(name, curves)).curves]


def _plot(name: str, curves: dict[str, list[tuple[float | None, float]]]) -> Plot:
    stepped = all(step is not None for pairs in curves.values() for step, _ in pairs)
    made = []
    for curve, pairs in curves.items():
        steps = [step if stepped and step is not None else i for i, (step, _) in enumerate(pairs, 1)]
        finite = [(x, y) for x, (_, y) in zip(steps, pairs, strict=True) if math.isfinite(y) and math.isfinite(x)]
        if finite:
            made.append(Curve(curve, [x for x, _ in finite], [y for _, y in finite], len(pairs) - len(finite)))
    return Plot(name, STEP if stepped else "line", made)


def _number(value: Any) -> float | None:
    """The number that an entry is; JSON has strings for those that are not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and value not in ("NaN", "Infinity", "-Infinity"):
        return None
    return float(value)


def _range(values: Iterable[float]) -> tuple[float, float]:
    found = list(values)
    return min(found), max(found)


def place(value: float, low: float, high: float, *, logarithmic: bool = False) -> float:
    """Where a value stands between two others, from 0 to 1.

    >>> place(5, 0, 10), place(3, 3, 3), round(place(1, 0.1, 10, logarithmic=True), 6)
    (0.5, 0.5, 0.5)
    """
    if high == low:
        return 0.5
    if logarithmic:
        value, low, high = math.log(value), math.log(low), math.log(high)
    span = high / 2 - low / 2  # halves: the difference of two floats may be none
    return (value / 2 - low / 2) / span if span else 0.5


def thinned(curve: Curve, most: int = 1000) -> Curve:
    """A curve of so many points at most, which keeps the extremes of all that it stands for.

    >>> thinned(Curve("", list(range(10)), [0, 9, 0, 0, 5, 0, 0, 0, -9, 0]), 4)
    Curve(name='', x=[0, 1, 5, 8], y=[0, 9, 0, -9], missing=0)
    """
    count = len(curve.x)
    if count <= most:
        return curve
    edges = [round(i * count / (most // 2)) for i in range(most // 2 + 1)]
    kept = [i for a, b in itertools.pairwise(edges) for i in _extremes(curve.y, a, b)]
    return replace(curve, x=[curve.x[i] for i in kept], y=[curve.y[i] for i in kept])


def _extremes(y: Sequence[float], first: int, end: int) -> list[int]:
    return sorted({min(range(first, end), key=y.__getitem__), max(range(first, end), key=y.__getitem__)})


def ticks(low: float, high: float, *, logarithmic: bool = False, whole: bool = False, most: int = 5) -> list[float]:
    """Round numbers between two others, whole ones only if asked.

    >>> ticks(0, 97), ticks(0.002, 3, logarithmic=True), ticks(4, 4)
    ([0.0, 20.0, 40.0, 60.0, 80.0], [0.01, 0.1, 1.0], [4])
    """
    if high <= low:
        return [low]
    if logarithmic:
        first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
        return [10.0**i for i in range(first, last + 1, 1 + (last - first) // most)]
    raw = high / most - low / most
    if not raw:
        return [low, high]
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= raw * (1 - 1e-9))
    step = max(1.0, step) if whole else step
    return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
