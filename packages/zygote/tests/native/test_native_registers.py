"""Elements that are added to: as one addition, and in a variable where a backward loop adds to the same one."""

import math
import re

import numpy as np
import pytest
from native_check import check, copied, interpreted, operation, vector

from torchflux_zygote._native import _any_order, _augmented, _registers
from torchflux_zygote._native._emit import source

A, B = np.array([0.7, -1.2, 0.3, 0.4]), np.array([0.5, 1.1, -0.4, 0.8])


def texts(f, *args):
    """The text of the value and of reverse mode."""
    op, _, _ = operation(f, *args)
    return source(op.program), source(op.reverse.program)


# Additions.


def subtracts(a, b):
    a = a.copy()
    for i in range(a.shape[0]):
        a[i] -= b[i] * b[0]
        a[0] = math.sin(b[i]) + a[0]
        a[1] = a[1] - a[2] * b[i]
    return a[0] * a[1] + a[2]


def reads_it_twice(a, b):
    a = a.copy()
    for i in range(a.shape[0]):
        x = a[i]
        a[i] = x - b[i]
        a[0] = a[0] * x
    return a[0] * a[1]


def stores_in_between(a, b):
    a = a.copy()
    for i in range(1, a.shape[0]):
        x = a[i]
        a[i - 1] = b[i]
        a[i] = 2.0 * b[i]
        a[i] = x - b[i] * a[i - 1]
    return a[0] * a[1] + a[3]


def another_element(a, b):
    a = a.copy()
    for i in range(1, a.shape[0]):
        a[i] = a[i - 1] - b[i]
    return a[3] * a[1]


def from_the_other_side(a, b):
    a = a.copy()
    for i in range(a.shape[0]):
        a[i] = b[i] - a[i]
        a[i] = a[i] + a[i]
    return a[3] * a[1]


def narrow(a, b):
    a = a.astype(np.float32)
    for i in range(a.shape[0]):
        a[i] -= b[i] * 0.1
    return a[3] * a[1] + 1.0


ADDITIONS = [subtracts]
OTHERS = [reads_it_twice, stores_in_between, another_element, from_the_other_side]


@pytest.mark.parametrize("f", ADDITIONS + OTHERS)
def test_gradients(f):
    check(f, A, B, torch_twin=True)


@pytest.mark.parametrize("f", [subtracts, stores_in_between])
def test_compiled(f):
    check(f, A, B, second=False, compiled=True)


def test_a_difference_of_an_element_is_an_addition():
    value, reverse = texts(subtracts, A, B)
    assert value.count("-=") == 2
    assert value.count("+=") == 1
    assert "= 0.0\n" not in reverse.split("for k", 1)[1]


@pytest.mark.parametrize("f", [another_element, stores_in_between])
def test_the_rest_stays_a_store(f):
    assert not re.search(r"\] [-+]= ", texts(f, A, B)[0])


def test_bits_are_those_of_python():
    rng = np.random.default_rng(0)
    for _ in range(50):
        a, b = rng.normal(size=(2, 4)) * 10.0 ** rng.integers(-9, 9, size=(2, 4))
        op, values, _ = operation(subtracts, a, b)
        assert interpreted(source(op.program), "subtracts")(*copied(tuple(values))) == subtracts(a, b)


def test_float32_stays_as_narrow():
    check(narrow, A, B, second=False, rtol=1e-3)


# In a variable.


def powers(a, b):
    s = 1.0
    for i in range(a.shape[0]):
        k = i + 2
        while k > 0:
            k -= 1
            s = math.sin(s * a[i]) * b[0] + b[k % 2]
    return s


def pairs(a, b):
    c = np.zeros(a.shape[0])
    for i in range(a.shape[0]):
        for j in range(i):
            c[i] += math.sin(a[i] * a[j]) * b[0]
            c[j] -= a[i] * b[j]
    s = 0.0
    for i in range(a.shape[0]):
        s += c[i] * c[i] * c[0]
    return s


def read_as_well(a, b):
    a = a.copy()
    for i in range(1, a.shape[0]):
        a[0] = a[0] * b[i] + b[0]
        a[i] += a[0] * b[0]
    return a[0] * a[3]


def shifted(a, b):
    s = 0.1
    for j in range(1, 3):
        for i in range(a.shape[0]):
            s = math.sin(s * a[j + 1]) + a[j - 1] * b[i]
    return s


@pytest.mark.parametrize("f", [powers, pairs, read_as_well, shifted])
def test_gradients_of_shared_elements(f):
    check(f, A, B)
    check(f, A, B, second=False, torch_twin=True)


@pytest.mark.parametrize("f", [powers, pairs, shifted])
def test_compiled_too(f):
    check(f, A, B, second=False, compiled=True)


def test_an_element_is_stored_once():
    reverse = texts(powers, A, B)[1]
    inner = reverse[reverse.index("for k_2") :]
    assert re.search(r"\n            b_bar_1 = b_bar_1 \+ ", inner)
    assert re.search(r"\n        b_bar\[0\] \+= b_bar_1\n", inner)
    assert re.search(r"\n        a_bar\[k_2\] \+= a_bar_1\n", inner)


def test_no_loop_that_reads_the_cotangent_is_touched():
    reverse = texts(read_as_well, A, B)[1]
    assert not re.search(r"a_bar_\d = 0.0", reverse)


@pytest.mark.parametrize("f", [powers, pairs, read_as_well, shifted])
def test_the_same_numbers_as_without(f, monkeypatch):
    op, values, _ = operation(f, A, B)
    run = lambda: vector(list(interpreted(source(op.reverse.program), op.reverse.program.name)(*values, 1.0)))
    found = run()
    monkeypatch.setattr(_any_order, "in_registers", lambda *_: None)
    assert np.allclose(found, run(), rtol=1e-13, atol=0.0)


def test_canary_an_index_that_moves(monkeypatch):
    honest = _registers._there
    monkeypatch.setattr(_registers, "_there", lambda base, shift, into: honest(base, shift and shift + 1, into))
    with pytest.raises((AssertionError, IndexError)):
        check(shifted, A, B, second=False)


def test_canary_a_store_in_between(monkeypatch):
    monkeypatch.setattr(_augmented, "_read_for", lambda item, store: getattr(item, "name", "") == "load")
    with pytest.raises(AssertionError):
        check(stores_in_between, A, B, second=False)
