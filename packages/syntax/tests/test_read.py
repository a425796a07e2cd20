"""Which function is read: the very one that runs, wherever it was written."""

import ast
import functools
import linecache

import pytest

from torchflux_syntax import Unsupported, load, read, show


def value_of(f):
    return show(read(f)).splitlines()[-2:]


def test_lambdas_on_one_line():
    fs = [lambda x: x + 1, lambda x: x - 1, lambda x: (lambda y: y * x), lambda: (lambda: 0)]  # fmt: skip
    assert [load(read(f))(3) for f in fs[:2]] == [4, 2]
    assert load(read(fs[2]))(3)(4) == 12
    assert load(read(fs[2](5)))(4) == 20
    assert load(read(fs[3]))()() == 0 == load(read(fs[3]()))()


def test_lambdas_that_span_lines():
    f, g = (lambda x:
            x + 1), lambda x: (
        x * 2
    )  # fmt: skip
    assert load(read(f))(3) == 4
    assert load(read(g))(3) == 6


def test_lambdas_in_defaults_decorators_and_comprehensions():
    def f(x, g=lambda x: x + 1, *, h=lambda x: [lambda: x for _ in range(2)]):
        return g(x)

    assert load(read(f.__defaults__[0]))(1) == 2
    assert load(read(f.__kwdefaults__["h"]))(5)[1]() == 5
    assert load(read(f.__kwdefaults__["h"](6)[0]))() == 6
    assert load(read(f))(3) == 4


def test_closures_share_their_variables():
    n = 1

    def f(x):
        return x * n  # noqa: F821

    loaded = load(read(f))
    n = 5
    assert loaded(2) == 10 == f(2)
    assert read(f).resolve("n") == 5
    del n
    with pytest.raises(NameError, match=r"test_read.py:\d+: captured variable 'n' is not bound yet"):
        read(f).resolve("n")


def test_globals_are_shared(cell):
    namespace = cell("def f(x):\n    return x * later\n")
    loaded = load(read(namespace["f"]))
    namespace["later"] = 3
    assert loaded(2) == 6
    assert read(namespace["f"]).resolve("later") == 3
    with pytest.raises(NameError, match=r":1: name 'nowhere' is not defined"):
        read(namespace["f"]).resolve("nowhere")


def test_decorators_are_dropped():
    def twice(f):
        @functools.wraps(f)
        def wrapper(*args):
            return f(f(*args))

        return wrapper

    @twice
    @twice
    def f(x):
        return x + 1

    assert "f(*args)" in show(read(f))
    assert show(read(f.__wrapped__.__wrapped__)) == "def f(x):\n    t1 = x + 1\n    return t1"


def test_defaults_are_the_functions_own():
    marker = object()

    def f(x, a=1 + 1, b=marker, *, c="c", d, e=[1]):  # noqa: B006
        return a, b, c, d, e

    function = read(f)
    assert show(function).splitlines()[0] == "def f(x, a=2, b=..., *, c='c', d, e=...):"
    assert load(function)(0, d=4) == (2, marker, "c", 4, [1])
    assert load(function)(0, d=4)[4] is f.__kwdefaults__["e"]
    f.__defaults__ = (7,)
    assert show(read(f)).startswith("def f(x, a, b=7, *")


def test_names(cell):
    def f(x):
        return x

    for g in (read(f), read(lambda: 0)):
        assert load(g).__name__ == g.name
        assert load(g).__qualname__ == g.qualname
        assert load(g).__module__ == __name__
    assert (read(f).name, read(f).qualname) == ("f", "test_names.<locals>.f")


@pytest.mark.parametrize(
    "file", ["<cell {}>", "<ipython-input-{}-0a1b2c>", "/tmp/ipykernel_1/{}.py", "<doctest a.b[{}]>"]
)
def test_functions_in_notebooks(cell, file):
    namespace = cell("# a cell\nf, g = lambda x: x, lambda x: [x]\n\ndef h(x):\n    return g(f(x))\n", file)
    assert load(read(namespace["h"]))(1) == [1]
    assert load(read(namespace["g"]))(1) == [1]
    assert read(namespace["h"]).file == namespace["h"].__code__.co_filename


def test_future_imports_of_the_file(cell):
    namespace = cell(
        "from __future__ import annotations\ndef f(x: no) -> such:\n    def g(y: name): return y\n    return g(x)\n"
    )
    assert load(read(namespace["f"]))(1) == 1


def test_what_load_made_can_be_read_again():
    def f(x):
        def g(y):
            return [x + y, lambda: x * y]

        return g

    loaded = load(read(f))
    assert show(read(loaded)) == show(read(f))
    assert load(read(loaded(2)))(3)[0] == 5
    assert load(read(loaded(2)(3)[1]))() == 6
    bound = load(read(lambda x: x + offset), offset=3)  # noqa: F821
    assert load(read(bound))(1) == 4


def test_places_are_those_of_the_file(cell):
    text = "x = 1\n\nclass C:\n    def f(self, α):\n        α.β = self.g(\n            α + 1)\n        return α\n"
    definition = read(cell(text)["C"].f).definition
    places = {ast.unparse(node): (node.lineno, node.col_offset, node.end_lineno) for node in definition.body}
    assert places["t2 = α + 1"] == (6, 12, 6)
    assert places["t3 = t1(t2)"] == (5, 16, 6)
    assert places["return α"] == (7, 8, 7)
    assert definition.lineno == 4


def test_a_file_that_changed_is_refused(tmp_path):
    file = tmp_path / "changing.py"
    file.write_text("def f(x):\n    return x + 1\n")
    namespace = {}
    exec(compile(file.read_text(), str(file), "exec"), namespace)
    file.write_text("def f(x):\n    return x - 1\n")
    with pytest.raises(
        Unsupported, match=r"source is not what is running \(f\) is not supported; import or define it again"
    ):
        read(namespace["f"])
    file.write_text("def f(x):\n    return x + 1\n# and more\n")
    linecache.checkcache(str(file))
    assert load(read(namespace["f"]))(1) == 2


def test_a_file_that_changed_after_it_was_read_is_read_as_it_was(tmp_path):
    file = tmp_path / "changing.py"
    file.write_text("def f(x):\n    return x + 1\n")
    namespace = {}
    exec(compile(file.read_text(), str(file), "exec"), namespace)
    assert load(read(namespace["f"]))(1) == 2
    file.write_text("def g(x):\n    return x - 1\n\n\ndef f(x):\n    return x\n")
    assert load(read(namespace["f"]))(1) == 2
    exec(compile(file.read_text(), str(file), "exec"), namespace)
    assert load(read(namespace["f"]))(1) == 1
    assert load(read(namespace["g"]))(1) == 0


def test_no_source():
    namespace = {}
    exec("def f(x): return x", namespace)
    with pytest.raises(
        Unsupported, match=r"<string>:1:1: a function without its source \(f\) is not supported; define it in a file"
    ):
        read(namespace["f"])


def test_lambdas_without_columns(cell):
    namespace = cell("f, g = lambda x: x, lambda x: [x]\nh = lambda x: x\n")
    for name in "fgh":
        f = namespace[name]
        f.__code__ = f.__code__.replace(co_linetable=_without_columns(f.__code__))
    assert load(read(namespace["h"]))(1) == 1
    with pytest.raises(Unsupported, match="can't be found"):
        read(namespace["f"])


def _without_columns(code) -> bytes:
    """The line table that an interpreter with `-X no_debug_ranges` makes: entries of kind 13 have no columns."""
    size = len(code.co_code) // 2
    return b"".join(bytes([0x80 | 13 << 3 | 0, 0]) for _ in range(size))


@pytest.mark.parametrize("other", [len, "f", functools.partial(print), int, object()])
def test_what_is_no_function(other):
    with pytest.raises(TypeError, match="read takes a Python function or method"):
        read(other)


def test_functions_whose_asserts_pytest_rewrote():
    def f(x):
        assert x > 0, "too small"
        return x

    assert load(read(f))(1) == 1
