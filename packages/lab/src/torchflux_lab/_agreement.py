"""Results compared with recorded ones: equal, within tolerance, or different."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ._error import LabError

__all__ = ["DIFFERENT", "WITHIN", "Agreement", "agreements", "flat"]

EQUAL, WITHIN, DIFFERENT, UNCOMPARED = "equal", "within tolerance", "different", "not compared"
MISSING = "missing"


@dataclass(frozen=True)
class Agreement:
    """One result in two runs, and how well they agree.

    `deviation` is the largest relative one of all its numbers; None when it has none.
    """

    name: str
    recorded: Any
    found: Any
    verdict: str
    deviation: float | None = None


def agreements(recorded: Mapping[str, Any], found: Mapping[str, Any], tolerances: Mapping[str, Any]) -> list[Agreement]:
    """Compare flat results, name by name.

    **Arguments:**

    - `recorded`, `found`: as `flat` gives them.
    - `tolerances`: by pattern, the first that fits; a relative tolerance, or a relative and an absolute one, or
      "not compared". The pattern `"*"` is for floats: other values that only it fits must be equal.

    >>> agreements({"loss": 1.0, "steps": 30}, {"loss": 1.0000001, "steps": 31}, {"*": 1e-6})[1].verdict
    'different'
    """
    names = [*recorded, *sorted(set(found) - set(recorded))]
    return [_agreement(name, recorded, found, tolerances) for name in names]


def _agreement(name: str, recorded: Mapping[str, Any], found: Mapping[str, Any], tolerances: Any) -> Agreement:
    pattern = next((pattern for pattern in tolerances if _fits(name, pattern)), "*")
    tolerance = tolerances.get(pattern, 0)
    a, b = recorded.get(name, MISSING), found.get(name, MISSING)
    if tolerance == UNCOMPARED:
        return Agreement(name, a, b, UNCOMPARED)
    pairs = list(_pairs(a, b))
    exact = all(_same(x, y) for x, y in pairs)
    verdict = EQUAL if exact else WITHIN if all(_close(*p, tolerance, pattern != "*") for p in pairs) else DIFFERENT
    deviations = [_deviation(x, y) for x, y in pairs if _number(x) and _number(y)]
    return Agreement(name, a, b, verdict, max(deviations, default=None))


def _fits(name: str, pattern: str) -> bool:
    """
    >>> _fits("test.accuracy", "*.accuracy"), _fits("accuracy", "*.accuracy")
    (True, False)
    """
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name, re.DOTALL) is not None


def _pairs(a: Any, b: Any) -> Iterator[tuple[Any, Any]]:
    """The single values of two results; what is shaped differently stays whole."""
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for x, y in zip(a, b, strict=True):
            yield from _pairs(x, y)
    else:
        yield a, b


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(a: Any, b: Any) -> bool:
    """Equal in kind and value: 1 is not True, and 0.0 is not -0.0 in bits, but is here."""
    return type(a) is type(b) and a == b


def _close(a: Any, b: Any, tolerance: Any, named: bool) -> bool:
    """Whether a pair agrees. Numbers that are not floats only have a tolerance if they are named."""
    if not (_number(a) and _number(b)) or not (named or isinstance(a, float) or isinstance(b, float)):
        return _same(a, b)
    relative, absolute = tolerance if isinstance(tolerance, list | tuple) else (tolerance, 0.0)
    return abs(a - b) <= max(relative * max(abs(a), abs(b)), absolute)


def _deviation(a: float, b: float) -> float:
    return 0.0 if a == b else abs(a - b) / max(abs(a), abs(b))


def flat(results: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested results with dotted names; lists of dicts are counted. Lists of numbers stay one result.

    >>> flat({"test": {"accuracy": 0.9}, "losses": [1.0, 0.5], "runs": [{"loss": None}]})
    {'test.accuracy': 0.9, 'losses': [1.0, 0.5], 'runs.0.loss': 'none'}

    **Raises:** `LabError` when two results get one name.
    """
    found: dict[str, Any] = {}
    for key, value in results.items():
        name = f"{above}{key}"
        inner = flat(_counted(value), f"{name}.") if _nests(value) else {name: _without_none(value)}
        if twice := found.keys() & inner.keys():
            raise LabError(f"Two results are called '{min(twice)}' when their names are joined by dots. Rename one.")
        found |= inner
    return found


def _nests(value: Any) -> bool:
    """Whether a value holds dicts, so that its parts are results of their own."""
    return isinstance(value, Mapping) or (isinstance(value, list) and any(map(_nests, value)))


def _counted(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {str(i): inner for i, inner in enumerate(value)}


def _without_none(value: Any) -> Any:
    """TOML has no null."""
    if isinstance(value, list):
        return [_without_none(inner) for inner in value]
    return "none" if value is None else value
