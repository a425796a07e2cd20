"""Metrics as curves, and curves as dots of a terminal."""

from __future__ import annotations

import math
from typing import Any

import pytest

from torchflux_lab._curves import Curve, plots, thinned, ticks
from torchflux_lab._plot import BRAILLE, ROWS, drawn


def test_each_number_has_a_plot_and_each_string_a_curve() -> None:
    lines: list[dict[str, Any]] = [
        {"mode": mode, "step": 10 * step, "loss": step + shift, "rate": 0.5, "fast": True, "sizes": [1, 2]}
        for step in range(3)
        for mode, shift in (("plain", 0), ("routed", 100))
    ]
    loss, rate = plots([*lines, {"note": "no number"}])
    assert (loss.name, loss.axis, rate.name) == ("loss", "step", "rate")
    assert loss.curves == [Curve("plain", [0, 10, 20], [0, 1, 2]), Curve("routed", [0, 10, 20], [100, 101, 102])]
    assert (loss.x_range, loss.y_range) == ((0, 20), (0, 102))


def test_without_steps_the_lines_are_counted() -> None:
    (plot,) = plots([{"loss": 3}, {"other": "x"}, {"loss": 2}, {"step": 7, "loss": 1}])
    assert (plot.axis, plot.curves[0].x) == ("line", [1, 2, 3])


def test_what_is_not_finite_is_left_out_and_counted() -> None:
    found = plots([{"step": i, "loss": y} for i, y in enumerate([1.0, "NaN", 3.0, "-Infinity"])] + [{"x": "NaN"}])
    (plot,) = found
    assert plot.curves == [Curve("", [0, 2], [1, 3], missing=2)]
    assert plot.curves[0].label == "(2 not finite)"
    assert "at last  (2 not finite): 3" in drawn(plot, 40).plain


@pytest.mark.parametrize(
    ("values", "expected"), [([1, 1000], True), ([1, 50], False), ([0, 1000], False), ([-1, 1000], False), ([5], False)]
)
def test_an_axis_is_logarithmic_for_positive_numbers_of_several_decades(values: list[float], expected: bool) -> None:
    (plot,) = plots([{"loss": y} for y in values])
    assert plot.is_logarithmic is expected
    assert plot.height(values[-1]) == (1 if len(values) > 1 else 0.5)


def test_a_thinned_curve_keeps_its_extremes_and_its_order() -> None:
    y = [math.sin(i) for i in range(10_000)]
    y[1234], y[8765] = 50, -50
    curve = thinned(Curve("", list(range(10_000)), y), 100)
    assert len(curve.x) <= 100
    assert curve.x == sorted(curve.x)
    assert {(1234, 50), (8765, -50)} <= set(zip(curve.x, curve.y, strict=True))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-3, 12, [0, 5, 10]),
        (1e-9, 2e-9, [1e-9, 1.2e-9, 1.4e-9, 1.6e-9, 1.8e-9, 2e-9]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_ticks_of_whole_numbers_are_whole() -> None:
    assert ticks(1, 2) == pytest.approx([1, 1.2, 1.4, 1.6, 1.8, 2])
    assert ticks(1, 2, whole=True) == [1, 2]


@pytest.mark.parametrize("ends", [(-1e308, 1e308), (0, 5e-324), (1e300, 1e300 * (1 + 1e-15)), (1e-300, 1e300)])
def test_no_numbers_are_too_large_or_too_close(ends: tuple[float, float]) -> None:
    (plot,) = plots([{"loss": y} for y in ends])
    text = drawn(plot, 40).plain
    assert len(text.splitlines()) >= ROWS + 2
    assert len(ticks(*plot.y_range, logarithmic=plot.is_logarithmic)) <= 12


def dots(text: str) -> int:
    return sum(bin(ord(c) - BRAILLE).count("1") for c in text if BRAILLE <= ord(c) < BRAILLE + 256)


def test_a_straight_line_goes_from_corner_to_corner() -> None:
    (plot,) = plots([{"step": i, "loss": i} for i in range(100)])
    title, *rows, axis, legend = drawn(plot, 40).plain.splitlines()
    assert title == "loss"
    assert len(rows) == ROWS
    assert rows[0].startswith("99 ┤")
    assert rows[-1].startswith(" 0 ┤")
    assert rows[0][-1] != " "
    assert rows[-1][4] != " "
    columns = 2 * len(rows[0][4:])
    assert columns <= dots("".join(rows)) < 1.2 * columns
    assert axis.split() == ["0", "step", "99"]
    assert legend == "  at last  99"
    assert all(len(row) <= 40 for row in rows)


def test_a_terminal_of_ascii_gets_stars() -> None:
    (plot,) = plots([{"step": i, "loss": i * i} for i in range(50)])
    text = drawn(plot, 40, braille=False).plain
    assert text.isascii()
    assert text.count("*") > 20


def test_many_curves_share_the_lines_of_the_legend() -> None:
    (plot,) = plots([{"mode": f"mode {i}", "loss": i} for i in range(17)])
    legend = drawn(plot, 60).plain.splitlines()[ROWS + 2 :]
    assert all(len(line) <= 60 for line in legend)
    assert len(legend) == 6
    assert legend[0].rstrip() == "  at last  mode 0: 0     mode 1: 1     mode 2: 2"
    assert legend[-1].split() == ["mode", "15:", "15", "mode", "16:", "16"]
