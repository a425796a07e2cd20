"""Optimisers: a rule is two short methods, its state a tree laid out like the model."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from ._walk import PathDict, leaves, named_trainables

__all__ = ["Leaf", "Optimiser", "OptimiserChain", "Rule", "adjust", "freeze", "setup", "thaw", "update"]


class Rule:
    """How one parameter is changed by its gradient.

    A rule of your own is a dataclass with `init(x) -> state` and `apply(state, x, dx) -> (state, dx)`, where
    the `dx` that comes back is what `update` subtracts from `x` (`None` leaves `x` alone this time). Both
    work on one tensor. Called with tensors first, as in the paper, a rule makes an `Optimiser`:
    `opt = Adam(trainables(model), 0.01)`.

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

    def init(self, x: Tensor) -> Any:
        """The state to start from: a tree of tensors."""
        return ()

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
    found = named_trainables(model)
    if not found:
        raise ValueError(
            f"nothing to train in {type(model).__name__}: no parameter with requires_grad, no floating-point "
            "tensor (thaw it, or make its tensors fields of a @treelike class)"
        )
    return PathDict({path: Leaf(rule, rule.init(x)) for path, x in found.items()})


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
        raise TypeError(
            "update takes the model's gradient, not the tuple of all gradients: grads, = gradient(...)"
        )
    params = named_trainables(model)
    slopes = grads if isinstance(grads, PathDict) else dict(leaves(grads))
    if isinstance(state, torch.optim.Optimizer):
        _torch_step(state, params, slopes)
    else:
        _check_paths(state, params, slopes)
        _step([(leaf, params[path], slopes.get(path)) for path, leaf in state.items() if path in params])
    return state, model


def _step(triples: Iterable[tuple[Leaf, Tensor, Tensor | None]]) -> None:
    groups: dict[int, tuple[list[Leaf], list[Tensor], list[Tensor]]] = {}
    for leaf, x, dx in triples:
        if dx is not None and not leaf.frozen:
            group = groups.setdefault(id(leaf.rule), ([], [], []))
            for part, value in zip(group, (leaf, x, dx), strict=True):
                part.append(value)
    with torch.no_grad():
        for leaves_, xs, dxs in groups.values():
            leaves_[0].rule.step(leaves_, xs, dxs)


def _torch_step(optimiser: torch.optim.Optimizer, params: dict[str, Tensor], slopes: Any) -> None:
    for path, x in params.items():
        x.grad = slopes.get(path)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


def _check_paths(state: Any, params: Any, slopes: Any) -> None:
    unknown = [path for path, dx in slopes.items() if isinstance(dx, Tensor) and path not in state]
    if unknown:
        raise ValueError(
            f"gradients for {unknown} have no optimiser state (it has {list(state)}); "
            "was setup called on this model, and since it was last changed?"
        )


class Optimiser:
    """A rule bound to parameters, as in the paper: `back(loss)` accumulates gradients, `opt()` takes a step
    with them and clears them.

    >>> from torchflux import Descent, back
    >>> w = torch.tensor([3.0], requires_grad=True)
    >>> opt = Descent([w], 0.5)
    >>> back((w**2).sum())
    >>> opt()
    >>> w.tolist(), w.grad
    ([0.0], None)
    """

    def __init__(self, rule: Rule, params: Iterable[Tensor] | Tensor) -> None:
        self.params = [params] if isinstance(params, Tensor) else list(params)
        untrained = [type(x).__name__ for x in self.params if not (isinstance(x, Tensor) and x.requires_grad)]
        if untrained or not self.params:
            raise ValueError(
                f"an optimiser takes tensors with requires_grad, e.g. trainables(model); got {untrained}"
            )
        self.state = setup(rule, self.params)

    def __call__(self) -> None:
        """Takes one step with the gradients that have accumulated, and clears them."""
        _step(zip(self.state.values(), self.params, (x.grad for x in self.params), strict=True))
        for x in self.params:
            x.grad = None


@dataclass
class OptimiserChain(Rule):
    """Rules one after the other: each changes the gradient that the one before made of it.

    >>> from torchflux import Adam, ClipNorm, WeightDecay
    >>> OptimiserChain(ClipNorm(1.0), WeightDecay(1e-4), Adam())
    OptimiserChain(ClipNorm(limit=1.0, ...), WeightDecay(decay=0.0001), Adam(eta=0.001, ...))
    """

    rules: tuple[Rule, ...] = field(default=())

    def __init__(self, *rules: Rule) -> None:
        self.rules = rules

    def __repr__(self) -> str:
        return f"OptimiserChain({', '.join(map(repr, self.rules))})"

    def init(self, x: Tensor) -> Any:
        """The states of the rules."""
        return [rule.init(x) for rule in self.rules]

    def apply(self, state: Any, x: Tensor, dx: Tensor) -> tuple[Any, Tensor | None]:
        """Applies the rules in turn, until one says to wait."""
        change: Tensor | None = dx
        for i, rule in enumerate(self.rules):
            if change is None:
                break
            state[i], change = rule.apply(state[i], x, change)
        return state, change

    def step(self, leaves: list[Leaf], xs: list[Tensor], dxs: list[Tensor]) -> None:
        """All rules but the last tensor by tensor; the last as it likes, with its fused kernel if any."""
        *first, last = self.rules
        head, ready = OptimiserChain(*first), []
        for leaf, x, dx in zip(leaves, xs, dxs, strict=True):
            _, change = head.apply(leaf.state, x, dx)
            if change is not None:
                ready.append((leaf, Leaf(last, leaf.state[-1]), x, change))
        if ready:
            whole, tails, xs, dxs = (list(part) for part in zip(*ready, strict=True))  # type: ignore[assignment]
            last.step(tails, xs, dxs)  # type: ignore[arg-type]
            for leaf, tail in zip(whole, tails, strict=True):
                leaf.state[-1] = tail.state  # type: ignore[union-attr]


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
    made: dict[int, Rule] = {}  # leaves that share a rule go on sharing one
    for leaf in _leaves(state):
        if id(leaf.rule) not in made:
            made[id(leaf.rule)], missing = _adjusted(leaf.rule, wanted)
            if missing:
                raise ValueError(f"{leaf.rule!r} has no hyper-parameter {', '.join(sorted(missing))}")
    for leaf in _leaves(state):
        leaf.rule = made[id(leaf.rule)]


def _adjusted(rule: Rule, wanted: dict[str, Any]) -> tuple[Rule, set[str]]:
    if isinstance(rule, OptimiserChain):
        parts = [_adjusted(part, wanted) for part in rule.rules]
        missing = set.intersection(*(lacks for _, lacks in parts))
        return OptimiserChain(*(part for part, _ in parts)), missing
    names = {f.name for f in fields(rule)}  # type: ignore[arg-type]
    return replace(rule, **{k: v for k, v in wanted.items() if k in names}), set(wanted) - names  # type: ignore[type-var]


def _leaves(state: Any) -> list[Leaf]:
    if isinstance(state, Optimiser):
        state = state.state
    return [state] if isinstance(state, Leaf) else list(state.values())


def freeze(part: Any) -> None:
    """Stops training: of a model or a part of it, or of the same part of an optimiser state.

    >>> from torchflux import Chain, Dense, trainables
    >>> model = Chain(Dense(2, 2), Dense(2, 2))
    >>> freeze(model[0])
    >>> [path for path, _ in trainables(model, path=True)]
    ['1.weight', '1.bias']
    """
    _set_frozen(part, True)


def thaw(part: Any) -> None:
    """Resumes training where `freeze` stopped it; fields that a class declares not trainable stay frozen."""
    _set_frozen(part, False)


def _set_frozen(part: Any, frozen: bool) -> None:
    if isinstance(part, nn.Module):
        _set_frozen_module(part, frozen)
    else:
        for leaf in _leaves(part):
            leaf.frozen = frozen


def _set_frozen_module(module: nn.Module, frozen: bool) -> None:
    fixed = getattr(module, "__fields__", frozenset()) - getattr(module, "__trainable__", frozenset())
    for name, parameter in module._parameters.items():
        if parameter is not None and (frozen or name not in fixed):
            parameter.requires_grad_(not frozen)
    for name, child in module._modules.items():
        if child is not None and (frozen or name not in fixed):
            _set_frozen_module(child, frozen)
