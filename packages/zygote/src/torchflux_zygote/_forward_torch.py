"""Forward rules of torch functions: most are linear, the others go by the transpose of PyTorch's reverse mode."""

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import _torch, _torch_made, _torch_shapes, _views  # noqa: F401 - of these the rules come first
from ._attributes import ATTRIBUTES
from ._forward_arrays import change_in_place, note_view
from ._forward_rules import spread, total
from ._kinds import carries
from ._pull import library
from ._push import _KINDS, some
from ._refuse import Refused, describe
from ._registry import FORWARD_LIBRARIES, PULL, PUSH, constant, pushes
from ._streams import dots_in, pairs_of
from ._torch_call import _FORWARD_METHODS, _RANDOM, KEYED, _Call, _leaves, _tensors, check_functions, torch_call
from ._unruled import check_constants, taken_as_constant

__all__ = ["linear_functions", "push_general"]


def applied(f: Any, args: Any, names: Any) -> Any:
    """`f` of arguments of which the last have keyword names."""
    count = len(args) - len(names)
    return f(*args[:count], **{names[i]: args[count + i] for i in range(len(names))})


def _linear(f: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = applied(f, args, names)
    note_view(push, y, args[0], dots[0])
    return y, None if dots[0] is None else applied(f, (dots[0], *args[1:]), names)


def linear_functions(*functions: Any) -> None:
    """Registers functions that are linear in their first argument."""
    for f in functions:
        PUSH[f] = partial(_linear, f)


linear_functions(
    *(torch.sum, Tensor.sum, torch.mean, Tensor.mean, torch.reshape, Tensor.reshape, Tensor.view, torch.flatten),
    *(Tensor.flatten, torch.unsqueeze, Tensor.unsqueeze, torch.squeeze, Tensor.squeeze, torch.ravel, Tensor.ravel),
    *(torch.transpose, Tensor.transpose, torch.swapaxes, Tensor.swapaxes, torch.t, Tensor.t, torch.permute),
    *(Tensor.permute, Tensor.expand, Tensor.expand_as, torch.broadcast_to, Tensor.broadcast_to, torch.clone),
    *(Tensor.clone, Tensor.contiguous, Tensor.float, Tensor.double, Tensor.half, Tensor.bfloat16, Tensor.cpu),
    *(Tensor.item, Tensor.__float__, torch.unbind, Tensor.unbind, torch.cumsum, Tensor.cumsum, torch.flip, Tensor.flip),
    *(torch.diag, torch.diagonal, torch.trace, torch.tril, torch.triu, torch.roll, torch.split, Tensor.split),
    *(Tensor.view_as, Tensor.reshape_as, Tensor.unflatten, torch.unflatten, Tensor.conj, torch.conj),
)


@pushes(Tensor.to, Tensor.type_as, Tensor.type)
def _to(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = applied(method_to(args), args[: len(args)], names)
    return y, None if dots[0] is None or not carries(y) else spread(dots[0], y)


def method_to(args: Any) -> Any:
    return Tensor.to


constant(method_to)


def _binary(op: Any, f: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    if len(args) == 2 and len(names) == 0:
        return push(op, args, dots)
    return push_general(f, push, args, dots, names)


for _f, _known in list(PULL.items()):
    if (_op := getattr(_known, "operator", None)) is not None:
        PUSH[_f] = partial(_binary, _op, _f)


@pushes(F.linear)
def _affine(push: Any, args: Any, dots: Any, names: Any) -> Any:
    if len(names) > 0:
        return push_general(F.linear, push, args, dots, names)
    y = F.linear(*args)
    parts = [
        None if dots[0] is None else F.linear(dots[0], args[1]),
        None if dots[1] is None else F.linear(args[0], dots[1]),
        dots[2] if len(dots) > 2 else None,
    ]
    return y, total(y, parts)


@pushes(torch.relu, Tensor.relu, F.relu)
def _relu(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = torch.relu(args[0])
    return y, None if dots[0] is None else dots[0] * (y > 0)


def _stacked(f: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    values, parts = pairs_of(push, args[0], dots[0])
    y = applied(f, (values, *args[1:]), names)
    if not some(parts):
        return y, None
    full = [torch.zeros_like(values[i]) if parts[i] is None else parts[i] for i in range(len(values))]
    return y, applied(f, (full, *args[1:]), names)


for _f in (torch.cat, torch.concat, torch.concatenate, torch.stack, torch.hstack, torch.vstack):
    PUSH[_f] = partial(_stacked, _f)


@pushes(torch.where)
def _where(push: Any, args: Any, dots: Any, names: Any) -> Any:
    c, a, b = args
    y = torch.where(c, a, b)
    if dots[1] is None and dots[2] is None:
        return y, None
    zero = torch.zeros_like(y)
    return y, torch.where(
        c, zero if dots[1] is None else spread(dots[1], y), zero if dots[2] is None else spread(dots[2], y)
    )


@pushes(Tensor.tolist)
def _tolist(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return push(_torch_made._tolist, args, dots) if carries(args[0]) else (to_list(args[0]), None)


def to_list(x: Any) -> Any:
    return x.tolist()


constant(to_list)


@pushes(torch.full, torch.full_like)
def _full(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = applied(torch.full_like if is_tensor(args[0]) else torch.full, args, names)
    return y, None if dots[1] is None else spread(dots[1], y)


def is_tensor(x: Any) -> bool:
    return isinstance(x, Tensor)


constant(is_tensor)


@pushes(torch.as_tensor)
def _as_tensor(push: Any, args: Any, dots: Any, names: Any) -> Any:
    if not hasattr(args[0], "__array__"):
        return push(torch.tensor, args, dots, names)
    y = applied(torch.as_tensor, args, names)
    note_view(push, y, args[0], dots[0])
    return y, None if dots[0] is None else spread(dots[0], y)


@pushes(torch.tensor)
def _tensor(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = applied(torch.tensor, args, names)
    if isinstance(args[0], list | tuple | deque):
        values, parts = pairs_of(push, args[0], dots[0])
        rows = [_row(push, values[i], parts[i], args[1:], names) for i in range(len(values))]
        if not some(rows):
            return y, None
        return y, torch.stack(
            [torch.zeros_like(y[i]) if rows[i] is None else spread(rows[i], y[i]) for i in range(len(rows))]
        )
    return y, None if dots[0] is None else spread(dots[0], y)


def _row(push: Any, x: Any, dot: Any, options: Any, names: Any) -> Any:
    """The tangent of one entry of what a tensor is made of."""
    if isinstance(x, list | tuple | deque):
        return push(torch.tensor, (x, *options), (dot, *[None] * len(options)), names)[1]
    return dot


linear_functions(float.conjugate, complex.conjugate)
linear_functions(*(ATTRIBUTES[name] for name in ("T", "mT", "H", "mH", "real", "imag")))


# Everything else.


def push_general(f: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    """Any differentiable torch function, by PyTorch's derivative."""
    check_functions(f, args)
    y = applied(f, args, names)
    full = tuple([tree_dots(push, args[i], dots[i]) for i in range(len(args))])
    if not any_in(full):
        return y, None
    check_numbers(f, names, args, full)
    return y, jvp(f, names, args, full)


def check_numbers(f: Any, names: Any, args: Any, dots: Any) -> None:
    """Refuses tangents of numbers that a function takes only as such."""
    moving = [any_in(dot) and any(isinstance(part, float) for part in _leaves(x)) for x, dot in zip(args, dots)]  # noqa: B905
    if f in KEYED or not any(moving):
        return
    count, before = len(args) - len(names), torch.get_rng_state()
    call = _Call(f, args[:count], dict(zip(names, args[count:], strict=True)))
    torch.set_rng_state(before)
    number, fixed = 0, call.constants()
    for i, x in enumerate(args):
        floats = range(number, number + sum(isinstance(part, float) for part in _leaves(x)))
        number = floats.stop
        if moving[i] and not fixed.isdisjoint(floats):
            raise taken_as_constant(f, i if i < count else names[i - count])


def tree_dots(push: Any, x: Any, dot: Any) -> Any:
    """The tangents of an argument of a torch function, with those in lists and dicts."""
    if isinstance(x, deque):
        raise Refused("a deque given to a torch function", "give it list(...) of the deque")
    if isinstance(x, list):
        return [tree_dots(push, x[i], p) for i, p in enumerate(dots_in(push, x, None))]
    if isinstance(x, dict):
        return {key: tree_dots(push, x[key], push.field(x, key)) for key in x}
    return dot if not push.special else push.tangent(x, dot)


def any_in(tree: Any) -> bool:
    """Whether a tree of tangents has one that isn't zero."""
    if isinstance(tree, tuple | list | dict):
        return any(any_in(part) for part in (tree.values() if isinstance(tree, dict) else tree))
    return tree is not None


constant(any_in, check_numbers, check_functions)


def jvp(f: Any, names: Any, args: Any, dots: Any) -> Any:
    """The tangent of `f(*args)`: the transpose of its pullback.

    PyTorch's own forward mode isn't used: in reverse over forward it is silently wrong where a forward formula uses an
    intermediate result as a constant (the determinant's LU factors). Its reverse mode is right twice.
    """
    xs: list[Tensor] = []
    ts: list[Tensor] = []
    spots = [_spot(x, dot, xs, ts) for x, dot in zip(args, dots, strict=True)]

    whole: list[Any] = []

    def g(*values: Tensor) -> Any:
        given = [fill(values) for fill in spots]
        count = len(given) - len(names)
        whole[:] = [f(*given[:count], **dict(zip(names, given[count:], strict=True)))]
        return tuple(x for x in _tensors(whole) if carries(x))

    made: Any = torch.func.vjp(g, *xs)
    y, back = made
    moved = iter(torch.func.vjp(back, tuple(map(torch.zeros_like, y)))[1](tuple(ts))[0])
    return _moved(whole[0], moved)


def _moved(y: Any, dots: Iterator[Any]) -> Any:
    """The tangent of a result, from those of its tensors."""
    if isinstance(y, tuple | list):
        return tuple(_moved(part, dots) for part in y)
    return next(dots) if isinstance(y, Tensor) and carries(y) else None


def _spot(x: Any, dot: Any, xs: list[Tensor], ts: list[Tensor]) -> Callable[[Any], Any]:
    """What gives the argument again, of the values of those numbers that move."""
    if isinstance(x, tuple | list) and dot is not None:
        parts = [_spot(p, d, xs, ts) for p, d in zip(x, dot, strict=True)]
        return lambda values: type(x)([fill(values) for fill in parts])
    if isinstance(x, dict) and dot is not None:
        named = {key: _spot(p, dot[key], xs, ts) for key, p in x.items()}
        return lambda values: {key: fill(values) for key, fill in named.items()}
    if dot is None:
        return lambda values: x
    i = len(xs)
    xs.append(x if isinstance(x, Tensor) else torch.tensor(x, dtype=torch.float64))
    ts.append(torch.as_tensor(dot, dtype=xs[-1].dtype))
    return lambda values: values[i]


KEYED.add(jvp)


def _pull_jvp(f: Any, names: Any, args: Any, dots: Any) -> Any:
    return torch_call(jvp, (f, names, args, dots), {})


PULL[jvp] = _pull_jvp
PUSH[jvp] = partial(push_general, jvp)


def _torch_of(f: Any, args: Any) -> Any:
    name = getattr(f, "__name__", "")
    if name.endswith("_") and not name.endswith("__") and args and isinstance(args[0], Tensor):
        return _in_place_of(f, name)
    if args and isinstance(args[0], nn.Module) and hasattr(f, "__code__"):
        if f.__name__ not in _FORWARD_METHODS:
            return partial(_push_look, f)
        if not all(library(type(part)) == "torch" for part in args[0].modules()):
            from ._transform import pushforward_of

            return pushforward_of(f)
        return partial(_push_forward_method)
    return partial(push_general, f)


def _push_forward_method(push: Any, args: Any, dots: Any, names: Any) -> Any:
    return push(args[0], args[1:], dots[1:], names)


def _in_place_of(f: Any, name: str) -> Any:
    if name in ("copy_", "fill_"):
        return partial(change_in_place_to, f)
    if name in ("zero_", "requires_grad_", "detach_"):
        return partial(change_in_place_to_constant, f)
    if any(word in name for word in _RANDOM):
        return partial(_push_random, f)
    functional = getattr(Tensor, name[:-1], None) or getattr(torch, name[:-1], None)
    if functional is None:
        raise Refused(describe(f), "use a function that returns a new tensor")
    return partial(_push_in_place, f, functional)


def _push_look(f: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    """A method of a module that computes nothing."""
    check_constants(f, dots)
    return applied(f, args, names), None


def _push_random(f: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    check_constants(f, (None, *dots[1:]))
    return change_in_place_to_constant(f, push, args, dots, names)


def _push_in_place(f: Any, functional: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    return change_in_place(push, f, functional, args, dots, names)


def second(x: Any, v: Any) -> Any:
    """`x.copy_(v)` and `x.fill_(v)`: v in the shape of x."""
    return spread(v, x)


def constant_copy(x: Any) -> Any:
    return torch.zeros_like(x)


def change_in_place_to(f: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    return change_in_place(push, f, second, args, dots, names)


def change_in_place_to_constant(f: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    return change_in_place(push, f, constant_copy, args, dots, names)


FORWARD_LIBRARIES["torch"] = _torch_of


# Modules.


def _module_of(m: nn.Module, args: Any) -> Any:
    if all(library(type(part)) == "torch" for part in m.modules()):
        return partial(_push_module, m)
    return partial(_push_own_module, m)


def _push_own_module(m: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    return push(type(m).forward, (m, *args), (None, *dots), names)


def _push_module(m: Any, push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = applied(m, args, names)
    parameters = parameters_of(m)
    moved = {key: push.parameters.get(id(p)) for key, p in parameters.items()}
    full = tuple([tree_dots(push, args[i], dots[i]) for i in range(len(args))])
    if not any_in(full) and not any_in(moved):
        return y, None
    return y, jvp(ModuleCall(m), names, (parameters, *args), (moved, *full))


def parameters_of(m: Any) -> dict[str, Any]:
    return dict(m.named_parameters())


class ModuleCall:
    """A module as a function of its parameters."""

    def __init__(self, m: nn.Module) -> None:
        self.m = m

    def __call__(self, parameters: dict[str, Tensor], *args: Any, **kwargs: Any) -> Any:
        kept = {name: x.clone() for name, x in self.m.named_buffers()}  # it has run already: its statistics are done
        return torch.func.functional_call(self.m, {**kept, **parameters}, args, kwargs)


constant(parameters_of, ModuleCall)
_KINDS.append((nn.Module, _module_of))
