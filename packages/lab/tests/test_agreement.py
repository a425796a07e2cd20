"""When results agree: by hand, at and around each tolerance."""

from __future__ import annotations

from typing import Any

import pytest

from torchflux_lab import LabError
from torchflux_lab._agreement import agreements, flat


def verdict(recorded: Any, found: Any, tolerance: Any = 1e-6, name: str = "*") -> str:
    (agreement,) = agreements({"x": recorded}, {"x": found}, {name: tolerance, "*": tolerance})
    return agreement.verdict


@pytest.mark.parametrize(
    ("recorded", "found", "expected"),
    [
        (1.0, 1.0, "equal"),
        (1.0, 1.0 + 0.9e-6, "within tolerance"),
        (1.0, 1.0 + 1.1e-6, "different"),
        (-1.0, 1.0, "different"),
        (0.0, 1e-300, "different"),  # a relative tolerance means nothing at zero
        (0.0, -0.0, "equal"),
        (1.0, 1, "within tolerance"),
        (1000000, 1000001, "different"),  # integers must be equal
        (1, True, "different"),
        ("NaN", "NaN", "equal"),
        ("NaN", 1.0, "different"),
        ("adam", "sgd", "different"),
        ([1.0, 2.0], [1.0, 2.0 + 1e-6], "within tolerance"),
        ([1.0, 2.0], [1.0, 2.1], "different"),
        ([1.0, 2.0], [1.0], "different"),
        ([[1.0], [2]], [[1.0], [3]], "different"),
    ],
)
def test_by_the_tolerance_of_floats(recorded: Any, found: Any, expected: str) -> None:
    assert verdict(recorded, found) == verdict(found, recorded) == expected


def test_a_named_tolerance_is_for_integers_too() -> None:
    assert verdict(100, 101, 0.02, "x") == "within tolerance"
    assert verdict(100, 103, 0.02, "x") == "different"
    assert verdict(True, False, 10.0, "x") == "different"


def test_relative_and_absolute() -> None:
    assert verdict(0.0, 0.009, [0, 0.01], "x") == "within tolerance"
    assert verdict(0.0, 0.011, [0, 0.01], "x") == "different"
    assert verdict(100.0, 100.9, [0.01, 1e-3], "x") == "within tolerance"


def test_what_is_not_compared_may_be_anything_or_absent() -> None:
    assert verdict(1.0, 9.0, "not compared", "x") == "not compared"
    (agreement,) = agreements({"x": 1.0}, {}, {"x": "not compared"})
    assert agreement.verdict == "not compared"


def test_the_first_pattern_that_fits_counts() -> None:
    tolerances = {"test.loss": 0.5, "*.loss": 0.0, "*": 1e-6}
    found = agreements({"test.loss": 1.0, "train.loss": 1.0}, {"test.loss": 1.4, "train.loss": 1.0001}, tolerances)
    assert [each.verdict for each in found] == ["within tolerance", "different"]


def test_results_of_one_side_only_differ() -> None:
    found = agreements({"a": 1}, {"b": 1}, {"*": 1e-6})
    assert [(each.name, each.verdict) for each in found] == [("a", "different"), ("b", "different")]


def test_the_largest_deviation_is_named() -> None:
    (agreement,) = agreements({"x": [1.0, 2.0]}, {"x": [1.001, 2.004]}, {"*": 1.0})
    assert agreement.deviation == pytest.approx(0.004 / 2.004)


def test_two_results_of_one_name_are_refused() -> None:
    with pytest.raises(LabError, match=r"called 'a\.b'"):
        flat({"a.b": 1, "a": {"b": 2}})
