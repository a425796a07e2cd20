"""Every construct: gradient, forward mode and second derivatives against finite differences."""

import functools
import itertools
import math
import operator
from collections import defaultdict, namedtuple
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from torchflux_zygote import gradient

from .derivatives import check

FEATURES: dict[str, Any] = {}


def feature(*args, **options):
    """Registers a function and the arguments that it is tested with."""

    def register(f):
        assert f.__name__ not in FEATURES, f.__name__
        FEATURES[f.__name__] = (f, args, options)
        return f

    return register


# Branches.


@feature(1.3)
def straight_line(x):
    y = x * x
    z = y + math.sin(x)
    return y * z


@feature(0.7)
def if_else(x):
    if x > 1:
        y = x * x
    else:
        y = math.exp(x)
    return y * x


@feature(0.7)
def elif_chain(x):
    if x > 2:
        y = x
    elif x > 1:
        y = x * x
    elif x > 0.5:
        y = x**3
    else:
        y = 1.0
    return y + x


@feature(0.7)
def if_without_else(x):
    y = x
    if x < 1:
        y = y * x * 3
    return y


@feature(0.7, 2.0)
def early_return(x, y):
    if x > y:
        return x
    if x * 2 > y:
        return y * x
    z = x * x
    return z * y


@feature(0.7)
def nested_branches(x):
    y = x
    if x < 1:
        if x < 0.5:
            y = x * 2
        else:
            y = x * x
            if y > 0.1:
                y = y * math.cos(y)
    return y


@feature(0.4, 1.5)
def ternary(x, y):
    a = x if x > y else y
    return (a * x if x > 0 else y) + (x if y < 0 else x * y)


@feature(0.4, 1.5)
def short_circuit(x, y):
    a = 1.0 if x > 0 and y > 1 and x < y else 2.0
    b = x or y
    c = (x > 3) or y
    d = x and y
    return a * x + b * c * d


@feature(0.4)
def chained_comparison(x):
    return x * x if 0 < x < 1 <= 2 else x


@feature(0.4)
def walrus(x):
    if (y := x * x) < 1:
        return y * (z := math.sin(y)) + z
    return y


@feature(0.4)
def matched(x):
    total = 0.0
    for kind in ("a", "b", ("c", 2)):
        match kind:
            case "a":
                total += x
            case ("c", n):
                total += n * x * x
            case _:
                total *= x
    return total


# Loops.


@feature(1.3, 4)
def power(x, n):
    y = 1.0
    for _ in range(n):
        y = y * x
    return y


@feature(1.3)
def while_loop(x):
    y = x
    while y < 20:
        y = y * x + 1
    return y


@feature(1.3)
def while_else(x):
    y, n = x, 0
    while n < 3:
        y = y * x
        n += 1
    else:
        y = y + x
    return y


@feature(1.3)
def for_else_with_break(x):
    y = x
    for _ in range(5):
        y = y * x
        if y > 2:
            break
    else:
        y = y * 100
    return y * x


@feature(1.3)
def break_and_continue(x):
    y = x
    for i in range(8):
        if i % 2 == 0:
            continue
        if y > 30:
            break
        y = y * x + i
    return y


@feature(1.3)
def return_in_loop(x):
    y = x
    for _ in range(10):
        y = y * x
        if y > 3:
            return y * y
    return y


@feature(1.1)
def return_in_nested_loops(x):
    y = x
    for i in range(4):
        for _ in range(4):
            y = y * x
            if y > 2 and i > 0:
                return y * x
    return y


@feature(1.1)
def nested_loops(x):
    y = 0.0
    for i in range(3):
        z = x
        for j in range(i):
            z = z * x + j
            y = y + z * i
    return y


@feature(1.1)
def while_in_for_in_while(x):
    y, n = x, 0
    while n < 2:
        for _ in range(2):
            z = y
            while z < 5:
                z = z * 2 + x
            y = y + z * 0.1
        n = n + 1
    return y


@feature(1.1)
def branch_in_loop(x):
    y = x
    for i in range(6):
        if y < 2:
            y = y * x + 0.5
        elif i % 2:
            y = math.sin(y) * x
        else:
            y = y / x
    return y


@feature(1.1)
def loop_carried_swap(x):
    a, b = x, 1.0
    for _ in range(5):
        a, b = b, a * b + x
    return a * b


@feature([1.0, 2.0, 3.0])
def over_a_list(xs):
    y = 1.0
    for x in xs:
        y = y * x + x
    return y


@feature((1.0, 2.0, 3.0))
def over_a_tuple(xs):
    y = 1.0
    for x in xs:
        y = y * x + x
    return y


@feature(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
def over_a_tensor(xs):
    y = 1.0
    for x in xs:
        y = y * x + x
    return y


@feature(np.array([[1.0, 2.0], [3.0, 4.0]]))
def over_rows(xs):
    y = 1.0
    for row in xs:
        y = y * row[0] + row[1]
    return y


@feature({"a": 1.5, "b": 2.5})
def over_a_dict(d):
    y = 1.0
    for k in d:
        y = y * d[k]
    for k, v in d.items():  # noqa: B007
        y += v * v
    for v in d.values():
        y *= v
    return y + len(d)


@feature([1.0, 2.0], [3.0, 4.0])
def over_zip_and_enumerate(xs, ys):
    total = 0.0
    for i, (x, y) in enumerate(zip(xs, ys)):  # noqa: B905
        total = total + i * x * y + x
    for i, x in enumerate(xs, 2):
        total += i * x * x
    return total


@feature(1.2)
def a_variable_used_after_a_loop(x):
    for i in range(3):
        z = x * i
    return z * z + i


@feature([1.0, 2.0, 3.0])
def loop_that_never_runs(xs):
    y = xs[0]
    for x in xs[3:]:
        y = y * x
    while y > 100:
        y = y * xs[1]
    return y * xs[2]


class Countdown:
    def __init__(self, x, n):
        self.x, self.n = x, n

    def __iter__(self):
        return self

    def __next__(self):
        if self.n == 0:
            raise StopIteration
        self.n -= 1
        self.x = self.x * 1.1
        return self.x


@feature(1.2)
def over_an_iterator_of_ones_own(x):
    total = 0.0
    for y in Countdown(x, 4):
        total += y * y
    return total


# Calls.


def square(x):
    return x * x


@feature(1.2)
def calls(x):
    return square(square(x) + x)


def fibonacci(n, x):
    return x if n < 2 else fibonacci(n - 1, x) * fibonacci(n - 2, x) + x


@feature(5, 0.9)
def recursion(n, x):
    return fibonacci(n, x)


def is_even(n, x):
    return x if n == 0 else is_odd(n - 1, x * 1.5)


def is_odd(n, x):
    return 1.0 if n == 0 else is_even(n - 1, math.sin(x))


@feature(4, 0.9)
def mutual_recursion(n, x):
    return is_even(n, x)


def with_defaults(x, y=2.0, *, scale=3.0):
    return x * y * scale


@feature(1.2, 0.5)
def keywords_and_defaults(x, y):
    a = with_defaults(x) + with_defaults(x, y) + with_defaults(y=x, x=y)
    return a * with_defaults(x, scale=y)


def variadic(x, *rest, **options):
    total = x
    for r in rest:
        total = total * r
    for key, value in options.items():
        total = total + value * len(key)
    return total


@feature(1.2, 0.5)
def star_arguments(x, y):
    args = [x, y]
    options = {"ab": x * y, "c": y}
    return variadic(*args) + variadic(x, *args, y, **options) * variadic(x, d=y, q=x)


@feature(1.2, 0.5)
def higher_order(x, y):
    def twice(f, z):
        return f(f(z))

    return twice(lambda z: z * x + y, y) + twice(math.sin, x)


@feature(1.2, 0.5)
def closures(x, y):
    a = x * y

    def g(z):
        b = a * z

        def h(w):
            return w * b + y

        return h

    return g(x)(y) * g(y)(a)


@feature(1.2)
def rebound_captured_variable(x):
    y = x

    def step():
        nonlocal y
        y = y * x + 1

    step()
    z = y
    step()
    y = y * z
    step()
    return y + z


@feature(1.2)
def captured_before_assigned(x):
    def g():
        return y * x

    y = x * x
    a = g()
    y = x + 1
    return a * g()


@feature(1.2)
def counter(x):
    def make():
        total = 0.0

        def add(v):
            nonlocal total
            total += v * v
            return total

        return add

    a, b = make(), make()
    a(x)
    b(2 * x)
    a(3 * x)
    return a(x) * b(x)


@feature(1.2)
def closures_in_a_list(x):
    fs = [lambda z, i=i: z * x * i for i in range(4)]
    late = [lambda z: z * i * x for i in range(3)]  # noqa: B023
    return fs[1](x) + fs[3](2.0) * late[0](x)


@feature(1.2, 0.5)
def active_defaults(x, y):
    def g(z, w=x * y, *, k=y):
        return z * w + k

    return g(x) + g(y, k=x)


@feature(1.2, 0.5)
def partials(x, y):
    f = functools.partial(with_defaults, x, scale=y)
    return f() + f(y) * f(scale=x) + functools.partial(f, y)()


@feature(1.2)
def recursive_closure(x):
    def down(n, z):
        return z if n == 0 else down(n - 1, z * x + n)

    return down(4, x)


@feature(1.2)
def several_lambdas_on_a_line(x):
    f, g = lambda z: z * x, lambda z: z + x * x
    return (lambda a, b: f(a) * g(b))(x, 2.0)


# Comprehensions and builtins.


@feature([0.9, 2.0, 3.0])
def comprehensions(xs):
    ys = [x * x for x in xs if x > 1]
    d = {i: x * y for i, x in enumerate(xs) for y in ys}
    nested = [[a * b for a in xs] for b in ys]
    return sum(ys) + d[1] * d[2] + nested[1][2] * sum(row[0] for row in nested)


@feature([3.0, 1.0, 2.0])
def builtins_of_sequences(xs):
    a, b, *rest = sorted(xs, key=lambda x: -x)
    m = max(xs) * min(xs) + max(a, b) ** 2 + min(b, 9.0, key=lambda x: x)
    r = list(reversed(xs))
    t = tuple(xs) + (a,)  # noqa: RUF005
    return m + r[0] * t[3] * rest[0] + sum(t, a) + abs(-a) + math.prod(xs) + pow(a, 2) + divmod(a, 0.7)[1]


@feature([3.0, 0.9, 2.0])
def functional(xs):
    a = functools.reduce(lambda p, q: p * q + 1, xs)
    b = sum(map(lambda x, y: x * y, xs, xs[1:]))
    c = sum(filter(lambda x: x > 1, xs))
    d = functools.reduce(operator.mul, xs, 2.0)
    return a + b * c + d


@feature([3.0, 1.0, 2.0])
def iteration_tools(xs):
    a = sum(x * y for x, y in itertools.product(xs, xs[:2]))
    b = sum(x * y for x, y in itertools.pairwise(xs))
    c = sum(itertools.accumulate(xs, lambda p, q: p * q))
    d = sum(x * i for i, x in enumerate(itertools.chain(xs, [a], xs)))
    e = sum(itertools.islice(xs, 1, 3)) * sum(x * y for x, y in itertools.combinations(xs, 2))
    return a + b * c + d + e


@feature([3.0, 1.0, 2.0])
def iterators_by_hand(xs):
    it = iter(xs)
    a = next(it)
    b = next(it)
    c = next(it)
    return a * b + next(it, c) * c


@feature(1.2)
def generator_arguments(x):
    return sum(x * i for i in range(4)) * max(x * i for i in range(3)) + math.prod(x + i for i in range(3))


@feature(1.2)
def conversions(x):
    return float(x) * round(x) + int(x) * x + bool(x) * x


@feature(1.2)
def texts(x):
    label = f"{x:.2f} and {x * 2:>10.3f}"
    names = ["a", "b"]
    return x * len(label.split("a")) + x * len(", ".join(names).upper()) + ("a" in label)


# Containers and mutation.


@feature([1.0, 2.0, 3.0])
def list_mutation(xs):
    xs[0] = xs[1] * xs[2]
    xs.append(xs[0] * 2)
    xs.insert(1, xs[-1] + xs[0])
    y = xs.pop()
    z = xs.pop(0)
    xs.extend([y * z, xs[0]])
    del xs[0]
    xs += [z]
    return sum(x * i for i, x in enumerate(xs)) + y


@feature([1.0, 2.0, 3.0, 4.0])
def list_slices(xs):
    ys = xs[1:]
    ys[0] = ys[1] * xs[0]
    xs[1:3] = [ys[0], xs[0], xs[3]]
    xs[::2] = [x * 2 for x in xs[::2]]
    del xs[1:2]
    return sum(x * (i + 1) for i, x in enumerate(xs)) + ys[0] * sum(ys[::-1][:2])


@feature([3.0, 1.0, 2.0])
def list_methods(xs):
    xs.sort()
    a = xs[0] * 2
    xs.reverse()
    b = xs.copy()
    b[0] = b[0] * a
    xs.remove(a / 2)
    c = xs * 2 + b
    b.clear()
    xs.sort(key=lambda x: -x)
    return a * xs[0] + sum(x * i for i, x in enumerate(c)) + len(b)


@feature([1.0, 2.0])
def aliased_lists(xs):
    ys = xs
    ys[0] = xs[1] * 3
    zs = [xs, ys, [1.0]]
    zs[0][1] = zs[1][0] * xs[0]
    zs[2].append(ys[1])
    return xs[0] * xs[1] + zs[2][1]


@feature({"a": 1.0, "b": 2.0})
def dict_mutation(d):
    d["c"] = d["a"] * d["b"]
    d["a"] += d["c"]
    x = d.pop("b")
    d.update({"e": x * 2}, f=x)
    d |= {"g": d["e"]}
    y = d.setdefault("h", x * x) + d.setdefault("a", 0.0)
    z = d.get("c", 0.0) + d.get("nothing", x)
    del d["e"]
    w = {**d, "k": y}
    q = dict(d, r=z)
    return sum(d.values()) * y + z * w["k"] + q["r"] + q["f"]


@feature(1.5)
def default_dicts(x):
    d = defaultdict(list)
    e = defaultdict(float)
    f = defaultdict(lambda: x * 2)
    for i in range(5):
        d[i % 2].append(x * i)
        e[i % 3] += x**i
    return sum(d[1]) * e[1] + e[2] * f["q"] + sum(d[0])


@feature(1.5)
def memo(x):
    cache: dict[int, float] = {}

    def f(n):
        if n < 2:
            return x * (n + 1)
        if n not in cache:
            cache[n] = f(n - 1) * f(n - 2)
        return cache[n]

    return f(5)


@feature((1.0, (2.0, 3.0)), [4.0, {"k": 5.0}])
def trees(t, xs):
    a, (b, c) = t
    d, e = xs
    return a * b + c * d * e["k"] + t[1][0] * xs[1]["k"]


@feature([1.0, 2.0, 3.0, 4.0])
def unpacking(xs):
    a, *b, c = xs
    (d, e), f = b, a * c
    b.append(f)
    *g, h = (a, b, c)
    return a * d + e * f + b[-1] * h + g[0] + g[1][0]


@feature(1.5)
def set_of_integers(x):
    seen = set()
    for i in [1, 2, 2, 3]:
        if i not in seen:
            x = x * i
        seen.add(i)
    return x


# Objects.


@dataclass
class Point:
    x: float
    y: float = 2.0
    history: list = field(default_factory=list)

    def __add__(self, other):
        return Point(self.x + other.x, self.y + other.y)

    def __mul__(self, c):
        return Point(self.x * c, self.y * c)

    def __rmul__(self, c):
        return self * c

    def __neg__(self):
        return Point(-self.x, -self.y)

    def __getitem__(self, i):
        return (self.x, self.y)[i]

    def __len__(self):
        return 2

    def __call__(self, z):
        return self.x * z + self.y

    def __iadd__(self, other):
        self.x += other.x
        return self

    @property
    def size(self):
        return math.sqrt(self.x * self.x + self.y * self.y)

    @size.setter
    def size(self, new):
        factor = new / self.size
        self.x *= factor
        self.y *= factor

    @staticmethod
    def unit(x):
        return Point(x, x * x)

    @classmethod
    def of(cls, x):
        return cls(x, y=x)


@feature(Point(1.0, 3.0))
def dataclasses_as_arguments(p):
    p.x = p.x * p.y
    return p.x * p.size


@feature(1.0, 3.0)
def objects(x, y):
    p, q = Point(x, y), Point(y)
    r = 2 * (p + q * x) + -p
    r += q
    r.size = x * y
    r.history.append(r.x)
    p.y = r(x)
    return r[0] * r.size + len(r) + r.history[0] + p.y + Point.unit(x).y + Point.of(y).size


@dataclass(frozen=True)
class Frozen:
    a: float
    b: float = 1.0

    def __post_init__(self):
        object.__setattr__(self, "b", self.a * self.b)


@feature(1.5)
def frozen_dataclass(x):
    f = Frozen(x, 2.0)
    return f.a * f.b + Frozen(b=x, a=x).b


class Base:
    rate = 2.0

    def __init__(self, x):
        self.x = x
        self._cache = {}

    def value(self):
        return self.x * self.rate

    def __getattr__(self, name):
        if name == "magic":
            return self.x * 7
        raise AttributeError(name)


class Derived(Base):
    def __init__(self, x, y):
        super().__init__(x * y)
        self.y = y

    def value(self):
        return super().value() * self.y


@feature(1.5, 0.5)
def inheritance(x, y):
    d = Derived(x, y)
    d._cache["v"] = d.value()
    bound = d.value
    d.y = x
    return d._cache["v"] * bound() + d.magic + d.x + getattr(d, "absent", y)


@feature(1.5)
def attribute_deleted_and_set(x):
    b = Base(x)
    b.z = x * x
    y = b.z
    del b.z
    return y if not hasattr(b, "z") else 0.0


Pair = namedtuple("Pair", "left right")


@feature(Pair(1.0, 2.0))
def named_tuples(p):
    q = Pair(p.right * p.left, right=p[0])
    a, b = q
    return q.left * a + b * p.right


class Node:
    def __init__(self, value, following=None):
        self.value, self.following = value, following


@feature(1.5)
def linked_list(x):
    head = None
    for i in range(4):
        head = Node(x * i, head)
    total, node = 0.0, head
    while node is not None:
        total = total * x + node.value
        node = node.following
    return total


# Exceptions.


@feature(0.5)
def caught_where_raised(x):
    try:
        y = x * x
        if y < 1:
            raise ValueError("small")
        y = y * 100
    except ValueError:
        y = y * 3
    return y * x


@feature(0.5)
def caught_from_a_call(x):
    y = x
    for _ in range(4):
        try:
            y = y * 1.5
            z = math.sqrt(1 - y)
            y = y + z
        except ValueError:
            y = y - x * x
    return y


@feature(0.5)
def else_and_finally(x):
    y, log = x, []
    try:
        y = y * 2
    except ZeroDivisionError:
        y = y * 50
    else:
        y = y * x
    finally:
        log.append(y)
        y = y + 1
    return y * log[0]


@feature(0.5)
def an_empty_finally_in_another(x):
    y = x * x
    try:
        y = y * x
    finally:
        try:
            pass
        finally:
            pass
    return y


class Stop(Exception):
    def __init__(self, value):
        super().__init__("stopped")
        self.value = value


@feature(0.5)
def values_in_exceptions(x):
    def run(z):
        if z > 0:
            raise Stop(z * x)
        return z

    try:
        y = run(x * 2)
    except Stop as stop:
        y = stop.value * x
    try:
        raise KeyError(y * x)
    except KeyError as error:
        y = y + error.args[0]
    return y


@feature(0.5)
def nested_try(x):
    y, n = x, 1
    try:
        try:
            y = y * 2
            y = y / (n - 1)
        finally:
            y = x * x * 5
    except ZeroDivisionError:
        y = y * 3
    return y


@feature([1.0, 2.0])
def index_errors(xs):
    total, i = 0.0, 0
    while True:
        try:
            total = total + xs[i] * (i + 1) * total + xs[i]
        except IndexError:
            break
        i += 1
    return total


class Scaled:
    def __init__(self, box, factor):
        self.box, self.factor = box, factor

    def __enter__(self):
        self.box[0] = self.box[0] * self.factor
        return self.factor

    def __exit__(self, *error):
        self.box[0] = self.box[0] / self.factor + self.factor
        return error[0] is ValueError


@feature(0.5)
def with_statement(x):
    box = [x * x]
    with Scaled(box, x + 1) as f:
        y = box[0] * f
    with Scaled(box, x) as g:
        y = y + box[0] * g
        raise ValueError("swallowed")
    return y * box[0]


@feature(0.5)
def assertions_and_prints(x):
    assert x > 0, f"not {x}"
    print(end="")
    import math as m

    return m.sin(x) * x


# Arrays changed in place.

VECTOR = np.array([1.0, 2.0, 3.0])
TENSOR = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)


@feature(VECTOR)
def array_elements(x):
    y = np.zeros(3)
    for i in range(3):
        y[i] = x[i] * x[0]
    y[1] += y[0]
    y[0] *= x[2]
    return (y * y).sum() + y[1]


@feature(TENSOR)
def tensor_elements(x):
    y = torch.zeros(3, dtype=torch.float64)
    for i in range(3):
        y[i] = x[i] * x[0]
    y[1] += y[0]
    y[0] *= x[2]
    return (y * y).sum() + y[1]


@feature(VECTOR)
def views_and_their_base(x):
    y = x.copy()
    tail = y[1:]
    tail[0] = y[0] * y[2]
    y[1] = tail[0] * tail[1]
    y.reshape(3, 1)[0, 0] = tail[1]
    return (tail * tail).sum() * y[0]


@feature(TENSOR)
def tensor_views_and_their_base(x):
    y = x.clone()
    tail = y[1:]
    tail[0] = y[0] * y[2]
    y[1] = tail[0] * tail[1]
    y.view(3, 1)[0, 0] = tail[1]
    return (tail * tail).sum() * y[0]


@feature(VECTOR)
def in_place_operators(x):
    y = x * 1.0
    z = y
    y += x
    y *= z
    y -= 0.5
    y /= x
    z **= 2
    return (y * z).sum()


@feature(TENSOR)
def in_place_methods(x):
    y = x.clone()
    z = y * 2
    y.mul_(z).add_(x)
    y.sin_()
    w = torch.zeros_like(y)
    w.copy_(y)
    w[0:2].fill_(x[0])
    y.zero_()
    return (w * z).sum() + y.sum()


@feature(VECTOR)
def used_before_and_after_a_change(x):
    y = x * 2
    a = (y * y).sum()
    y[0] = x[1]
    b = (y * y * y).sum()
    y[:] = x[::-1] * y
    return a * b + y[0]


@feature(VECTOR)
def argument_changed_in_place(x):
    x[0] = x[1] * x[2]
    x *= x
    return x.sum() * x[0]


@feature(np.array([1.0, 2.0, 3.0, 4.0]))
def heat_stencil(u):
    for _ in range(3):
        new = u.copy()
        for i in range(1, len(u) - 1):
            new[i] = u[i] + 0.1 * (u[i - 1] - 2 * u[i] + u[i + 1])
        u = new
    return (u * u).sum()


@feature(VECTOR)
def masks_and_fancy_indices(x):
    y = x * x
    y[x > 1.5] = x[0]
    y[[0, 0]] = x[1:]
    return y[np.array([0, 2, 0])].sum() * y[1]


@feature(VECTOR)
def arrays_in_lists(x):
    rows = [x * i for i in range(3)]
    rows[1][0] = x[2]
    alias = rows[2]
    alias += rows[1]
    return sum((row * row).sum() for row in rows) + rows[2][0]


@feature(VECTOR)
def changed_in_a_callee(x):
    def scale(a, c):
        a *= c
        a[0] = c

    y = x + 1
    scale(y, x[0])
    scale(y[1:], x[1])
    return y.sum() * y[1]


@feature(VECTOR)
def arrays_in_lists_and_changes(x):
    a = x * 2
    ys = [a]
    a[0] = x[1]
    b = np.array(ys)
    a[1] = 5.0
    return (b * b).sum() + a.sum()


@feature(TENSOR)
def tensors_in_lists_and_changes(t):
    a = t * 2
    ys = [a]
    a[0] = t[1]
    b = torch.stack(ys)
    c = torch.cat((a, a))
    a[1] = 5.0
    return (b * b).sum() + a.sum() + (c**3).sum()


@feature(TENSOR)
def torch_functions_with_options(t):
    return torch.add(t, t, alpha=2).prod() + t.addcmul(t, t, value=0.5).sum()


@feature(VECTOR, 1.3)
def lists_in_a_dict(x, s):
    d = {}
    for i in range(3):
        d.setdefault(i % 2, []).append(x[i] * s)
    return sum(d[0]) * d[1][0]


@feature(1.3)
def floats_given_to_torch(s):
    t = torch.ones(3, dtype=torch.float64) * s
    return (t.pow(s) + torch.pow(2.0, t)).sum() + torch.clamp(t, max=s * 0.5).sum() + torch.lerp(t, t * 2, s).sum()


@feature(VECTOR)
def captured_array_changed(x):
    u = x.copy()

    def f(i):
        u[i] = u[i] * u[i - 1]

    for i in range(3):
        f(i)
    v = u[::-1]
    v += u
    return (u * v).sum()


@feature(VECTOR)
def matrix_changed_through_views(x):
    m = np.outer(x, x)
    m[1] = m[0] * m[:, 2]
    m.T[0, 0] = m[2, 2]
    m[:, 1] *= x
    m[m > 5] = x[0]
    return np.trace(m) * m.sum()


@feature(TENSOR)
def tensor_changed_through_views(t):
    y = t.clone()
    z = y.view(3, 1)
    z.mul_(t[0])
    y[1:].add_(z[:2, 0].clone())
    y.clamp_(min=2.0)
    y.masked_fill_(y > 6, 1.0)
    return (y * z.T).sum()


@feature(1.3)
def class_made_on_the_fly(s):
    class_ = type("C", (), {})
    o = class_()
    o.v = s
    o.v += 1
    o.w = [o.v]
    o.w[0] *= s
    return o.w[0] * o.v


@feature(1.3)
def loop_over_pairs_with_else(s):
    y = 0.0
    for i, (a, b) in enumerate([(s, 2.0), (3.0, s * s)]):
        for c in (a, b):
            if c > 4:
                break
            y += c * i + a
        else:
            y *= s
    return y


# Lists that are added to themselves.


@feature([1.4, 3.1])
def list_added_to_itself(xs):
    xs += xs
    xs.extend(xs)
    xs[:0] = xs
    return xs[0] * xs[2] ** 2 * xs[5] * xs[15] ** 3


@feature([1.4, 3.1])
def list_put_into_itself(xs):
    a, _ = xs
    xs[1:1] = xs
    xs[::2] = [x * 2 for x in xs[::2]]
    xs[3:] = xs
    xs.extend(reversed(xs))
    return a * xs[0] * xs[1] ** 2 * xs[2] * xs[-1] * xs[5]


@feature([1.4, 3.1])
def list_of_what_is_drawn_from_it(xs):
    xs.extend(v * v for v in list(xs))
    xs[1:2] = zip(xs, xs, strict=True)
    xs[:] = xs[::-1]
    return xs[-1] * xs[-2][1] * xs[-3][0] * xs[0]


@pytest.mark.parametrize("name", FEATURES)
def test_derivatives_are_finite_differences(name):
    f, args, options = FEATURES[name]
    check(f, *args, **options)


def test_results_are_laid_out_like_arguments():
    def f(x, t, d, p, n, s):
        return x * t[0] * d["a"][0] * p.x

    grads = gradient(f, 2.0, (3.0, 4), {"a": [5.0, 1.0], "b": None}, Point(7.0), 3, "s")
    assert grads[0] == 105.0
    assert grads[1] == (70.0, None)
    assert grads[2] == {"a": [42.0, None], "b": None}
    assert grads[3].x == 30.0
    assert grads[3].y is None
    assert grads[4:] == (None, None)
