"""What the tests of the experiments share: a short run of one, by its name."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import workspace
from torchflux_lab import find, parameters_with, perform


@pytest.fixture
def short(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The results of an experiment's run with some settings, `short("heat", "steps=50")`, in the test's folder.

    Nothing is compiled. Checked is that the results are written, the picture is one, and the threads are as before.
    """
    torch = pytest.importorskip("torch")
    pytest.importorskip("matplotlib")

    def run(name: str, *settings: str) -> dict[str, Any]:
        threads = torch.get_num_threads()
        with find(name, workspace.ROOT / "experiments").loaded() as program:
            known = {field.name for field in dataclasses.fields(program.parameters)}
            settings += ("compiled=false",) * ("compiled" in known)
            results = perform(program, parameters_with(program.parameters, settings), tmp_path)["results"]
        assert torch.get_num_threads() == threads
        assert json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["results"] == results
        picture = (tmp_path / f"{name}.png").read_bytes()
        assert picture.startswith(b"\x89PNG\r\n\x1a\n")
        assert len(picture) > 20_000
        return dict(results)

    return run
