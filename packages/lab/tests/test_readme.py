"""The README's example is an experiment that runs as it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_example_runs(empty: Project) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    empty.add("line", source)
    result = empty.torchflux("run", "line", "--seed", "1", "--set", "points=1000", "--out", "here")
    assert result.exit_code == 0, result.output
    results = json.loads((empty.root / "here" / "results.json").read_text(encoding="utf-8"))["results"]
    assert results["error"] == abs(results["slope"] - 2) < 0.02
    shown = float(re.findall(r"^  slope +(\S+)", README, re.MULTILINE)[0])
    assert results["slope"] == pytest.approx(shown, abs=1e-4)


def test_the_listing_shows_the_example(empty: Project) -> None:
    (summary,) = re.findall(r'```python\n"""(.*)"""', README)
    assert README.count(summary) == 2
