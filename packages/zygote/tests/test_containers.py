"""Containers and objects of the standard library: ordered and default dicts, dataclasses, copies, `vars`."""

import collections
import copy
import dataclasses

import numpy as np
import pytest
import torch

from torchflux_zygote import Refused, gradient

from .derivatives import check


@dataclasses.dataclass
class Point:
    x: float
    y: float = 2.0
    scale: dataclasses.InitVar[float] = 1.0
    made: list = dataclasses.field(default_factory=list, init=False)

    def __post_init__(self, scale):
        self.x = self.x * scale
        self.made.append(self.x * self.y)


@dataclasses.dataclass(frozen=True)
class Fixed:
    x: float
    y: float


class Node:
    def __init__(self, value, rest=None):
        self.value, self.rest = value, rest


def ordered(x):
    d = collections.OrderedDict(a=x, b=2 * x)
    d["c"] = d["a"] * d["b"]
    d.pop("a")
    d["a"] = d.setdefault("d", x * x) * d.get("c")
    d.update(b=d["c"])
    other = d.copy()
    other["b"] = 0.0
    return sum([v * (i + 1) for i, (_, v) in enumerate(d.items())]) + sum(other.values()) * len(list(d.keys()))


def counted(x):
    found = collections.defaultdict(float)
    for i in range(5):
        found[i % 2] += x * i
    return found[0] * found[1]


def grouped(x):
    found = collections.defaultdict(list)
    for i in range(4):
        found[i % 2].append(x**i)
    return sum(found[0]) * sum(found[1])


def initialised(x):
    return Point(x, scale=3.0 * x).x * Point(x, x, x).made[0] + Point(x).made[0]


def replaced(x):
    p = Fixed(x, 2.0 * x)
    q = dataclasses.replace(p, x=p.y * p.x)
    return q.x * q.y * p.x


def copied(x):
    a = Node(x, [x, 2 * x])
    b = copy.copy(a)
    b.value = b.value * 3
    b.rest.append(x * x)
    return a.value * b.value * sum(a.rest)


def deeply(x):
    inner = [x, x * x]
    a = Node(x, {"p": inner, "q": (inner, Node(2 * x, np.array([x, 1.0])))})
    b = copy.deepcopy(a)
    b.rest["p"][0] = b.rest["p"][0] * 5
    b.rest["q"][1].rest[0] = 7.0 * x
    t = torch.tensor([x], dtype=torch.float64)
    u = copy.deepcopy(t)
    u.mul_(2.0)
    shared = b.rest["q"][0][0] * b.rest["p"][1]
    return shared * inner[0] + b.rest["q"][1].rest[0] * a.rest["q"][1].rest[0] + (t * u).item()


def by_vars(x):
    a = Node(x, 2 * x)
    vars(a)["value"] = vars(a)["rest"] * a.value
    a.rest = a.rest * a.value
    return sum(a.__dict__.values()) * a.value


def caught(x):
    """Errors of lists, before which nothing was changed."""
    a = [x]
    try:
        a[3] = x
    except IndexError:
        a.append(x * x)
    try:
        [].pop()
    except IndexError:
        a.append(3 * x)
    return a[0] * a[1] * a[2]


@pytest.mark.parametrize("f", [ordered, counted, grouped, initialised, replaced, copied, deeply, by_vars, caught])
def test_containers(f):
    check(f, 0.8)


def test_an_ordered_dict_is_as_it_was_after_the_sweep():
    d = collections.OrderedDict(a=2.0, b=3.0)

    def f(d):
        d.pop("a")
        d["c"] = d["b"] * d["b"]
        return d["c"] * d["b"]

    assert gradient(f, d) == ({"a": None, "b": 27.0},)
    assert list(d.items()) == [("b", 3.0), ("c", 9.0)]
    assert list(reversed(d)) == ["c", "b"]


def test_a_frozen_dataclass_stays_so():
    def f(x):
        p = Fixed(x, x)
        p.x = 2.0
        return p.x

    with pytest.raises(dataclasses.FrozenInstanceError):
        gradient(f, 1.0)


def test_copies_of_what_is_not_known_are_refused():
    with pytest.raises(Refused, match=r"a copy of a torch\.nn"):
        gradient(lambda x: copy.deepcopy(torch.nn.Linear(1, 1))(x).sum(), torch.ones(1))
