"""Gradients of ordinary functions, recorded on PyTorch's tape, over any tree of floats, tensors and modules."""

import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ._treelike import Closure
from ._walk import CALLABLES, PathDict, children, differentiable, fill, fmap, named_trainables, tensors

__all__ = ["back", "diaghessian", "gradient", "hessian", "jacobian", "pullback", "withgradient"]

Function = Callable[..., Any]


def gradient(f: Function, *args: Any) -> tuple[Any, ...]:
    """The gradient of the scalar `f(*args)`: one per argument, shaped like the argument.

    A tensor's gradient is a tensor, a float's a float, a module's a `PathDict` by parameter path; tuples,
    lists, dicts and dataclasses are kept. `None` stands where nothing flows: for what isn't a
    floating-point number or doesn't reach the result. (Under `torch.compile` and inside `torch.func`
    transforms, which can't tell, it is zero there.) Nested calls give higher derivatives, and the result is
    itself differentiable wherever something else takes part that requires a gradient.

    Raises:
        TypeError: `f` doesn't return a tensor, or makes a constant of a number that is being differentiated, as
            `math.sin(x)` does. (Under `torch.compile` there is only PyTorch's warning of it.)
        ValueError: the result isn't one real number.

    >>> gradient(lambda x: 3 * x**2 + 2 * x + 1, 5.0)
    (32.0,)
    >>> gradient(lambda w, xs: w * sum(xs["a"]), torch.tensor(2.0), {"a": [1.0, 3.0], "name": "n"})
    (tensor(4.), {'a': [2.0, 2.0], 'name': None})

    Source: Zygote.jl's `gradient`; the complex convention is PyTorch's (∂/∂z̄, the direction of descent).
    """
    return withgradient(f, *args)[1]


def withgradient(f: Function, *args: Any) -> tuple[Any, tuple[Any, ...]]:
    """The value and the gradients; where `f` returns `(loss, *aux)`, the value is all of it.

    >>> withgradient(lambda x: x**2, 3.0)
    (9.0, (6.0,))
    >>> (loss, double), grads = withgradient(lambda x: (x**2, 2 * x), 3.0)
    >>> double, grads
    (6.0, (6.0,))
    """

    def split(*xs: Any) -> tuple[Tensor, tuple[Any, ...]]:
        y = f(*xs)
        loss, aux = (y[0], y[1:]) if isinstance(y, tuple) and y else (y, ())
        return _scalar(loss), aux

    loss, aux, sweep = _run(split, args, keep=False)
    grads = sweep(torch.ones_like(loss) if isinstance(loss, Tensor) else 1.0)
    return ((loss, *aux) if aux else loss), grads


def pullback(f: Function, *args: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """The value `y = f(*args)` and a function from ȳ to the gradients, which may be called many times.

    >>> y, back = pullback(torch.sin, torch.tensor([0.0, 1.0]))
    >>> back(torch.tensor([1.0, 0.0]))
    (tensor([1., 0.]),)
    """
    y, _, sweep = _run(lambda *xs: (f(*xs), ()), args, keep=True)
    return y, sweep


def back(*losses: Tensor, retain: bool = False) -> None:
    """Adds the gradient of each loss to the `.grad` of all that it depends on, as in the paper.

    Several losses are taken together, in one sweep. Where a later call needs the same part of the program
    again, say `retain=True` (PyTorch frees the tape as it goes).

    >>> w = torch.tensor(3.0, requires_grad=True)
    >>> y = w**2
    >>> back(y, retain=True)
    >>> back(2 * y)
    >>> w.grad
    tensor(18.)
    """
    torch.autograd.backward([_scalar(loss) for loss in losses], retain_graph=retain)


def jacobian(f: Function, *args: Any) -> tuple[Any, ...]:
    """The Jacobian of a tensor-valued function: one per argument, laid out like the argument.

    Each has the shape of the result followed by the shape of the argument.

    >>> jacobian(lambda x: x**2, torch.tensor([1.0, 2.0]))[0]
    tensor([[2., 0.],
            [0., 4.]])
    """
    spots = _Spots(args)
    return spots.layout(torch.func.jacrev(spots.function(f), spots.everything())(*spots.values))


def hessian(f: Function, x: Any) -> Any:
    """The second derivatives of the scalar `f(x)`; for a tree, the tree of the trees of its parts.

    Forward mode over reverse mode.

    >>> hessian(lambda x: x[0] ** 2 * x[1], torch.tensor([1.0, 2.0]))
    tensor([[4., 2.],
            [2., 0.]])
    """
    spots = _Spots((x,))
    rows = torch.func.hessian(lambda *xs: _scalar(spots.function(f)(*xs)), spots.everything())(*spots.values)
    return spots.layout([spots.layout(row)[0] for row in rows])[0]


def diaghessian(f: Function, *args: Any) -> tuple[Any, ...]:
    """The diagonal of the Hessian of the scalar `f(*args)`: one per argument, shaped like the argument.

    Exact: one Hessian-vector product for each number, all at once.

    >>> diaghessian(lambda x: (x**3).sum(), torch.tensor([1.0, 2.0]))
    (tensor([ 6., 12.]),)
    """
    spots = _Spots(args)
    g, values = spots.function(f), spots.values

    def diagonal(i: int) -> Tensor:
        slope = torch.func.grad(lambda x: _scalar(g(*values[:i], x, *values[i + 1 :])))
        x = values[i]
        basis = torch.eye(x.numel(), dtype=x.dtype, device=x.device).reshape(-1, *x.shape)
        return torch.func.vmap(lambda e: (torch.func.jvp(slope, (x,), (e,))[1] * e).sum())(basis).reshape(x.shape)

    return spots.layout([diagonal(i) for i in spots.everything()])


# How it works. On the tape, tensors and floats are replaced by aliases that record, and parameters record
# themselves. Where there is no tape (under torch.compile and inside torch.func transforms) torch.func does
# the same, with the modules' parameters replaced while f runs.


def _run(f: Function, args: tuple[Any, ...], keep: bool) -> tuple[Any, Any, Function]:
    """Runs `f(*args) -> (y, aux)`: y, aux and the function from ȳ to the gradients."""
    return _record(f, _Spots(args, taped=True), keep) if _outside() else _transform(f, _Spots(args))


def _outside() -> bool:
    """Whether there is a tape: outside of torch.func transforms and torch.compile."""
    return not (torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active())


def _transform(f: Function, spots: "_Spots") -> tuple[Any, Any, Function]:
    form: list[Any] = []  # vjp passes nothing but tensors on

    def g(*values: Tensor) -> tuple[Any, list[Tensor]]:
        y, aux = spots.function(f)(*values)
        form[:] = [aux]
        return y, tensors(aux)

    with _guard(spots):
        y, pull, aux = torch.func.vjp(g, *spots.values, has_aux=True)  # type: ignore[misc]
    return y, fill(form[0], aux), lambda ȳ: spots.layout(pull(ȳ))


def _record(f: Function, spots: "_Spots", keep: bool) -> tuple[Any, Any, Function]:
    if torch.is_inference_mode_enabled():
        raise RuntimeError("there are no gradients in torch.inference_mode; use torch.no_grad for what needs none")
    inputs = spots.values
    with _Recording() as outer, _guard(spots):
        y, aux = f(*spots.args_with(inputs))
    higher = outer and (_level() > 0 or spots.recorded or _reaches_others(y, inputs))

    def sweep(ȳ: Any) -> tuple[Any, ...]:
        ȳ = torch.full_like(y, ȳ) if isinstance(ȳ, int | float | complex) else ȳ
        pairs = [(out, seed) for out, seed in zip(tensors(y), tensors(ȳ), strict=True) if out.requires_grad]
        grads: Any = [None] * len(inputs)
        if pairs and inputs:
            outs, seeds = zip(*pairs, strict=True)
            grads = torch.autograd.grad(outs, inputs, seeds, keep or higher, create_graph=higher, allow_unused=True)
        return spots.layout(grads)

    return (y, aux, sweep) if higher else (spots.settled(y), spots.settled(aux), sweep)


class _Spots:
    """The differentiable spots of some arguments: floats, tensors, and the parameters of modules.

    `values` are what stands there (for tensors and floats, aliases), `tree` is laid out like the arguments
    and says which of the values stands where.
    """

    def __init__(self, args: tuple[Any, ...], taped: bool = False) -> None:
        self.args, self.taped = tuple(map(_as_model, args)), taped
        self.values: list[Tensor] = []
        self.parameters: dict[int, int] = {}  # the place of a parameter, which may stand in several arguments
        self.modules: list[nn.Module] = []
        self.numbers: set[int] = set()
        self.guarded = self.recorded = False  # whether there are scalars; whether somebody else records an argument
        self.tree = fmap(self._spot, self.args, leaf=_is_end, ties=False)

    def _spot(self, x: Any) -> Any:
        if isinstance(x, nn.Module):
            if hasattr(type(x), "no_sync") or hasattr(type(x), "set_requires_gradient_sync"):
                hint = "its gradients would not be averaged over the processes; use back(loss) and opt()"
                raise TypeError(f"gradient can't take a distributed module ({type(x).__name__}): {hint}")
            self.modules.append(x)
            return PathDict(zip((named := named_trainables(x)), map(self._parameter, named.values()), strict=True))
        if isinstance(x, float | complex):
            self.numbers.add(len(self.values))
            x = torch.tensor(x, dtype=torch.complex128 if isinstance(x, complex) else torch.float64)
        if not isinstance(x, Tensor) or not differentiable(x):
            return None
        self.guarded = self.guarded or x.ndim == 0
        self.recorded = self.recorded or (x.requires_grad and not isinstance(x, nn.Parameter))
        return self._add(_alias(x) if self.taped else x)

    def _parameter(self, x: Tensor) -> int:
        if id(x) not in self.parameters:
            plain = isinstance(x, nn.Parameter) and not self.taped and _level() == 0
            self.parameters[id(x)] = self._add(x.detach() if plain else x)
        return self.parameters[id(x)]

    def _add(self, x: Tensor) -> int:
        self.values.append(x)
        return len(self.values) - 1

    def everything(self) -> tuple[int, ...]:
        """The index of every spot."""
        if not self.values:
            raise TypeError("there is nothing to differentiate: no argument holds a floating-point number")
        return tuple(range(len(self.values)))

    def layout(self, results: Any) -> tuple[Any, ...]:
        """`results`, one for each spot, laid out like the arguments; None elsewhere."""

        def put(i: Any) -> Any:
            if isinstance(i, PathDict):
                return PathDict({path: results[j] for path, j in i.items()})
            number = i in self.numbers and isinstance(results[i], Tensor) and results[i].ndim == 0
            plain = number and not (results[i].requires_grad or torch._C._are_functorch_transforms_active())
            return results[i].item() if plain else results[i]

        return fmap(put, self.tree, leaf=lambda x: isinstance(x, int | PathDict), ties=False)

    def args_with(self, values: Any) -> tuple[Any, ...]:
        """The arguments with `values` for their tensors and floats; modules stay."""
        if len(self.parameters) == len(self.values):
            return self.args
        return fmap(lambda x, i: values[i] if isinstance(i, int) else x, self.args, self.tree, leaf=_is_end, ties=False)

    def function(self, f: Function) -> Function:
        """`f` of these arguments, as a function of the values at the spots."""
        parts = {part: None for module in self.modules for part in module.modules()}
        owned = [(part, name, self.parameters.get(id(p))) for part in parts for name, p in part._parameters.items()]
        slots = [(part, name, i) for part, name, i in owned if i is not None]

        def g(*values: Tensor) -> Any:
            old = [owner._parameters[name] for owner, name, _ in slots]
            _place(slots, [values[i] for _, _, i in slots])
            try:
                return f(*self.args_with(values))
            finally:
                _place(slots, old)

        return g

    def settled(self, y: Any) -> Any:
        """A result that nobody differentiates further: off the tape; a float where only floats went in."""
        numbers = len(self.numbers) == len(self.values)
        return fmap(lambda x: x.item() if numbers and x.ndim == 0 else x.detach(), y)


def _place(slots: Any, values: Any) -> None:
    for (owner, name, _), value in zip(slots, values, strict=True):
        owner._parameters[name] = value


def _as_model(x: Any) -> Any:
    return Closure(x) if isinstance(x, CALLABLES) and children(x) else x


def _is_end(x: Any) -> bool:
    if isinstance(x, Tensor | float | nn.Module):
        return True
    return not isinstance(x, tuple | list | dict) and not children(x)


def _alias(x: Tensor) -> Tensor:
    if x.requires_grad and (_level() > 0 or not isinstance(x, nn.Parameter)):
        return x.view_as(x)  # somebody else records x, too
    alias = x.detach().requires_grad_()
    alias.is_alias = True  # type: ignore[attr-defined]  # a leaf that nobody outside can ask about
    return alias


def _scalar(loss: Any) -> Tensor:
    """`loss`, if a gradient can start from it."""
    if not isinstance(loss, Tensor):
        hint = "compute with torch's functions (math.sin and float() make constants of their arguments)"
        raise TypeError(f"a gradient needs a tensor to start from; the function returned {loss!r}: {hint}")
    if loss.numel() != 1 or not loss.is_floating_point():
        hint = "reduce it (mean, sum, abs), or use jacobian or pullback"
        raise ValueError(f"a gradient is of one real number, not {loss.dtype} of shape {tuple(loss.shape)}: {hint}")
    return loss


def _reaches_others(y: Any, inputs: list[Tensor]) -> bool:
    """Whether anything but the inputs that y depends on requires a gradient."""
    ours = {id(x) for x in inputs}
    stack: list[Any] = [out.grad_fn for out in tensors(y)]
    seen: set[Any] = {None}
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            if parents := node.next_functions:
                stack += [parent for parent, _ in parents]
            leaf = None if parents else getattr(node, "variable", None)
            if leaf is not None and id(leaf) not in ours and not hasattr(leaf, "is_alias"):
                return True
    return False


_depth = threading.local()


def _level() -> int:
    return getattr(_depth, "value", 0)


class _Recording:
    """Records what happens inside, where gradients stay differentiable themselves."""

    def __enter__(self) -> bool:
        self.outer = torch.is_grad_enabled()
        torch.set_grad_enabled(True)
        _depth.value = _level() + 1
        return self.outer

    def __exit__(self, *error: Any) -> None:
        torch.set_grad_enabled(self.outer)
        _depth.value -= 1


class _NumbersStay(TorchFunctionMode):
    """Refuses to make a constant of a number that is being differentiated, as float(x) and math.sin(x) would."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.__float__ and args[0].requires_grad:
            hint = "compute with torch's functions, or say ignore(x) if it is meant"
            raise TypeError(f"float(x), or math, makes a constant of a number that is being differentiated: {hint}")
        return func(*args, **(kwargs or {}))


def _guard(spots: _Spots) -> Any:
    return _NumbersStay() if spots.guarded and not torch.compiler.is_compiling() else nullcontext()
