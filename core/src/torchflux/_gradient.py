"""Gradients of ordinary functions, recorded on PyTorch's tape, over any tree of floats, tensors and modules."""

import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ._model import modules
from ._treelike import Closure
from ._walk import CALLABLES, Function, PathDict, children, differentiable, fill, fmap, tensors, trainables

__all__ = ["back", "diaghessian", "gradient", "hessian", "jacobian", "pullback", "withgradient"]


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
    spots, g = _differentiable(f, args)
    return spots.layout(torch.func.jacrev(g)(spots.values))


def hessian(f: Function, x: Any) -> Any:
    """The second derivatives of the scalar `f(x)`; for a tree, the tree of the trees of its parts.

    Forward mode over reverse mode.

    >>> hessian(lambda x: x[0] ** 2 * x[1], torch.tensor([1.0, 2.0]))
    tensor([[4., 2.],
            [2., 0.]])
    """
    spots, g = _differentiable(f, (x,))
    rows = torch.func.hessian(lambda values: _scalar(g(values)))(spots.values)
    return spots.layout({i: spots.layout(row)[0] for i, row in rows.items()})[0]


def diaghessian(f: Function, *args: Any) -> tuple[Any, ...]:
    """The diagonal of the Hessian of the scalar `f(*args)`: one per argument, shaped like the argument.

    Exact: one Hessian-vector product for each number, all at once.

    >>> diaghessian(lambda x: (x**3).sum(), torch.tensor([1.0, 2.0]))
    (tensor([ 6., 12.]),)
    """
    spots, g = _differentiable(f, args)

    def diagonal(i: int, x: Tensor) -> Tensor:
        square = torch.func.hessian(lambda x: _scalar(g({**spots.values, i: x})))(x)
        return square.reshape(x.numel(), -1).diagonal().reshape(x.shape)

    return spots.layout({i: diagonal(i, x) for i, x in spots.values.items()})


# How it works. On the tape, tensors and floats are replaced by aliases that record, and parameters record
# themselves. Where there is no tape (under torch.compile and inside torch.func transforms) torch.func does
# the same, with the modules' parameters replaced while f runs.


def _run(f: Function, args: tuple[Any, ...], keep: bool) -> tuple[Any, Any, Function]:
    """Runs `f(*args) -> (y, aux)`: y, aux and the function from ȳ to the gradients."""
    taped = not (torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active())
    spots = _Spots(args, taped)
    scalars = any(spots.values[i].ndim == 0 for i in spots.are_floats)
    with _NumbersStay() if scalars and not torch.compiler.is_compiling() else nullcontext():
        return _record(f, spots, keep) if taped else _transform(f, spots)


def _transform(f: Function, spots: "_Spots") -> tuple[Any, Any, Function]:
    form: list[Any] = []  # vjp passes nothing but tensors on

    def g(values: dict[int, Any]) -> tuple[Any, list[Tensor]]:
        y, aux = spots.call(f, values)
        form[:] = [aux]
        return y, tensors(aux)

    y, pull, aux = torch.func.vjp(g, spots.values, has_aux=True)  # type: ignore[misc]
    return y, fill(form[0], aux), lambda ȳ: spots.layout(*pull(ȳ))


def _record(f: Function, spots: "_Spots", keep: bool) -> tuple[Any, Any, Function]:
    if torch.is_inference_mode_enabled():
        raise RuntimeError("there are no gradients in torch.inference_mode; use torch.no_grad for what needs none")
    inputs, outer = list(spots.values.values()), torch.is_grad_enabled()
    with torch.enable_grad(), _nesting:
        y, aux = f(*spots.args_with(spots.values))
    higher = outer and (_nesting.depth > 0 or not all(x.is_leaf for x in inputs) or _reaches_others(y, inputs))

    def sweep(ȳ: Any) -> tuple[Any, ...]:
        ȳ = torch.full_like(y, ȳ) if isinstance(ȳ, int | float | complex) else ȳ
        pairs = [(out, seed) for out, seed in zip(tensors(y), tensors(ȳ), strict=True) if out.requires_grad]
        grads: Any = [None] * len(inputs)
        if pairs and inputs:
            outs, seeds = zip(*pairs, strict=True)
            grads = torch.autograd.grad(outs, inputs, seeds, keep or higher, create_graph=higher, allow_unused=True)
        return spots.layout(dict(zip(spots.values, grads, strict=True)))

    return (y, aux, sweep) if higher else (spots.settled(y), spots.settled(aux), sweep)


class _Spots:
    """The differentiable spots of some arguments: floats, tensors, and the parameters of modules.

    `values` are what stands there (for tensors and floats, aliases): a parameter, which may stand in several
    places, under its id, anything else under a number of its own. `tree` is laid out like the arguments and says
    which of the values stands where.
    """

    def __init__(self, args: tuple[Any, ...], taped: bool = False) -> None:
        self.args = tuple([Closure(x) if isinstance(x, CALLABLES) and children(x) else x for x in args])
        self.taped = taped
        self.values: dict[int, Any] = {}
        self.are_floats: dict[int, bool] = {}  # of the tensors and floats
        self.tree = fmap(self._spot, self.args, leaf=_is_end, ties=False)

    def _spot(self, x: Any) -> Any:
        if isinstance(x, nn.Module):
            if hasattr(type(x), "no_sync") or hasattr(type(x), "set_requires_gradient_sync"):
                hint = "its gradients would not be averaged over the processes; use back(loss) and opt()"
                raise TypeError(f"gradient can't take a distributed module ({type(x).__name__}): {hint}")
            named, keep = trainables(x, path=True), self.taped or _nesting.depth > 0
            self.values |= {id(p): p if keep or not isinstance(p, nn.Parameter) else p.detach() for _, p in named}
            return PathDict({path: id(p) for path, p in named})
        spot, is_float = len(self.values), isinstance(x, float | complex)
        if is_float:
            x = torch.tensor(x, dtype=torch.complex128 if isinstance(x, complex) else torch.float64)
        if not isinstance(x, Tensor) or not differentiable(x):
            return None
        self.values[spot], self.are_floats[spot] = _alias(x) if self.taped else x, is_float
        return spot

    def layout(self, results: dict[int, Any]) -> tuple[Any, ...]:
        """`results`, one for each spot, laid out like the arguments; None elsewhere."""

        def put(i: Any) -> Any:
            if isinstance(i, PathDict):
                return PathDict({path: results[j] for path, j in i.items()})
            x = results[i]
            number = self.are_floats[i] and isinstance(x, Tensor) and x.ndim == 0 and not x.requires_grad
            return x.item() if number and not torch._C._are_functorch_transforms_active() else x

        return fmap(put, self.tree, leaf=lambda x: isinstance(x, (int, PathDict)), ties=False)

    def args_with(self, values: dict[int, Any]) -> tuple[Any, ...]:
        """The arguments with `values` for their tensors and floats; modules stay."""
        if not self.are_floats:
            return self.args
        return fmap(lambda x, i: values[i] if isinstance(i, int) else x, self.args, self.tree, leaf=_is_end, ties=False)

    def call(self, f: Function, values: dict[int, Any]) -> Any:
        """`f` of these arguments with `values` at the spots."""
        parts = [(part, dict(part._parameters)) for part in modules(self.args)]
        for part, old in parts:
            part._parameters.update({name: values[id(p)] for name, p in old.items() if id(p) in values})
        try:
            return f(*self.args_with(values))
        finally:
            for part, old in parts:
                part._parameters.update(old)

    def settled(self, y: Any) -> Any:
        """A result that nobody differentiates further: off the tape; a float where only floats went in."""
        floats = len(self.values) == sum(self.are_floats.values())
        return fmap(lambda x: x.item() if floats and x.ndim == 0 else x.detach(), y)


def _differentiable(f: Function, args: tuple[Any, ...]) -> tuple[_Spots, Function]:
    """The spots of some arguments, and `f` as a function of the values there."""
    spots = _Spots(args)
    if not spots.values:
        raise TypeError("there is nothing to differentiate: no argument holds a floating-point number")
    return spots, lambda values: spots.call(f, values)


def _is_end(x: Any) -> bool:
    return isinstance(x, (Tensor, float, nn.Module)) or not (isinstance(x, (tuple, list, dict)) or children(x))


def _alias(x: Tensor) -> Tensor:
    if x.requires_grad and (_nesting.depth > 0 or not isinstance(x, nn.Parameter)):
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
    ours = {id(x) for x in (None, *inputs)}
    tape: list[Any] = [out.grad_fn for out in tensors(y)]
    seen: set[Any] = {None}
    for node in tape:
        if node not in seen:
            seen.add(node)
            if parents := node.next_functions:
                tape += [parent for parent, _ in parents]
            elif id(leaf := getattr(node, "variable", None)) not in ours and not hasattr(leaf, "is_alias"):
                return True
    return False


class _Nesting(threading.local):
    """How many gradients are being recorded, one inside the other."""

    depth = 0

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, *error: Any) -> None:
        self.depth -= 1


_nesting = _Nesting()


class _NumbersStay(torch.overrides.TorchFunctionMode):
    """Refuses to make a constant of a number that is being differentiated, as float(x) and math.sin(x) would."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.__float__ and args[0].requires_grad:
            hint = "compute with torch's functions, or say ignore(x) if it is meant"
            raise TypeError(f"float(x), or math, makes a constant of a number that is being differentiated: {hint}")
        return func(*args, **(kwargs or {}))
