"""A derivative is right or it is refused: never zero because nobody thought of it.

Every function of `math`, `cmath`, `operator` and `itertools` is called with numbers in all places, and so are functions
of PyTorch and NumPy that take numbers beside arrays, classes that meddle with attributes, and methods by their names.
"""

import cmath
import functools
import itertools
import logging
import math
import operator
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from torchflux_zygote import Refused, adjoint, gradient, ignore, pushforward

from .derivatives import close

X = 0.8
T = torch.tensor([0.5, 1.5, -0.7], dtype=torch.float64)
I3 = torch.eye(3, dtype=torch.float64)


def total(y):
    """One number that depends on all numbers in a result."""
    if isinstance(y, float):
        return y
    if isinstance(y, complex):
        return y.real + 2.0 * y.imag
    if isinstance(y, torch.Tensor | np.ndarray):
        return float(y.sum())
    if not isinstance(y, list | tuple):
        if not hasattr(y, "__next__"):
            return 0.0
        y = list(itertools.islice(y, 5))
    found = 0.0
    for i in range(min(len(y), 5)):
        found = found + (1.0 + 0.3 * i) * total(y[i])
    return found


def examine(f, x=X):
    """Whether f has both derivatives, right (`True`), or refuses them (`False`)."""
    torch.manual_seed(0)
    above = float(f(x + 1e-6))
    torch.manual_seed(0)
    slope = (above - float(f(x - 1e-6))) / 2e-6
    refused = []
    for derivative in (lambda: gradient(f, x)[0], lambda: pushforward(f, x)(1.0)):
        torch.manual_seed(0)
        try:
            found = derivative()
        except Refused as error:
            refused.append(str(error))
            continue
        close(0.0 if found is None else float(found), slope, 1e-5, "derivative")
    assert len(refused) in (0, 2), f"refused in one mode only: {refused}"
    return not refused


ARGUMENTS = [
    lambda x: (x,),
    lambda x: (complex(x, 0.3),),
    lambda x: (x, 0.6),
    lambda x: (0.6, x),
    lambda x: (x, 2),
    lambda x: (complex(x, 0.3), 0.6),
    lambda x: (x, x, 0.7),
    lambda x: (0.3, x, x),
    lambda x: ([x, 0.5, x],),
    lambda x: ([x, 0.5], [0.3, x]),
    lambda x: ([x, 0.5, x], 1),
    lambda x: ([x, 0.5, x], slice(0, 2)),
    lambda x: ([x, 0.5, x], 2),
    lambda x: ([x, 0.5, x], 1, 3),
    lambda x: (abs, [x, -x]),
    lambda x: (lambda v: v < 0.6, [0.5, x, x]),
    lambda x: (operator.mul, [(x, 0.5), (x, x)]),
    lambda x: (math.sin, x),
    lambda x: (2, [x, x]),
]


REFUSED = {"nextafter", "cycle", "count", "repeat"}
"""The functions without a derivative, or without one in some of their uses (without an end)."""


@pytest.mark.parametrize("module", [math, cmath, operator, itertools], ids=lambda m: m.__name__)
def test_functions_of_the_standard_library(module):
    refused, seen = set(), set()
    for name in dir(module):
        f = getattr(module, name)
        if name.startswith("_") or not callable(f) or f is itertools.groupby:  # its groups end with the next one
            continue
        for make in ARGUMENTS:
            try:
                total(f(*make(X)))
            except (TypeError, ValueError, OverflowError, IndexError, AttributeError):
                continue
            seen.add(name)
            try:
                right = examine(lambda x, f=f, make=make: total(f(*make(x))) * x)
            except Exception as error:
                raise AssertionError(f"{module.__name__}.{name} of {make(X)}") from error
            if not right:
                refused.add(name)
    assert len(seen) > 15
    assert refused <= REFUSED


class Cached:
    def __init__(self, w):
        self.w = w

    @functools.cached_property
    def area(self):
        return self.w * self.w


class Doubled:
    def __get__(self, x, owner):
        return x.v * 2

    def __set__(self, x, v):
        x.v = 3 * v

    def __delete__(self, x):
        x.v = x.v * 5


class Described:
    field = Doubled()


class SetsTwice:
    def __setattr__(self, name, v):
        super().__setattr__(name, 2 * v)

    def __delattr__(self, name):
        self.rest = getattr(self, name)
        super().__delattr__(name)


class Looks:
    def __init__(self, v):
        self.v = v

    def __getattribute__(self, name):
        found = object.__getattribute__(self, name)
        return 2 * found if name == "v" else found


class Sequence:
    def __init__(self, v):
        self.v = v

    def __getitem__(self, i):
        if i >= 3:
            raise IndexError(i)
        return self.v * i


class Rounded:
    def __init__(self, v):
        self.v = v

    def __round__(self):
        return self.v * 3


class Saturating(float):
    def __add__(self, other):
        return min(float.__add__(self, other), 1.0) * 3


SMALL = Saturating(0.3)


@functools.lru_cache
def kept(v):
    return v * v


class Gate(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.rate = 0.25

    def forward(self, x):
        self.register_buffer("kept", x)
        return self.kept * 2


def described(x):
    h = Described()
    h.field = x
    y = h.field
    del h.field
    return y * h.v


def sets_twice(x):
    h = SetsTwice()
    h.w = x
    first = h.w
    del h.w
    return first * h.rest


def by_dict(x):
    c = Cached(x)
    c.__dict__["w"] = c.__dict__["w"] * 3
    vars(c)["more"] = c.w
    return c.w * c.more * c.area * c.area


def written(x):
    logging.getLogger("torchflux").debug("%s", x)
    return x * x


def drawn(x):
    noise = np.random.default_rng(0).normal(0.0, 1e-9) + random.gauss(0.0, 1e-9) + torch.normal(0.0, 1e-9, (1,)).item()
    return x * x + (noise - noise)


RIGHT = {
    "descriptors": described,
    "a __setattr__": sets_twice,
    "a __dict__": by_dict,
    "entries without an iterator": lambda x: sum([v * x for v in Sequence(x)]),
    "a __round__": lambda x: round(Rounded(x)),
    "an operator of a float's class": lambda x: SMALL + 0.1 * x,
    "an operator of a float's class, at its bound": lambda x: (SMALL + 1.0 * x) * x,
    "bound methods of numbers": lambda x: (lambda f, g: f(2.0 * x) + g())(x.__add__, (x * T).sum),
    "methods by name": lambda x: (
        x.__pow__(3.0) + x.__rsub__(1.0) * [x, 1.0].__getitem__(0) + x.__abs__() * x.__float__()
    ),
    "clamp": lambda x: (
        T.clamp(min=x).sum() + torch.clamp(T, -1, x).prod() + torch.clip(T, x, 1).sum() + T.clamp_max(x).prod()
    ),
    "leaky_relu": lambda x: F.leaky_relu(T, x).prod() + F.leaky_relu(T * x).sum(),
    "alpha": lambda x: torch.add(T, T, alpha=x).prod() + T.sub(T * T, alpha=x).prod(),
    "linspace": lambda x: (
        (torch.linspace(x, 2.0, 5, dtype=torch.float64) ** 2).sum() + np.linspace(x, 1.0, num=4)[1] ** 2
    ),
    "full": lambda x: (
        T.new_full((3,), x).prod() + torch.scalar_tensor(x, dtype=T.dtype) ** 2 + T.new_tensor([x, 2.0]).prod()
    ),
    "masked_fill": lambda x: (
        T.masked_fill(T > 0, x).prod() + torch.lerp(T, T * T, x).prod() + torch.quantile(T, x * 0.3)
    ),
    "between NumPy and PyTorch": lambda x: (torch.from_numpy(np.ones(3) * x) * T).prod() + (T * x).numpy().prod(),
    "numbers of NumPy's": lambda x: np.float64(x) * 2 + np.clip(np.ones(3), x, 2.0).prod() + np.ldexp(x, 2),
    "groups": lambda x: sum([len(list(k)) * v * v for v, k in itertools.groupby([x, x, 2 * x])]),
    "logging": written,
    "random numbers": drawn,
    "a function with a cache": lambda x: kept(x) * kept(x),
    "constants where only constants go": lambda x: (
        F.dropout(T, 0.0).sum() * x
        + F.elu(T * x, 0.7).sum()
        + F.softplus(T * x, 2.0).sum()
        + np.arange(0.0, 1.0, 0.3).sum() * x
    ),
    "constants computed": lambda x: (lambda rate: F.elu(T * x, rate * 2.0).sum())(ignore(x) * 0.5),
}


@pytest.mark.parametrize("f", RIGHT.values(), ids=RIGHT)
def test_right(f):
    if "computed" in next(name for name, g in RIGHT.items() if g is f):
        assert gradient(f, X) != (None,)
    else:
        assert examine(f)


NOT_BY = {
    "dropout": lambda x: F.dropout(T, x * 0.1).sum(),
    "elu": lambda x: F.elu(T, x).sum(),
    "softplus": lambda x: F.softplus(T, x).sum(),
    "logspace": lambda x: torch.logspace(x, 2.0, 5).sum(),
    "arange": lambda x: torch.arange(0.0, 1.0, x).sum() * x,
    "addcmul": lambda x: torch.addcmul(T, T, T, value=x).sum(),
    "threshold": lambda x: F.threshold(T, 0.1, x).sum(),
    "cross_entropy": lambda x: F.cross_entropy(T[None], torch.tensor([1]), label_smoothing=x * 0.1),
    "layer_norm": lambda x: F.layer_norm(T, (3,), eps=x).prod(),
    "uniform_": lambda x: torch.empty(3, dtype=T.dtype).uniform_(0.0, x).sum(),
    "normal": lambda x: torch.normal(x, 1.0, (3,)).sum(),
    "addmm": lambda x: torch.addmm(I3, I3, I3, beta=x).sum(),
    "nan_to_num": lambda x: torch.nan_to_num(torch.tensor([math.nan]), x).sum(),
    "huber_loss": lambda x: F.huber_loss(T, T * T, delta=x),
    "norm": lambda x: torch.norm(T, p=x),
    "renorm": lambda x: torch.renorm(T[None], 2, 0, x).sum(),
    "hardtanh": lambda x: F.hardtanh(T, -x, x).sum(),
    "Normal": lambda x: torch.distributions.Normal(x, 1.0).log_prob(T).sum(),
    "Tensor": lambda x: torch.Tensor([x, x]).sum(),
    "vmap": lambda x: torch.vmap(lambda v: v * x)(T).sum(),
    "__getattribute__": lambda x: Looks(x).v,
    "as_integer_ratio": lambda x: float(x.as_integer_ratio()[0]) * x,
    "hex": lambda x: float.fromhex(x.hex()),
    "percentile": lambda x: np.percentile(np.array([x, 1.0, 3.0]), 30.0),
    "np.logspace": lambda x: np.logspace(x, 2.0, 4).sum(),
    "Generator.normal": lambda x: float(np.random.default_rng(0).normal(x, 1e-9)),
    "register_buffer": lambda x: Gate()(T * x).sum(),
    "eval": lambda x: eval("x * 2", {"x": x}),
}


@pytest.mark.parametrize("name", NOT_BY)
def test_refused_by_name(name):
    f = NOT_BY[name]
    word = "a __getattribute__" if name == "__getattribute__" else name.rpartition(".")[2]
    for derivative in (lambda: gradient(f, X), lambda: pushforward(f, X)(1.0)):
        with pytest.raises(Refused, match=word) as caught:
            derivative()
        assert caught.value.advice
        assert __file__ in str(caught.value)


def test_refused_only_where_it_would_flow():
    """Numbers that aren't differentiated may go anywhere, wherever they come from."""

    class Model:
        def __init__(self):
            self.rates, self.rate = [0.5, 0.25], 0.5

        def __call__(self, t, rate):
            for r in self.rates:
                t = F.elu(t, r * self.rate + rate)
            return t.sum()

    model = Model()
    (g,) = gradient(lambda t: model(t, math.sqrt(4.0)), T)
    t = T.clone().requires_grad_()
    model(t, 2.0).backward()
    torch.testing.assert_close(g, t.grad)
    assert gradient(lambda t, rate: t.sum() * rate, T, 2.0)[1] == pytest.approx(T.sum().item())
    with pytest.raises(Refused, match=r"elu by its argument 'alpha'"):
        gradient(lambda t, rate: model(t, rate), T, 2.0)
    with pytest.raises(Refused, match=r"elu by its argument 'alpha'"):
        gradient(lambda m: m(T, 2.0), model)
    module = Gate()
    (grads,) = gradient(lambda m: F.elu(T, m.rate).sum(), module)
    assert grads == {}


def test_a_refusal_goes_through_what_is_computed_from_the_number():
    """Also through rules of one's own, tuples, lists, exceptions and nested gradients."""

    @adjoint
    def twice(v):
        return 2 * v, lambda bar: 2 * bar

    ways = [
        lambda r: math.sin(r) / 3 + 0.5 * r * r - 0.1,
        lambda r: twice(abs(r)),
        lambda r: (r, 1.0)[0],
        lambda r: max([r, 0.1]),
        lambda r: torch.tensor([r, 0.2]).mean().item(),
        lambda r: (np.array([r]) * 2)[0],
        lambda r: sum(map(math.exp, [r])),
    ]
    for way in ways:
        with pytest.raises(Refused, match="elu"):
            gradient(lambda r, way=way: F.elu(T, way(r)).sum(), X)
        assert gradient(lambda x, way=way: F.elu(T, way(0.8)).sum() * x, X)[0] is not None


def test_the_check_sees_a_silent_zero():
    @adjoint
    def forgetful(x, rate):
        return x * rate, lambda bar: (bar * rate, None)

    with pytest.raises(AssertionError, match="derivative"):
        examine(lambda x: forgetful(2.0, x))
