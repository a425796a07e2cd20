"""Results as JSON: what it holds, what it does not, and how the file comes to be there."""

import json
import math
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from torchflux_lab import plain, write_json


class Colour(Enum):
    red = 1


@dataclass
class Score:
    value: float


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, 2.5, True, None, "x"]}, {"a": [1, 2.5, True, None, "x"]}),
        ((1, (2,)), [1, [2]]),
        ({1: "one"}, {"1": "one"}),
        ([math.nan, math.inf, -math.inf], ["NaN", "Infinity", "-Infinity"]),
        (Colour.red, "red"),
        (Score(0.5), {"value": 0.5}),
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([[1.0, math.nan]]), [[1.0, "NaN"]]),
        (torch.tensor(0.5), 0.5),
        (torch.tensor([1.0, 2.0], requires_grad=True), [1.0, 2.0]),
        (torch.tensor([1.5], dtype=torch.bfloat16), [1.5]),
    ],
)
def test_values_become_plain(value: Any, expected: Any) -> None:
    found = plain(value)
    assert found == expected
    assert json.loads(json.dumps(found, allow_nan=False)) == expected


def test_what_is_not_finite_reads_back_as_it_was() -> None:
    assert math.isnan(float(plain(math.nan)))
    assert float(plain(-math.inf)) == -math.inf


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"models": [1, torch.nn.Linear(1, 1)]}, r"results\['models'\]\[1\] is a Linear"),
        ({"f": print}, r"results\['f'\] is a builtin_function_or_method"),
        ({"z": 1j}, r"results\['z'\] is a complex"),
        ({"inner": {(1, 2): 3}}, r"results\['inner'\] has the key \(1, 2\), a tuple"),
        ({"class": Score}, r"results\['class'\] is a type"),
    ],
)
def test_what_json_cannot_hold_is_named(value: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        plain(value)


def test_a_file_is_written_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_json(path, {"accuracy": 0.9, "λ": 1})
    with pytest.raises(TypeError):
        write_json(path, {"big": "x" * 100_000, "bad": object()})
    assert json.loads(path.read_text(encoding="utf-8")) == {"accuracy": 0.9, "λ": 1}
    assert list(tmp_path.iterdir()) == [path]
