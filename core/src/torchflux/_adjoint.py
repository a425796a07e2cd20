"""Custom gradients: a function returns its value and its pullback."""

import inspect
import sys
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, cast

import torch
from torch import Tensor
from torch._C._functorch import TransformType, get_interpreter_stack
from torch.overrides import handle_torch_function, has_torch_function

from ._model import modules
from ._walk import differentiable, fill, fmap, tensors

__all__ = ["adjoint", "checkpointed", "hook", "ignore"]

Rule = Callable[..., tuple[Any, Callable[..., Any]]]


def adjoint(rule: Rule | None = None, *, of: Callable[..., Any] | None = None, jvp: Any = None) -> Any:
    """Gives a function a gradient of your own: decorate one that returns `(y, pullback)`.

    `pullback(ȳ)` takes the gradient of the result (a tensor, or a tuple where `y` is one) and returns one
    gradient for each argument, shaped like it: a tensor, `None` for no gradient, the same nesting for a
    tuple, list or dict (with one argument, the gradient itself will do). It holds in `backward`, in
    `torch.func.grad`, `vmap`, `jvp`, under `torch.compile` and in any mixture of these, and it is
    differentiated for second derivatives. Inside these transforms `rule` is called again to make the
    pullback. What the function closes over gets no gradient: pass it as an argument.

    Arguments:
        rule: the function; it takes tensors, numbers and nestings of them.
        of: someone else's function which this is the rule of. Every module-level name bound to that
            function (wherever it has been imported) is bound to the new one.
        jvp: `jvp(primals, tangents) -> tangent of y`, each a tuple of the arguments; needed only where
            forward mode should differ from the pullback's transpose, or be faster. The tangent of a tensor of
            integers is `None`.

    Raises:
        TypeError: the rule doesn't return a pair, an argument is a module, or the pullback returns the
            wrong number of gradients.
        ValueError: a gradient is not shaped like its argument, or `of` can't be found in any module.

    >>> @adjoint
    ... def clip_gradient(x):
    ...     return x, lambda ȳ: ȳ.clamp(-1, 1)
    >>> from torchflux import gradient
    >>> gradient(lambda x: 5 * clip_gradient(x), torch.tensor(2.0))
    (tensor(1.),)

    Source: Zygote.jl's `@adjoint`; Innes (2018), arXiv 1810.07951.
    """
    if rule is None:
        return lambda rule: adjoint(rule, of=of, jvp=jvp)
    signature = inspect.signature(rule)

    # Dynamo silently drops a custom backward that it traces under func.grad (pytorch#193279), so it is
    # told not to look inside; the compiler behind it then meets the real thing.
    @torch.compiler.allow_in_graph
    def opaque(*args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != len(signature.parameters):
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            return _apply(partial(rule, **bound.kwargs), jvp, bound.args)
        return _apply(rule, jvp, args)

    @wraps(of or rule)  # not opaque itself, whose attributes Dynamo can't copy, as jacrev would
    def ruled(*args: Any, **kwargs: Any) -> Any:
        # A tensor with rules of its own is asked, as PyTorch's functions ask it.
        asked = partial(handle_torch_function, ruled, args) if has_torch_function(args) else opaque
        return asked(*args, **kwargs)

    ruled.__adjoint__, ruled.__jvp__ = rule, jvp  # type: ignore[attr-defined]  # for other transforms to find
    if of is not None:
        _rebind(of, ruled)
    return ruled


def _rebind(old: Callable[..., Any], new: Callable[..., Any]) -> None:
    """Binds `new` to every module-level name that is bound to `old`."""
    found = [(m, k) for m in [*sys.modules.values()] for k, v in [*getattr(m, "__dict__", {}).items()] if v is old]
    if not found:
        raise ValueError(f"no module has a name for {old!r}; import the module that defines it first")
    for module, name in found:
        setattr(module, name, new)


def _apply(rule: Rule, jvp: Any, args: tuple[Any, ...]) -> Any:
    """Calls a rule on any arguments: autograd sees a function of the tensors among them."""
    if modules(args):
        raise TypeError(f"{_name(rule)} has a custom gradient and can't take a module; pass the tensors that it uses")
    if [level.key() for level in get_interpreter_stack() or ()].count(TransformType.Jvp) > 1:
        raise NotImplementedError("nested forward mode is silently zero here (pytorch#197867): take one in reverse")
    call, inputs = _Call(rule, jvp, args), tensors(args)
    if not inputs:
        return call()[0]
    out = _Custom.apply(call, *inputs)
    result, call.result = call.result, None
    return fill(result, out)


class _Call:
    """One call of a rule, as a function of a flat tuple of tensors to a flat tuple of tensors."""

    def __init__(self, rule: Rule, jvp: Any, args: tuple[Any, ...]) -> None:
        self.rule, self.jvp, self.args = rule, jvp, args
        self.result = self.pullback = cast(Any, None)  # of the forward pass; the pullback where it may be kept

    def __call__(self, *xs: Tensor) -> tuple[Any, Callable[..., tuple[Any, ...]]]:
        """The result, and the pullback from its tensors to the tensors of the arguments."""
        args, rule = fill(self.args, xs), self.rule  # the pullback must not hold the call that keeps it
        pair = rule(*args)
        if not (isinstance(pair, tuple) and len(pair) == 2 and callable(pair[1])):
            raise TypeError(f"{_name(rule)} must return (y, pullback), pullback a function; it returned {pair!r}")
        result, pullback = pair
        return result, lambda *ȳ: _match(rule, args, pullback(fill(result, ȳ)))

    def push(self, xs: tuple[Tensor, ...], tangents: tuple[Any, ...]) -> Any:
        """The tangents of the result: by the rule's `jvp`, or as the transpose of its pullback."""
        if self.jvp is not None:
            return tuple(tensors(self.jvp(fill(self.args, xs), fill(self.args, tangents))))
        (result, pullback), moves = self(*xs), [i for i, x in enumerate(xs) if differentiable(x)]

        def linear(*ȳ: Tensor) -> tuple[Tensor, ...]:
            grads = pullback(*ȳ)
            return tuple(torch.zeros_like(xs[i]) if grads[i] is None else grads[i] for i in moves)

        return torch.func.vjp(linear, *map(torch.zeros_like, tensors(result)))[1](tuple(tangents[i] for i in moves))


def _match(rule: Rule, args: tuple[Any, ...], grads: Any) -> tuple[Any, ...]:
    """What a pullback returned, one for each tensor of the arguments, if it is laid out like them."""
    grads = grads if isinstance(grads, tuple) and (len(args) > 1 or len(grads) == 1) else (grads,)
    if len(grads) != len(args):
        given = f"the pullback of {_name(rule)} returned {len(grads)} gradients for {len(args)} arguments"
        raise TypeError(f"{given}; it must return a tuple with one for each, None where there is none")
    found: list[Any] = []

    def check(x: Tensor, grad: Any) -> None:
        if grad is not None and getattr(grad, "shape", None) != x.shape:
            given = getattr(grad, "shape", grad)
            raise ValueError(f"shape {given} for an argument of shape {x.shape} (sum over what was broadcast)")
        found.append(grad)

    for i, (x, grad) in enumerate(zip(args, grads, strict=True)):
        try:
            fmap(check, x, fmap(lambda _: None, x, ties=False) if grad is None else grad, ties=False)
        except ValueError as error:
            message = f"the pullback of {_name(rule)} returned a gradient for argument {i} that isn't laid out like it"
            raise ValueError(f"{message}: {error}") from None
    return tuple(found)


class _Custom(torch.autograd.Function):
    """Calls a rule so that autograd and torch.func take the rule's pullback."""

    generate_vmap_rule = True

    @staticmethod
    def forward(call: _Call, *xs: Tensor) -> Any:
        call.result, pullback = call(*xs)
        if not torch._C._are_functorch_transforms_active():  # inside them, values belong to one level only
            call.pullback = pullback
        # New aliases: y must not hold the pullback, which may hold y.
        return tuple(y.view_as(y) for y in tensors(call.result))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.call, *xs = inputs
        ctx.save_for_backward(*xs)
        ctx.save_for_forward(*xs)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        xs, pullback = ctx.saved_tensors, ctx.call.pullback  # reading them checks that they are unchanged
        if pullback is None or torch.is_grad_enabled():  # to be differentiated again, it is made of the tensors
            pullback = ctx.call(*xs)[1]
        return (None, *pullback(*cotangents))

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Any) -> Any:
        return ctx.call.push(ctx.saved_tensors, tangents)


def _name(f: Any) -> str:
    return getattr(f, "__qualname__", repr(f))


def hook(f: Callable[[Tensor], Tensor | None], x: Tensor | None = None) -> Any:
    """`x` itself, with `f` applied to its gradient on the way back; `f` returning `None` only looks.

    `hook(f)` is a function of `x`: make it once, outside, to use it under `torch.compile`.

    >>> from torchflux import gradient
    >>> reverse = hook(lambda ȳ: -ȳ)
    >>> gradient(lambda x: reverse(x) ** 2, torch.tensor(3.0))
    (tensor(-6.),)
    """

    def hooked(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return x, lambda ȳ: ȳ if (changed := f(ȳ)) is None else changed

    if x is not None and torch.compiler.is_compiling():
        raise RuntimeError("hook(f, x) under torch.compile: make the hook outside (h = hook(f)) and call h(x)")
    return adjoint(hooked) if x is None else _apply(hooked, None, (x,))


def ignore(x: Any, *args: Any) -> Any:
    """`x` as a constant, for any tree; or the result of calling `x(*args)`, as a constant.

    >>> from torchflux import gradient
    >>> gradient(lambda x: x * ignore(x) + ignore(torch.sin, x), torch.tensor(3.0))
    (tensor(3.),)
    """
    if callable(x) and not isinstance(x, Tensor):
        with torch.no_grad():
            x = x(*args)
    return fmap(Tensor.detach, x)


def checkpointed(f: Callable[..., Any], *args: Any) -> Any:
    """`f(*args)`, computed again for the gradient rather than kept in memory.

    Inside `torch.func` transforms, where the tape can't be cut, it is just `f(*args)`.

    >>> from torchflux import gradient
    >>> gradient(lambda x: checkpointed(torch.sin, x), torch.tensor(0.0))
    (tensor(1.),)

    Source: Griewank & Walther (2000), doi:10.1145/347837.347846.
    """
    if torch._C._are_functorch_transforms_active():
        return f(*args)
    return torch.utils.checkpoint.checkpoint(f, *args, use_reentrant=False)
