"""Any other differentiable torch function or module, by PyTorch's own derivative of that one call."""

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from types import FunctionType, GeneratorType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from ._cotangent import Refusal, value
from ._in_place import change
from ._kinds import carries, fit, inert
from ._parts import give_slots, take_slots
from ._place import here
from ._pull import KINDS, LIBRARIES, library, pull
from ._refuse import Refused, describe
from ._registry import NONES, PULL, arrive, finish, none
from ._run import STATE, born
from ._unruled import as_constants, refused_bars, taken_as_constant

__all__ = ["check_functions", "torch_call"]

Pulled = tuple[Any, Callable[[Any], tuple[Any, ...]]]

_PLAIN_FLOATS: dict[Any, frozenset[int]] = {}
"""By call: the floats, in order, that the function takes only as Python numbers."""
KEYED: set[Any] = set()
"""Functions of functions, whose first argument says what they take."""


def torch_call(f: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Pulled:
    """Pulls a function of PyTorch's."""
    name = getattr(f, "__name__", "")
    if name in _REFUSED:
        raise Refused(f"a call of {describe(f)}", _REFUSED[name])
    if name.endswith("_") and not name.endswith("__") and args and isinstance(args[0], Tensor):
        return in_place(f, name, args, kwargs)
    if kwargs.get("out") is not None or kwargs.get("inplace"):
        raise Refused(f"{describe(f)} with out= or inplace=", "use what it returns")
    given = (*args, *kwargs.values())
    if inert(given) and not isinstance(f, nn.Module):
        return f(*args, **kwargs), none(len(given))
    check_functions(f, given)
    call = _Call(f, args, kwargs)
    y = call.y
    if not any(x.requires_grad for x in call.outs):
        return y, none(len(given)) if inert(y) else partial(_of_constants, call, carries(y))
    if isinstance(y, list):
        born(y)
        return y, lambda _: finish(call.back, given, tuple(y), tuple(take_slots(y)))
    return y, lambda ȳ: finish(call.back, given, y, ȳ)


def check_functions(f: Any, given: Any) -> None:
    """Refuses functions given to a function of PyTorch's, which would call them as they are."""
    if f not in KEYED and any(isinstance(x, FunctionType | MethodType | partial) for x in given):
        raise Refused(f"{describe(f)} of a function", "call the function yourself")


def _of_constants(call: "_Call", passive: bool, ȳ: Any) -> tuple[Any, ...]:
    """The cotangents where PyTorch knows of no derivative: refused by numbers, none by tensors."""
    return NONES[len(call.given)] if ȳ is None and passive else call.bars(iter(()))


_REFUSED = {
    "backward": "take the gradient with torchflux_zygote.gradient",
    "grad": "take the gradient with torchflux_zygote.gradient",
    "register_hook": "use torchflux_zygote.hook",
    "set_": "make a new tensor",
    "resize_": "make a new tensor",
}


class _Call:
    """One call, recorded on PyTorch's tape by itself."""

    def __init__(self, f: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.f, self.args, self.kwargs = f, args, kwargs
        self.given = (*args, *kwargs.values())
        self.modules = [x for x in (f, *args, *kwargs.values()) if isinstance(x, nn.Module)]
        self.parameters = [p for m in self.modules for p in m.parameters() if p.requires_grad]
        self.y = _mapped(self.record(), _detached)
        self.seen = self.versions()
        self.place = here() if self.floats else ""

    def record(self) -> Any:
        """Calls the function; what it returns is on the tape."""
        before = [x._version for x in _tensors((self.args, self.kwargs))]
        with torch.enable_grad():
            y = self.call()
        if before != [x._version for x in _tensors((self.args, self.kwargs))]:
            raise Refused(f"{describe(self.f)}, which changes its argument in place", "use the function that doesn't")
        self.outs = [x for x in _tensors(y) if carries(x)]
        return y

    def call(self) -> Any:
        """Calls the function with floats as tensors, too, where it takes them so."""
        leaves = list(_leaves((self.args, self.kwargs)))
        count = sum(isinstance(x, float) for x in leaves)
        if not count:
            return self.attempt(frozenset())
        what = tuple([(type(x), getattr(x, "dtype", None)) for x in leaves])
        key = (self.f, self.args[0] if self.f in KEYED else None, what, tuple(self.kwargs))
        if key not in _PLAIN_FLOATS:
            _PLAIN_FLOATS[key] = self.plain_floats(count)
        return self.attempt(_PLAIN_FLOATS[key])

    def plain_floats(self, count: int) -> frozenset[int]:
        """Which of the floats the function takes only as Python numbers."""
        everything = frozenset(range(count))
        usual = self.kind(everything)
        if self.kind(frozenset()) == usual:
            return frozenset()
        plain = frozenset(i for i in everything if self.kind(everything - {i}) != usual)
        return plain if self.kind(plain) == usual else everything

    def kind(self, plain: frozenset[int]) -> Any:
        """The dtypes and shapes of what it returns, with some floats as numbers; None where it doesn't take that."""
        before = torch.get_rng_state()
        try:
            return [(x.dtype, x.shape) for x in _tensors(self.attempt(plain))]
        except (TypeError, RuntimeError):
            return None
        finally:
            torch.set_rng_state(before)

    def attempt(self, plain: frozenset[int]) -> Any:
        self.leaves: list[tuple[Any, Tensor]] = []
        self.plain, self.floats = plain, 0
        return self.f(*_mapped(self.args, self.leaf), **_mapped(self.kwargs, self.leaf))

    def leaf(self, x: Any) -> Any:
        if isinstance(x, float):
            self.floats += 1
            if self.floats - 1 in self.plain:
                return x
            self.leaves.append((x, made := torch.tensor(x, dtype=torch.float64, requires_grad=True)))
            return made
        return self.tensor_leaf(x)

    def tensor_leaf(self, x: Any) -> Any:
        if isinstance(x, Tensor) and carries(x):
            self.leaves.append((x, made := x.detach().requires_grad_()))
            return made
        return x

    def versions(self) -> list[int]:
        return [x._version for _, x in self.leaves] + [x._version for x in self.outs]

    def back(self, ȳ: Any) -> tuple[Any, ...]:
        if self.versions() != self.seen:  # changed in place since; the sweep has undone that
            self.record()
            self.seen = self.versions()
        bars = [value(bar) for bar in _bars(self.y, ȳ)]
        pairs = [(out, bar) for out, bar in zip(self.outs, bars, strict=True) if bar is not None and out.requires_grad]
        inputs = [x for _, x in self.leaves] + self.parameters
        if not pairs or not inputs:
            return NONES[len(self.given)]
        outs, seeds = zip(*pairs, strict=True)
        grads = torch.autograd.grad(outs, inputs, seeds, retain_graph=True, allow_unused=True)
        for p, grad in zip(self.parameters, grads[len(self.leaves) :], strict=True):
            STATE.sweep.arrive(p, grad)
        return self.bars(fit(g, x) for (x, _), g in zip(self.leaves, grads, strict=False))

    def bars(self, found: Iterator[Any]) -> tuple[Any, ...]:
        """The cotangents of the arguments, from those of tensors and numbers in order."""
        numbers = iter(range(self.floats))
        spots = [*range(len(self.args)), *self.kwargs]
        return tuple([self.bar(x, spot, found, numbers) for spot, x in zip(spots, self.given, strict=True)])

    def bar(self, x: Any, spot: int | str, found: Iterator[Any], numbers: Iterator[int]) -> Any:
        if isinstance(x, float):
            bar = None if next(numbers) in self.plain else next(found, None)
            return self.refusal(spot) if bar is None else bar
        if isinstance(x, tuple):
            return tuple([self.bar(part, spot, found, numbers) for part in x])
        if isinstance(x, list):
            give_slots(x, [arrive(part, self.bar(part, spot, found, numbers)) for part in x])
        elif isinstance(x, dict):
            for key, part in x.items():
                STATE.sweep.give(x, key, arrive(part, self.bar(part, spot, found, numbers)))
        elif carries(x):
            return next(found, None) if isinstance(x, Tensor) else self.refusal(spot)
        return None

    def constants(self) -> set[int]:
        """The floats, in order, by which PyTorch has no derivative."""
        outs = [x for x in self.outs if x.requires_grad]
        leaves = [x for _, x in self.leaves]
        ones = [torch.ones_like(x) for x in outs]
        grads = torch.autograd.grad(outs, leaves, ones, allow_unused=True) if outs else [None] * len(leaves)
        found = iter([g for (x, _), g in zip(self.leaves, grads, strict=True) if isinstance(x, float)])
        return {i for i in range(self.floats) if i in self.plain or next(found) is None}

    def refusal(self, spot: int | str) -> Refusal:
        error = taken_as_constant(self.f, spot)
        error.place = self.place
        return Refusal(error)


def _mapped(x: Any, f: Callable[[Any], Any]) -> Any:
    if isinstance(x, tuple):
        parts = [_mapped(part, f) for part in x]
        return type(x)(parts) if hasattr(x, "n_fields") else type(x)(*parts) if hasattr(x, "_fields") else tuple(parts)
    if isinstance(x, list):
        return [_mapped(part, f) for part in x]
    if type(x) is dict:
        return {key: _mapped(part, f) for key, part in x.items()}
    if isinstance(x, GeneratorType):
        raise Refused("an iterator given to a torch function", "give it list(...) of the iterator")
    if isinstance(x, deque):
        raise Refused("a deque given to a torch function", "give it list(...) of the deque")
    return f(x)


def _leaves(x: Any) -> Iterator[Any]:
    if isinstance(x, tuple | list):
        for part in x:
            yield from _leaves(part)
    elif type(x) is dict:
        for part in x.values():
            yield from _leaves(part)
    else:
        yield x


def _detached(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else x


def _tensors(x: Any) -> Iterator[Tensor]:
    if isinstance(x, Tensor):
        yield x
    elif isinstance(x, tuple | list | dict):
        for part in x.values() if isinstance(x, dict) else x:
            yield from _tensors(part)


def _bars(y: Any, ȳ: Any) -> list[Any]:
    """The cotangents of the differentiable tensors in y, in order."""
    if isinstance(y, Tensor):
        return [ȳ] if carries(y) else []
    if isinstance(y, tuple | list):
        bars = [None] * len(y) if ȳ is None else value(ȳ)
        return [b for part, bar in zip(y, bars, strict=True) for b in _bars(part, bar)]
    return []


# In place.


def in_place(f: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Pulled:
    """`x.add_(v)`: the change that `x.add(v)` describes."""
    x, *rest = args
    count = len(args) + len(kwargs)
    if name in ("requires_grad_", "retain_grad_"):
        return x, lambda ȳ: (ȳ, *(None,) * (count - 1))
    if name in _FILLS or any(is_random in name for is_random in _RANDOM):
        error = taken_as_constant(f, 1)
        error.place = here()
        bars = lambda: (None, *[refused_bars(number, error) for number in (*rest, *kwargs.values())])
        return change(x, lambda: f(*args, **kwargs), lambda old: (None, lambda _: bars()), count)
    if name == "copy_":
        source = rest[0]
        return change(x, lambda: f(*args, **kwargs), lambda old: (None, lambda b: _to_source(b, source, count)), count)
    if name == "fill_":
        source = rest[0]
        return change(x, lambda: f(*args, **kwargs), lambda old: (None, lambda b: (None, fit(b, source))), count)
    functional = getattr(Tensor, name[:-1], None) or getattr(torch, name[:-1], None)
    functional = functional or getattr(nn.functional, name[:-1], None)
    if functional is None:
        raise Refused(f"{describe(f)}", "use a function that returns a new tensor")
    return change(x, lambda: f(*args, **kwargs), lambda old: pull(functional, old, *rest, **kwargs), count)


_FILLS = ("zero_", "detach_")
_RANDOM = ("normal_", "uniform_", "random_", "bernoulli_", "exponential_", "cauchy_", "geometric_")


def _to_source(bar: Any, source: Any, count: int) -> tuple[Any, ...]:
    return (None, arrive(source, fit(bar, source)), *(None,) * (count - 2))


# Modules.


_LAYERS: dict[type, Callable[..., Pulled]] = {
    nn.Linear: lambda m, x: PULL[nn.functional.linear](x, m._parameters["weight"], m._parameters["bias"]),
    nn.ReLU: lambda m, x: PULL[torch.relu](x) if not m.inplace else torch_call(m, (x,), {}),
    nn.Tanh: lambda m, x: PULL[torch.tanh](x),
    nn.Sigmoid: lambda m, x: PULL[torch.sigmoid](x),
    nn.Sequential: lambda m, x: _pull_chain(m, x),
}
"""Modules whose functions have rules of their own, which are faster than a call on PyTorch's tape."""


def _pull_chain(chain: Any, x: Any) -> Pulled:
    backs = []
    for layer in chain._modules.values():
        pulled = _layer(layer)
        x, back = _pull_module(layer, (x,), {}) if pulled is None else pulled(layer, x)
        backs.append(back)

    def pull_back(ȳ: Any) -> tuple[Any, ...]:
        for back in reversed(backs):
            ȳ = back(ȳ)[0]
        return (ȳ,)

    return x, pull_back


def _layer(m: nn.Module) -> Callable[..., Pulled] | None:
    """The rule of a module that is a layer of PyTorch's and nothing more."""
    found = _LAYERS.get(type(m))
    return None if found is None or _hooked(m) else found


def _hooked(m: nn.Module) -> bool:
    """Whether more than its class's `forward` runs when a module is called, or its parameters are something else."""
    hooks = m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks
    replaced = "forward" in m.__dict__ or (type(m) is nn.Linear and "weight" not in m._parameters)
    return bool(hooks) or replaced or nn.modules.module._has_any_global_hook()


def _pull_module(m: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Pulled:
    layer = _layer(m) if len(args) == 1 and not kwargs and type(args[0]) is Tensor else None
    if layer is not None:
        y, back = layer(m, *args)
        return y, lambda ȳ: back(ȳ)[:1]
    if all(library(type(part)) == "torch" for part in m.modules()):
        return torch_call(m, args, kwargs)
    hooks = (m._forward_hooks, m._forward_pre_hooks, m._backward_hooks, m._backward_pre_hooks)
    if any(hooks):
        raise Refused(f"a module with hooks ({type(m).__name__})", "call what the hooks do in its forward")
    y, back = pull(type(m).forward, m, *args, **kwargs)
    return y, lambda ȳ: back(ȳ)[1:]


_FORWARD_METHODS = ("forward", "__call__", "_call_impl", "_wrapped_call_impl")
"""The methods of modules that compute; the others only look at what there is."""


def _pull_torch(f: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Pulled:
    """A torch function; the methods of modules that contain others' modules are transformed."""
    from ._pull import pull_function

    if args and isinstance(args[0], nn.Module) and hasattr(f, "__code__"):
        if f.__name__ not in _FORWARD_METHODS:
            return as_constants(f, args, kwargs, partial(taken_as_constant, f))
        if not all(library(type(part)) == "torch" for part in args[0].modules()):
            return pull_function(f, args, kwargs)
    if f in PULL:
        return PULL[f](*args, **kwargs)
    return torch_call(f, args, kwargs)


LIBRARIES["torch"] = _pull_torch
KINDS.append((nn.Module, _pull_module))
