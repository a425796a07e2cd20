"""The checkers of the normal forms find what they should: the canary of all other tests."""

import ast

import pytest

from torchflux_syntax import deviation, is_normal, is_structured

NOT_NORMAL = """
x = y + z * 2
x = y = z
x: int = 1
x.y = z + 1
x, y.z = w
x, (y, z) = w
x, y = y, x
x[i + 1] = y
x[y] += 1
x.y += 1
x += y + 1
x = (y := z)
x = y and z
x = y if z else w
x = lambda: 1
x = [i for i in y]
x = y < z < w
x = f(g(x))
x = x.f(y)
x = f(*g(x))
x = f(k=y.z)
x = [y, [z]]
x = {y: z + 1}
x = y[z[0]]
x = y[z:w + 1]
x = f'{y + 1}'
x = f'{y:{z.w}}'
x = f'{"text"}'
x
x + 1
'text'
del x, y
del x.y.z
assert x
return x + 1
return
raise E(x)
if x > 1: pass
while x: pass
while True: break
else: pass
for i in range(3): pass
for i, j in x: pass
for i in x: pass
else: pass
with f(x): pass
with x as (a, b): pass
with x, y: pass
@d
def f(): return None
def f(x: int): return None
def f(x) -> int: return None
def f(x=y.z): return None
try: pass
except f(x): pass
class C: pass
async def f(): pass
match x:
    case 1: pass
"""


def programs(text):
    lines, starts = text.strip().splitlines(), ("else", "except", "def", "    ")
    found: list[str] = []
    for line in lines:
        after_decorator = found and found[-1].startswith("@") and "\n" not in found[-1]
        if found and (after_decorator or (line.startswith(starts) and not line.startswith("def"))):
            found[-1] += "\n" + line
        else:
            found.append(line)
    return found


@pytest.mark.parametrize("text", programs(NOT_NORMAL))
def test_not_normal(text):
    assert not is_normal(ast.parse(text).body)
    inside = ast.parse("def f():\n  while True:\n    if x:\n      y = 1\n")
    inside.body[0].body[0].body[0].orelse = ast.parse(text).body
    assert deviation(inside.body) is not None


@pytest.mark.parametrize(
    "text",
    [
        "x = y + 1\nx.y = z\nx[y] = 1\n(a, *b) = c\nx += 1\ndel x\ndel x.y\nf(*a, b, k=c, **d)",
        "x = y[1:z, ...]\nx = f'{y:>{z}} text'\nx = {**y, 1: z}\nx = [*y]\nx = not y",
        "for i in x:\n    if i: break\n    else: continue\nwhile True:\n    return None",
        "def f(a, b=1, *c, d=x): return a\nnonlocal_ = 1\nglobal g\nimport a.b as c\nfrom a import b",
        "try: raise\nexcept (A, b.C) as e: raise e from None\nfinally: pass\nwith x as y: pass",
    ],
)
def test_normal(text):
    assert deviation(ast.parse(text).body) is None


@pytest.mark.parametrize(
    "text",
    [
        "for i in x:\n    continue",
        "for i in x:\n    break",
        "for i in x:\n    if y: break\n    z = 1",
        "for i in x:\n    if y: break\n    else: z = 1",
        "for i in x:\n    if y: z = 1\n    else: break",
        "for i in x:\n    if y: pass\n    else: break",
        "while True: pass",
        "while True:\n    if x: break",
        "while True:\n    if x: pass\n    else: break\n    if y: pass\n    else: break",
        "while True:\n    if x: pass\n    else: break\n    continue",
        "while True:\n    if x: pass\n    else: break\n    if y: break",
        "def f(x):\n    if x: return 1\n    return 2",
        "def f(x):\n    if x: return 1\n    else: return 2",
        "def f(x): pass",
        "def f(x):\n    def g(y): pass\n    return g",
        "def f(x):\n    for i in x:\n        return i\n    return None",
    ],
)
def test_not_structured(text):
    assert not is_structured(ast.parse(text).body)


@pytest.mark.parametrize(
    "text",
    [
        "for i in x:\n    y = 1\n    if z: break",
        "while True:\n    y = 1\n    if z: pass\n    else: break\n    y = 2",
        "def f(x):\n    if x: y = 1\n    else: raise E\n    return y",
        "while True:\n    if x: pass\n    else: break\n    for i in y:\n        if z: break",
    ],
)
def test_structured(text):
    assert is_structured(ast.parse(text).body)
