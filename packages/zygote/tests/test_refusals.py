"""What is refused says where, what was found and what to write; and what is loud elsewhere isn't silent here."""

import math
import re
import zlib

import numpy as np
import pytest
import torch

from torchflux_syntax import Unsupported
from torchflux_zygote import Refused, checkpointed, gradient, pushforward

HERE = re.escape(__file__.rsplit("/", 1)[-1])


def of_c(x):
    return math.nextafter(x, 2.0)


def of_builtin_class(x):
    return float(bytearray([int(x)])[0]) * memoryview(x)


def of_set(x):
    return sum({x, 2 * x})


def of_keys(x):
    return sum({x: 1})


def of_out(x):
    return np.add(x, 1.0, out=x).sum()


def of_global(x):
    global STORED
    STORED = x
    return STORED * x


def of_zip_given_away(x):
    return np.fromiter(map(math.sin, [x]), float).sum()


def of_grad_attribute(x):
    x.shape = (3, 1)
    return x.sum()


def of_scanned_list(x):
    return np.nditer([x])


REFUSED = [
    (of_c, 1.0, "math.nextafter"),
    (of_set, 1.0, "a set of numbers"),
    (of_keys, 1.0, "iteration over a dict"),
    (of_out, np.ones(3), "numpy.add with these options"),
    (of_zip_given_away, 1.0, "fromiter|iterator"),
    (of_grad_attribute, np.ones(3), "setting the attribute 'shape'"),
]


@pytest.mark.parametrize(("f", "x", "found"), REFUSED, ids=lambda p: getattr(p, "__name__", ""))
def test_refused_with_place_and_advice(f, x, found):
    with pytest.raises(Refused, match=found) as caught:
        gradient(f, x)
    assert re.search(rf"{HERE}:\d+:\d+: ", str(caught.value)), caught.value
    assert caught.value.advice


@pytest.mark.parametrize(("f", "found"), [(of_global, "global")])
def test_refused_by_the_front_end(f, found):
    with pytest.raises(Unsupported, match=found) as caught:
        gradient(f, 1.0)
    assert re.search(rf"{HERE}:\d+:\d+: ", str(caught.value))


def test_a_c_function_of_constants_is_a_constant():
    assert gradient(lambda x: x * zlib.crc32(b"abc"), 2.0) == (float(zlib.crc32(b"abc")),)


def test_results_that_have_no_gradient():
    with pytest.raises(TypeError, match="a gradient needs a number to start from"):
        gradient(lambda x: "no", 1.0)
    with pytest.raises(ValueError, match="a gradient is of one real number"):
        gradient(lambda x: x * torch.ones(2), 1.0)
    with pytest.raises(ValueError, match=r"complex|real number"):
        gradient(lambda x: x * 1j, 1.0)


def test_errors_of_the_program_are_its_own():
    with pytest.raises(ZeroDivisionError):
        gradient(lambda x: 1 / (x - x), 1.0)
    with pytest.raises(ValueError, match=r"math domain error|nonnegative"):
        gradient(math.sqrt, -1.0)
    with pytest.raises(IndexError):
        gradient(lambda xs: xs[3], [1.0])


def test_a_tensor_on_the_tape_is_refused():
    x = torch.ones(2, requires_grad=True) * 2
    with pytest.raises(TypeError, match="PyTorch's tape"):
        gradient(lambda t: t.sum(), x)


def test_a_change_that_leaves_a_checkpoint_is_refused():
    def f(x):
        kept = []

        def step(z):
            kept.append(z * z)
            return z

        return checkpointed(step, x) * kept[0]

    with pytest.raises((Refused, NotImplementedError), match="changed inside a nested gradient or checkpoint"):
        gradient(f, 2.0)


def test_forward_mode_of_a_gradient_that_changes_its_argument_is_refused():
    def changes(xs):
        xs[0] = xs[0] * 2
        return xs[0] * xs[1]

    with pytest.raises(Refused, match="changes its arguments"):
        pushforward(lambda xs: gradient(changes, xs)[0][1], [1.0, 2.0])([1.0, 0.0])


@pytest.mark.parametrize("f", [np.sum, np.mean, np.sin, np.max, np.linalg.norm, lambda xs: np.add(xs, xs).sum()])
def test_numpy_functions_of_lists_are_refused(f):
    with pytest.raises((Refused, TypeError, AttributeError)):
        gradient(lambda x: np.sum(np.array(f([x, 2 * x]))), 2.0)
    with pytest.raises((Refused, TypeError, AttributeError)):
        pushforward(lambda x: np.sum(np.array(f([x, 2 * x]))), 2.0)(1.0)
