"""Bounds checks are left out only where they can't fail: an index raises exactly where it does in Python."""

import importlib.util
import itertools

import numpy as np
import pytest
from native_check import operation, plain

from torchflux_zygote._native import _bounds
from torchflux_zygote._native._emit import source

INDICES = ["i", "i - 1", "i + 1", "n - 1 - i", "2", "-1", "m", "i + m", "j", "j - 1"]
SPANS = ["n", "n + 1", "m", "1, n", "1, n - 1", "-1, n", "n - 1, -1, -1", "n, 0, -1"]
INNER = ["i", "m"]
CASE = """
def f{k}(a, m):
    n = a.shape[0]
    s = 0.0
    for i in range({span}):
        for j in range({inner}):
            s += a[{index}] * (i + 1)
    return s
"""


def programs(index, folder):
    """Functions that read `a[index]` in loops over all sorts of ranges."""
    cases = itertools.product(SPANS, INNER)
    texts = [CASE.format(k=k, span=span, inner=inner, index=index) for k, (span, inner) in enumerate(cases)]
    path = folder / "cases.py"
    path.write_text("\n".join(texts))
    spec = importlib.util.spec_from_file_location("cases", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [getattr(module, f"f{k}") for k in range(len(texts))]


class Unguarded(np.ndarray):
    """An array as machine code sees it: it raises no IndexError of its own."""

    def __getitem__(self, i):
        if not -len(self) <= i < len(self):
            raise AssertionError(f"element {i} of {len(self)} was read")
        return super().__getitem__(i)


def outcome(f, *args):
    """The value, or that the index was out of bounds."""
    try:
        return float(f(*args))
    except IndexError:
        return "out of bounds"
    except AssertionError:
        return "not checked"


def differences(index, folder):
    """Where the native value and Python's are not the same, and how often the index was out of bounds."""
    wrong, raised = [], 0
    for f in programs(index, folder):
        for n, m in itertools.product((0, 1, 3), (-1, 0, 2, 4)):
            a = np.arange(1.0, n + 1.0)
            op, _, _ = operation(f, a, m)
            expected = outcome(f, a, m)
            raised += expected == "out of bounds"
            run = lambda u, k, op=op: plain(op)([u, k])[0]
            if outcome(run, a.view(Unguarded), m) != expected:
                wrong.append((index, f.__name__, n, m))
    return wrong, raised


@pytest.mark.parametrize("index", INDICES)
def test_an_index_raises_where_it_does_in_python(index, tmp_path):
    wrong, raised = differences(index, tmp_path)
    assert not wrong
    assert raised


def test_canary_a_check_that_is_left_out_is_missed(tmp_path, monkeypatch):
    monkeypatch.setattr(_bounds.Ranges, "below", lambda *_: True)
    wrong, _ = differences("i", tmp_path)
    assert wrong


def stencil(u, w, k):
    n = u.shape[0]
    s = 0.0
    for i in range(1, n - 1):
        s += u[i - 1] * u[i + 1] * w[i] * w[k]
    return s


def test_what_is_proven_is_not_checked_and_the_rest_before_the_loop():
    text = operation(stencil, np.ones(4), np.ones(4), 2)[0].program
    before, loop = source(text).split("for i in range")
    assert "raise" not in loop
    assert before.count("raise") == 2  # of `w` only


def test_a_length_is_taken_before_the_loop():
    def f(x, steps):
        s = 0.0
        for _ in range(steps):
            for i in range(x.shape[0] - 1):
                s += x[i] * x[i + 1]
        return s

    text = source(operation(f, np.ones(4), 2)[0].program)
    assert text.index(" - 1") < text.index("for ")
    assert "raise" not in text
