"""Jets: a tensor with its derivatives in the coordinates, each computed when it is first asked for.

A jet goes through a model as a tensor would. Each operation on it knows how the derivatives of its result follow from
those of its arguments (`_elementwise`, `_linear`, `_composite`), so all of them come of one pass through the model
(Taylor-mode differentiation), and only those are computed that somebody wants.

Source: Griewank & Walther, Evaluating Derivatives, 2nd ed. (2008), chapter 13, doi:10.1137/1.9780898717761.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from ._multi_index import Index, joined, splits

__all__: list[str] = []

Derive = Callable[["Jet", Index], Tensor | None]
Rule = Callable[..., Any]

RULES: dict[Any, Rule] = {}
"""What an operation of PyTorch does with jets: called with its arguments, it returns jets."""

_inside_model: ContextVar[bool] = ContextVar("inside_model", default=False)


class Jet(Tensor):
    """A tensor and its derivatives. It has a shape and a dtype, and no storage of its own.

    - `value`: the tensor.
    - `derive(self, index)`: a derivative, as a tensor that broadcasts to the value, or None for zero.
    - `evaluation`: the jets of one evaluation that hold a slope. As the slope may hold the jet, `finished` parts them.
    - `taken`: whether an operation took it, whose derivatives may be asked for later: it may not change any more.
    """

    value: Tensor
    derive: Derive
    evaluation: "list[Jet]"
    known: dict[Index, Tensor | None]
    slope: Any
    taken: bool

    @staticmethod
    def __new__(cls, value: Tensor, derive: Derive, evaluation: "list[Jet]") -> "Jet":
        return Tensor._make_wrapper_subclass(cls, value.shape, dtype=value.dtype, device=value.device)

    def __init__(self, value: Tensor, derive: Derive, evaluation: "list[Jet]") -> None:
        self.value, self.derive, self.evaluation = value, derive, evaluation
        self.known, self.slope, self.taken = {}, None, False

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"Jet({self.value!r})"

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        rule = RULES.get(func)
        if rule is not None:
            if _inside_model.get() and not torch.is_grad_enabled():
                raise NotImplementedError(_opaque(func))
            found = rule(*args, **(kwargs or {}))
            if isinstance(found, Jet) or type(found) in (tuple, list):
                _take(args[1:] if found is args[0] else args)
            return found
        _take(args)
        if hasattr(func, "__adjoint__"):
            return _adjoint_rule(func, *args, **(kwargs or {}))
        return _without_rule(func, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        raise NotImplementedError(  # a TypeError would be taken for a missing operator
            f"{func} was called on a jet where no Python function of PyTorch's is, as inside torch.vmap; jets have no "
            f"storage. A model takes all points at once, (n, d). {_ADVICE}"
        )


def _take(args: Any) -> None:
    """Notes that jets were taken by an operation."""
    for x in args:
        if isinstance(x, Jet):
            x.taken = True
        elif isinstance(x, tuple | list):
            _take(x)


_ADVICE = "Write the function as @torchflux.adjoint(jvp=...), or leave it out of the model."


def component(x: Any, index: Index) -> Any:
    """A derivative of a jet, None for zero; anything else is a constant."""
    if not index:
        return x.value if isinstance(x, Jet) else x
    if not isinstance(x, Jet):
        return None
    if index not in x.known:
        x.known[index] = x.derive(x, index)
    return x.known[index]


def shifted(x: Any, i: int) -> Any:
    """The derivative in coordinate i as a jet itself; None where it is zero."""
    value = component(x, (i,))
    return None if value is None else Jet(value, lambda _, index: component(x, joined((i,), index)), x.evaluation)


def variables(points: Tensor) -> Jet:
    """Points (n, d) as a jet: the derivative of a coordinate in itself is one."""

    def derive(jet: Jet, index: Index) -> Tensor | None:
        if len(index) > 1:
            return None
        row = torch.zeros(1, points.shape[-1], dtype=points.dtype, device=points.device)
        row[0, index[0]] = 1
        return row

    return Jet(points, derive, [])


def multilinear(op: Callable[..., Tensor], value: Tensor, *factors: Any) -> Jet:
    """The jet of something linear in each of its factors; constants among them are no jets."""
    jets = [k for k, factor in enumerate(factors) if isinstance(factor, Jet)]

    def derive(_: Jet, index: Index) -> Tensor | None:
        total = None
        for count, parts in splits(index, len(jets)):
            moved = dict(zip(jets, parts, strict=True))
            components = [component(factor, moved.get(k, ())) for k, factor in enumerate(factors)]
            if all(c is not None for c in components):
                total = plus(total, scaled(count, op(*components)))
        return total

    return Jet(value, derive, factors[jets[0]].evaluation)


def chained(value: Tensor, x: Jet, slope: Callable[[Jet, Jet], Any]) -> Jet:
    """The jet of a function of each element, by its slope f'(x): a jet made of x and of the result."""

    def derive(y: Jet, index: Index) -> Tensor | None:
        if y.slope is None:
            y.slope = slope(x, y)
            y.evaluation.append(y)
        return product_rule(y.slope, x, index)

    return Jet(value, derive, x.evaluation)


def product_rule(slope: Any, x: Any, index: Index) -> Tensor | None:
    """A derivative of y, where ∂y = slope · ∂x."""
    first, total = index[:1], None
    for count, (left, right) in splits(index[1:], 2):
        change, factor = component(x, joined(first, right)), component(slope, left)
        if change is not None and factor is not None:
            total = plus(total, scaled(count, factor * change))
    return total


def pushed(value: Tensor, jets: list[Any], push: Callable[[Jet, list[Any]], Any]) -> Jet:
    """The jet of any function of jets, by its pushforward: `push(y, tangents)` is ∂y, itself in terms of jets."""

    def derive(y: Jet, index: Index) -> Tensor | None:
        tangents = [shifted(jet, index[0]) for jet in jets]
        if all(tangent is None for tangent in tangents):
            return None
        return component(push(y, tangents), index[1:])

    return Jet(value, derive, next(jet.evaluation for jet in jets if isinstance(jet, Jet)))


def finished(x: Jet) -> None:
    """The end of an evaluation: its jets let go of each other."""
    for jet in x.evaluation:
        jet.slope = None
    x.evaluation.clear()


def plus(a: Tensor | None, b: Tensor) -> Tensor:
    """A sum that may be empty so far."""
    return b if a is None else a + b


def scaled(count: int, x: Tensor) -> Tensor:
    return x if count == 1 else count * x


def value_of(x: Any) -> Any:
    """An argument with the values of its jets."""
    if isinstance(x, tuple | list):
        return type(x)(map(value_of, x))
    return x.value if isinstance(x, Jet) else x


@contextmanager
def inside_model() -> Iterator[None]:
    """While a model is called: an operation with gradients switched off is one inside somebody's autograd function."""
    token = _inside_model.set(True)
    try:
        with torch.enable_grad():
            yield
    finally:
        _inside_model.reset(token)


def name_of(func: Any) -> str:
    return str(getattr(func, "__qualname__", None) or getattr(func, "__name__", repr(func)))


def _opaque(func: Any) -> str:
    found = f"{name_of(func)} is applied to the coordinates where gradients are switched off:"
    where = "inside torch.no_grad() or the forward of an autograd.Function, whose derivatives can't be seen from here."
    return f"{found} {where} {_ADVICE}"


def _adjoint_rule(func: Any, *args: Any, **kwargs: Any) -> Any:
    """A function with a custom gradient: its `jvp` is its pushforward, and the jets go through that again."""
    if func.__jvp__ is None or kwargs or not all(isinstance(x, Tensor | float | int) for x in args):
        raise TypeError(
            f"{name_of(func)} has a custom gradient. Derivatives in the coordinates take its jvp: @adjoint(jvp=...), "
            "for a function of tensors and numbers, called without keywords."
        )

    def push(_: Jet, tangents: list[Any]) -> Any:
        zeros = [
            torch.zeros_like(value_of(x)) if t is None and isinstance(x, Tensor) else t
            for x, t in zip(args, tangents, strict=True)
        ]
        return func.__jvp__(args, tuple(zeros))

    return pushed(func(*map(value_of, args)), list(args), push)


def _without_rule(func: Any, args: Any, kwargs: Any) -> Any:
    from ._nested import nested

    name = name_of(func)
    if name.endswith("_") and not name.endswith("__"):
        raise NotImplementedError(f"{name} changes what follows from the coordinates in place: make a new tensor")
    if func is torch.autograd.grad:
        raise NotImplementedError(
            "torch.autograd.grad is called inside of a model. Let the model give what is differentiated, and take its "
            "derivatives in the residual: v = -psi.x"
        )
    if isinstance(func, torch._C.ScriptFunction | torch._C.ScriptMethod):
        raise NotImplementedError(
            f"{name} is scripted, and torch.jit's derivatives of it are wrong: leave it as it was"
        )
    warnings.warn(
        f"{name} has no rule for jets: its derivatives are taken by nested forward mode, which is slower. "
        "torchflux_physics.rule gives it one.",
        stacklevel=4,
    )
    return nested(func, args, kwargs)
