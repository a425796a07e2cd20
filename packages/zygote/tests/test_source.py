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


def powers(x, n):
    y = 1.0
    for i in range(n):  # noqa: B007
        y = y * x
        yield y


def dotted(xs, c):
    y = 0.0
    for x in xs:
        y += x * c
    return y


def test_a_loop():
    assert adjoint_source(power) == POWER


def test_a_branch():
    assert adjoint_source(bounce) == BOUNCE


def test_a_change_in_place():
    assert adjoint_source(scaled) == SCALED


def test_a_generator():
    assert adjoint_source(powers) == POWERS
    assert pushforward_source(powers) == POWERS_FORWARD


def test_a_loop_over_an_iterator():
    assert adjoint_source(dotted) == DOTTED


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
POWERS = """\
def powers_pullback(x, n):
    tape1 = Tape()

    def back(_):
        x_bar = None
        y_bar = None
        for step, undo in reversed(tape1):
            if step == 1:
                y_bar = None
            if step == 2:
                y_bar, dx = undo(y_bar)
                x_bar = accum(x_bar, dx)
            if step == 3:
                dx = (yield)
                y_bar = accum(y_bar, dx)
        return (x_bar, None)
    yield (tape1, back)
    y = 1.0
    tape1.log(1, None)
    t1 = range(n)
    for i in t1:
        y = tape1.pull(2, mul, y, x)
        tape1.log(3, None)
        yield y
    return None"""
POWERS_FORWARD = """\
def powers_pushforward(push, args, dots):
    x, n = args
    x_dot, n_dot = dots
    y = 1.0
    y_dot = None
    t1 = range(n)
    for i in t1:
        y, y_dot = push(mul, (y, x), (y_dot, x_dot))
        yield (y, y_dot)
    return (None, None)"""
DOTTED = """\
def dotted_pullback(xs, c):
    y = 0.0
    steps1, back1 = pull(each, xs)
    trips1 = []
    for x, step1 in steps1:
        t1, back2 = pull(mul, x, c)
        y, back3 = pull(iadd, y, t1)
        trips1.append((step1, back2, back3))

    def back(y_bar):
        back1.end()
        c_bar = None
        for step1, back2, back3 in reversed(trips1):
            y_bar, t1_bar = back3(y_bar)
            x_bar, dx = back2(t1_bar)
            c_bar = accum(c_bar, dx)
            step1(x_bar)
        [xs_bar] = back1(None)
        return (xs_bar, c_bar)
    return (y, back)"""
