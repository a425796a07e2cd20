"""Elements of small arrays that are known where they are read: the arrays are not needed."""

import numpy as np
import pytest
from native_check import check, native

from torchflux_zygote._native._emit import source


def of_few(x, y):
    u = np.array([x, y])
    a, b = u
    k = np.array([a * u[1], u[-1] - b])
    return k[0] * k[1]


def changed(x, y):
    u = np.array([x, y, x])
    u[0] = u[1] * 3.0
    u[1] = u[0] + u[-1]
    return u[0] * u[1]


def by_a_variable(x, y, i):
    u = np.array([x, y])
    u[i] = u[0] * y
    return u[0] * u[1]


def in_a_branch(x, y):
    u = np.array([x, y])
    if x > 0.0:
        u[0] = 2.0 * y
    return u[0] * u[1]


def in_a_loop(x, y):
    u = np.array([x, y])
    for i in range(2):
        u[0] = u[0] * u[1] + u[i]
    return u[0]


@pytest.mark.parametrize("f", [of_few, changed])
def test_no_array_is_left(f):
    text = native(f).source(0.3, 0.7)
    assert "zeros" not in text
    assert "[" not in text
    assert "zeros" not in native(f).source(0.3, 0.7, mode="reverse")


@pytest.mark.parametrize("args", [(of_few, 0.3, 0.7), (changed, 0.3, 0.7), (by_a_variable, 0.3, 0.7, 1),
                                  (by_a_variable, 0.3, 0.7, 0), (in_a_branch, 0.3, 0.7), (in_a_branch, -0.3, 0.7),
                                  (in_a_loop, 0.3, 0.7)])  # fmt: skip
def test_values_and_derivatives(args):
    check(args[0], *args[1:])


def test_what_is_not_known_is_read():
    for f, args in ((by_a_variable, (0.3, 0.7, 1)), (in_a_branch, (0.3, 0.7)), (in_a_loop, (0.3, 0.7))):
        assert "[0]" in native(f).source(*args)


def test_an_element_beyond_the_end_is_an_error():
    with pytest.raises(IndexError, match="out of bounds"):
        native(lambda x: np.array([x, x])[2])(1.0)


def test_numbers_of_32_bits():
    f = native(of_few)
    special, _ = f.specialised((np.float32(0.3), np.float32(0.7)))
    assert str(special.operation.results[0]) == "float32"
    assert "zeros" not in source(special.program)
