"""Sums run backwards trip by trip: without a tape where the trips only add up numbers, and with one everywhere else."""

import importlib.util
import math
import random
import re

import numpy as np
import pytest
from native_check import Mismatch, check, copied, interpreted, operation, vector

from torchflux_zygote._native import _at_once, _reverse
from torchflux_zygote._native._emit import source

A, B = np.array([0.7, -1.2, 0.3, 0.4]), np.array([0.5, 1.1, -0.4, 0.8])
M = np.array([[1.2, -0.4, 0.3], [0.5, 1.7, -0.2], [-0.1, 0.6, 2.1], [0.4, 0.3, -0.8]])


def text_of(f, *args):
    """The reverse program's text."""
    return source(operation(f, *args)[0].reverse.program)


# Where it applies.


def logistic(a, b, m):
    total = 0.0
    for i in range(m.shape[0]):
        z = 0.0
        for j in range(m.shape[1]):
            z += m[i, j] * b[j]
        total += a[i] * z - math.log1p(math.exp(-abs(z)))
    for j in range(m.shape[1]):
        total -= 0.5 * b[j] * b[j]
    return total


def of_sums_of_sums(a, b, m):
    s, t = 1.0, 0.5
    for i in range(m.shape[0]):
        for j in range(m.shape[1]):
            s += m[i, j] * a[i] * b[j]
            t -= math.sin(m[i, j] * a[i])
    return 2.0 * s - t


def with_a_branch(a, b, m):
    s = 0.0
    for i in range(a.shape[0]):
        if a[i] > 0.0:
            s += a[i] * b[i]
            x = a[i]
        else:
            x = b[i] * b[i]
        if x > 0.35:
            s -= x * x * m[i, 0]
    return s


def with_a_while(a, b, m):
    s = 0.0
    for i in range(a.shape[0]):
        r, k = 1.0, i + 1
        while k > 0 and r < 1e3:
            k -= 1
            r *= a[i] * b[k]
        s += r
    return s


def with_a_row(a, b, m):
    s = 0.0
    for i in range(m.shape[0]):
        row = m[i] * a[i]
        row[1] = row[0] * b[i]
        s += (row * row).sum()
    return s


def with_inner_loops_of_all_lengths(a, b, m):
    s = 0.0
    for i in range(a.shape[0]):
        x = a[i]
        for j in range(i):
            x = math.sin(x * b[j])
        for j in range(m.shape[1]):
            x = x * m[i, j] + 0.1
        s += x * x
    return s


def one_after_the_other(a, b, m):
    s = a[0] * b[1]
    for i in range(a.shape[0]):
        s += a[i] * b[i]
    for i in range(1, a.shape[0]):
        s += a[i] * b[i - 1]
    for i in range(2):
        s = s + a[i + 1] * b[i] * a[2]
    return 3.0 * s + b[2] * a[3]


def from_the_end(a, b, m):
    s = 0.0
    for i in range(a.shape[0] - 1, -1, -1):
        s += a[i] * b[3 - i]
    return s


AT_ONCE = [
    logistic, of_sums_of_sums, with_a_branch, with_a_while, with_a_row, with_inner_loops_of_all_lengths,
    one_after_the_other, from_the_end,
]  # fmt: skip


# Where it doesn't: the sum's cotangent depends on the sum, or a trip on the one before.


def squared(a, b, m):
    s = 0.0
    for i in range(a.shape[0]):
        s += a[i] * b[i]
    return s * s


def used_on_the_way(a, b, m):
    s, t = 0.0, 0.0
    for i in range(a.shape[0]):
        s += a[i]
        t += s * b[i]
    return t


def stored(a, b, m):
    a = a.copy()
    s = 0.0
    for i in range(1, a.shape[0]):
        a[i] = a[i] * a[i - 1]
        s += a[i] * b[i]
    return s


def until(a, b, m):
    s = 0.0
    for i in range(a.shape[0]):
        s += a[i] * a[i] * b[i]
        if s > 0.9:
            break
    return s


def normalised(a, b, m):
    s = 0.0
    for i in range(a.shape[0]):
        s += a[i] * a[i]
    t = 0.0
    for i in range(a.shape[0]):
        t += math.sin(a[i]) / s
    return t


KEPT = [squared, used_on_the_way, stored, until, normalised]


@pytest.mark.parametrize("f", AT_ONCE + KEPT)
def test_gradients(f):
    check(f, A, B, M)
    check(f, A, B, M, second=False, torch_twin=f not in (with_a_branch, with_a_row))


@pytest.mark.parametrize("f", [logistic, with_a_while, with_a_row, one_after_the_other])
def test_compiled(f):
    check(f, A, B, M, second=False, compiled=True)


@pytest.mark.parametrize("f", [logistic, of_sums_of_sums, with_a_branch, one_after_the_other, from_the_end])
def test_nothing_is_kept_of_a_sum(f):
    assert "tape" not in text_of(f, A, B, M)


def test_a_tape_of_an_inner_loop_is_made_once():
    before, loop = text_of(with_a_while, A, B, M).split("for ", 1)
    assert "np.empty" in before
    assert "np.empty" not in loop


def test_the_gradient_is_one_array_for_all_loops():
    text = text_of(one_after_the_other, A, B, M)
    assert len(re.findall(r"= rt\.zeros_", text)) == 3  # of every argument
    assert "rt.add_11" not in text


@pytest.mark.parametrize("f", KEPT)
def test_the_rest_has_a_tape_or_a_second_loop(f):
    text = text_of(f, A, B, M)
    assert text.count("for ") > operation_loops(f)


def operation_loops(f):
    """How many loops the value has."""
    return source(operation(f, A, B, M)[0].program).count("for ")


# Random sums, with and without.


def random_sums(rng):
    """Loops that add to numbers, with branches and loops in them; at times one does more than add."""
    leaf = lambda: rng.choice(["a[i]", "b[i]", "m[i, 1]", "x", "y", "d", "0.7"])
    term = lambda: f"{rng.choice(['', '-', 'math.sin'])}({leaf()} * {leaf()})"
    add = lambda: rng.choice([f"s += {term()}", f"t -= {term()}", f"s = s + {term()}", f"t = {term()} + t"])
    harm = lambda: rng.choice([f"s = s * 0.9 + {term()}", "t += 0.3 * s", "x = x + 0.2 * s", "a[i] = a[i] * t"])
    lines = ["s, t, x, y = d, 0.5, d * d, 0.1"]

    def body(indent, depth):
        for _ in range(rng.randint(1, 3)):
            kind = rng.randint(0, 9)
            if kind == 0:
                lines.append(f"{indent}{harm()}")
            elif kind == 1 and depth:
                lines.append(f"{indent}if {leaf()} > 0.33:")
                body(indent + "    ", depth - 1)
                lines.append(f"{indent}else:")
                body(indent + "    ", depth - 1)
            elif kind == 2 and depth:
                lines.append(f"{indent}for j in range({rng.choice(['2', 'i', 'm.shape[1]'])}):")
                body(indent + "    ", depth - 1)
            elif kind == 3:
                lines.append(f"{indent}x = {term()}")
            elif kind == 4 and depth:
                lines.append(f"{indent}k = {rng.choice(['0', 'i'])}")
                lines.append(f"{indent}while k < 3:")
                lines.append(f"{indent}    k += 1")
                lines.append(f"{indent}    y = {rng.choice(['y * 0.5 + ', ''])}{term()}")
            else:
                lines.append(f"{indent}{add()}")

    for _ in range(rng.randint(1, 3)):
        lines.append(f"for i in range({rng.choice(['4', 'a.shape[0]', '1, 4', '3, -1, -1'])}):")
        body("    ", 2)
    lines.append(f"return {rng.choice(['s + t', '2.0 * s - t + a[0] * b[1]', 's * t', 's', 's + t * t'])}")
    return "import math\n\n\ndef sums(a, b, m, d):\n    a = a.copy()\n    " + "\n    ".join(lines) + "\n"


def loaded(text, folder):
    """A function of its text."""
    path = folder / f"sums_{abs(hash(text))}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.sums


def gradients(f):
    """The text of a reverse program, and what it computes."""
    op, values, _ = operation(f, A, B, M, 0.37)
    text = source(op.reverse.program)
    with np.errstate(all="ignore"):
        return text, vector(list(interpreted(text, op.reverse.program.name)(*copied((*values, 1.0)))))


def with_and_without(f, monkeypatch):
    """The gradient as it is and with a tape for every loop, and whether the two are different programs."""
    text, found = gradients(f)
    with monkeypatch.context() as patch:
        patch.setattr(_reverse._Reverse, "seeds_of", lambda *_: None)
        other, plain = gradients(f)
    return found, plain, text != other


def test_random_sums(tmp_path, monkeypatch):
    changed = 0
    for seed in range(100):
        f = loaded(random_sums(random.Random(seed)), tmp_path)
        found, plain, differs = with_and_without(f, monkeypatch)
        assert np.allclose(found, plain, rtol=1e-11, atol=1e-12, equal_nan=True), seed
        changed += differs
    assert 30 < changed < 90


def test_random_sums_by_differences(tmp_path):
    for seed in range(200, 230):
        f = loaded(random_sums(random.Random(seed)), tmp_path)
        check(f, A, B, M, 0.37, second=seed % 5 == 0)


@pytest.mark.parametrize("broken", ["only_added_to", "known_before"])
def test_canary_what_only_looks_like_a_sum(broken, tmp_path, monkeypatch):
    if broken == "only_added_to":
        monkeypatch.setattr(_at_once, broken, lambda *_: True)
    else:
        monkeypatch.setattr(_at_once.AtOnce, broken, lambda *_: [])
    wrong = 0
    for seed in range(60):
        f = loaded(random_sums(random.Random(seed)), tmp_path)
        try:
            found, plain, _ = with_and_without(f, monkeypatch)
            wrong += not np.allclose(found, plain, rtol=1e-11, atol=1e-12, equal_nan=True)
        except (Mismatch, NameError, KeyError, ValueError, AssertionError):
            wrong += 1
    assert wrong
