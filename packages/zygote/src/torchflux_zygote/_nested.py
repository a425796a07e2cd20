"""Derivatives of derivatives.

All of them come from one operation, `vjp(f, args, ȳ)`, the gradient of ⟨ȳ, f(args)⟩, which is linear in ȳ and
whose derivative by its arguments in a direction v is the gradient of ⟨ȳ, ∂f(args)·v⟩: reverse over forward.
So neither `back` functions nor shadows are ever differentiated, only generated forward code.

Source: Pearlmutter (1994), doi:10.1162/neco.1994.6.1.147.
"""

from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn

from ._cotangent import value
from ._gradient import one_like, ones, run
from ._kinds import SEQUENCES, carries, conj
from ._layout import layout, trainables
from ._memory import home, is_array
from ._push import Forward
from ._refuse import Refused
from ._registry import NONES, PULL, PUSH, constant
from ._run import STATE

__all__ = ["START", "along", "collected", "seeds", "transposed", "vjp"]

START: Any = "start"  # the cotangent that a gradient starts from: one


def vjp(f: Any, args: tuple[Any, ...], ȳ: Any) -> tuple[Any, ...]:
    """The gradient of ⟨ȳ, f(*args)⟩, by argument."""
    y, sweep = run(f, args)
    return sweep(start(y) if ȳ is START else ȳ)


def start(y: Any) -> Any:
    """The cotangent of a result that a gradient is taken of: one, of its first part if there are several."""
    if isinstance(y, tuple) and y:
        return (ones(y[0]), *NONES[len(y) - 1])
    return ones(y)


constant(start, carries, is_array, home, trainables)


def _pull_vjp(f: Any, args: tuple[Any, ...], ȳ: Any) -> Any:
    grads = vjp(f, args, ȳ)

    def back(bar: Any) -> tuple[Any, ...]:
        direction = layout(grads, bar, STATE.sweep)
        if not any_number(direction):
            return NONES[3]
        along_it, back_along = _pulled(along, (f, args, direction, ȳ), {})
        bars = back_along(one_like(along_it))
        return None, value(bars[1]), bars[3]

    return grads, back


def _pulled(f: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    from ._pull import pull_function

    return pull_function(f, args, kwargs)


def any_number(tree: Any) -> bool:
    """Whether a tree of cotangents has anything but None in it."""
    if isinstance(tree, dict):
        return any(any_number(part) for part in tree.values())
    if isinstance(tree, tuple | list):
        return any(any_number(part) for part in tree)
    return tree is not None


def along(f: Any, args: Any, direction: Any, ȳ: Any) -> Any:
    """⟨ȳ, ∂f(args)·direction⟩. Ordinary Python, which is transformed."""
    push = Forward()
    dots = tuple([seeds(push, args[i], direction[i]) for i in range(len(args))])
    return paired(push, f, args, dots, ȳ)


def paired(push: Any, f: Any, args: Any, dots: Any, ȳ: Any) -> Any:
    """⟨ȳ, the tangent of f(args)⟩."""
    y, dot = push(f, args, dots)
    if ȳ is START:
        ȳ = start(y)
    return pairing(push, y, dot, ȳ)


def pairing(push: Any, y: Any, dot: Any, ȳ: Any) -> Any:
    """The real inner product of the tangent of y with ȳ."""
    if ȳ is None:
        return 0.0
    if carries(y):
        return 0.0 if dot is None else inner(dot, ȳ)
    total = 0.0
    if isinstance(y, tuple):
        for i in range(len(y)):
            total = total + pairing(push, y[i], None if dot is None else dot[i], ȳ[i])
    elif isinstance(y, SEQUENCES):
        for i in range(len(y)):
            total = total + pairing(push, y[i], entry(push, y, i), ȳ[i])
    elif isinstance(y, dict):
        for key in y:
            total = total + pairing(push, y[key], push.field(y, key), ȳ.get(key))
    return total


def entry(push: Any, xs: Any, i: int) -> Any:
    return push.mirror(xs)[i]


def inner(a: Any, b: Any) -> Any:
    """Re⟨a, b⟩ of numbers or arrays."""
    product = a * conj(b)
    if is_complex(product):
        product = product.real
    return product.sum() if is_array(product) else product


def is_complex(x: Any) -> bool:
    return x.is_complex() if isinstance(x, Tensor) else bool(np.iscomplexobj(x))


constant(is_complex)


def seeds(push: Any, x: Any, dot: Any) -> Any:
    """Starts a forward run with the tangent of an argument, laid out like it; returns that of its variable."""
    if dot is None:
        return None
    if carries(x):
        if is_array(x):
            push.sources.setdefault(home(x), []).append((x, dot))
        return dot
    if isinstance(x, tuple):
        return tuple([seeds(push, x[i], dot[i]) for i in range(len(x))])
    if isinstance(x, SEQUENCES):
        push.fill(x, [seeds(push, x[i], dot[i]) for i in range(len(x))])
        return None
    if isinstance(x, nn.Module):
        push.special = True
        for path, p in trainables(x).items():
            push.parameters[id(p)] = dot[path]
        return None
    seed_fields(push, x, dot)
    return None


def seed_fields(push: Any, x: Any, dot: Any) -> None:
    for owner, key, part, name in fields_of(x):
        inner_dot = dot.get(name) if isinstance(dot, dict) else getattr(dot, name)
        push.give(owner, key, seeds(push, part, inner_dot))


def fields_of(x: Any) -> list[tuple[Any, Any, Any, Any]]:
    """What a reference holds: where, under which key, what, and its name in the layout of gradients."""
    from types import FunctionType, MethodType

    if isinstance(x, dict):
        return [(x, key, part, key) for key, part in x.items()]
    if isinstance(x, MethodType):
        return fields_of(x.__self__)
    if isinstance(x, partial):
        return [(x, key, part, key) for key, part in (*enumerate(x.args), *x.keywords.items())]
    if isinstance(x, FunctionType):
        cells = dict(zip(x.__code__.co_freevars, x.__closure__ or (), strict=True))
        return [(box, "cell_contents", box.cell_contents, name) for name, box in cells.items()]
    return [(x, name, part, name) for name, part in getattr(x, "__dict__", {}).items()]


constant(fields_of)


def collected(push: Any, y: Any, dot: Any) -> Any:
    """The tangent of a result, laid out like it; zeros where it doesn't move."""
    if carries(y):
        dot = push.tangent(y, dot) if push.special else dot
        return y * 0 if dot is None else dot
    if isinstance(y, tuple):
        return tuple([collected(push, y[i], None if dot is None else dot[i]) for i in range(len(y))])
    if isinstance(y, SEQUENCES):
        return [collected(push, y[i], entry(push, y, i)) for i in range(len(y))]
    if isinstance(y, dict):
        return {key: collected(push, y[key], push.field(y, key)) for key in y}
    return None


# Forward mode of vjp: the tangent of a gradient is the gradient of a tangent.


def _push_vjp(push: Any, args: Any, dots: Any, names: Any) -> Any:
    f, xs, ȳ = args
    before = fingerprint(f, xs)
    grads = vjp(f, xs, ȳ)
    check_unchanged(before, fingerprint(f, xs))
    x_dots = (None,) * len(xs) if dots[1] is None else dots[1]
    moved = vjp(partial(tangent_of, push, f, x_dots, ȳ), xs, START)
    if dots[2] is not None:
        moved = plus(moved, vjp(f, xs, dots[2]))
    return grads, seeds(push, grads, moved)


def fingerprint(*several: Any) -> Any:
    """What some values are now: to see whether a call has changed them."""
    return tuple(_print_of(x, 0) for x in several)


def _print_of(x: Any, depth: int) -> Any:
    if depth > 5:
        return id(x)
    if isinstance(x, Tensor):
        return id(x), x._version
    if isinstance(x, np.ndarray):
        return id(x), x.tobytes()
    if isinstance(x, (*SEQUENCES, tuple)):
        return None if isinstance(x, tuple) else id(x), tuple(_print_of(p, depth + 1) for p in x)
    try:
        held = fields_of(x)
    except ValueError:
        held = []
    return id(x), tuple((name, _print_of(p, depth + 1)) for _, _, p, name in held)


def check_unchanged(before: Any, after: Any) -> None:
    """Refuses a gradient whose function changed its arguments, where the change would be done twice."""
    if before != after:
        raise Refused("forward mode of the gradient of a function that changes its arguments", "let it copy them first")


constant(fingerprint, check_unchanged)


def tangent_of(push: Any, f: Any, dots: Any, ȳ: Any, *args: Any) -> Any:
    return paired(push, f, args, dots, ȳ)


def plus(a: Any, b: Any) -> Any:
    """The sum of two gradients of the same layout."""
    if a is None:
        return b
    if b is None:
        return a
    if isinstance(a, tuple):
        return tuple([plus(a[i], b[i]) for i in range(len(a))])
    if isinstance(a, list):
        return [plus(a[i], b[i]) for i in range(len(a))]
    if isinstance(a, dict):
        return {key: plus(a[key], b[key]) for key in a}
    return a + b


PULL[vjp] = _pull_vjp
PUSH[vjp] = _push_vjp


def transposed(back: Any, y: Any, dots: Any) -> Any:
    """The tangent of a result by the transpose of its pullback: ∂f·ẋ = ∇_ȳ ⟨pullback(ȳ), ẋ⟩."""
    return vjp(partial(against, back, dots), (y * 0,), START)[0]


def against(back: Any, dots: Any, ȳ: Any) -> Any:
    """⟨pullback(ȳ), ẋ⟩."""
    bars = back(ȳ)
    if not isinstance(bars, tuple):
        bars = (bars,)
    total = 0.0
    for i in range(len(dots)):
        if dots[i] is not None and bars[i] is not None:
            total = total + inner(bars[i], dots[i])
    return total
