"""The README's table of models: `python metalhead/tests/model_table.py` writes it anew."""

from itertools import groupby
from pathlib import Path

import torch

import metalhead as mh

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- models: begin -->\n", "<!-- models: end -->\n"


def parameters(name):
    """How many parameters our model has, heads that are only for training left out, as torchvision counts GoogLeNet."""
    with torch.device("meta"):
        model = mh.create_model(name)
    return sum(p.numel() for key, p in model.named_parameters() if not key.startswith("aux"))


def cell(name):
    ours, published = parameters(name), mh.entry(name).parameters
    return f"`{name}` {ours:,}" + (" =" if ours == published else f" ({published} M)")


def table():
    """A row for each paper, in its order in the registry."""
    source = lambda name: mh.entry(name).source
    rows = [(paper, ", ".join(map(cell, names))) for paper, names in groupby(mh.list_models(), source)]
    together: dict[str, list[str]] = {}
    for paper, cells in rows:
        together.setdefault(paper, []).append(cells)
    lines = ["| paper | models, their parameters, and what is published |", "|---|---|"]
    return "\n".join([*lines, *(f"| {paper} | {', '.join(cells)} |" for paper, cells in together.items())]) + "\n"


def split(text):
    """What stands before, inside and behind the marks."""
    before, rest = text.split(BEGIN)
    inside, behind = rest.split(END)
    return before, inside, behind


if __name__ == "__main__":
    before, _, behind = split(README.read_text())
    README.write_text(before + BEGIN + table() + END + behind)
