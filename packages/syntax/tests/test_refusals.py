"""What is refused: with its place, its line, what it is, and what to write instead."""

import ast
import pickle
import textwrap
import traceback

import pytest

from torchflux_syntax import Unsupported, read

REFUSED = {
    "return ((k := i) for i in x)": ("1:12", "`:=` in a generator expression", "a function with `yield`"),
    "iter = x\nreturn (i for i in x)": ("2:12", "a variable called 'iter'", "another name"),
    "class C: pass": ("1:5", "a class inside a function", "outside of the function"),
    "async def g(): pass": ("1:5", "an asynchronous function", "ordinary function"),
    "try: pass\nexcept* ValueError: pass": ("1:5", "`except*`", "with `except`"),
    "try: pass\nexcept kinds(): pass": ("2:12", "an expression after `except`", "before the `try`"),
    "return locals()": ("1:12", "`locals`", "use the names themselves"),
    "return vars()": ("1:12", "`vars`", "use the names themselves"),
    "return eval('x')": ("1:12", "`eval`", "use the names themselves"),
    "exec('y = 1')": ("1:5", "`exec`", "use the names themselves"),
    "return super().f(x)": ("1:12", "`super()` outside of a method", "super(Class, self)"),
    "return x[*x, 1:2]": ("1:14", "an index with a star and a slice", "slice(start, stop)"),
    "return [lambda: (i, (k := i)) for i in x] + [(k := lambda: i) for i in x]": ("1:49", "`:=`", "write the loop"),
    "return any((lambda: i)() for i in x)": ("1:15", "names a function captures", "write the loop"),
    "match x:\n  case {'a': 1}: pass": ("2:12", "this pattern", "isinstance"),
    "match x:\n  case complex(real=0): pass": ("2:12", "this pattern", "isinstance"),
    "match x:\n  case [y] | (_, y): pass": ("2:12", "this pattern", "isinstance"),
    "set = x\nreturn {i for i in x}": ("2:12", "a variable called 'set'", "another name"),
}


@pytest.mark.parametrize("body", REFUSED)
def test_refused(cell, body):
    place, construct, advice = REFUSED[body]
    f = cell("def f(x):\n" + textwrap.indent(body, "    ") + "\n")["f"]
    with pytest.raises(Unsupported) as caught:
        read(f)
    error = caught.value
    line, column = map(int, place.split(":"))
    head, text, mark = str(error).splitlines()
    assert head.startswith(f"{f.__code__.co_filename}:{line + 1}:{column}: ")
    assert construct in head
    assert advice in head
    assert text.strip() == body.splitlines()[line - 1].strip()
    assert mark.index("^") == len(text) - len(text.lstrip()) + column - 5 - (
        len(body.splitlines()[line - 1]) - len(text.strip())
    )
    assert (error.lineno, error.offset) == (line + 1, column)
    assert construct in error.construct
    assert advice in error.advice


@pytest.mark.parametrize(
    "head", ["async def f(x): await x", "async def f(x):\n async for y in x: pass", "async def f(x): return x"]
)
def test_refused_functions(cell, head):
    with pytest.raises(Unsupported, match="is not supported"):
        read(cell(head + "\n")["f"])


def test_the_mark_is_under_the_construct(cell):
    f = cell("def f(α):\n    return α, ('β', locals())\n")["f"]
    with pytest.raises(Unsupported) as caught:
        read(f)
    shown = "".join(traceback.format_exception_only(caught.value)).splitlines()
    assert shown[1].index("locals") == shown[2].index("^")
    assert str(caught.value).splitlines()[1].index("locals") == str(caught.value).splitlines()[2].index("^")


def test_it_can_be_pickled(cell):
    error = Unsupported.at(ast.parse("x"), "nowhere.py", "this", "write that")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "nowhere.py:1:1: this is not supported; write that"
    assert again.advice == "write that"


def test_a_construct_that_is_new_to_us_is_refused(cell):
    f = cell("def f(x):\n    return x\n")["f"]
    node = type("Telepathy", (ast.expr,), {})(lineno=2, col_offset=4)
    from torchflux_syntax._match import Matches

    with pytest.raises(Unsupported, match="Telepathy is not supported; write it in other words"):
        Matches(read(f), set()).value(node)
