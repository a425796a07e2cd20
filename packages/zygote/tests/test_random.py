"""Random programs against Python, differences, forward mode and torch; the command for many more is in programs.py."""

import math
import random

import numpy as np
import pytest

from torchflux_zygote import gradient, pushforward
from torchflux_zygote._registry import PULL

from .programs import Mismatch, arguments, attempt, examine, generate, shared

COUNT = 60


def programs(seeds):
    for seed in seeds:
        rng = random.Random(seed)
        yield generate(rng), arguments(rng)


def test_random_programs():
    """Few are refused or wild; torch and differences both have their say."""
    found = [attempt(*program, second=i % 15 == 0) for i, program in enumerate(programs(range(COUNT)))]
    assert [outcome for outcome in found if outcome.kind == "fails"] == []
    assert sum(outcome.kind == "agrees" for outcome in found) > 0.9 * len(found)
    assert sum(outcome.smooth for outcome in found) > 0.9 * len(found)
    assert sum(outcome.torch for outcome in found) > 0.6 * len(found)


def test_random_programs_have_everything():
    """The generator reaches every construct that it knows."""
    text = "".join(program for program, _ in programs(range(600)))
    for part in (
        *("for ", "while ", "break", "continue", "else:", "def f", "nonlocal", "lambda", "try:", "except", "finally"),
        *("raise", "stops(", "helper(", "climb(", ".append(", ".insert(", ".pop(", "del ", ".sort()", ".reverse()"),
        *(".update(", ".setdefault(", ".items()", "{**", "|=", "[*", "**d", "State(", ".mean", ".add(", "setattr("),
        *(".copy_(", ".add_(", "[[0, 2]]", ".view(", ".expand(", "torch.where", "torch.stack", "zip(", "enumerate("),
        *("steps(", "endless("),
    ):
        assert part in text, part


def test_a_wrong_rule_is_found(monkeypatch):
    """Of many programs that use it, and the one that is shown is small."""
    known = PULL[math.cos]

    def wrong(x):
        y, back = known(x)
        return y, lambda bar: back(None if bar is None else 1.01 * bar)

    monkeypatch.setitem(PULL, math.cos, wrong)
    failed = []
    for text, args in programs(range(40)):
        if "math.cos(" in text and attempt(text, args, False).kind == "fails":
            failed.append((text, args))
    assert len(failed) > 3
    text, args = min(failed, key=lambda program: len(program[0]))
    why = attempt(text, args, False).why
    small = shared.shrink(text, lambda t: attempt(t, args, False, 5.0).why == why)
    assert "math.cos(" in small
    assert len(small) < len(text)
    with pytest.raises(Mismatch):
        examine(small, args)


# What random programs have found, reduced.


def tensor_of_numbers_changed(x):
    import torch

    t = torch.tensor([x, 2.0 * x, 3.0], dtype=torch.float64)
    t[1] = 0.2
    return (t @ t).item()


def array_of_a_number_changed(x):
    a = np.array(x)
    a[...] = a * 3.0
    return float(a * a)


def one_name_twice(x):
    x, x = x * 0.5, x * x
    return x


def changed_while_iterated(x):
    a, b = np.array([x, 2 * x, 3 * x]), np.array([x * x, 1.0, x])
    for v, w in zip(a, b, strict=True):
        b[1] = v * w
        a, b = b, a
    return b @ b + a @ a


def changed_through_what_repeats(x):
    import torch

    t = torch.tensor([x, 2.0 * x], dtype=torch.float64)
    t.copy_(t.expand(3, 2).mean(0) * t)
    a = np.array([x, 2.0 * x])
    a[:] = np.broadcast_to(a, (3, 2)).sum(axis=0) * a
    return (t @ t).item() + a @ a


def memory_used_again(x):
    total = 0.0
    for i in range(6):
        a = np.full(64, x)
        a += i
        b = np.full(64, x * 2.0)
        total = total + a @ b
    return total


def many_steps(x):
    try:
        y = x
        y = y + x * 1.0
        y = y + x * 2.0
        y = y + x * 3.0
        y = y + x * 4.0
        y = y + x * 5.0
        y = y + x * 1.0
        y = y + x * 2.0
        y = y + x * 3.0
        y = y + x * 4.0
        y = y + x * 5.0
        y = y + x * 1.0
        y = y + x * 2.0
        y = y + x * 3.0
        y = y + x * 4.0
        y = y + x * 5.0
        y = y + x * 1.0
        y = y + x * 2.0
        y = y + x * 3.0
        y = y + x * 4.0
        y = y + x * 5.0
        y = y + x * 1.0
        y = y + x * 2.0
        y = y + x * 3.0
        y = y + x * 4.0
        y = y + x * 5.0
        y = y + x * 1.0
        y = y + x * 2.0
        y = y + x * 3.0
        y = y + x * 4.0
        y = y + x * 5.0
        y = y + x * 1.0
        y = y + x * 2.0
        y = y + x * 3.0
        y = y + x * 4.0
        y = y + x * 5.0
        y = y + x * 1.0
        y = y + x * 2.0
        y = y + x * 3.0
        y = y + x * 4.0
        y = y + x * 5.0
    except ValueError:
        y = 0.0
    return y * y


@pytest.mark.parametrize(
    "f",
    [
        *(tensor_of_numbers_changed, array_of_a_number_changed, one_name_twice, changed_while_iterated),
        *(changed_through_what_repeats, memory_used_again, many_steps),
    ],
)
def test_found_by_random_programs(f):
    expected = (f(0.7 + 1e-6) - f(0.7 - 1e-6)) / 2e-6
    assert gradient(f, 0.7)[0] == pytest.approx(expected, rel=1e-7)
    assert pushforward(f, 0.7)(1.0) == pytest.approx(expected, rel=1e-7)
