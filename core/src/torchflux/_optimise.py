"""Optimisers: a rule is two short methods, its state a tree laid out like the model."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ._walk import PathDict, leaves, trainables

__all__ = ["Leaf", "Optimiser", "OptimiserChain", "Rule", "adjust", "freeze", "setup", "thaw", "update"]


class Rule:
    """How one parameter is changed by its gradient.

    A rule of your own is a dataclass with `init(x) -> state` and `apply(state, x, dx) -> (state, dx)`, where
    the `dx` that comes back is what `update` subtracts from `x` (`None` leaves `x` alone this time). Both
    work on one real tensor (of a complex parameter they see real and imaginary parts). Called with tensors first, as in
    the paper, a rule makes an `Optimiser`: `opt = Adam(trainables(model), 0.01)`.

    >>> @dataclass
    ... class Halve(Rule):
    ...     def apply(self, state, x, dx):
    ...         return state, x / 2
    >>> w = {"a": torch.tensor(8.0)}
    >>> _ = update(setup(Halve(), w), w, {"a": torch.tensor(0.0)})
    >>> w
    {'a': tensor(4.)}

    Source: Optimisers.jl, `src/interface.jl`.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if args and isinstance(args[0], Iterable | Tensor):
            return Optimiser(cls(*args[1:], **kwargs), args[0])
        return super().__new__(cls)

    slots: ClassVar[tuple[str, ...]] = ()
    """The names of a state that starts as zeros like `x`."""

    def init(self, x: Tensor) -> Any:
        """The state to start from: a tree of tensors."""
        return {name: torch.zeros_like(x, memory_format=torch.contiguous_format) for name in self.slots}

    def apply(self, state: Any, x: Tensor, dx: Tensor) -> tuple[Any, Tensor | None]:
        """The new state, and what to subtract from `x`."""
        raise NotImplementedError(f"{type(self).__name__} needs a method apply(state, x, dx) -> (state, dx)")

    def step(self, leaves: list["Leaf"], xs: list[Tensor], dxs: list[Tensor]) -> None:
        """Updates many parameters in place; a rule with a fused kernel says so here."""
        for leaf, x, dx in zip(leaves, xs, dxs, strict=True):
            leaf.state, change = self.apply(leaf.state, x, dx)
            if change is not None:
                x.sub_(change)


@dataclass
class Leaf:
    """The optimiser's side of one parameter."""

    rule: Rule
    state: Any
    frozen: bool = False


class State(PathDict):
    """The whole state of an optimiser; a part of it is a plain `PathDict`."""


def setup(rule: Any, model: Any) -> PathDict:
    """The optimiser state for a model, or for any tree of tensors: a `Leaf` by parameter path.

    Reads like the model: `freeze(state[0])`, `adjust(state.encoder, eta=0.1)`. A tied parameter has one
    leaf.

    Raises:
        ValueError: nothing in the model trains.

    >>> from torchflux import Adam, Dense
    >>> list(setup(Adam(0.01), Dense(2, 3)))
    ['weight', 'bias']
    """
    if not (found := trainables(model, path=True)):
        raise ValueError(f"nothing to train in {type(model).__name__}: no parameter with requires_grad")
    rule = copy.copy(rule)  # its leaves are the only ones that `adjust` will change
    return State({path: Leaf(rule, rule.init(_real(x.detach()))) for path, x in found})


def update(state: Any, model: Any, grads: Any) -> tuple[Any, Any]:
    """One optimiser step: changes the model's parameters in place, and the state with them.

    Arguments:
        state: from `setup`; or any `torch.optim` optimiser over the model's parameters.
        grads: the model's gradient, as `gradient` gives it: not the tuple, but its entry for the model.
            Parameters with no gradient (`None`), or frozen, stay as they are.

    Returns:
        The state and the model, the same objects.

    >>> from torchflux import Descent, gradient
    >>> model = {"w": torch.tensor([1.0, 2.0])}
    >>> grads, = gradient(lambda m: (m["w"] ** 2).sum(), model)
    >>> _ = update(setup(Descent(0.5), model), model, grads)
    >>> model
    {'w': tensor([0., 0.])}
    """
    if isinstance(grads, tuple) and not isinstance(model, tuple):
        raise TypeError("update takes the model's gradient, not the tuple of all gradients: grads, = gradient(...)")
    params = dict(trainables(model, path=True))
    slopes = grads if isinstance(grads, PathDict) else dict(leaves(grads))
    if isinstance(state, torch.optim.Optimizer):
        for path, x in params.items():
            x.grad = slopes.get(path)
        state.step()
        state.zero_grad()
        return state, model
    if unknown := [path for path, dx in slopes.items() if isinstance(dx, Tensor) and path not in state]:
        raise ValueError(f"no optimiser state for {unknown}, only for {list(state)}: call setup again for this model")
    _step((leaf, params[path], slopes.get(path)) for path, leaf in state.items() if path in params)
    return state, model


@torch.no_grad()
def _step(triples: Iterable[tuple[Leaf, Tensor, Tensor | None]]) -> None:
    groups: dict[Any, list[Any]] = {}  # as PyTorch's fused kernels want them
    for leaf, x, dx in triples:
        if dx is not None and not leaf.frozen:
            if dx.shape != x.shape:
                raise ValueError(f"a gradient of shape {tuple(dx.shape)} for a parameter of shape {tuple(x.shape)}")
            groups.setdefault((id(leaf.rule), x.dtype, x.device), []).append((leaf, _real(x), _real(dx)))
    for group in groups.values():
        same, xs, dxs = (list(part) for part in zip(*group, strict=True))
        same[0].rule.step(same, xs, dxs)


def _real(x: Tensor) -> Tensor:
    """`x` as rules see it: real, and no 0-dimensional tensor, whose changes in place torch.compile can lose."""
    return torch.view_as_real(x) if x.is_complex() else x if x.ndim else x.view(1)


class Optimiser(State):
    """A rule bound to parameters, as in the paper: `back(loss)` accumulates gradients, `opt()` takes a step
    with them and clears them.

    It is its own `state`, by the place of the parameter.

    >>> from torchflux import Descent, back
    >>> w = torch.tensor([3.0], requires_grad=True)
    >>> opt = Descent([w], 0.5)
    >>> back((w**2).sum())
    >>> opt()
    >>> w.tolist(), w.grad
    ([0.0], None)
    """

    state = property(lambda self: self)

    def __init__(self, rule: Rule, params: Iterable[Tensor] | Tensor) -> None:
        self.params = [params] if isinstance(params, Tensor) else list(params)
        if not all(isinstance(x, Tensor) and x.requires_grad for x in self.params):
            raise ValueError("an optimiser takes tensors with requires_grad, e.g. trainables(model)")
        super().__init__(setup(rule, self.params))

    def __call__(self) -> None:
        """Takes one step with the gradients that have accumulated, and clears them."""
        _step(zip(self.values(), self.params, (x.grad for x in self.params), strict=True))
        for x in self.params:
            x.grad = None


@dataclass
class OptimiserChain(Rule):
    """Rules one after the other: each changes the gradient that the one before made of it.

    >>> from torchflux import Adam, WeightDecay
    >>> OptimiserChain(WeightDecay(1e-4), Adam())
    OptimiserChain(rules=(WeightDecay(decay=0.0001), Adam(eta=0.001, ...)))
    """

    rules: tuple[Rule, ...]

    def __init__(self, *rules: Any) -> None:
        self.rules = tuple(part for rule in rules for part in _parts(rule))

    def init(self, x: Tensor) -> Any:
        """The states of the rules."""
        return [rule.init(x) for rule in self.rules]

    def apply(self, state: Any, x: Tensor, dx: Tensor | None) -> tuple[Any, Tensor | None]:
        """Applies the rules in turn, until one says to wait."""
        for i, rule in enumerate(self.rules):
            if dx is not None:
                state[i], dx = rule.apply(state[i], x, dx)
        return state, dx

    def step(self, leaves: list[Leaf], xs: list[Tensor], dxs: list[Tensor]) -> None:
        """All rules but the last tensor by tensor; the last as it likes, with its fused kernel if any."""
        first, last = OptimiserChain(*self.rules[:-1]), self.rules[-1]
        changes = [first.apply(leaf.state, x, dx)[1] for leaf, x, dx in zip(leaves, xs, dxs, strict=True)]
        tails = [Leaf(last, leaf.state[-1]) for leaf in leaves]
        _step(zip(tails, xs, changes, strict=True))
        for leaf, tail in zip(leaves, tails, strict=True):
            leaf.state[-1] = tail.state


def adjust(state: Any, eta: float | None = None, **hyper: Any) -> None:
    """Changes hyper-parameters from here on, for a whole optimiser state or a part of it.

    >>> from torchflux import Adam, Dense
    >>> state = setup(Adam(0.01), Dense(2, 3))
    >>> adjust(state, 0.001)
    >>> adjust(state["bias"], beta=(0.8, 0.99))
    >>> state["weight"].rule.eta, state["bias"].rule.beta
    (0.001, (0.8, 0.99))
    """
    wanted = hyper if eta is None else {"eta": eta, **hyper}
    adjusted = {id(leaf.rule): _adjusted(leaf.rule, wanted) for leaf in _leaves(state)}  # shared ones stay shared
    for leaf in _leaves(state):
        if isinstance(state, State):  # in place, so that a compiled step is not compiled again
            vars(leaf.rule).update(vars(adjusted[id(leaf.rule)]))
        else:
            leaf.rule = adjusted[id(leaf.rule)]


def _parts(rule: Any) -> tuple[Any, ...]:
    return rule.rules if isinstance(rule, OptimiserChain) else (rule,)


def _adjusted(rule: Any, wanted: dict[str, Any]) -> Any:
    """The rule with the wanted hyper-parameters; a chain takes each where it belongs."""
    parts = _parts(rule)
    if unknown := wanted.keys() - {name for part in parts for name in vars(part)}:
        raise ValueError(f"{rule!r} has no hyper-parameter {', '.join(sorted(unknown))}")
    new = [replace(part, **{name: x for name, x in wanted.items() if name in vars(part)}) for part in parts]
    return OptimiserChain(*new) if isinstance(rule, OptimiserChain) else new[0]


def _leaves(state: Any) -> list[Leaf]:
    return [state] if isinstance(state, Leaf) else list(state.values())


def freeze(part: Any, frozen: bool = True) -> None:
    """Stops training (`frozen=False`: resumes it): of a model or a part of it, or of that part of an optimiser state.

    >>> from torchflux import Chain, Dense, trainables
    >>> model = Chain(Dense(2, 2), Dense(2, 2))
    >>> freeze(model[0])
    >>> [path for path, _ in trainables(model, path=True)]
    ['1.weight', '1.bias']
    """
    if isinstance(part, Tensor):
        part.requires_grad_(not frozen)
    elif isinstance(part, nn.Module):
        trainable = getattr(part, "_trainable", None)
        for name, value in {**part._parameters, **part._modules}.items():
            if value is not None and (frozen or trainable is None or name in trainable):
                freeze(value, frozen)
    else:
        for leaf in _leaves(part):
            leaf.frozen = frozen


def thaw(part: Any) -> None:
    """Resumes training where `freeze` stopped it; fields that a class declares not trainable stay frozen."""
    freeze(part, frozen=False)
