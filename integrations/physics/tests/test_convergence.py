"""The page on convergence: its blocks run, in their order, and print what it says they do."""

import contextlib
import io
import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("tqdm")
PAGE = Path(__file__).parents[1] / "CONVERGENCE.md"
FIRST, *BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
WIDE, CLEAR, SMALL = 30.0, 5.0, 1e-6
"""By what factor a number may differ on another processor, after hundreds of steps; and by what two differ, so that the
page's word is that one of them is larger. Below SMALL, all are alike."""


def numbers(text: str) -> list[float]:
    return [max(float(word), SMALL) for word in re.findall(r"\d\.\d+e[-+]\d+", text)]


@pytest.mark.parametrize("block", [pytest.param(block, id=str(k)) for k, block in enumerate(BLOCKS)])
def test_a_block_prints_what_the_page_says(block: str) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    known: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(FIRST, str(PAGE), "exec"), known)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(block, str(PAGE), "exec"), known)
    torch.set_num_threads(threads)
    print(printed.getvalue())
    stated = re.findall(r"^# (.*)$", block, flags=re.MULTILINE)
    given, expected = numbers(printed.getvalue()), numbers(" ".join(stated))
    assert len(given) == len(expected)
    for a, b in zip(given, expected, strict=True):
        assert b / WIDE < a < b * WIDE, (given, expected)
    for (a, b), (c, d) in itertools.permutations(zip(given, expected, strict=True), 2):
        assert not (b > CLEAR * d and a <= c), (given, expected)
