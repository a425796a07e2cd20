"""Text to value and back, by type."""

import math
from enum import Enum, IntEnum
from typing import Any, Literal, Optional

import pytest

from torchflux_lab._values import describe, parse, write


class Colour(Enum):
    red = 1
    green = 2


class Level(IntEnum):
    low = 1


GOOD = [
    ("3", int, 3),
    ("-3", int, -3),
    ("1_000", int, 1000),
    ("3", float, 3.0),
    ("1e-3", float, 0.001),
    ("inf", float, math.inf),
    ("a=b, c", str, "a=b, c"),
    ("", str, ""),
    ("0.1,1,10", tuple[float, ...], (0.1, 1.0, 10.0)),
    ("0.1, 1", tuple[float, ...], (0.1, 1.0)),
    ("(0.1,)", tuple[float, ...], (0.1,)),
    ("5", tuple[int, ...], (5,)),
    ("", tuple[int, ...], ()),
    ("[1,2]", list[int], [1, 2]),
    ("()", list[int], []),
    ("1,a", tuple[int, str], (1, "a")),
    ("none,2", list[int | None], [None, 2]),
    ("true,no", tuple[bool, ...], (True, False)),
    ("relu,tanh", tuple[Literal["relu", "tanh"], ...], ("relu", "tanh")),
    ("none", int | None, None),
    ("None", Optional[str], None),  # noqa: UP045 (the older spelling is a type of its own)
    ("nothing", str | None, "nothing"),
    ("7", int | str, 7),
    ("seven", int | str, "seven"),
    ("none", tuple[int, ...] | None, None),
    ("1,2", tuple[int, ...] | None, (1, 2)),
    ("tanh", Literal["relu", "tanh"], "tanh"),
    ("2", Literal[1, 2], 2),
    ("true", Literal[True, "auto"], True),
    ("green", Colour, Colour.green),
    ("low", Level, Level.low),
]

BAD = [
    ("x", int),
    ("1.5", int),
    ("", int),
    ("none", int),
    ("x", float),
    ("1,5", float),
    ("maybe", bool),
    ("2", bool),
    ("gelu", Literal["relu", "tanh"]),
    ("blue", Colour),
    ("1", Colour),
    ("1", tuple[int, str]),
    ("1,a,b", tuple[int, str]),
    ("1,,2", list[int]),
    ("x", int | None),
    ("x", int | float),
]


@pytest.mark.parametrize(("text", "kind", "expected"), GOOD)
def test_a_text_is_read_by_its_type(text: str, kind: Any, expected: Any) -> None:
    value = parse(text, kind)
    assert (type(value), value) == (type(expected), expected)


@pytest.mark.parametrize(("text", "kind", "value"), GOOD)
def test_what_is_written_reads_as_the_same(text: str, kind: Any, value: Any) -> None:
    assert parse(write(value), kind) == value


@pytest.mark.parametrize(
    ("yes", "no"), [("true", "false"), ("True", "FALSE"), ("yes", "no"), ("on", "off"), ("1", "0")]
)
def test_truth_has_several_words(yes: str, no: str) -> None:
    assert parse(yes, bool) is True
    assert parse(no, bool) is False


def test_nan_is_a_float() -> None:
    assert math.isnan(parse("nan", float))


@pytest.mark.parametrize(("text", "kind"), BAD)
def test_a_text_that_is_no_such_value_is_refused(text: str, kind: Any) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse(text, kind)


@pytest.mark.parametrize("kind", [dict, dict[str, int], list, tuple, list[list[int]], complex, object])
def test_a_type_without_a_text_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError):
        parse("1", kind)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (int, "int"),
        (float | None, "float or none"),
        (tuple[float, ...], "tuple[float, ...]"),
        (Literal["relu", True], "relu or true"),
        (Colour, "red or green"),
        (dict, "dict"),
    ],
)
def test_a_type_is_described_in_words(kind: Any, expected: str) -> None:
    assert describe(kind) == expected
