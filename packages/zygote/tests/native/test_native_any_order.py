"""Backward loops in another order, or split: where the trips only meet in sums of cotangents, and nowhere else."""

import importlib.util
import random
import re

import numpy as np
import pytest
from native_check import check, copied, interpreted, operation, vector

from torchflux_zygote._native import _any_order, _emit, _trips
from torchflux_zygote._native._emit import source

U, V = np.array([0.7, -1.2, 0.3, 0.4, 0.9, -0.6, 1.1]), np.array([0.2, 0.8, -0.5, 1.3, -0.9, 0.4, 0.6])


def text_of(f, *args):
    """The reverse program's text."""
    return source(operation(f, *args)[0].reverse.program)


def backward(f, *args):
    """The backward loops of a function, each as its lines: all loops behind the first cotangent."""
    text = text_of(f, *args)
    return re.split(r"\n +for ", text[text.index("_bar =") :])[1:]


# Where it applies.


def heat(u, v, d):
    u, v = u.copy(), v.copy()
    for _ in range(3):
        for i in range(1, u.shape[0] - 1):
            v[i] = u[i] + d * (u[i - 1] - 2.0 * u[i] + u[i + 1])
        for i in range(1, u.shape[0] - 1):
            u[i] = v[i]
    s = 0.0
    for i in range(u.shape[0]):
        s += u[i] * u[i]
    return s


def grid(u, v, d):
    m = np.zeros((u.shape[0], v.shape[0]))
    new = np.zeros((u.shape[0], v.shape[0]))
    for i in range(u.shape[0]):
        for j in range(v.shape[0]):
            m[i, j] = u[i] * v[j]
    for i in range(1, u.shape[0] - 1):
        for j in range(1, v.shape[0] - 1):
            new[i, j] = m[i, j] * d + m[i, j - 1] * m[i, j + 1] / d + m[i - 1, j] - m[i + 1, j]
    s = 0.0
    for i in range(u.shape[0]):
        for j in range(v.shape[0]):
            s += new[i, j] * new[i, j]
    return s


@pytest.mark.parametrize("f", [heat, grid])
def test_gradients(f):
    check(f, U, V, 0.3, torch_twin=f is heat)


def test_compiled():
    check(heat, U, V, 0.3, second=False, compiled=True)


def test_a_stencil_is_a_loop_for_every_neighbour():
    loops = backward(heat, U, V, 0.3)
    assert all(loop.count("+=") + loop.count("rt.plus") <= 1 for loop in loops)
    adding = [loop for loop in loops if "+=" in loop]
    assert sum("+ 1] +=" in loop for loop in adding) == 1
    assert sum("- 1] +=" in loop for loop in adding) == 1


def test_it_counts_upwards_and_sums_in_any_order():
    loops = backward(heat, U, V, 0.3)
    assert sum("-1, -1" in loop.splitlines()[0] for loop in loops) == 1  # the steps
    assert sum("rt.plus" in loop for loop in loops) == 1


def test_values_are_summed_in_their_order():
    text = source(operation(heat, U, V, 0.3)[0].program)
    assert "rt.plus" not in text
    forward = text_of(heat, U, V, 0.3).split("_bar =")[0]
    assert "rt.plus" not in forward


# Where it doesn't.


def recurrence(u, v, d):
    u = u.copy()
    for i in range(1, u.shape[0]):
        u[i] = u[i] + d * u[i - 1] * v[i]
    return u[2] * u[u.shape[0] - 1]


def carried(u, v, d):
    s = 1.0
    for i in range(u.shape[0]):
        s = s * u[i] + d * v[i]
    return s


def reversed_twice(u, v, d):
    u = u.copy()
    n = u.shape[0]
    for i in range(n):
        u[i] = u[i] * u[n - 1 - i] + d * v[i]
    return u[0] * u[2] + u[n - 1]


def one_place(u, v, d):
    u = u.copy()
    for i in range(1, u.shape[0]):
        u[0] = u[0] * v[i] + u[i] * d
    return u[0]


@pytest.mark.parametrize("f", [recurrence, carried, reversed_twice, one_place])
def test_what_a_trip_leaves_to_the_next_keeps_its_order(f):
    check(f, U, V, 0.3, torch_twin=True)
    loops = backward(f, U, V, 0.3)
    assert len(loops) == 1
    assert "-1, -1)" in loops[0]
    assert "rt.plus" not in loops[0]


def sines(u, v, d):
    v = v.copy()
    for i in range(1, u.shape[0] - 1):
        v[i] = np.sin(u[i - 1] * u[i + 1] * d)
    return v[1] * v[2]


def test_what_is_costly_is_not_computed_twice():
    assert len(backward(sines, U, V, 0.3)) == 1


def test_short_loops_stay_whole():
    def f(u, v, d):
        v = v.copy()
        for i in range(1, 4):
            v[i] = v[i] + d * (u[i - 1] + u[i + 1])
        return v[1] * v[2]

    assert len(backward(f, U, V, 0.3)) == 1
    check(f, U, V, 0.3)


# Random stencils, with and without.


def random_stencil(rng):
    """A loop over elements and their neighbours in three arrays and two sums."""
    place = lambda: rng.choice(["i", "i", "i", "i - 1", "i + 1", "i - 2", "i + 2"])
    target = lambda: rng.choice(["w[i]", "w[i]", "w[i]", f"{rng.choice('uvw')}[{place()}]"])
    leaf = lambda: rng.choice([f"{rng.choice('uuuvvvw')}[{place()}]"] * 4 + ["d", "x", "0.7"])
    term = lambda: f"{rng.choice(['', '-'])}{leaf()} * {leaf()}"
    lines = ["x, y, s = d, 0.5 * d, 0.0"]
    for _ in range(rng.randint(1, 2)):
        span = rng.choice(["2, n - 2", "2, n - 2", "n - 3, 1, -1", "2, n - 2, 2"])
        lines.append(f"for i in range({span}):")
        for _ in range(rng.randint(1, 3)):
            line = rng.choice(
                [
                    "{0} = {1} + {2}",
                    "{0} = {1} + {2}",
                    "{0} += {1} - {2}",
                    "s += {1}",
                    "y -= {1}",
                    "{0} -= 0.3 * {1}",
                    "x = y * x + {1}",
                ]
            )
            lines.append("    " + line.format(target(), term(), term()))
    lines.append("return s + x * y + (u * v).sum() + w[1] * w[3] + w[2] * u[2]")
    head = "def stencil(u, v, w, d):\n    u, v, w, n = u.copy(), v.copy(), w.copy(), u.shape[0]\n    "
    return head + "\n    ".join(lines) + "\n"


def loaded(text, folder):
    """A function of its text."""
    path = folder / f"stencil_{abs(hash(text))}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.stencil


def gradients(program, values):
    """What the text of a reverse program computes."""
    run = interpreted(source(program), program.name)
    with np.errstate(all="ignore"):
        return vector(list(run(*copied(tuple(values)))))


def with_and_without(f, monkeypatch):
    """The gradient as it is, as one loop each in the order of the tape, and whether anything was split."""
    op, values, _ = operation(f, U, V, 0.5 * U[::-1].copy(), 0.3)
    inputs = [*values, 1.0]
    program = op.reverse.program
    found = gradients(program, inputs)
    text = source(program)
    with monkeypatch.context() as patch:
        patch.setattr(_emit, "in_any_order", lambda p: p)
        plain, changed = gradients(program, inputs), source(program) != text
    return found, plain, changed


def close(a, b):
    """Whether two gradients differ by their last bits only."""
    scale = np.abs(b[np.isfinite(b)]).max(initial=1e-300)
    return np.array_equal(np.isfinite(a), np.isfinite(b)) and np.all((np.abs(a - b) <= 1e-12 * scale) | ~np.isfinite(b))


def test_random_stencils(tmp_path, monkeypatch):
    changed = 0
    for seed in range(150):
        f = loaded(random_stencil(random.Random(seed)), tmp_path)
        found, plain, differs = with_and_without(f, monkeypatch)
        assert close(found, plain), seed
        changed += differs
    assert changed > 40


@pytest.mark.parametrize("broken", ["_memory_apart", "_only_sums"])
def test_canary_an_analysis_that_sees_no_harm(broken, tmp_path, monkeypatch):
    honest = getattr(_trips, broken)

    def careless(found):
        honest(found)
        return True

    monkeypatch.setattr(_trips, broken, careless)
    wrong = 0
    for seed in range(60):
        f = loaded(random_stencil(random.Random(seed)), tmp_path)
        try:
            found, plain, _ = with_and_without(f, monkeypatch)
            wrong += not close(found, plain)
        except Exception:
            wrong += 1
    assert wrong


def test_canary_parts_in_any_order(tmp_path, monkeypatch):
    monkeypatch.setattr(_any_order, "_ordered", lambda trips, parts: parts[::-1])
    wrong = 0
    for seed in range(150):
        found, plain, _ = with_and_without(loaded(random_stencil(random.Random(seed)), tmp_path), monkeypatch)
        wrong += not close(found, plain)
    assert wrong
