"""Scopes."""

import ast

import pytest

from torchflux_syntax import Fresh, bound, free, names, rebound, used


def block(text):
    return ast.parse(text).body


@pytest.mark.parametrize(
    ("text", "binds", "uses"),
    [
        ("x = y", "x", "y"),
        ("x += y", "x", "x y"),
        ("x[i] = y.z", "", "x i y"),
        ("for i in x: y = i", "i y", "x i"),
        ("with a as b: pass", "b", "a"),
        ("try: pass\nexcept E as e: f(e)", "e", "E f e"),
        ("import a.b, c as d\nfrom e import f", "a d f", ""),
        ("del x", "x", ""),
        ("def f(a, b=c):\n    d = a + e\n    return d", "f", "c e"),
        ("def f():\n    nonlocal x\n    x = 1", "f", "x"),
        ("def f():\n    global x\n    x += y", "f", "x y"),
        ("y = lambda a, b=c: a + d", "y", "c d"),
        ("y = [i + j for i in x for j in i if (k := j)]", "y k", "x j i".replace("j i", "")),
        ("y = {i: z for i in i}", "y", "i z"),
        ("y = [[i for i in j] for j in x]", "y", "x"),
        ("class C(B):\n    a = b\n    def f(self): return g", "C", "B b g"),
        ("match x:\n    case [a, *b] | {'k': a, **b} if c: pass", "a b", "x c"),
        ("match x:\n    case C(k=1) as y: pass", "y", "x C"),
        ("@d\ndef f(): pass", "f", "d"),
    ],
)
def test_bound_and_used(text, binds, uses):
    assert bound(block(text)) == set(binds.split())
    assert used(block(text)) == set(uses.split())


def test_free():
    [f] = block(
        "def f(a, *b, c=d, **e):\n    x = a + y\n    def g(z): return x + w + z\n    global h\n    h = 1\n    return g"
    )
    assert free(f) == {"y", "w", "h"}
    assert free(ast.parse("lambda x: x + y").body[0].value) == {"y"}


def test_rebound_reaches_out_of_all_levels():
    text = "def f():\n    def g():\n        nonlocal x\n        x = 1\n    y = lambda: [lambda: 1 for _ in z]"
    assert rebound(block(text)) == {"x"}
    assert rebound(block("nonlocal x")) == set()


def test_names():
    text = "def f(a, *b): global g; x.attr = [lambda c: d for e in h]\nimport i.j\ntry: pass\nexcept E as k: pass"
    assert names(ast.parse(text)) == set("fabgxcdehiEk")


def test_fresh_names_are_no_keywords():
    fresh = Fresh({"a"})
    assert fresh("for") == "for_1"
    assert [fresh("a"), fresh("a"), fresh("a_1")] == ["a_1", "a_2", "a_1_1"]
