"""`ignore`, `checkpointed` and rules of one's own in native code: as on the Python route, or refused."""

import math

import numpy as np
import pytest

from torchflux_zygote import adjoint, checkpointed, gradient, hook, ignore, native
from torchflux_zygote._native._entries import Refused


def weighted(x, n):
    """Numbers, calls, tuples, integers and loops."""
    w, (a, b) = ignore(x), ignore(lambda y: (y, math.sin(y)), x)
    for _ in range(n):
        w = w * 0.5 + ignore(math.exp, x) * a
    return w * x * b + ignore(n) * x


def by_hand(x, n):
    """The derivative: what is ignored stands still."""
    w = x
    for _ in range(n):
        w = w * 0.5 + math.exp(x) * x
    return w * math.sin(x) + n


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_ignore(mode):
    f = native(weighted)
    assert f(0.7, 3) == pytest.approx(weighted(0.7, 3), rel=1e-14)
    assert f.gradient(0.7, 3, mode=mode) == (pytest.approx(by_hand(0.7, 3), rel=1e-14), None)
    assert gradient(weighted, 0.7, 3)[0] == pytest.approx(by_hand(0.7, 3), rel=1e-14)
    slope = (weighted(0.7 + 1e-6, 3) - weighted(0.7 - 1e-6, 3)) / 2e-6
    assert abs(slope - by_hand(0.7, 3)) > 1  # canary: the derivative of all of it is another one


def test_second_derivatives_of_what_is_ignored_are_zero():
    assert native(lambda x: x * x * ignore(x)).hessian(3.0) == 6.0


def test_ignore_of_an_array_is_refused():
    with pytest.raises(Refused, match=r"ignore\(\) of an array.*ignore\(x\[i\]\)"):
        native(lambda x: (x * ignore(x)).sum())(np.ones(3))
    assert native(lambda x: x[0] * ignore(x[1])).gradient(np.array([2.0, 3.0]))[0].tolist() == [3, 0]


def test_checkpointed_is_a_call():
    assert native(lambda x: checkpointed(math.sin, x)).gradient(0.5) == (pytest.approx(math.cos(0.5)),)


def test_hooks_are_refused():
    """Native code once read through them, and lost what they do."""
    with pytest.raises(Refused, match=r"hook\(\); look at cotangents on the Python route"):
        native(lambda x: hook(lambda bar: -bar, x) ** 2)(3.0)


@adjoint
def reversed_gradient(x):
    return x, lambda bar: -bar


def doubled(x):
    return 2 * x


@adjoint(of=doubled)
def _doubled(x):
    return 2 * x, lambda bar: 0.0 * bar


@pytest.mark.parametrize("f", [reversed_gradient, doubled])
def test_a_rule_of_ones_own_is_refused(f):
    with pytest.raises(Refused, match=f"{f.__name__}, which has a derivative of its own"):
        native(lambda x: f(x) * 3)(1.0)
