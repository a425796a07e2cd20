"""Quasi-quotation."""

import ast

import pytest

from torchflux_syntax import quote, quote_expr


def text(template, **values):
    return ast.unparse(ast.fix_missing_locations(ast.Module(quote(template, **values), [])))


@pytest.mark.parametrize(
    ("template", "values", "expected"),
    [
        ("$y = $a * $b", {"y": "y", "a": ast.Name("a", ast.Load()), "b": 2}, "y = a * 2"),
        ("$x.real = None", {"x": "z"}, "z.real = None"),
        ("y = x.$name", {"name": "real"}, "y = x.real"),
        ("f($args)", {"args": ["a", 1, ast.Constant("text")]}, "f(a, 1, 'text')"),
        ("f(a, $args, *b)", {"args": []}, "f(a, *b)"),
        ("f($args)", {"args": ["a", ast.keyword("k", ast.Constant(1)), "b"]}, "f(a, b, k=1)"),
        ("f(*$a, $k=1, **$b)", {"a": "x", "k": "key", "b": "y"}, "f(*x, key=1, **y)"),
        ("($names,) = ($values,)", {"names": ["a", "b"], "values": [1, 2]}, "(a, b) = (1, 2)"),
        ("x = [$a, $a]", {"a": "b"}, "x = [b, b]"),
        ("nonlocal $names", {"names": ["a", "b"]}, "nonlocal a, b"),
        ("import $m as $n", {"m": "a", "n": "b"}, "import a as b"),
        ("with $m as $n: pass", {"m": "a", "n": "b"}, "with a as b:\n    pass"),
        ("try: pass\nexcept $e as $n: pass", {"e": "A", "n": "b"}, "try:\n    pass\nexcept A as b:\n    pass"),
        ("def $f($args, k): return k", {"f": "g", "args": ["a", ast.arg("b")]}, "def g(a, b, k):\n    return k"),
        ("if $t: $body\nelse: $body2", {"t": True, "body": [], "body2": []}, "if True:\n    pass"),
        ("x = {**$d, $k: 1}", {"d": "a", "k": 2}, "x = {**a, 2: 1}"),
        ("$call", {"call": ast.parse("f(x)").body[0].value}, "f(x)"),
        ("    $x = 1\n    del $x", {"x": "a"}, "a = 1\ndel a"),
        ("$t = $v", {"t": ast.parse("a, *b").body[0].value, "v": ...}, "a, *b = ..."),
    ],
)
def test_holes(template, values, expected):
    got = text(template, **values)
    assert ast.dump(ast.parse(got)) == ast.dump(ast.parse(expected))


def test_parameters():
    arguments = ast.parse("def f(a, /, b=1, *c, d, **e): pass").body[0].args
    assert text("def g($all): pass", all=arguments).startswith("def g(a, /, b=1, *c, d, **e):")


def test_places_and_copies():
    at = ast.parse("\n\n  (x)".replace("  ", "")).body[0].value
    value = ast.parse("a + b").body[0].value
    first, second = quote("x = $v\ny = $v", at=at, v=value)
    assert (first.lineno, first.targets[0].lineno, first.value.lineno) == (3, 3, 1)
    assert first.value is not second.value is not value
    assert isinstance(quote("$v = 1", v=ast.Name("a", ast.Load()))[0].targets[0].ctx, ast.Store)


def test_a_template_is_not_changed_by_its_use():
    for _ in range(2):
        [statement] = quote("while True: $body", body=quote("x = 1"))
        statement.body.append(ast.Pass())
        assert len(statement.body) == 2


@pytest.mark.parametrize(
    ("template", "values", "message"),
    [
        ("$x = 1", {}, r"has the holes \['x'\], the values are for \[\]"),
        ("x = 1", {"y": 1}, "the values are for"),
        ("$x = 1", {"x": "a.b"}, "no name: 'a.b'"),
        ("x.$y = 1", {"y": 3}, "no name: 3"),
        ("x = $y", {"y": {}}, "no expression: {}"),
        ("if x: $y", {"y": [1]}, r"no statements: \[1\]"),
    ],
)
def test_misuse(template, values, message):
    with pytest.raises(ValueError, match=message):
        quote(template, **values)


def test_expressions():
    assert ast.unparse(quote_expr("$f($x)[0]", f="g", x="y")) == "g(y)[0]"
    with pytest.raises(ValueError, match="not an expression"):
        quote_expr("x = 1")
