"""The standard library's functions and classes: what they hold, what they call, and their keywords."""

import contextlib
import functools
import importlib.util
import math
import operator
import sys
import types
from collections import OrderedDict

import numpy as np
import pytest
import torch

from torchflux_zygote import Refused, gradient, pushforward

from .derivatives import check


class Pair:
    def __init__(self, a, b):
        self.a, self.b = a, b

    def product(self, c, d=1.0, *, e=1.0):
        return self.a * c * d * e

    def __divmod__(self, c):
        return self.a / c, self.b * c

    def __rdivmod__(self, c):
        return c * self.b

    def close(self):
        self.b.append(self.a**3)


def methodcaller(x):
    """A `methodcaller` holds numbers, by position and by keyword."""
    f = operator.methodcaller("product", x, d=2.0, e=x * x)
    return f(Pair(x, 0.0)) * operator.methodcaller("product", x)(Pair(2.0, x))


OUTSIDE = operator.methodcaller("product", 2.0, e=3.0)


def methodcaller_from_outside(x):
    return OUTSIDE(Pair(x, 0.0)) * operator.methodcaller("product", 2.0)(Pair(x, x))


def partial_fields(x):
    f = functools.partial(Pair(x, 2.0).product, x, d=x * x)
    return f() * f.args[0] + f.keywords["d"] * f.func(2.0) + f(d=3.0)


def partial_with_names_of_its_own(x):
    """Keywords called like the attributes of a `partial`."""

    def g(args, func=1.0, keywords=1.0):
        return args * func**2 * keywords**3

    f = functools.partial(g, args=x, func=x)
    h = functools.partial(f, func=x * x, keywords=x)
    return f() * h() + f(args=2.0) + h.keywords["args"] * h.keywords["func"]


def partial_of_partial(x):
    f = functools.partial(functools.partial(math.pow, x), x * x)
    return f() * f.args[0] + f.args[1]


def complex_numbers(x):
    z = complex(real=x, imag=2.0) * complex(x, imag=x * x)
    return (z * z.conjugate() + complex(imag=x) * z).real * x.conjugate() + complex(x).real


def rounded(x):
    return round(x, ndigits=1) * x + round(number=x) * x + round(x, None) * x


def divided(x):
    quotient, product = divmod(Pair(x, x * x), 3.0 * x)
    return quotient + product * divmod(x, Pair(0.0, x)) + divmod(7.0, x)[1]


def hypotenuse(x):
    return math.hypot(x - x, 0.0) + math.hypot(x, 2.0, x * x) * x


def namespace(x):
    o = types.SimpleNamespace(a=x, b=[x, {"c": x}])
    o.a += o.a * 2
    o.b[0] -= o.a
    o.b[1]["c"] **= 2
    o.me = o
    o.me.me.a /= o.b[0]
    return o.a * o.b[0] + o.b[1]["c"]


def ordered(x):
    d = OrderedDict(a=x, b=x * x, c=x**3)
    d.move_to_end("a")
    d.move_to_end("c", last=False)
    first, last = d.popitem(last=False), d.popitem()
    return first[1] * last[1] ** 2 * d["b"] * len(first[0] + last[0])


def method(x):
    f = types.MethodType(lambda self, c: self.a * c * x, Pair(x, 2.0))
    return f(x) * f.__self__.a


def exit_stack(x):
    log = []
    with contextlib.ExitStack() as stack:
        stack.callback(log.append, x * x)
        y = stack.enter_context(contextlib.nullcontext(x))
        stack.enter_context(contextlib.closing(Pair(x, log)))
    return log[0] * log[1] ** 2 * y


def context_manager(x):
    @contextlib.contextmanager
    def scaled(v):
        log.append(v)
        try:
            yield v * v
        except ValueError as error:
            log.append(error.args[0])
        finally:
            log[0] *= 2

    log = []
    with scaled(x) as y, contextlib.suppress(KeyError):
        log.append(y)
        raise ValueError(y * x)
    return math.prod(log)


def thrown(x):
    def steps():
        total = x
        while True:
            try:
                total *= yield total
            except ValueError as error:
                total += error.args[0] if error.args else 1.0

    it = steps()
    next(it)
    a, b = it.send(x), it.throw(ValueError(x * x))
    return a * b * it.throw(ValueError)


def keys_that_change_what_they_see(x):
    total = [0.0]

    def key(v):
        total[0] += v * v
        return -v

    xs = [x * x, x, 2.0 * x]
    greatest, least = max(xs, key=key), min(x, 3.0 * x, key=key)
    ordered = sorted(xs, key=key)
    xs.sort(key=key, reverse=True)
    rest = max([], key=lambda v: v, default=x)
    return total[0] * greatest * least**2 + ordered[0] * ordered[1] ** 2 * xs[0] ** 3 * rest


@pytest.mark.parametrize(
    "f",
    [
        *(
            keys_that_change_what_they_see,
            methodcaller,
            methodcaller_from_outside,
            partial_fields,
            partial_with_names_of_its_own,
            partial_of_partial,
        ),
        *(
            complex_numbers,
            rounded,
            divided,
            hypotenuse,
            namespace,
            ordered,
            method,
            exit_stack,
            context_manager,
            thrown,
        ),
    ],
)
def test_functions(f):
    check(f, 1.3)


def test_a_namespace_of_a_mapping_is_refused():
    with pytest.raises(Refused, match=r"write \*\*mapping"):
        gradient(lambda x: types.SimpleNamespace({"a": x}).a, 1.0)


def test_a_module_called_like_one_of_the_standard_library(tmp_path, monkeypatch):
    """Only the standard library's own functions of strings and integers are taken as constants."""
    file = tmp_path / "profile.py"
    file.write_text("BOX = [0.0]\n\ndef scaled(n):\n    return BOX[0] * n\n")
    spec = importlib.util.spec_from_file_location("profile", file)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "profile", module)
    spec.loader.exec_module(module)

    def f(x):
        module.BOX[0] = x * x
        return module.scaled(3)

    assert gradient(f, 2.0) == (12.0,)


@pytest.mark.parametrize("dtype", [None, torch.float64, torch.float32])
def test_as_tensor_stays_the_same_tensor(dtype):
    """Only another dtype makes a copy."""

    def f(t):
        u = t * 1
        v = torch.as_tensor(u, dtype=dtype) if dtype else torch.as_tensor(u)
        v[0] = v[0] * 3
        return u.sum() + 2 * v.sum()

    t = torch.tensor([1.0, 2.0], dtype=torch.float64)
    due = [7.0, 3.0] if dtype is torch.float32 else [9.0, 3.0]
    assert gradient(f, t)[0].tolist() == due
    assert pushforward(f, t)(torch.ones_like(t)).item() == sum(due)


def test_as_tensor_of_an_array_is_refused_where_it_changes():
    def f(a):
        v = torch.as_tensor(a * 1)
        return (v * v).sum()

    def changed(a):
        u = a * 1
        v = torch.as_tensor(u)
        v[0] = v[0] * 3
        return u.sum()

    assert gradient(f, np.array([1.0, 2.0]))[0].tolist() == [2.0, 4.0]
    with pytest.raises(NotImplementedError, match="looked at as"):
        gradient(changed, np.array([1.0, 2.0]))
