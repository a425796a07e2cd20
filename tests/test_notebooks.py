"""The notebooks run, say what they say in the repository, and their numbers are the right ones."""

import re

import nbformat
import pytest

from run_notebooks import METADATA, NOTEBOOKS, executed, settled

NUMBER = r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?!\w)"

# What the last cell of each says: a value that is known from elsewhere, and how far off it may be.
KNOWN = {
    "core-in-ten-minutes": {
        "accuracy of the network with steps inside": (1.0, 0.05),
        "valley, after 200 steps of the rule of two methods": (0.0, 0.3),
        "loss after five steps, from the learned ones": (0.0, 0.4),
    },
    "a-simulator-inside-a-model": {
        "gradient through the landing, relative to differences": (1.0, 1e-4),
        "gradient through the bounces, relative to differences": (1.0, 1e-4),
        "mean miss of held-out throws, % of the distance": (0.0, 3.0),
        "largest error of the four rates, %": (0.0, 8.0),
    },
    "sampling-and-optimisation-inside-a-model": {
        "a, the maximum of the likelihood": (1.5, 0.12),  # two standard deviations and a half
        "a, distance of these two in standard deviations": (0.0, 0.6),
        "error of cleaned signals, learned strengths": (0.0, 0.19),
        "eccentricity of the orbit (truth: 0.5)": (0.5, 0.05),
        "its period in days (truth: 4.2)": (4.2, 0.02),
        "gradient through the equation, relative to differences": (1.0, 1e-5),
    },
}


def read(path):
    return nbformat.read(path, as_version=4)


def texts(cell):
    """What a cell prints or returns as text, by output; a picture is its kind."""
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        yield output.get("text") or ("picture" if "image/png" in data else data.get("text/plain", ""))


def stated(notebook):
    """Names and numbers of the last cell's lines `name: number`."""
    return dict(re.findall(rf"^(.*): ({NUMBER})$", "".join(texts(notebook.cells[-1])), flags=re.MULTILINE))


def wrong(notebook, known):
    """The names whose number is missing or further from the known one than it may be."""
    found = {name: float(number) for name, number in stated(notebook).items()}
    return [name for name, (value, off) in known.items() if not abs(found.get(name, float("nan")) - value) <= off]


def check_same(old, new):
    """The same text but for numbers, and as many outputs of the same kinds. (The numbers are looked at by `wrong`.)"""
    words = lambda cell: [re.sub(rf"{NUMBER}|\s+", "", text) for text in texts(cell)]
    for before, after in zip(old.cells, new.cells, strict=True):
        assert words(before) == words(after), before.source


def test_every_notebook_has_known_numbers():
    assert {path.stem for path in NOTEBOOKS} == set(KNOWN)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_says_the_same(path, tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    committed, found = read(path), executed(path, tmp_path)
    outputs = [output for cell in found.cells for output in cell.get("outputs", [])]
    assert not [output.text for output in outputs if output.get("name") == "stderr"]  # where warnings go
    check_same(committed, found)
    for notebook in (committed, found):
        assert not wrong(notebook, KNOWN[path.stem]), stated(notebook)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_notebook_is_small_and_settled(path):
    notebook, text = read(path), path.read_text(encoding="utf-8")
    assert notebook.metadata == METADATA
    assert notebook == settled(read(path))
    assert len(text) < 300_000
    assert not re.findall(r"/(?:home|tmp|work|Users)/", text)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))


def test_a_changed_notebook_is_found_out():
    path = next(path for path in NOTEBOOKS if path.stem.startswith("core"))
    changed = read(path)
    last = changed.cells[-1].outputs[0]
    last.text = last.text.replace("gradient", "slope").replace("accuracy", "share")
    with pytest.raises(AssertionError):
        check_same(read(path), changed)
    assert wrong(changed, KNOWN[path.stem])
