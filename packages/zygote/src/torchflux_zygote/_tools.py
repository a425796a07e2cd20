"""`hook`, `ignore`, `checkpointed`, and the generated code to look at."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ._cotangent import value
from ._kinds import carries, inert
from ._layout import layout, seed
from ._pull import pull
from ._registry import none, pushes, raw
from ._run import STATE, Run
from ._transform import generated_pullback, generated_pushforward, source_of

__all__ = ["adjoint_source", "checkpointed", "hook", "ignore", "pushforward_source"]

Function = Callable[..., Any]


def hook(f: Function, x: Any) -> Any:
    """`x` itself, with `f` applied to its cotangent on the way back; `f` returning `None` only looks.

    >>> from torchflux_zygote import gradient
    >>> gradient(lambda x: hook(lambda bar: -bar, x) ** 2, 3.0)
    (-6.0,)
    """
    return x


@raw(hook)
def _hook(f: Function, x: Any) -> Any:
    def back(ȳ: Any) -> tuple[Any, ...]:
        ȳ = value(ȳ)
        changed = None if ȳ is None else f(ȳ)
        return None, ȳ if changed is None else changed

    return x, back


@pushes(hook)
def _push_hook(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return args[1], dots[1]


def ignore(x: Any, *args: Any) -> Any:
    """`x` as a constant; or the result of calling `x(*args)`, as a constant.

    What is called runs as it is, so it may be anything, but must not change what is differentiated.

    >>> from torchflux_zygote import gradient
    >>> gradient(lambda x: x * ignore(x) + ignore(str.count, "aab", "a"), 3.0)
    (3.0,)
    """
    return x(*args) if args or (callable(x) and not isinstance(x, torch.Tensor | torch.nn.Module)) else x


@raw(ignore)
def _ignore(x: Any, *args: Any) -> Any:
    y = ignore(x, *args)
    return _copied(y), none(1 + len(args))


@pushes(ignore)
def _push_ignore(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return ignore(*args), None


def _copied(y: Any) -> Any:
    """A list or dict again: one that nothing flows to."""
    return list(y) if type(y) is list else dict(y) if type(y) is dict else y


def checkpointed(f: Function, *args: Any) -> Any:
    """`f(*args)`, computed again for the gradient rather than kept in memory.

    Random numbers of PyTorch, NumPy and `random` come out the same again. `f` may change what it makes itself.

    >>> from torchflux_zygote import gradient
    >>> import math
    >>> gradient(lambda x: checkpointed(math.sin, x), 0.0)
    (1.0,)

    Source: Griewank & Walther (2000), doi:10.1145/347837.347846.
    """
    return f(*args)


@raw(checkpointed)
def _checkpointed(f: Function, *args: Any) -> Any:
    before = _random_state()
    with Run():
        y, _ = pull(f, *args)

    def back(ȳ: Any) -> tuple[Any, ...]:
        after = _random_state()
        _set_random_state(before)
        again, back_again = pull(f, *args)
        _set_random_state(after)
        bar = seed(again, layout(y, ȳ, STATE.sweep), STATE.sweep) if not _same_kind(y) else ȳ
        return None, *back_again(bar)

    return y, back


def _same_kind(y: Any) -> bool:
    return carries(y) or inert(y)


def _random_state() -> Any:
    return torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002 (programs draw from it)


def _set_random_state(states: Any) -> None:
    torch.set_rng_state(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    random.setstate(states[2])


@pushes(checkpointed)
def _push_checkpointed(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return push(args[0], args[1:], dots[1:])


def adjoint_source(f: Function) -> str:
    """The code that `gradient` runs for `f`: its pullback, as Python.

    >>> def cube(x):
    ...     return x * x * x
    >>> print(adjoint_source(cube))
    def cube_pullback(x):
        t1, back1 = pull(mul, x, x)
        t2, back2 = pull(mul, t1, x)
    <BLANKLINE>
        def back(t2_bar):
            t1_bar, x_bar = back2(t2_bar)
            dx, dx_1 = back1(t1_bar)
            x_bar = accum(x_bar, dx)
            x_bar = accum(x_bar, dx_1)
            return (x_bar,)
        return (t2, back)
    """
    return source_of(generated_pullback(f))


def pushforward_source(f: Function) -> str:
    """The code that forward mode runs for `f`, as Python.

    >>> def cube(x):
    ...     return x * x * x
    >>> print(pushforward_source(cube))
    def cube_pushforward(push, args, dots):
        [x] = args
        [x_dot] = dots
        t1, t1_dot = push(mul, (x, x), (x_dot, x_dot))
        t2, t2_dot = push(mul, (t1, x), (t1_dot, x_dot))
        return (t2, t2_dot)
    """
    return source_of(generated_pushforward(f))
