"""The code of every README runs."""

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
READMES = sorted(path for path in ROOT.glob("**/README.md") if not {".venv", "runs"} & set(path.parts))
BLOCKS = [
    pytest.param(block, id=f"{path.parent.relative_to(ROOT) / path.name}:{i}")
    for path in READMES
    for i, block in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(), flags=re.DOTALL))
]


def test_there_are_examples():
    assert len(BLOCKS) >= 3


@pytest.mark.parametrize("block", BLOCKS)
def test_readme_example_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    (tmp_path / "README.md").write_text(block)  # where what reads its own source looks
    exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})


def test_links_between_files_lead_somewhere():
    broken = [
        f"{path.relative_to(ROOT)}: {link}"
        for path in READMES
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text())
        if not (path.parent / link).exists()
    ]
    assert not broken, broken
