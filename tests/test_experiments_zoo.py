"""The experiments of the reference's model zoo: a short version of each learns, and what its numbers stand on."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from torchflux_lab import find, parameters_with, perform

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")
FOLDER = Path(__file__).parent.parent / "experiments"


def short(name: str, out: Path, *settings: str) -> dict[str, Any]:
    """The results of a run with these settings."""
    threads = torch.get_num_threads()
    with find(name, FOLDER).loaded() as program:
        results = perform(program, parameters_with(program.parameters, settings), out)["results"]
    assert torch.get_num_threads() == threads
    assert json.loads((out / "results.json").read_text(encoding="utf-8"))["results"] == results
    assert len((out / f"{name}.png").read_bytes()) > 20_000
    return results


def test_mlp_digits(tmp_path: Path) -> None:
    results = short("mlp-digits", tmp_path, "seeds=1", "epochs=25")
    assert results["network, images moved"]["error"] < results["logistic regression"]["error"] < 0.06


def test_mlp_digits_are_moved_as_far_as_said() -> None:
    """By a whole pixel an image is itself, a column further; by nothing it is itself."""
    with find("mlp-digits", FOLDER).loaded():
        script = sys.modules["mlp-digits"]
        x, rng = script.IMAGES[:50], torch.Generator().manual_seed(0)
        assert torch.allclose(script.moved(x, 0.0, rng), x, atol=1e-5)
        dot = torch.zeros(200, 1, 8, 8)
        dot[:, :, 4, 4] = 1
        places = torch.arange(8.0)
        y = script.moved(dot, 0.7, rng)[:, 0]
        rows, columns = ((y.sum(k) * places).sum(-1) - 4 for k in (2, 1))  # where the dot's centre went
        for shift in (rows, columns):
            assert 0.6 < shift.abs().max() <= 0.7 + 1e-5
            assert abs(shift.mean()) < 0.1
