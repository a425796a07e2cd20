"""What an acceptance test by hand found wrong: each of these gave another number than Python, or an internal error."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from native_check import check, native

ROW = np.array([1.5, -2.0, 3.0, 0.5])
TABLE = np.array([1.0, 2.0, 3.0])


def into_reversed(a):
    a = a.copy()
    a[::-1] = a
    return a


def added_to_reversed(a):
    a = a.copy()
    a[::-1] += a
    return a


def shifted_and_reversed(a):
    a = a.copy()
    a[:-1] = a[1:] * 2
    a[::-1] = a
    return a


def into_transposed(a):
    a = a.copy()
    a.T[:] = a
    return a


@pytest.mark.parametrize("f", [into_reversed, added_to_reversed, shifted_and_reversed])
def test_an_array_stored_into_a_part_of_itself(f):
    check(f, ROW, compiled=True)


def test_a_matrix_stored_into_its_transpose():
    check(into_transposed, np.arange(9.0).reshape(3, 3), compiled=True)


def test_arguments_that_overlap():
    def f(a, b):
        a[:] = b
        return a.sum()

    x, y = np.arange(5.0), np.arange(5.0)
    assert native(f)(x[1:], x[:-1]) == f(y[1:], y[:-1])
    assert (x == y).all()


def more_dimensions(a, b):
    a += b
    return a


def wider_numbers(a, x):
    a += x
    return a


@pytest.mark.parametrize(
    ("f", "args", "message"),
    [
        (more_dimensions, (np.ones(4), np.ones((2, 4))), "into one of 1 in place"),
        (wider_numbers, (np.ones(3, np.int64), 2.7), "into an array of int64 in place"),
        (lambda b: ~b, (True,), "~ of a number"),
        (lambda a: a - a, (np.array([True, False]),), "arrays of bools"),
        (lambda a: -a, (np.array([True, False]),), "arrays of bools"),
        (lambda a: a + 2**70, (1.0,), "more than 64 bits"),
        (lambda a: a * 10**25, (1.0,), "more than 64 bits"),
        (lambda a: a + 1180591620717411303424, (1.0,), "more than 64 bits"),
        (lambda a, b, c: pow(a, b, c), (10, 3, 7), "too many positional arguments"),
        (lambda a, b: np.exp(a, b), (ROW, ROW), "too many positional arguments"),
        (lambda a: a * 2, ("a",), "a number or an array is due"),
        (lambda n: f"{n}" == "3", (3,), "a text that is put together"),
        (lambda n: (n, f"{n}"), (3,), "a text that is put together"),
        (lambda n: "n = " + f"{n}" == "n = 3", (3,), "a text that is put together"),
    ],
)
def test_refused(f, args, message):
    with pytest.raises(TypeError, match=message):
        native(f)(*args)


def test_texts_that_are_known():
    mode = "fa"
    assert native(lambda x: x if mode + "st" == "fast" and f"{mode}st" == "fast" else -x)(2.0) == 2.0


@pytest.mark.parametrize("f", [lambda a, b: a >> b, lambda a, b: a << b])
def test_negative_shifts(f):
    with pytest.raises(ValueError, match="negative shift count"):
        native(f)(5, -1)


def test_powers_of_integer_arrays():
    f = native(lambda a, b: a**b)
    assert f(np.array([5, -5, 7]), np.array([3, 3, 2])).tolist() == [125, -125, 49]
    with pytest.raises(ValueError, match="negative power"):
        f(np.array([5]), np.array([-1]))


def test_the_mean_of_large_integers():
    assert native(lambda a: a.mean())(np.array([2**62, 2**62])) == 2.0**62


def test_logarithms_to_a_base_and_lengths_of_vectors():
    check(lambda x: math.log(x, 3) + math.hypot(x, x, 1.0) + math.hypot(-x), 1.5, compiled=True)


def test_the_smallest_integer_is_one():
    assert native(lambda n: n + -9223372036854775808)(1) == -(2**63) + 1


def test_changed_defaults_of_a_called_function_are_noticed():
    def scaled(x, k=2.0, *, m=1.0):
        return x * k * m

    f = native(lambda x: scaled(x))
    assert f(1.0) == 2.0
    scaled.__defaults__ = (7.0,)
    assert f(1.0) == 7.0
    scaled.__kwdefaults__["m"] = 3.0
    assert f(1.0) == 21.0


def test_a_bound_method():
    class Spring:
        k = 2.0

        def force(self, x):
            return self.k * x

    spring = Spring()
    f = native(spring.force)
    assert f(3.0) == 6.0
    spring.k = 5.0
    assert f.gradient(3.0) == (5.0,)


def test_pullbacks_keep_captured_arrays():
    from torchflux_zygote import pullback

    table = TABLE.copy()
    f = native(lambda x: (table * x).sum())
    backs = [f.pullback(2.0)[1], pullback(lambda x: f(x), 2.0)[1]]
    table[0] = 100.0
    assert [back(1.0) for back in backs] == [(6.0,), (6.0,)]


def test_parts_of_tensors_are_copies():
    f = native(lambda a: (a[1:], a[::-1], a, (a * a).sum()))
    given = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    x = given * 1.0
    part, turned, whole, square = f(x)
    with torch.no_grad():
        part.mul_(100.0)
        whole.mul_(100.0)
    assert x.tolist() == [1.0, 2.0, 3.0]
    assert turned.tolist() == [3.0, 2.0, 1.0]
    assert torch.autograd.grad(square, given)[0].tolist() == [2.0, 4.0, 6.0]


@native
def doubled(x):
    return 2 * x


def test_copies_are_the_same_function():
    assert copy.deepcopy({"f": doubled})["f"] is doubled
    assert pickle.loads(pickle.dumps(doubled)) is doubled


def test_a_cached_text_that_was_cut_short_is_written_again(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHFLUX_CACHE", str(tmp_path))
    assert native(lambda x: x * 123.0)(1.0) == 123.0
    for path in tmp_path.rglob("*.py"):
        path.write_text("")
    assert native(lambda x: x * 123.0)(1.0) == 123.0


@pytest.mark.parametrize("f", [lambda a, b: a >> b, lambda a, b: a << b, lambda a, b: (a >> 64) + (a << 64)])
def test_shifts_by_all_bits(f):
    wrapped = lambda n: (n + 2**63) % 2**64 - 2**63
    for a in (5, -5, 1000):
        for b in (0, 3, 62, 63, 64, 70, 1000):
            assert native(f)(a, b) == wrapped(f(a, b))
    found = native(f)(np.array([5, -5, 1000]), np.array([1, 64, 70]))
    assert found.tolist() == [wrapped(f(a, b)) for a, b in ((5, 1), (-5, 64), (1000, 70))]


def test_large_integers_in_a_compiled_graph():
    last = native(lambda x, n: x * (n % 10))
    graph = torch.compile(lambda x: last(x, 2**60 + 7), backend="eager")
    assert graph(torch.tensor([1.0])).item() == last(torch.tensor([1.0]), 2**60 + 7).item() == (2**60 + 7) % 10


def first_twice(a, b):
    a[0] = b[1] * 2.0
    return a[0] * b[0] + b[1]


@pytest.mark.parametrize("derivative", ["gradient", "pullback", "pushforward", "withgradient", "jacobian"])
def test_derivatives_refuse_arguments_that_share_memory(derivative):
    f, x = native(first_twice), np.array([1.0, 3.0, 2.0])
    with pytest.raises(ValueError, match="stores into an argument, and two of its arrays share memory"):
        getattr(f, derivative)(x[:2], x[1:])
    getattr(f, derivative)(x[:2], x[1:].copy())
    assert x.tolist() == [1.0, 3.0, 2.0]


def scaled_by_a_table(a):
    return (TABLE * a * a).sum() * a[0]


def test_gradients_of_pushforwards_with_captured_arrays():
    from torchflux_zygote import gradient, pushforward

    f, x, direction = native(scaled_by_a_table), np.array([1.0, 2.0, 4.0]), np.array([0.5, 1.0, 2.0])
    second = [gradient(lambda a, g=g: pushforward(g, a)(direction), x)[0] for g in (f, scaled_by_a_table)]
    np.testing.assert_allclose(*second, rtol=1e-14)
