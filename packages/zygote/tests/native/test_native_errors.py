"""What isn't supported is refused, with place, finding and advice; what goes wrong at run time raises."""

import inspect
import math
import re

import numpy as np
import pytest
from native_check import native, operation, plain

from torchflux_zygote._native._entries import Refused

A = np.array([0.7, -1.2, 2.3])
M = np.ones((3, 3))


def line_of(f, mark):
    """The line of a function's body that holds a text."""
    lines, start = inspect.getsourcelines(f)
    first = next((k for k, line in enumerate(lines) if line.lstrip().startswith("def ")), -1)
    return start + next(k for k, line in enumerate(lines) if k > first and mark in line)


def refused(f, args, mark, *words):
    """Checks the place, and that the message says these words."""
    with pytest.raises(TypeError) as caught:
        native(f).source(*args)
    text = str(caught.value)
    place = re.match(r"(.+):(\d+):(\d+): ", text)
    assert place is not None, f"no place: {text}"
    assert place[1] == __file__, text
    assert int(place[2]) == line_of(f, mark), text
    assert int(place[3]) > 0
    for word in words:
        assert word in text, text
    assert ";" in text or ":" in text.split(": ", 1)[1], text


REFUSALS = []


def refusal(args, mark, *words, reason=None):
    """A function that must be refused at the line that holds `mark`."""

    def enter(f):
        marks = [pytest.mark.xfail(strict=True, reason=reason)] if reason else []
        REFUSALS.append(pytest.param(f, args, mark, words, id=f.__name__, marks=marks))
        return f

    return enter


@refusal((0.5,), "{", "ict")
def dictionary(x):
    d = {"a": x}
    return d["a"]


@refusal((0.5,), "sorted(", "sorted")
def unknown_builtin(x):
    return sorted((x, 1.0))[0]


@refusal((A,), "for p", "a list that grows in a loop", "np.empty")
def comprehension_over_an_array(a):
    return len([p * 2.0 for p in a])


@refusal((A,), "for q", "a list that grows in a loop", "np.empty")
def comprehension_over_a_tuple_and_a_range(a):
    return len([p * q for p in (a[0], a[1]) for q in range(3)])


@refusal((0.5,), "xs.append", "a list that grows", "store into an array")
def list_with_two_names(x):
    xs = []
    ys = xs
    for p in (x, 1.0):
        xs.append(p)
    return len(ys)


@refusal((0.5,), "xs.append(p)", "a list that grows", "store into an array")
def list_that_another_name_holds_meanwhile(x):
    xs = []
    for p in (x, 1.0):
        ys = xs
        xs.append(p)
    return len(ys)


@refusal((0.5,), "if p > 0", "on one path")
def comprehension_with_a_condition(x):
    return len([p for p in (x, 1.0) if p > 0.0])


@refusal((0.5,), "str(", "str")
def string_of_a_number(x):
    return len(str(x))


@refusal((A,), "fft", "fft")
def unknown_numpy_function(a):
    return np.fft.fft(a)


@refusal((0.5,), "gamma", "math.gamma")
def unknown_math_function(x):
    return math.gamma(x)


@refusal((0.5,), "with ", "with")
def with_statement(x):
    with COUNT as count:
        return x * count


@refusal((A,), "if a > 0", "array as a condition", ".all()")
def array_condition(a):
    if a > 0:
        return a.sum()
    return 0.0


@refusal((A,), "a[0.5]", "as an index", "integers")
def float_index(a):
    return a[0.5]


@refusal((A,), "a[0, 1]", "2 indices", "1 dimensions")
def too_many_indices(a):
    return a[0, 1]


@refusal((0.5,), "x.real_part", "real_part")
def unknown_attribute_of_a_number(x):
    return x.real_part


@refusal((A,), "partition", "partition")
def unknown_method(a):
    return a.partition(1)[0]


@refusal((0.5,), "pair[2]", "index 2", "tuple of 2")
def tuple_index(x):
    pair = (x, x)
    return pair[2]


@refusal((0.5,), "a, b, c", "2 values for 3 names")
def unpacking(x):
    a, b, c = (x, x)
    return a + b + c


@refusal((0.5,), "helper(x, x)", "helper")
def too_many_arguments(x):
    def helper(y):
        return y

    return helper(x, x)


@refusal((0.5, True), "return z * 2", "tuple of 2")
def two_types_on_two_paths(x, flag):
    if flag:
        z = (x, x)
    else:
        z = x
    return z * 2


@refusal((0.5, 3), "return z[0]", "")
def type_changes_in_a_loop(x, n):
    z = x
    for _ in range(n):
        z = (x, x)
    return z[0]


@refusal((np.array([1, 2, 3]), 0.5), "k[:] = k * x", "floats into an array of integers")
def float_into_integers(k, x):
    k[:] = k * x
    return k.sum()


@refusal((A, A, 0.5), "c[0] = x", "may or may not be", "copy")
def store_into_one_of_two(a, b, x):
    c = a if x > 0.0 else b
    c[0] = x
    return a.sum()


@refusal((A, 3), "a[0] = 2.0", "may or may not be", "copy")
def store_into_what_another_name_may_still_hold(a, n):
    b = a
    for _ in range(n):
        b = b * a
    a[0] = 2.0
    return (a * b).sum()


@refusal((0.5,), "x[0]", "index into", "number")
def index_into_a_number(x):
    return x[0]


@refusal((A, A), "zip(", "strict")
def zip_strict(a, b):
    s = 0.0
    for x, y in zip(a, b, strict=True):
        s += x * y
    return s


@refusal((0.5,), "x()", "call")
def call_of_a_number(x):
    return x()


@refusal((M, np.ones((3, 3, 3))), "m @ t", "@")
def matrix_product_of_three_dimensions(m, t):
    return (m @ t).sum()


@refusal((0.5,), "global ", "global")
def global_statement(x):
    global COUNT
    COUNT = x
    return x


@refusal((0.5,), "nonlocal ", "nonlocal")
def nonlocal_statement(x):
    y = x

    def change():
        nonlocal y
        y = 2.0 * y

    change()
    return y


@refusal((0.5,), "print(", "print")
def printing(x):
    print(x)
    return x


@refusal((3,), "k**-1", "negative power", "float")
def integer_to_a_negative_power(k):
    return k**-1


@refusal((A,), "dtype=int", "")
def unknown_keyword(a):
    return a.sum(dtype=int)


@refusal((A,), "np.roll", "roll")
def python_function_of_numpy(a):
    return np.roll(a, 1)[0]


@refusal((np.ones((2, 2, 2)),), "t[[0, 1]]", "two dimensions", "loop")
def list_index_into_three_dimensions(t):
    return t[[0, 1]].sum()


@refusal((A,), "a[k]", "floats as an index", "astype")
def index_of_floats(a):
    k = a * 0.0
    return a[k].sum()


@refusal((M, np.zeros((2, 2), int)), "m[k]", "several dimensions", "pairs")
def index_of_two_dimensions_into_a_matrix(m, k):
    return m[k].sum()


@refusal((M,), "m[[0, 1], None]", "arrays in it")
def new_axis_beside_a_list(m):
    return m[[0, 1], None].sum()


@refusal((A,), "a.shape = ", "attribute")
def attribute_store(a):
    a.shape = (3, 1)
    return a.sum()


@refusal((A,), "del a", "del")
def deletion(a):
    b = a.sum()
    del a
    return b


@pytest.mark.parametrize(("f", "args", "mark", "words"), REFUSALS)
def test_refused(f, args, mark, words):
    refused(f, args, mark, *words)


def test_a_function_that_calls_itself_and_stores_into_an_argument_that_it_is_given_twice():
    def twice(a, b, k):
        if k == 0:
            return a[0] + b[0]
        a[k] = b[k] * twice(a, a, k - 1)
        return a[k]

    globals()["twice"] = twice
    with pytest.raises(Refused, match=r":\d+:\d+: native code: a store into an argument of twice, .*copy"):
        native(lambda a: twice(a, a, 2)).source(A)


def test_arguments_that_native_code_does_not_take():
    f = native(lambda x: x)
    for bad in (
        [1.0],
        {"a": 1.0},
        1j,
        np.array([1j]),
        np.array(["a"]),
        np.zeros(3, np.float16),
        np.zeros(3, np.int32),
        object(),
    ):
        with pytest.raises(TypeError, match="native functions take"):
            f(bad)


def test_gradient_of_what_is_not_a_number():
    with pytest.raises(TypeError, match=r"must return one float.*jacobian"):
        native(lambda a: a * 2.0).gradient(A)
    with pytest.raises(TypeError, match="must return one float"):
        native(lambda x: (x, x)).gradient(1.0)
    with pytest.raises(TypeError, match="must return one float"):
        native(lambda n: n + 1).gradient(1)


def test_unknown_mode():
    with pytest.raises(ValueError, match="mode='backwards'"):
        native(lambda x: x).source(1.0, mode="backwards")


def test_wrong_number_of_arguments():
    with pytest.raises(TypeError):
        native(lambda x: x)(1.0, 2.0)
    with pytest.raises(TypeError):
        native(lambda x, y: x)(1.0)


def generator(x):
    yield x


def generator_behind_a_return(x):
    return x
    yield x


def generator_expression(x):
    return next(x * i for i in range(3))


@pytest.mark.parametrize("f", [generator, generator_behind_a_return, generator_expression])
def test_a_generator_is_refused(f):
    with pytest.raises(SyntaxError, match=r"yield.*native code.*append.*return"):
        native(f).source(0.5)


def test_a_generator_is_refused_with_its_place():
    with pytest.raises(SyntaxError) as caught:
        native(generator).source(0.5)
    assert caught.value.lineno == line_of(generator, "yield")


# What goes wrong when the program runs. Each in machine code, as Python raises it, with the place.


def raises(error, f, *args, match=None):
    """Python raises, the compiled code raises, and so do both derivatives."""
    with pytest.raises(error):
        f(*(x.copy() if isinstance(x, np.ndarray) else x for x in args))
    op, values, _ = operation(f, *args)
    with pytest.raises(error, match=match):
        plain(op)(values)
    if op.floats:
        for derived in (op.reverse, op.forward(1)):
            extra = (
                [1.0]
                if derived is op.reverse
                else [np.zeros(np.shape(values[k])) if np.ndim(values[k]) else 0.0 for k in op.wrt]
            )
            with pytest.raises(error, match=match):
                plain(derived)([*values, *extra])


def place(f, mark):
    return f"{re.escape(__file__)}:{line_of(f, mark)}:"


def test_index_out_of_bounds():
    def f(a, k):
        return a[k] * 2.0

    for k in (3, -4, 100):
        raises(IndexError, f, A, k, match=place(f, "a[k]"))
        with pytest.raises(IndexError, match=place(f, "a[k]")):
            native(f)(A, k)


def test_store_out_of_bounds():
    def f(a, k):
        a[k] = 1.0
        return a.sum()

    raises(IndexError, f, A, 3, match=place(f, "a[k]"))


def test_row_out_of_bounds():
    def f(m, i, j):
        return m[i][j] + m[i, j]

    raises(IndexError, f, M, 1, 3)
    raises(IndexError, f, M, 3, 1)


def test_tuple_index_out_of_bounds():
    def f(x, k):
        return (x, x * x)[k]

    raises(IndexError, f, 0.5, 2, match=place(f, "(x, x * x)[k]"))


def test_integer_division_by_zero():
    for f in (lambda x, n: x * (7 // n), lambda x, n: x * (7 % n), lambda x, n: x * (7 / n)):
        raises(ZeroDivisionError, f, 0.5, 0)


def test_range_step_of_zero():
    def f(x, n):
        for i in range(0, 3, n):
            x = x * i
        return x

    raises(ValueError, f, 0.5, 0, match="must not be zero")


def test_float_division_by_zero_is_infinite():
    f = native(lambda x, y: x / y)
    assert f(1.0, 0.0) == math.inf
    assert f(-1.0, 0.0) == -math.inf
    assert math.isnan(f(0.0, 0.0))


def test_outside_of_the_domain_is_nan():
    assert math.isnan(native(lambda x: math.sqrt(x))(-1.0))
    assert math.isnan(native(lambda x: math.log(x))(-1.0))
    assert math.isnan(native(lambda x: math.asin(x))(2.0))


@pytest.mark.parametrize(
    "f", [lambda x: int(x) * x, lambda x: math.floor(x) * x, lambda x: math.ceil(x) * x, lambda x: round(x) * x]
)
def test_floats_that_no_integer_is(f):
    raises(ValueError, f, math.nan, match=r"errors.py:\d+:\d+: NaN as an integer")
    raises(OverflowError, f, math.inf, match="beyond 64 bits")
    for x in (math.nan, -math.inf, 1e30, -(2.0**64)):
        with pytest.raises(ValueError if math.isnan(x) else OverflowError, match="as an integer"):
            native(f)(x)
    assert native(f)(-(2.0**63)) == 2.0**126


def test_floats_that_no_integer_is_are_caught():
    def f(x):
        try:
            return int(x) * 2.0
        except ValueError:
            return 0.5
        except OverflowError:
            return 0.25

    for x in (math.nan, math.inf, -math.inf, 3.7):
        assert native(f)(x) == f(x)


def test_integers_wrap_around():
    low = -(2**63)
    assert native(lambda a, b: a // b)(low, -1) == low
    assert native(lambda a, b: divmod(a, b))(low, -1) == (low, 0)
    assert native(lambda a: a // -1)(low) == low
    assert native(lambda a: -a)(low) == low
    for a, b in [(7, -2), (-7, 2), (-7, -1), (6, 3)]:
        assert native(lambda a, b: a // b)(a, b) == a // b
    with pytest.raises(TypeError, match="64 bits"):
        native(lambda a: a * 1.0)(2**63)


def test_user_raise():
    def f(x):
        if x < 0.0:
            raise ValueError("x must be positive")
        return math.sqrt(x)

    raises(ValueError, f, -1.0, match="x must be positive")
    with pytest.raises(ValueError, match="x must be positive"):
        native(f).gradient(-1.0)
    assert native(f).gradient(4.0) == (0.25,)


def test_user_assert():
    def f(x):
        assert x > 0.0, "positive please"
        return x

    raises(AssertionError, f, -1.0, match="positive please")


def test_raise_in_a_loop_and_in_a_call():
    def checked(y, k):
        if y > 2.0:
            raise RuntimeError("too large")
        return y * k

    def f(x, n):
        for k in range(n):
            x = checked(x, k + 1)
        return x

    raises(RuntimeError, f, 1.5, 5, match="too large")
    assert native(f)(0.1, 3) == f(0.1, 3)


def test_name_that_is_not_bound():
    def f(x, n):
        for k in range(n):
            last = x * k
        return last

    raises(UnboundLocalError, f, 0.5, 0, match="last|bound")


def test_none_where_a_number_is_due():
    def f(x, n):
        found = None
        for k in range(n):
            if k > 5:
                found = x * k
        return found + 1.0

    raises(TypeError, f, 0.5, 3, match=place(f, "found + 1.0"))


def test_shapes_that_do_not_fit():
    raises(ValueError, lambda m, a: (m @ a).sum(), M, np.ones(4))
    raises(ValueError, lambda a, b: a @ b, A, np.ones(4))
    raises(ValueError, lambda a, b: (a + b).sum(), A, np.ones(4))

    def store(a, b):
        a[:] = b
        return a.sum()

    raises(ValueError, store, A, np.ones(4))


def test_shapes_that_do_not_fit_in_machine_code():
    for f, args in [(lambda a, b: (a + b).sum(), (A, np.ones(4))), (lambda m, a: (m @ a).sum(), (M, np.ones(4)))]:
        with pytest.raises(ValueError):  # noqa: PT011
            native(f)(*args)


def test_largest_of_nothing():
    raises(ValueError, lambda a: a.max(), np.zeros(0), match="empty")
    raises(ValueError, lambda a: min(a), np.zeros(0), match="empty")


def test_singular_matrix():
    with pytest.raises((np.linalg.LinAlgError, ValueError)):
        native(lambda m, v: np.linalg.solve(m, v)[0])(np.zeros((2, 2)), np.ones(2))


def test_unpacking_an_array_of_another_length():
    def f(a):
        x, y = a
        return x * y

    raises(ValueError, f, A, match="unpack")


def test_an_error_does_not_spoil_later_calls():
    f = native(lambda a, k: a[k] ** 2)
    with pytest.raises(IndexError):
        f(A, 9)
    assert f(A, 1) == A[1] ** 2


COUNT = 0.0


def test_all_refusals_are_type_errors_of_their_own():
    assert issubclass(Refused, TypeError)
