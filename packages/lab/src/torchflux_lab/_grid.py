"""The grid of a sweep: the values that were given for each parameter, times the seeds."""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from ._error import LabError
from ._parameters import Parameter, parameters_of, parameters_with
from ._results import plain
from ._values import write

__all__ = ["Point", "grid", "values_of"]


@dataclass(frozen=True)
class Point:
    """One run of a sweep: what is set besides the seed, and the seed."""

    settings: tuple[str, ...]
    seed: int

    @property
    def all(self) -> list[str]:
        """What `torchflux run --set` is given."""
        return [*self.settings, f"seed={self.seed}"]


def grid(declared: type[Any], settings: Iterable[str], seeds: int | None = None) -> list[Point]:
    """Every combination of the values, with every seed; all are checked.

    **Arguments:**

    - `declared`: the experiment's dataclass of parameters.
    - `settings`: texts `key=values`. Commas separate the values of a number or a choice. `;` separates the values of
      any parameter, and has to where a value may hold a comma itself: sequences and texts.
    - `seeds`: 0, 1, … below this number. Without it those of `seed=...`, or the default one.

    >>> @dataclasses.dataclass
    ... class Parameters:
    ...     seed: int = 0
    ...     rate: float = 0.1
    ...     sizes: tuple[int, ...] = (8,)
    >>> [point.all for point in grid(Parameters, ["rate=0.1,0.2", "sizes=8,8;"])]
    [['rate=0.1', 'sizes=8,8', 'seed=0'], ['rate=0.2', 'sizes=8,8', 'seed=0']]

    **Raises:** `LabError` for what is ambiguous, unknown, given twice, or refused by the parameters.
    """
    known = {parameter.name: parameter for parameter in parameters_of(declared)}
    axes: dict[str, list[str]] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or key.strip() not in known:
            parameters_with(declared, [setting])  # says what is wrong
        if key.strip() in axes:
            raise LabError(f"The parameter '{key.strip()}' is set twice. Give all its values at once, with ; between.")
        axes[key.strip()] = values_of(text, known[key.strip()])
    chosen = _seeds(axes.pop("seed", None), seeds, known["seed"])
    named = [[f"{key}={text}" for text in texts] for key, texts in axes.items()]
    points = [Point(row, seed) for row in itertools.product(*named) for seed in chosen]
    _check(declared, points)
    return points


def values_of(text: str, parameter: Parameter) -> list[str]:
    """The texts of a parameter's values.

    >>> values_of("0.1, 1", Parameter("rate", float, 0.1, ""))
    ['0.1', '1']
    >>> values_of("1,2;3", Parameter("sizes", list[int], [], ""))
    ['1,2', '3']
    """
    if ";" in text:
        return [part.strip() for part in text.removesuffix(";").split(";")]
    if "," in text and _may_hold_commas(parameter.kind):
        one, several = f"{parameter.name}={text.strip()};", f"{parameter.name}={';'.join(text.split(','))}"
        raise LabError(
            f"'{parameter.name}={text}' is ambiguous: a value of it may hold commas itself. Put ; between the values: "
            f"--set '{several}' are {text.count(',') + 1} values, and --set '{one}' is one."
        )
    return [part.strip() for part in text.split(",")]


def _may_hold_commas(kind: Any) -> bool:
    if get_origin(kind) in (Union, UnionType):
        return any(map(_may_hold_commas, get_args(kind)))
    if get_origin(kind) is Literal:
        return any("," in write(value) for value in get_args(kind))
    return kind is str or kind in (tuple, list) or get_origin(kind) in (tuple, list)


def _seeds(given: list[str] | None, count: int | None, parameter: Parameter) -> list[int]:
    if given is not None and count is not None:
        raise LabError(f"--seeds {count} and --set seed={','.join(given)} both say which seeds. Give one of them.")
    if count is not None and count < 1:
        raise LabError(f"--seeds {count}: give the number of seeds, 1 or more; or name them, --set seed=3,5,8.")
    try:
        return [int(text) for text in given] if given else list(range(count)) if count else [int(parameter.default)]
    except ValueError:
        raise LabError(f"seed={','.join(given or [])}: seeds are whole numbers with commas between.") from None


def _check(declared: type[Any], points: Sequence[Point]) -> None:
    """Raise `LabError` for values that the parameters refuse, and for two runs that would be the same."""
    seen: dict[str, Point] = {}
    for point in points:
        about = repr(plain(dataclasses.asdict(parameters_with(declared, point.all)), "parameters"))
        if about in seen:
            both = f"{' '.join(seen[about].all)} and {' '.join(point.all)}"
            raise LabError(f"Two runs of the sweep would be the same: {both}. Give each value once.")
        seen[about] = point
