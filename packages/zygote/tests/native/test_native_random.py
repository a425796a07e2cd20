"""Random programs against Python, torch and finite differences; the command for many more is in programs.py."""

import contextlib
import os
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from native_check import check, operation, plain
from programs import Outcome, arguments, attempt, examine, generate, load, shrink

from torchflux_zygote._native import _ops
from torchflux_zygote._native._adjoints import Adjoints
from torchflux_zygote._native._entries import Refused


def body(text):
    """A program from the lines of its body."""
    return "def program(x, y, n, a, b, m):\n" + textwrap.indent(textwrap.dedent(text).strip(), "    ") + "\n"


@settings(max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(rng=st.randoms(use_true_random=False))
def test_random_programs(rng):
    text, args = generate(rng), arguments(rng)
    outcome = examine(text, args)
    assert outcome.kind in ("agrees", "refused", "wild")


TEXTS = """
import hashlib, random, sys
sys.path.insert(0, {folder!r})
from programs import arguments, generate, load
from torchflux_zygote import native
for seed in (5, 6, 76, 79):
    rng = random.Random(seed)
    f, args = native(load(generate(rng))), arguments(rng)
    print([hashlib.sha256(f.source(*args, mode=mode).encode()).hexdigest() for mode in ("forward", "reverse")])
"""


def test_generated_text_does_not_depend_on_the_process():
    """Or what is compiled would not be found on disk again: sets are in another order in each process."""
    script = TEXTS.format(folder=str(Path(__file__).parent))
    run = lambda seed: (
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )
    assert len({run(str(seed)) for seed in range(3)}) == 1


def test_random_programs_are_mostly_compared():
    """Few are refused, fewer are wild; torch and differences both have their say."""
    found = [attempt(generate(rng), arguments(rng), second=False) for rng in map(random.Random, range(150))]
    assert not [outcome for outcome in found if outcome.kind == "fails"]
    assert sum(outcome.kind == "agrees" for outcome in found) > 0.75 * len(found)
    assert sum(outcome.smooth for outcome in found) > 0.7 * len(found)
    assert sum(outcome.torch for outcome in found) > 0.4 * len(found)


def test_random_programs_have_everything():
    """The generator reaches every construct that it knows."""
    text = "".join(generate(random.Random(seed)) for seed in range(400))
    for part in (
        "for ",
        "while ",
        "break",
        "continue",
        "return",
        "else:",
        "elif ",
        "def f",
        "def change",
        "@",
        ".copy()",
        "np.where",
        "[1:]",
        ".T",
        "reversed",
        "enumerate",
        "zip(",
        "*= ",
        "/= ",
        " and ",
        " or ",
        "not ",
        "np.concatenate",
        "np.array(",
    ):
        assert part in text, part


@pytest.mark.parametrize("seed", [3, 27, 101])
def test_random_programs_as_machine_code(seed):
    """Compiled, they compute what the generated text does as plain Python."""
    rng = random.Random(seed)
    text, args = generate(rng), arguments(rng)
    op, values, _ = operation(load(text), *args)
    for one, inputs in ((op, values), (op.reverse, [*values, 1.0])):
        expected = plain(one)(inputs)
        found = one([x.copy() if isinstance(x, np.ndarray) else x for x in inputs])
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "wrong"), [("mul", ("g * b", "g")), ("sin", ("g * cos(a) * 1.001",)), ("add", ("g", "-g"))]
)
def test_canary_a_wrong_rule_is_found(name, wrong, monkeypatch):
    monkeypatch.setitem(_ops.DERIVATIVES, name, wrong)
    found = [attempt(generate(rng), arguments(rng), second=False) for rng in map(random.Random, range(25))]
    assert sum(outcome.kind == "fails" for outcome in found) >= 3


def test_canary_a_wrong_reverse_mode_is_found(monkeypatch):
    """The two modes share the table of rules, but not how stores and loads are transposed."""
    monkeypatch.setattr(Adjoints, "pull_load", lambda self, item, g: None)
    found = [attempt(generate(rng), arguments(rng), second=False) for rng in map(random.Random, range(15))]
    assert any("reverse against forward" in outcome.why for outcome in found)


def test_a_failing_program_is_reduced():
    text = body("z = x * 2.0\nfor i in range(3):\n    z += y\n    if z > 9.0:\n        z = 1.0\nw = a[0]\nreturn z + w")
    small = shrink(text, lambda t: "z += y" in t)
    assert small == "def program(x, y, n, a, b, m):\n    z += y\n"


# Programs that went wrong once (reduced by the command), each with what it was.

REGRESSIONS = {
    "one share for both branches": """
        if y > -9.0:
            z = x + y
        else:
            z = x
        return 2.0 * z
    """,
    "arrays swapped in a loop": """
        for i in range(n):
            a[2] *= 1.2
            a, b = b, a
        return a @ a
    """,
    "arrays swapped in a while loop after an overlapping store": """
        w = 0
        while w < 2:
            w += 1
            a[1:] = a[:-1]
            b, a = a, b
        return a @ a
    """,
    "an array rebound in a loop in a branch": """
        if n > 1:
            for i in range(n):
                b = a
                a = m @ b
        return a @ a
    """,
    "a matrix squared in a loop in a branch": """
        if n == 7:
            pass
        else:
            for i in range(3):
                m = m @ m
        return m[1, 1]
    """,
    "tapes that grow in a loop in a loop": """
        w = 0
        while w < 5:
            w += 1
            a[1] *= 1.2
            for v in a:
                b = np.where(a > 0.45, a, 0.5 * b)
        return b @ b
    """,
    "a tape through a branch": """
        if x >= 9.0:
            pass
        else:
            for v in b:
                a[2] *= a @ b
        return a @ a
    """,
    "a view of a column stored into a row": """
        r = m[:, -3]
        m[(n + 1) % 4] = r
        return (m * m).sum()
    """,
    "products that are one value": """
        w = m @ a
        return w @ w + a @ a + a @ w
    """,
    "a loop condition that changes": """
        w = 0
        while w < 3 and a[n % 4] < 5.0:
            w += 1
            for i in range(4, 1, -1):
                m = 0.4 * (m @ m)
        return (m * m).sum()
    """,
    "an array scaled in a loop in a branch in a loop": """
        for i, v in enumerate(b):
            if y > 0.0:
                for j in range(1):
                    b *= a
        return b @ b
    """,
    "a branch of a branch whose value is asked for": """
        c = np.zeros((4, 4))
        for i in range(4):
            for j in range(i + 1):
                s = m[i, j]
                if i == j:
                    c[i, i] = math.sqrt(1.0 + s * s)
                else:
                    c[i, j] = s / c[j, j]
        return c[2, 2] + c[3, 1]
    """,
    "a nested function in a loop in a branch in a loop": """
        for i in range(4):
            if n % 2 == 1:
                for j in range(2):
                    def g(h):
                        return h * a[0]
                    x += g(y)
        return a.sum() * x
    """,
}


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in REGRESSIONS.items()])
@pytest.mark.parametrize("n", [1, 3])
def test_regression(text, n):
    a, b = np.array([0.7, -1.2, 1.3, 0.4]), np.array([1.1, 0.3, -0.8, 0.9])
    check(load(body(text)), 0.31, 0.42, n, a, b, 0.4 * np.outer(b, a) + 0.3, rtol=1e-6)


MAY_BE_REFUSED = {
    "a row in place of what was stored into": """
        w = 0
        while w < 1:
            w += 1
            a[:2] += b[1]
            v = 0
            while v < 4 and n % 2 == 1:
                v += 1
                a = m[-1 - w % 4]
        return a @ a
    """,
    "a store into what a loop runs over, rebound": """
        for v in a:
            a[-1] *= v
            if x >= 0.4:
                b, a = a, b
        return a @ a
    """,
    "a view or a copy, as the layout goes": """
        c = a.ravel()
        a[1] = x
        return (a * c * c).sum() + a[2] * c[1]
    """,
    "three names, two of them swapped": """
        c = b
        for i in range(n):
            c, a = a, c
            c += b
        return a @ a
    """,
}


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in MAY_BE_REFUSED.items()])
@pytest.mark.parametrize("n", [1, 3])
def test_regression_that_may_be_refused(text, n):
    """Right, or refused; never silently wrong."""
    a, b = np.array([0.7, -1.2, 1.3, 0.4]), np.array([1.1, 0.3, -0.8, 0.9])
    with contextlib.suppress(Refused):
        check(load(body(text)), 0.31, 0.42, n, a, b, np.eye(4))


SAME = [
    "a * 1",
    "1.0 * a",
    "a + 0.0",
    "0 + a",
    "a - 0.0",
    "a / 1",
    "a ** 1",
    "+a",
    "np.where(True, a, a)",
    "np.maximum(a, a)",
    "a.astype(np.float64)",
    "np.array(a)",
    "np.copy(a)",
    "a.copy()",
    "a.flatten()",
    "sum((a,))",
    "np.asarray(a)",
    "a.T",
    "a[:]",
    "a[...]",
]


@pytest.mark.parametrize("same", SAME)
def test_an_equal_array_is_a_copy_or_a_view_as_in_numpy(same):
    """Silently wrong once: `b = a * 1` was `a` itself."""
    a, b = np.array([0.7, -1.2, 1.3, 0.4]), np.array([1.1, 0.3, -0.8, 0.9])
    text = f"c = {same}\na[1] = x\nc[2] = x * x\nreturn (a * c * c).sum() + a[2] * c[1]"
    check(load(body(text)), 0.31, 0.42, 3, a, b, np.eye(4))


def test_outcomes():
    inputs = arguments(random.Random(0))
    assert attempt(body("return 1.0 / (x - x)"), inputs, False).kind == "wild"
    assert attempt(body("return x + len(str(n))"), inputs, False).kind == "refused"
    assert attempt(body("return x * y"), inputs, False) == Outcome("agrees", "", True, True)
