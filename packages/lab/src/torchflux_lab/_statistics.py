"""What the runs of a sweep came to: mean and standard deviation over the seeds, and which is best."""

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ._grid import Point
from ._screen import scalars

__all__ = ["Row", "Statistic", "best_of", "numbers", "rows", "wanted"]

SMALL = ("loss", "error", "mse", "rmse", "mae", "nll", "perplexity", "regret")
LARGE = ("accuracy", "reward", "return", "elbo", "score", "r2", "f1")


@dataclass(frozen=True)
class Statistic:
    """Mean, standard deviation (of the sample; None of a single number) and count of what the seeds came to."""

    mean: float
    deviation: float | None
    count: int

    @classmethod
    def of(cls, found: list[float]) -> "Statistic":
        """What some numbers come to; one that is not finite makes the mean so.

        >>> Statistic.of([1.0, 2.0, 3.0])
        Statistic(mean=2.0, deviation=1.0, count=3)
        """
        if not all(map(math.isfinite, found)):
            return cls(sum(found), math.nan if len(found) > 1 else None, len(found))
        return cls(statistics.fmean(found), statistics.stdev(found) if len(found) > 1 else None, len(found))


@dataclass(frozen=True)
class Row:
    """One combination of values: how many runs it has, how many of them are done, and what those came to."""

    settings: tuple[str, ...]
    runs: int
    done: int
    results: dict[str, Statistic]


def numbers(results: dict[str, Any]) -> dict[str, float]:
    """The single numbers of a run's results, by dotted names.

    >>> numbers({"test": {"loss": 0.5, "ok": True}, "rate": "NaN", "name": "x", "all": [1, 2]})
    {'test.loss': 0.5, 'rate': nan}
    """
    found = ((name, _number(value)) for name, value in scalars(results))
    return {name: number for name, number in found if number is not None}


def _number(value: Any) -> float | None:
    if value in ("NaN", "Infinity", "-Infinity"):  # as JSON holds them
        return float(value)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def rows(points: Iterable[Point], results: Mapping[Point, dict[str, float]]) -> list[Row]:
    """A row for each combination, in the order of the points."""
    grouped: dict[tuple[str, ...], list[Point]] = {}
    for point in points:
        grouped.setdefault(point.settings, []).append(point)
    return [_row(settings, group, results) for settings, group in grouped.items()]


def _row(settings: tuple[str, ...], group: list[Point], results: Mapping[Point, dict[str, float]]) -> Row:
    found = [results[point] for point in group if point in results]
    names = dict.fromkeys(name for run in found for name in run)
    taken = {name: Statistic.of([run[name] for run in found if name in run]) for name in names}
    return Row(settings, len(group), len(found), taken)


def best_of(table: list[Row], result: str, largest: bool) -> int | None:
    """The row whose mean is best, of those that are whole; a mean that is no number is never best."""
    whole = [i for i, row in enumerate(table) if result in row.results and row.results[result].count == row.runs]
    finite = [i for i in whole if not math.isnan(table[i].results[result].mean)]
    by_mean = {i: table[i].results[result].mean for i in finite}
    return (max if largest else min)(finite, key=by_mean.__getitem__) if finite else None


def wanted(table: list[Row]) -> tuple[str | None, bool]:
    """The result by which rows are compared when nobody names one, and whether it is to be large.

    It is the first whose name says what is wanted: a loss or an error is to be small, an accuracy large.
    """
    for name in dict.fromkeys(name for row in table for name in row.results):
        words = name.lower().replace(".", " ").replace("_", " ").replace("-", " ").split()
        if set(words) & {*SMALL, *LARGE}:
            return name, bool(set(words) & set(LARGE)) and not set(words) & set(SMALL)
    return None, False
