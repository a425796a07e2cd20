"""The generated code parses, is structured, and reads like the rule that it applies."""

import ast
import math

from torchflux_zygote import adjoint_source, gradient, pushforward_source


def power(x, n):
    y = 1.0
    for i in range(n):  # noqa: B007
        y = y * x
    return y


def bounce(x):
    if x > 0:
        y = math.sin(x)
    else:
        y = x * x
    return y


def scaled(xs, c):
    for i in range(len(xs)):
        xs[i] *= c
    return sum(xs)


def test_a_loop():
    assert adjoint_source(power) == POWER


def test_a_branch():
    assert adjoint_source(bounce) == BOUNCE


def test_a_change_in_place():
    assert adjoint_source(scaled) == SCALED


def test_forward_mode():
    assert pushforward_source(power) == POWER_FORWARD


def test_the_source_is_python():
    for f in (power, bounce, scaled):
        ast.parse(adjoint_source(f))
        ast.parse(pushforward_source(f))


def test_a_function_whose_globals_change_is_seen():
    global FACTOR
    FACTOR = 2.0
    assert gradient(using_factor, 3.0) == (2.0,)
    FACTOR = 5.0
    assert gradient(using_factor, 3.0) == (5.0,)


FACTOR = 1.0


def using_factor(x):
    return x * FACTOR


POWER = """\
def power_pullback(x, n):
    y = 1.0
    t1 = range(n)
    trips1 = []
    for i in t1:
        y, back1 = pull(mul, y, x)
        trips1.append(back1)

    def back(y_bar):
        x_bar = None
        for back1 in reversed(trips1):
            y_bar, dx = back1(y_bar)
            x_bar = accum(x_bar, dx)
        return (x_bar, None)
    return (y, back)"""
BOUNCE = """\
def bounce_pullback(x):
    t1 = x > 0
    if t1:
        y, back1 = pull(math.sin, x)
    else:
        y, back2 = pull(mul, x, x)

    def back(y_bar):
        if t1:
            [x_bar] = back1(y_bar)
        else:
            x_bar, dx = back2(y_bar)
            x_bar = accum(x_bar, dx)
        return (x_bar,)
    return (y, back)"""
SCALED = """\
def scaled_pullback(xs, c):
    t1 = len(xs)
    t2 = range(t1)
    trips1 = []
    for i in t2:
        t3, back1 = pull(getitem, xs, i)
        t3, back2 = pull(imul, t3, c)
        back3 = pull(setitem, xs, i, t3)[1]
        trips1.append((back1, back2, back3))
    t4, back4 = pull(sum, xs)

    def back(t4_bar):
        [xs_bar] = back4(t4_bar)
        c_bar = None
        for back1, back2, back3 in reversed(trips1):
            dx, _, t3_bar = back3(None)
            xs_bar = accum(xs_bar, dx)
            t3_bar, dx = back2(t3_bar)
            c_bar = accum(c_bar, dx)
            dx, _ = back1(t3_bar)
            xs_bar = accum(xs_bar, dx)
        return (xs_bar, c_bar)
    return (t4, back)"""
POWER_FORWARD = """\
def power_pushforward(push, args, dots):
    x, n = args
    x_dot, n_dot = dots
    y = 1.0
    y_dot = None
    t1 = range(n)
    for i in t1:
        y, y_dot = push(mul, (y, x), (y_dot, x_dot))
    return (y, y_dot)"""
