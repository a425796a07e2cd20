"""Random programs: what is loaded again gives the same results, exceptions, and calls in the same order."""

import textwrap

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

NAMES = ["a", "b", "c"]


def note(name, value=None):
    LOG.append(name)
    if len(LOG) > 300:
        raise RecursionError
    return value


LOG: list = []

atoms = st.sampled_from([*NAMES, "0", "1", "-2", "3", "shared"])


def _binary(inner):
    """Products stay small: squared three hundred times, a number would take forever."""
    sums = st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "//", "%"]), inner)
    return st.one_of(sums, st.builds("({} * {} % 1009)".format, inner, inner))


def _grown(inner):
    name, number = st.sampled_from(NAMES), st.integers(0, 9)
    return st.one_of(
        _binary(inner),
        st.builds("note({}, {})".format, number, inner),
        st.builds("({} {} {} {} {})".format, inner, *[st.sampled_from(["<", "<=", "!="]), inner] * 2),
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner),
        st.builds("({} {} {} {} {})".format, inner, *[st.sampled_from(["and", "or"]), inner] * 2),
        st.builds("(not {})".format, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("({} := {})".format, name, inner),
        st.builds("sum([{} + i for i in range({} % 3) if {} or i])".format, inner, atoms, inner),
        st.builds("any(note(i, i) < {} for i in [{}, {}])".format, inner, atoms, atoms),
        st.builds("(lambda x={}: {} + x)()".format, inner, atoms),
        st.builds("[{}, {}, {}][{} % 3]".format, inner, inner, inner, inner),
        st.builds("step({})".format, inner),
        st.builds("len(f'{{{}}} {{{}:>{{abs({}) % 9}}}}')".format, inner, inner, inner),
    )


expressions = st.recursive(atoms, _grown, max_leaves=4)


def block(statements):
    return st.lists(statements, min_size=1, max_size=3).map("\n".join)


def indent(text):
    return textwrap.indent(text, "    ")


def _assignments():
    name, e = st.sampled_from(NAMES), expressions
    return st.one_of(
        st.builds("{} = {}".format, name, e),
        st.builds("{} {}= {}".format, name, st.sampled_from("+-^"), e),
        st.builds("{}, {} = {}, {}".format, name, name, e, e),
        st.builds("{} = {} = {}".format, name, name, e),
        st.builds("d[{} % 2] = {}".format, e, e),
        st.builds("d[{} % 2] += {}".format, e, e),
        st.builds("note({})".format, st.integers(10, 19)),
        st.builds("return {}".format, e),
        st.just("raise KeyError(a)"),
        st.builds("del {}".format, name),
    )


def statements(depth, in_loop=False, in_finally=False):
    """Statements whose blocks are at most `depth` deep; no jump leaves a `finally`."""
    simple = _assignments()
    if in_finally:
        simple = simple.filter(lambda text: not text.startswith("return"))
    if in_loop:
        simple = st.one_of(simple, st.sampled_from(["break", "continue"]))
    if depth == 0:
        return simple
    inner = block(statements(depth - 1, in_loop, in_finally)).map(indent)
    loop = block(statements(depth - 1, True, in_finally)).map(indent)
    final = block(statements(depth - 1, False, True)).map(indent)
    e, name = expressions, st.sampled_from(NAMES)
    return st.one_of(
        simple,
        st.builds("if {}:\n{}".format, e, inner),
        st.builds("if {}:\n{}\nelse:\n{}".format, e, inner, inner),
        st.builds("for {} in range({} % 4):\n{}".format, name, e, loop),
        st.builds("for {} in range({} % 4):\n{}\nelse:\n{}".format, name, e, loop, inner),
        st.builds("while note(20, True) and {}:\n{}".format, e, loop),
        st.builds("while {} and note(21, True):\n{}\nelse:\n{}".format, e, loop, inner),
        st.builds("while True:\n    note(22)\n{}".format, loop),
        st.builds("while True:\n    if {}:\n        note(22)\n        break\n    note(23)\n{}".format, e, loop),
        st.builds("try:\n{}\nexcept (KeyError, ZeroDivisionError):\n{}".format, inner, inner),
        st.builds("try:\n{}\nexcept KeyError as error:\n{}\nelse:\n{}".format, inner, inner, inner),
        st.builds("try:\n{}\nfinally:\n{}".format, inner, final),
        st.builds("with Stops():\n{}".format, inner),
    )


PROGRAM = """
class Stops:
    def __enter__(self):
        note("enter")

    def __exit__(self, kind, *rest):
        note("exit")
        return kind is KeyError

def f(a, b):
    c = 1
    d = [a, b]
    shared = 2
    def step(by):
        nonlocal shared, a
        shared += 1
        a = note("step", by)
        return shared
{}
    return a, b, c, d, shared
"""


@settings(max_examples=100, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(body=block(statements(3)), arguments=st.tuples(st.integers(-2, 4), st.integers(-2, 4)))
def test_the_same(body, arguments, cell, same):
    same.log = LOG
    f = cell(PROGRAM.format(indent(body)), note=note)["f"]
    same(f, arguments)


@settings(max_examples=60, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(body=block(statements(3)), arguments=st.tuples(st.integers(-2, 4), st.integers(-2, 4)))
def test_generators_are_the_same(body, arguments, cell, same):
    """Some of the noted values are yielded instead; what is sent takes their place."""
    same.log = LOG
    for number in (0, 1, 2, 5):
        body = body.replace(f"note({number}, ", "(yield ")
    body = (
        body.replace("note(10)", "yield a").replace("note(11)", "yield from [b, a]").replace("note(20, True)", "True")
    )
    assume("yield" in body)
    try:
        f = cell(PROGRAM.format(indent(body)), note=note)["f"]
    except SyntaxError:  # a `yield` in a comprehension
        assume(False)
    same(f, arguments)
