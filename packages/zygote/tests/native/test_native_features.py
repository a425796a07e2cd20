"""Every construct: the value is Python's; both modes' gradients and the second derivatives are finite differences."""

# ruff: noqa: B007, B905, C417, F841 -- the functions are what is tested

import functools
import math
import operator

import numpy as np
import pytest
from native_check import check

A = np.array([0.7, -1.2, 2.3, 0.4])
B = np.array([1.5, 0.3, -0.8, 1.1])
M = np.array([[1.2, -0.4, 0.3], [0.5, 1.7, -0.2], [-0.1, 0.6, 2.1]])
R = np.array([[0.2, 1.4, -0.7], [0.9, -0.3, 0.5]])
V = np.array([0.6, -0.9, 1.3])
W, W6, EYE = np.arange(1.0, 5.0), np.arange(6.0), np.eye(3)

FEATURES = []


def feature(*args, **options):
    """A function and arguments to check it with; several decorators, several sets of arguments."""

    def enter(f):
        n = sum(1 for g, _, _ in FEATURES if g is f)
        label = f"{f.__name__}-{n}" if n else f.__name__
        FEATURES.append((f, args, options))
        IDS.append(label)
        return f

    return enter


IDS: list[str] = []

# Branches.


@feature(1.3, 0.4)
@feature(-1.3, 0.4)
def if_else(x, y):
    if x > 0.0:
        z = x * y
    else:
        z = x - y * y
    return z * x


@feature(1.3, 0.4, torch_twin=True)
@feature(-0.7, 0.4, torch_twin=True)
@feature(0.2, 0.4, torch_twin=True)
def if_elif_else(x, y):
    if x > 1.0:
        z = math.sin(x) * y
    elif x > 0.0:
        z = math.exp(y) * x
    else:
        z = y / x
    return z * z


@feature(1.0, 2.0)
@feature(1.0, -2.0)
def both_branches_share_a_cotangent(x, y):
    if y > 0.0:
        z = x + y
    else:
        z = x
    return 2.0 * z


@feature(1.5, 0.5)
def comprehensions_over_tuples(x, y):
    doubled = [2.0 * a * y for a in (x, y)]
    table = [[a * b for b in doubled] for a in (x, y, 3.0)]
    return sum(a * b for a, b in zip((x, y), doubled)) + table[2][1] * len([a for row in table for a in row])


@feature(1.5, 0.5)
def a_list_that_a_loop_over_a_tuple_fills(x, y):
    total = 0.0
    for k in range(3):
        powers = []
        for a in (x, y):
            if k < 5:
                a = a * x
            powers.append(a**2)
        total += powers[0] * powers[1] * k
    return total


@feature(1.5)
@feature(-1.5)
def if_without_else(x):
    y = x * x
    if x > 0.0:
        y = y * 3.0 + x
    return math.sin(y)


@feature(1.5, 0.5)
@feature(-1.5, 0.5)
@feature(-1.5, -0.5)
def nested_ifs(x, y):
    z = x
    if x > 0.0:
        if y > 0.0:
            z = x * y
        z = z + y
    else:
        if y > 0.0:
            z = y**3
        else:
            z = x * x * y
    return z * y


@feature(1.5)
@feature(-1.5)
def name_bound_on_one_path(x):
    if x > 0.0:
        scale = 3.0 * x
    y = x * x
    if x > 0.0:
        y = y * scale
    return y


@feature(0.5, True)
@feature(0.5, False)
def name_bound_under_a_flag(x, flag):
    if flag:
        z = math.cos(x)
    if not flag:
        z = math.sin(x)
    return z * z


@feature(0.5, 1)
@feature(0.5, 2)
@feature(0.5, 7)
def match_by_integers(x, n):
    if n == 1:
        return x
    if n == 2:
        return x * x
    return math.exp(x)


@feature(0.5)
@feature(1.5)
@feature(2.5)
def early_returns(x):
    if x < 1.0:
        return x**2
    y = math.log(x)
    if x < 2.0:
        return y * x
    return y + x


@feature(0.5, 1.5)
@feature(1.5, 0.5)
def ternary(x, y):
    z = x * y if x > y else x + y
    return z * (x if x < 1.0 else y)


@feature(0.5, 1.5)
@feature(-0.5, 1.5)
def short_circuit(x, y):
    if x > 0.0 and y / x > 1.0:
        return y / x
    if x > 0.0 or y > 1.0:
        return x * y * y
    return x


@feature(0.5, 1.5, 2.5)
@feature(1.5, 0.5, 2.5)
@feature(1.5, 3.5, 2.5)
def chained_comparison(x, y, z):
    if x < y < z:
        return x * y * z
    if x < y >= z:
        return x + y * z
    return x - y - z


@feature(0.5)
@feature(1.5)
def walrus(x):
    if (y := x * x) > 1.0:
        return y * x
    return y + x


@feature(0.55, 3)
def walrus_in_while(x, n):
    total, k = 0.0, 0
    while (y := x * k) < n:
        total += y * y
        k += 1
    return total + y


@feature(0.5, 2.0)
@feature(-0.1, 2.0)
def value_of_and_or(x, y):
    z = (x > 0.0 and y > 1.0) or y > 5.0
    return x * y if z else y * y


@feature(0.7, 0.2)
def not_and_bools(x, y):
    big = x > 0.5
    both = big and not y > 0.5
    return x * y * both + big


@feature(0.7)
def pass_and_docstring(x):
    """Does little."""
    return x * x


@feature(1.7)
def assert_and_raise(x):
    assert x > 0.0, "positive"
    if x > 100.0:
        raise ValueError(f"{x} is too large")
    return math.sqrt(x)


@feature(1.7)
@feature(-1.7)
def branch_gives_a_constant(x):
    y = 0.0 if x < 0.0 else x * x
    return y + 2.0


@feature(1.7, 0.3)
@feature(-1.7, 0.3)
def relu_clip(x, y):
    return max(x, 0.0) * 2.0 + min(y, x, 0.1) * 3.0 + max(0.0, min(1.0, y))


@feature(0.4, 0.8)
def unused_branch_result(x, y):
    if x > y:
        w = x * 100.0
        z = x
    else:
        w = y * 3.0
        z = y * y
    return z * x


# Loops.


@feature(1.1, 5, torch_twin=True)
@feature(1.1, 0)
@feature(1.1, 1)
def for_range(x, n):
    y = x
    for _ in range(n):
        y = y * x + 1.0
    return y


@feature(0.9, 2, 9, 3)
@feature(0.9, 9, 2, -2)
@feature(0.9, 5, 5, 1)
@feature(0.9, 5, 2, 1)
@feature(0.9, -3, 4, 2)
def for_range_with_steps(x, a, b, c):
    y = 1.0
    for i in range(a, b, c):
        y = y * math.sin(x * i + 0.5) + x
    return y


@feature(1.1)
def for_constant_range(x):
    y = 0.0
    for i in range(4):
        y += x**i
    return y


@feature(1.1, 6)
def loop_variable_afterwards(x, n):
    i = 0
    for i in range(n):
        x = math.sin(x)
    return x * i


@feature(1.1, 6)
def reversed_range(x, n):
    y = 0.0
    for i in reversed(range(1, n)):
        y = y * 0.5 + math.cos(x * i)
    return y


@feature(1.7, torch_twin=True)
@feature(0.3)
def while_loop(x):
    y = x
    while y < 10.0:
        y = y * (1.2 + 0.1 * x)
    return y * x


@feature(27)
@feature(1)
def collatz(n):
    steps = 0
    while n != 1:
        if n % 2 == 0:
            n = n // 2
        else:
            n = 3 * n + 1
        steps += 1
    return steps


@feature(2.0)
def newton(x):
    y = x
    while abs(y * y - x) > 1e-13:
        y = 0.5 * (y + x / y)
    return y


@feature(0.7, 10)
def break_out_of_for(x, n):
    y = 0.0
    for i in range(n):
        y = y + x * x
        if y > 2.0:
            y = y * x
            break
        y = y + 0.01 * i * x
    return y


@feature(0.7, 10)
def continue_in_for(x, n):
    y = 1.0
    for i in range(n):
        if i % 3 == 1:
            continue
        y = y * x + i
        if y > 5.0:
            continue
        y = y + math.sin(x)
    return y


@feature(0.7)
def break_and_continue_in_while(x):
    y, k = x, 0
    while True:
        k += 1
        if k % 2:
            continue
        y = y * 1.5 + x
        if y > 20.0:
            break
        y = y + 0.1
    return y


@feature(0.7, 10)
@feature(0.1, 3)
def return_in_for(x, n):
    y = x
    for i in range(n):
        y = y * y + x
        if y > 3.0:
            return y * i
    return -y


@feature(0.7)
@feature(1.9)
def return_in_while(x):
    y = 1.0
    while y < 100.0:
        y = y * (1.0 + x)
        if y > 10.0:
            if x > 1.0:
                return y * x
            y = y + x
    return y


@feature(0.7, 5)
@feature(0.1, 3)
def for_else(x, n):
    y = x
    for _ in range(n):
        y = y + x * y
        if y > 2.0:
            break
    else:
        y = y * 10.0
    return y


@feature(0.7, 2.0)
@feature(0.7, 1e6)
def while_else(x, limit):
    y, k = x, 0
    while k < 6:
        y = y * (1.0 + x)
        if y > limit:
            break
        k += 1
    else:
        y = math.log(y)
    return y


@feature(0.6, 4, 3, torch_twin=True)
@feature(0.6, 0, 3)
@feature(0.6, 4, 0)
def nested_for(x, n, m):
    s = 0.0
    for i in range(n):
        t = x
        for j in range(m):
            t = t * x + math.sin(s + i * j)
        s = s + t * t
    return s


@feature(0.6, 4)
def triangular_loops(x, n):
    s = 0.0
    for i in range(n):
        for j in range(i):
            for k in range(j, i):
                s = s + math.sin(x * (i + j) + s) * k
    return s


@feature(0.6)
def while_in_while(x):
    s, outer = 0.0, 0
    while outer < 3:
        y = x
        while y < 2.0 + outer:
            y = y * 1.4 + 0.1 * s
        s = s + y * x
        outer += 1
    return s


@feature(0.6, 4)
def for_in_while_with_break(x, n):
    s = x
    while s < 5.0:
        for i in range(n):
            s = s * 1.1 + 0.05 * x * i
            if s > 4.0:
                break
        s = s + 0.3 * x
    return s


@feature(0.4, 6)
def if_in_loop(x, n):
    s = x
    for i in range(n):
        if s > 1.0:
            s = s * x
        elif i % 2 == 0:
            s = s + math.exp(x)
        else:
            t = s * s
            s = t - x
    return s


@feature(0.4, 3)
def loop_in_if(x, n):
    y = x
    if x > 0.0:
        for _ in range(n):
            y = y * x + 1.0
    else:
        while y < 1.0:
            y = y + 0.3
    return y * x


@feature(-0.4, 3)
@feature(0.4, 3)
def different_loops_in_branches_in_a_loop(x, n):
    s = x
    for i in range(n):
        if s * x > 0.1:
            for j in range(i + 1):
                s = s - 0.3 * x * j
        else:
            k = 0
            while k < 2:
                s = s * 0.5 + x
                k += 1
    return s


@feature(0.4, 5)
def value_before_the_loop_used_after(x, n):
    y = math.sin(x)
    z = y * x
    for _ in range(n):
        z = z * y
    return z + y * x


@feature(0.4, 5)
def int_becomes_float(x, n):
    y = 1
    for _ in range(n):
        y = y * x
    return y


@feature(0.4, 5)
def integer_counters(x, n):
    k, s = 0, 0.0
    for i in range(n):
        k = k + i * i - (i // 2)
        s += x * k
    return s / (k + 1)


@feature(0.4, 5)
def swaps_in_a_loop(x, n):
    a, b = x, 1.0
    for _ in range(n):
        a, b = b, a * b + x
    return a * b


@feature(0.4, 5)
def rotation_of_three(x, n):
    a, b, c = x, 1.0, x * x
    for _ in range(n):
        a, b, c = b, c, a + b * c
    return a + b * c


@feature(0.4, 4)
def tuple_carried(x, n):
    state = (x, (1.0, 0))
    for _ in range(n):
        p, (q, k) = state
        state = (p * q + x, (q + p, k + 1))
    return state[0] * state[1][0] + state[1][1]


@feature(0.4, 4)
def name_first_bound_in_the_loop(x, n):
    for i in range(n):
        last = x * i + math.sin(x)
    return last * x


@feature(0.4, 4)
def none_until_found(x, n):
    found = None
    for i in range(n):
        if x * i > 0.7 and found is None:
            found = x * i
    if found is None:
        return x
    return found * found


@feature(0.1, 4)
def none_never_found(x, n):
    found = None
    for i in range(n):
        if x * i > 0.7:
            found = x * i
            break
    return x if found is None else found * found


@feature(0.4, 3)
def carried_boolean(x, n):
    up = True
    y = x
    for _ in range(n):
        y = y * x if up else y + x
        up = not up
    return y


@feature(0.4)
def loop_over_a_tuple(x):
    s = 0.0
    for w in (1.0, x, x * x):
        s += math.sin(w) * x
    return s


@feature(0.4)
def loop_over_a_tuple_with_break(x):
    s = 0.0
    for w in (1.0, x, x * x, 3.0):
        s += math.sin(w) * x
        if s > 0.4:
            break
    else:
        s = 0.0
    return s


@feature(A, torch_twin=True)
@feature(np.zeros(0))
@feature(np.array([0.3]))
def loop_over_an_array(a):
    s = 1.0
    for x in a:
        s = s * math.cos(x) + x
    return s


@feature(M)
def loop_over_rows(m):
    s = 0.0
    for row in m:
        t = 1.0
        for x in row:
            t = t * x + 0.1
        s += t * t
    return s


@feature(A, B)
def loop_over_zip(a, b):
    s = 0.0
    for x, y in zip(a, b):
        s = s * 0.5 + x * math.sin(y)
    return s


@feature(A)
def loop_over_enumerate(a):
    s = 0.0
    for i, x in enumerate(a):
        s += x ** (i + 1)
    return s


@feature(A, B)
def loop_over_enumerate_zip(a, b):
    s = 0.0
    for i, (x, y) in enumerate(zip(a, b), 1):
        s += x * y * i
    return s


@feature(A)
def loop_over_reversed_array(a):
    s = 0.5
    for x in reversed(a):
        s = math.sin(s + x)
    return s


@feature(A)
def loop_over_a_slice(a):
    s = 0.5
    for x in a[1:-1]:
        s = s * x + x
    for x in a[::-2]:
        s = s * x + 0.3
    return s


@feature(A, 3)
def zip_of_range_and_array(a, n):
    s = 0.0
    for i, x in zip(range(1, n), a):
        s += x * x * i
    return s


@feature(0.3, 1000, second=False)
def long_loop(x, n):
    y = x
    for _ in range(n):
        y = y + 0.001 * math.sin(y)
    return y


# Calls.


def double(x):
    return 2.0 * x


def with_branch(x):
    if x > 1.0:
        return x * x
    return x + 1.0


def power(x, n=2, *, scale=1.0):
    y = scale
    for _ in range(n):
        y = y * x
    return y


def total(*xs):
    s = 0.0
    for x in xs:
        s = s + x * x
    return s


@feature(0.7)
def calls(x):
    return double(with_branch(x) * double(x)) + with_branch(2.0 * x)


@feature(0.7)
def defaults_and_keywords(x):
    return power(x) + power(x, 3) * power(x, scale=2.0) + power(n=1, x=x)


@feature(0.7, 0.2)
def star_arguments(x, y):
    pair = (x, y)
    return total() + total(x) + total(*pair, x * y)


@feature(0.7, 4)
def closure(x, n):
    def step(y):
        return y * x + 1.0

    y = 0.0
    for _ in range(n):
        y = step(y)
    return y


@feature(0.7)
def lambdas(x):
    square = lambda t: t * t
    return square(square(x) + x)


def apply_twice(f, x):
    return f(f(x))


@feature(0.7)
def recursion(x):
    return climb(x, 4) * climb(0.5, 2)


def climb(x, n):
    if n == 0:
        return x
    return math.sin(climb(x * x + 0.1, n - 1)) + x


def fold(a, k):
    if k == 0:
        return a[0]
    return a[k] * fold(a, k - 1) + 0.5


@feature(A)
def recursion_over_an_array(a):
    a[1] = a[1] * 2.0
    return fold(a, 3) * a[2]


@feature(0.7, 3)
def recursion_of_nested_functions(x, n):
    count = lambda k: x if k == 0 else count(k - 1) * x + 0.5

    def even(y, k):
        return y if k <= 0 else odd(y * x, k - 1) + even(y, k - 2)

    def odd(y, k):
        return 1.0 if k <= 0 else even(y + x, k - 1) * odd(y, k - 2)

    return count(n) * even(x, n)


@feature(0.7, 3)
@feature(0.2, 3)
def recursion_in_a_try(x, n):
    return cautious(x, n) * x


def cautious(x, n):
    if x < 0.0:
        raise ValueError
    try:
        return cautious(x - 0.3, n - 1) * x if n > 0 else x
    except ValueError:
        return 0.5 * x


@feature(0.7)
def higher_order(x):
    return apply_twice(math.sin, x) + apply_twice(lambda t: t * x, x) + apply_twice(double, x)


@feature(0.7)
def function_as_value_in_a_tuple(x):
    s = 0.0
    for f in (math.sin, math.cos, double):
        s += f(x) * x
    return s


@feature(0.7)
def map_reduce(x):
    squares = tuple(map(lambda t: t * t, (x, 2.0 * x, 3.0)))
    return functools.reduce(operator.mul, squares) + sum(squares)


@feature(0.7, 3)
def call_in_loop_with_return_in_loop(x, n):
    def search(limit):
        y = x
        for i in range(20):
            if y > limit:
                return y * (i + 1)
            y = y * 1.5
        return 0.0

    s = 0.0
    for k in range(n):
        s += search(1.0 + k)
    return s


@feature((0.7, 0.2), 3.0)
def tuple_argument(pair, x):
    a, b = pair
    return a * b * x + pair[0] * x


@feature(((0.7, 2), (0.3, A)))
def nested_tuple_argument(tree):
    (x, n), (y, a) = tree
    return x**n * y * a[n]


@feature(0.7, 0.3)
def many_results(x, y):
    return x * y, (math.sin(x), 3), x > y


@feature(A, 0.3)
def array_and_number_results(a, x):
    return a * x, a.sum(), 2


@feature(0.7, None)
@feature(0.7, 2.0)
def none_argument(x, scale):
    if scale is None:
        scale = 3.0
    return x * scale * x


@feature(0.7, "sin")
@feature(0.7, "cos")
def string_flag(x, kind):
    return math.sin(x) if kind == "sin" else math.cos(x)


@feature(0.7, math.tanh)
@feature(0.7, double)
def function_argument(x, f):
    return f(x) * x


@feature(0.7)
def star_unpacking(x):
    first, *rest = (x, x * x, 3.0)
    *start, last = (x, 2.0, x * 3.0)
    return first * rest[0] + rest[1] * last + start[1] * len(rest)


@feature(0.7)
def tuple_of_tuples(x):
    rows = ((1.0, x), (x * x, 2.0))
    s = 0.0
    for i in range(2):
        for j in range(2):
            s += rows[i][j] * (i + 2 * j + 1)
    return s


@feature(0.7, 3)
def integer_arithmetic(x, n):
    k = (n * 7 + 3) // 2 - n % 2 + (n << 2) - (n >> 1) + (n & 5) + (n | 8) + (n ^ 3) + ~n + n**2 + abs(-n)
    return x * k


@feature(0.7, -7, 3)
@feature(0.7, 7, -3)
@feature(0.7, -7, -3)
@feature(0.7, 7, 3)
def floor_division_and_remainder(x, a, b):
    q, r = divmod(a, b)
    return x * (a // b) + x * x * (a % b) + q * 100 + r


@feature(0.7, 2.9)
@feature(0.7, -2.9)
def conversions(x, y):
    return int(y) * x + float(int(y)) + bool(y) * x + round(y) * x + math.floor(y) + math.ceil(y) * x


@feature(2.7, 0.4)
@feature(-2.7, 0.4)
@feature(2.7, -0.4)
def float_remainder(x, y):
    return x % y * x + x // y


@feature(0.7)
def augmented(x):
    y = x
    y += x
    y *= x + 1.0
    y -= 0.3
    y /= x * x
    y **= 2
    return y


@feature(1.3)
def powers(x):
    return x**2 + x**3 + x**-1 + x**0.5 + 2.0**x + x**x + x**0 + x**-2.5 + 2**x


@feature(1.3, 3)
@feature(-1.3, 3)
@feature(-1.3, 2)
def integer_powers(x, n):
    return x**n + n**2 * x


@feature(0.3, 1.2)
def numbers_of_math(x, y):
    return (
        math.hypot(x, y)
        + math.atan2(x, y)
        + math.erf(x) * math.pi
        + math.degrees(x)
        + math.fabs(-y)
        + math.pow(y, x)
        + math.prod((x, y, 2.0))
    )


# Arrays: reading.


@feature(A, torch_twin=True)
def negative_indices(a):
    return a[-1] * a[0] + a[-2] ** 2 + a[1 - 3]


@feature(M, torch_twin=True)
def two_dimensional(m):
    return m[0, 1] * m[2][0] + m[-1, -1] * m[1, 2] + m[1][-1]


@feature(A, 1, 3)
@feature(A, 3, 1)
@feature(A, -3, 9)
def slices(a, i, j):
    return a[i:j].sum() * 2.0 + a[:i].sum() + a[j:].sum() * a[0] + (a[::2] ** 2).sum() + a[-2:].sum()


@feature(A)
def slice_steps(a):
    return (a[::-1] * W).sum() + a[1::2].sum() * a[3::-2].sum() + a[:-1:2].sum()


@feature(M)
def slices_of_matrices(m):
    return (m[:, 1] * m[0, :]).sum() + m[1:, :2].sum() ** 2 + m[..., 0].sum() * m[1].sum() + m[::-1, 0][0] * m.T[0, 1]


@feature(A, B, torch_twin=True)
def elementwise(a, b):
    c = a * b + a / (b * b + 1.0) - np.sin(a) * 2.0
    return (c * c - a).sum()


@feature(A)
def array_with_numbers(a):
    return ((2.0 - a) * 3 + a / 2 + 1 / (a * a + 1.0) + 2.0**a + a**2 - (-a)).sum()


@feature(M, V, torch_twin=True)
def broadcasting(m, v):
    return (m * v + v[:, None] * m - m / (v * v + 1.0)).sum() + (m + 1.0)[0, 1] * (v[None, :] * m)[1, 1]


@feature(M, V)
def broadcasting_into_rows(m, v):
    s = m * v
    s = s + v[:, None]
    t = s * np.sin(v[:, None] * v)
    return t.sum(axis=0) @ v + (t.sum(axis=1) * v).sum()


@feature(M, V, torch_twin=True)
def matrix_products(m, v):
    return (m @ v) @ v + (m @ m)[0, 1] + v @ (m @ (m.T @ v)) + (v @ m).sum() + np.dot(v, v) + np.dot(m, v)[0]


@feature(M, R)
def rectangular_products(m, r):
    return (r @ m @ r.T).sum() + (r.T @ r * m).sum()


@feature(M, V, rtol=1e-6, torch_twin=True)
def linear_algebra(m, v):
    x = np.linalg.solve(m, v)
    return x @ v + np.linalg.inv(m)[0, 1] * np.linalg.det(m) + np.linalg.norm(x - v)


@feature(M, R, rtol=1e-6)
def solve_for_many(m, r):
    x = np.linalg.solve(m, r.T)
    return (x * x).sum() + np.linalg.norm(x)


@feature(M, V)
def reductions(m, v):
    return (
        m.sum() * v.mean()
        + m.max() * v.min()
        + np.mean(m) * np.max(v)
        + m.mean(axis=0)[1]
        + m.sum(axis=-1)[0] * v.max()
        + max(v)
        + min(v)
        + sum(v)
    )


@feature(A, B)
def elementwise_extremes(a, b):
    return (np.maximum(a, b) * a + np.minimum(a, 0.5) + np.where(a > b, a * b, b) + np.abs(a)).sum()


@feature(R, V)
def where_of_other_shapes(m, v):
    c = np.where(m > 0.0, v, 0.0)
    d = np.where(v > 0.0, m, 1.0)
    return (c * m).sum() + c[1, 2] * d[0, 1]


@feature(V, A)
def outer_products(v, a):
    return (np.outer(v, a) ** 2).sum() + np.outer(a, v)[1, 2]


@feature(A)
def shapes_and_sizes(a):
    n = len(a) + a.shape[0] + a.size + a.ndim
    return a[0] * n * n


@feature(A)
def transposes_and_copies(a):
    m = np.zeros((2, 4))
    m[0] = a
    m[1, :] = a * a
    t = m.T.copy()
    t[0, 0] = 5.0
    return (m @ t).sum() + m[0, 0]


@feature(0.4, 0.9)
def array_of_numbers(x, y):
    a = np.array([x, y, x * y, 2.0])
    m = np.array([[x, 1.0], [y, x]])
    return a.sum() * a[2] + (m @ m)[0, 1]


@feature(A, B)
def stacking(a, b):
    c = np.concatenate((a, b[1:], a))
    s = np.stack((a, b * a))
    return (c * c * c).sum() + s[1] @ s[0]


@feature(A, True)
@feature(A, False)
def all_and_any(a, flag):
    if (a > -5.0).all() and flag:
        return a.sum()
    if (a > 2.0).any():
        return a[0] * a[1]
    return a[3]


@feature(A)
def argmax_and_argmin(a):
    return a[np.argmax(a)] ** 2 + a[a.argmin()] * a[0]


# Arrays: mutation.


@feature(A, 0.4, torch_twin=True)
def store_a_number(a, x):
    a[1] = x * a[0]
    a[-1] = a[1] * a[2]
    return a[1] + a[3] * a[0] + a.sum()


@feature(A, 0.4, torch_twin=True)
def overwrite(a, x):
    a[0] = a[0] * x
    a[0] = a[0] * a[0]
    a[0] = a[0] + a[1]
    return a[0] * x


@feature(A, 0.4, torch_twin=True)
def augmented_stores(a, x):
    a[0] += x
    a[1] *= x
    a[2] -= a[0]
    a[3] /= a[2]
    a[0] **= 2
    return (a * a).sum()


@feature(A, 0.4)
def augmented_arrays(a, x):
    a += x
    a *= a
    a -= a[0]
    a /= x + 3.0
    return (a * W).sum()


@feature(A, B)
def augmented_arrays_by_arrays(a, b):
    a += b
    a *= b
    b -= a
    a /= b * b + 1.0
    return a @ b


@feature(A, 0.4)
def augmented_slices(a, x):
    a[1:] += x
    a[:2] *= a[2:]
    a[::2] -= a[1::2]
    a[1:3] /= 2.0 + x
    return (a * a).sum()


@feature(A, B)
def store_slices(a, b):
    a[1:3] = b[:2] * a[0]
    a[0:1] = a[3:] * 2.0
    b[:] = a
    b[0] = 0.0
    return a @ b


@feature(A, 0.3)
def store_a_broadcast_number(a, x):
    a[1:] = x * x
    b = np.zeros(4)
    b[:] = a[0]
    return (a * b).sum()


@feature(M, V)
def store_rows_and_columns(m, v):
    m[0] = v * 2.0
    m[:, 1] = v * m[0, 0]
    m[1:, 2] = m[0, :2]
    m[2, 0] *= v[1]
    return (m * m).sum()


@feature(M, V)
def store_a_broadcast_row(m, v):
    m[:] = v
    m[1:] = m[0] * m[0]
    m[:, :2] += v[:2]
    return (m * m[0, 1]).sum()


@feature(A)
def overlapping_slices(a):
    a[1:] = a[:-1] * 2.0
    a[:-1] = a[1:] * a[0]
    return (a * a).sum()


@feature(A)
def overlapping_copy(a):
    a[1:] = a[:-1]
    a[:3] = a[1:]
    return (a * W).sum()


@feature(A)
def reverse_in_place(a):
    a[:] = a[::-1]
    return (a * W).sum()


@feature(A)
def reverse_in_place_by_swaps(a):
    n = len(a)
    for i in range(n // 2):
        a[i], a[n - 1 - i] = a[n - 1 - i], a[i]
    return (a * W).sum()


@feature(A, 0.4, torch_twin=True)
def alias(a, x):
    b = a
    b[0] = x
    a[1] = b[0] * 3.0
    return a[0] * b[1] * x


@feature(M, torch_twin=True)
def view_of_a_row(m):
    row = m[1]
    row[0] = row[2] * 2.0
    m[1, 1] = row[0] * m[0, 0]
    return m[1, 0] * row[1] + (row * row).sum()


@feature(A)
def view_of_a_slice(a):
    part = a[1:3]
    part[0] = part[1] * a[0]
    part *= 2.0
    a[2] += 1.0
    inner = part[1:]
    inner[0] = inner[0] * a[1]
    return part[0] * a[2] + a[1] + inner[0]


@feature(M)
def transposed_view(m):
    t = m.T
    t[0, 1] = m[0, 0] * 2.0
    m[2, 1] = t[1, 0]
    t += 1.0
    return (m * m).sum() + t[0, 2]


@feature(A)
def column_view_by_newaxis(a):
    c = a[:, None]
    c[0, 0] = a[1] * 3.0
    a[2] = c[0, 0]
    return (c * a).sum()


@feature(A)
def negative_step_view(a):
    r = a[::-1]
    r[0] = a[0] * 2.0
    a[1] = r[3] * r[0]
    r *= 2.0
    return (a * W).sum()


@feature(A, 4)
def mutation_in_a_loop(a, n):
    for i in range(1, n):
        a[i] = a[i] + a[i - 1] * a[i - 1] * 0.5
    return a[-1] * a[1]


@feature(A, 3)
def read_and_write_repeatedly(a, n):
    for _ in range(n):
        for i in range(len(a)):
            a[i] = math.sin(a[i]) + 0.1 * a[i - 1]
    return (a * a).sum()


@feature(A, 5)
def stencil_double_buffer(u, n):
    v = np.zeros(len(u))
    for _ in range(n):
        for i in range(1, len(u) - 1):
            v[i] = u[i] + 0.2 * (u[i - 1] - 2.0 * u[i] + u[i + 1]) * u[i]
        u, v = v, u
    return (u * u).sum() + v[1]


@feature(A, 5)
@feature(A, 0)
def stencil_in_slices(u, n):
    for _ in range(n):
        u[1:-1] = u[1:-1] + 0.2 * (u[:-2] - 2.0 * u[1:-1] + u[2:]) * u[1:-1]
    return (u * u).sum()


@feature(A, 5)
def array_rebound_in_a_loop(u, n):
    for i in range(n):
        u = u * 0.5 + np.sin(u) * i
        u[0] = u[1] * u[0]
    return (u * u).sum()


@feature(A, 3)
def array_rebound_and_old_kept(a, n):
    b = a * 1.0
    for _ in range(n):
        b = b * a
    a[0] = 2.0
    return (a * b).sum()


@feature(A, 3)
def array_that_grows(a, n):
    for i in range(n):
        a = np.concatenate((a, a[:1] * a[1] + i))
    return (a * a).sum()


@feature(A, 0.4)
@feature(A, -0.4)
def array_made_in_branches(a, x):
    if x > 0.0:
        b = a * x
    else:
        b = np.zeros(4)
        b[1] = x * a[2]
    b[0] = b[1] * 3.0
    return (b * b).sum()


@feature(A, 0.4)
@feature(A, -0.4)
def mutation_in_a_branch(a, x):
    if x > 0.0:
        a[0] = x * a[1]
    else:
        a[1] = a[2] * a[1]
        a += x
    return a[0] * a[1] * x


@feature(A, B, 0.4)
@feature(A, B, -0.4)
def one_of_two_arrays_read(a, b, x):
    c = a if x > 0.0 else b
    return (c * c).sum() * c[1] + (a * b).sum()


@feature(A, 3)
def array_made_in_a_loop(a, n):
    s = 0.0
    for i in range(n):
        b = np.zeros(len(a))
        for j in range(len(a)):
            b[j] = a[j] * (i + 1) + s * 0.01
        b[1] = b[0] * b[2]
        s += (b * b).sum() * 0.1
    return s


@feature(A, 3)
def array_read_after_mutation_in_a_loop(a, n):
    s = 0.0
    for i in range(n):
        t = a[i] * a[i + 1]
        a[i + 1] = t * 0.5
        s += math.sin(t) * a[i]
        a[i] = s
    return s + a.sum()


@feature(A)
def array_passed_to_a_function_that_changes_it(a):
    def bump(b, k):
        b[k] = b[k] * b[0]
        return b[k]

    s = bump(a, 1) + bump(a, 2)
    bump(a[2:], 1)
    return s * a[3]


@feature(M)
def function_that_returns_a_view(m):
    def row(k):
        return m[k]

    r = row(1)
    r[0] = 3.0 * m[0, 0]
    return (m * m).sum()


@feature(M)
def gaussian_elimination(m):
    n = m.shape[0]
    det = 1.0
    for k in range(n):
        det *= m[k, k]
        for i in range(k + 1, n):
            f = m[i, k] / m[k, k]
            for j in range(k, n):
                m[i, j] -= f * m[k, j]
    return det


@feature(M @ M.T + np.eye(3))
def cholesky(a):
    n = len(a)
    c = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1):
            s = a[i, j]
            for k in range(j):
                s -= c[i, k] * c[j, k]
            if i == j:
                c[i, i] = math.sqrt(s)
            else:
                c[i, j] = s / c[j, j]
    return c[2, 2] * c[1, 0] + c[2, 1]


@feature(A, B)
def bubble_sort(a, b):
    n = len(a)
    for i in range(n):
        for j in range(n - 1 - i):
            if a[j] > a[j + 1]:
                a[j], a[j + 1] = a[j + 1], a[j]
    return a @ b


@feature(np.array([0.1, 0.0, 12.0]), 0.9, second=False)
def projectile(state, drag):
    x, y, v = 0.0, state[1], state[2]
    w = v * 0.7
    bounces = 0
    for _ in range(200):
        speed = math.sqrt(v * v + w * w)
        v -= 0.01 * drag * speed * v
        w -= 0.01 * (drag * speed * w + 9.81)
        x += 0.01 * v
        y += 0.01 * w
        if y < 0.0:
            y, w = -y, -0.8 * w
            bounces += 1
        if bounces == 3:
            break
    return x * state[0] + y


@feature(M, V, 0.3, rtol=1e-6)
def small_network(w, x, b):
    h = np.tanh(w @ x + b)
    for _ in range(2):
        h = np.tanh(w @ h + x * b)
    return np.log(1.0 + np.exp(h)).sum()


@feature(M, V)
def implicit_euler(m, u):
    for _ in range(3):
        u = np.linalg.solve(EYE + 0.1 * m, u + 0.05 * np.sin(u))
    return u @ u


@feature(np.array([3, 1, 2]), A)
def integer_array(k, a):
    s = 0.0
    for i in range(len(k)):
        s += a[k[i]] * k[i]
        k[i] = k[i] + 1
    return s + a[k[1]]


@feature(np.array([True, False, True, True]), A)
def boolean_array(mask, a):
    s = 0.0
    for i in range(len(a)):
        if mask[i]:
            s += a[i] * a[i]
    mask[0] = False
    return s if not mask[0] else -s


@feature(A)
def captured_array(a):
    return (a * B).sum() * B[1]


@feature(0.5)
def global_numbers(x):
    return x * OFFSET + x**SMALL


OFFSET, SMALL = 2.5, 3


@feature(A, 2)
def zeros_ones_full(a, n):
    z = np.zeros((n, 4))
    o = np.ones(4)
    f = np.full(4, a[0])
    e = np.empty(4)
    e[:] = f * o
    z[1] = e * a
    return (z * z).sum() + np.zeros_like(a).sum() + np.ones_like(a).sum() * a[1]


@feature(R)
def ravel(r):
    f = r.ravel()
    g = r.T.flatten()
    return (f * W6).sum() * g[2] + f @ g


@feature(A, 0.5)
def unused_array_store(a, x):
    b = a.copy()
    b[0] = x
    return a[0] * x


@feature(A)
def gradient_of_a_constant(a):
    a[:] = 1.0
    return a.sum()


@feature(A)
def returns_the_argument(a):
    a[0] = a[1] * a[1]
    return a


@feature(A)
def returns_a_view(a):
    a[1] = a[0] * 2.0
    return a[1:]


@feature(A)
def returns_an_array_twice(a):
    b = a * 2.0
    return b, b, b.sum()


@pytest.mark.parametrize(("f", "args", "options"), FEATURES, ids=IDS)
def test_feature(f, args, options):
    check(f, *args, **options)
