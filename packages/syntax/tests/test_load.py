"""What is loaded shows its own text, and has its own extra names."""

import ast
import inspect
import traceback
from dataclasses import replace

import pytest

from torchflux_syntax import load, quote, read, show


def test_the_text_is_shown_in_tracebacks_and_by_inspect():
    def f(x):
        y = x + 1
        return 1 / (y * 0)

    function = read(f)
    loaded = load(function)
    assert inspect.getsource(loaded).strip() == show(function)
    with pytest.raises(ZeroDivisionError) as caught:
        loaded(1)
    assert "t2 = 1 / t1" in "".join(traceback.format_exception(caught.value))
    assert loaded.__code__.co_filename.startswith("<torchflux f #")
    assert load(function).__code__.co_filename != loaded.__code__.co_filename


def test_bindings():
    def f(x):
        return x + 1

    function = read(f)
    definition = quote("def f(x): return helper(x, offset)")[0]
    loaded = load(replace(function, definition=definition), helper=lambda x, y: x * y, offset=5)
    assert loaded(3) == 15
    assert "helper" not in loaded.__globals__
    assert loaded.__globals__ is f.__globals__


@pytest.mark.parametrize("name", ["x", "y", "n"])
def test_bindings_that_clash(name):
    n = 1

    def f(x):
        y = x * n
        return y  # noqa: RET504

    with pytest.raises(ValueError, match=f"bindings \\['{name}'\\] have the names of variables of f"):
        load(read(f), **{name: 1})


def test_a_definition_without_an_original():
    [definition] = quote("def f(x, *y): return len(y) + offset")
    assert load(definition, offset=1)(0, 1, 2) == 3


def test_extra_bindings_that_nobody_uses():
    assert load(read(lambda x: x), unused=1)(2) == 2


def test_nested_functions_see_bindings():
    [definition] = quote("def f(x):\n    def g(y): return y + offset\n    return g(x)")
    assert load(definition, offset=1)(2) == 3


def test_constants_print_back():
    constants = [-1, -1.5, -0.0, 1e999, -1e999, 2j, True, None, ..., "a'\"\n{}", b"\x00", 10**30, -(10**30)]
    for constant in constants:
        for template in ("return $x", "y = $x ** 2\n    return y" if isinstance(constant, float) else "return $x"):
            [definition] = quote("def f():\n    " + template, x=ast.Constant(constant))
            got = load(definition)()
            assert repr(got) == repr(constant if "**" not in template else constant**2)


def fact(n):
    return 1 if n < 2 else n * fact(n - 1)


def test_recursion():
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    assert load(read(fact))(5) == 120
    assert load(read(fib))(7) == 13


def test_nested_functions_have_their_qualified_names():
    def f():
        def g():
            return lambda: 1

        return g

    loaded = load(read(f))
    assert loaded().__qualname__ == f().__qualname__
    assert loaded()().__qualname__ == f.__qualname__ + ".<locals>.g.<locals>.lambda_1"
