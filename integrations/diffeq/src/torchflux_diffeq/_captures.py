"""The tensors that a function uses beside its arguments.

An adjoint that isn't made of PyTorch's tape has to know them all. An operation shows what goes into it, and the tape of
a slope proves that nothing else was used.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

from ._held import bare, modules_of

__all__ = [
    "Noted", "NotedToReplace", "captured", "closed", "independent", "origin", "replaceable", "replaced", "tape",
    "unhooked",
]  # fmt: skip


class _Seen(TorchFunctionMode):
    """Notes the differentiable tensors that go into an operation and came out of none."""

    def __init__(self, known: tuple[Tensor, ...]) -> None:
        super().__init__()
        self.made: dict[int, Tensor] = {id(x): x for x in known}
        self.found: dict[int, Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        made = _tensors(result)
        used = made and func is not Tensor.detach  # neither does a shape that is looked up use anything
        for x in _tensors((args, kwargs)) if used else []:
            if x.requires_grad and id(x) not in self.made and not is_functorch_wrapped_tensor(x):
                self.found[id(x)] = x
        self.made.update((id(x), x) for x in made)
        return result


def _tensors(tree: Any) -> list[Tensor]:
    """Those in an operation's arguments or results, which are mostly a tensor, or a tuple of some."""
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, tuple | list):
        return [x for part in tree for x in _tensors(part)]
    return [] if isinstance(tree, int | float | None) else [x for x in tree_leaves(tree) if isinstance(x, Tensor)]


def captured(f: Callable[..., Tensor], *args: Tensor) -> tuple[Tensor, list[Tensor]] | None:
    """`f(*args)`, and what it uses and can be differentiated by; `None` if its tape leads to something else as well.

    None of what it uses is made of the rest, so that the derivatives by all of them add up.
    """
    with _Seen(args) as seen:
        result = f(*args)
    found = independent(list(seen.found.values()), args)
    return (result, found) if closed(result, [*args, *found]) else None


def replaceable(f: Callable[..., Tensor], *args: Tensor) -> list[Tensor] | None:
    """What `f` uses and can be differentiated by, where others could be put in its place; `None` if not everywhere.

    These may be made of each other: each derivative by one of them is with the others held.
    """
    with _Seen(args) as seen, torch.enable_grad():
        f(*args)
    found = list(seen.found.values())
    return None if _constant(f, found, *args).requires_grad else found


def _constant(f: Callable[..., Tensor], used: Sequence[Tensor], *args: Tensor) -> Tensor:
    """`f(*args)` with constants in place of what it uses: if that can still be differentiated, there is more."""
    with replaced(used, [x.detach() for x in used]), torch.enable_grad():
        return f(*(x.detach() for x in args))


def independent(found: Sequence[Tensor], args: Sequence[Tensor] = ()) -> list[Tensor]:
    """Those that aren't made of others."""
    return [x for x in found if not _made_of(x, [*args, *found])]


class replaced(TorchFunctionMode):
    """While it is active, operations get other tensors in place of some."""

    def __init__(self, originals: Sequence[Tensor], others: Sequence[Tensor]) -> None:
        super().__init__()
        self.others = {id(x): other for x, other in zip(originals, others, strict=True)}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = tree_map_only(Tensor, lambda x: self.others.get(id(x), x), (args, kwargs or {}))
        return func(*args, **kwargs)


@contextmanager
def unhooked(xs: Sequence[Tensor]) -> Iterator[None]:
    """While it is active, gradients by these tensors don't call their hooks, and aren't retained.

    For a gradient that is on its way to them: it calls their hooks when it arrives, and only once is right.
    """
    hooks = [(x._backward_hooks, dict(x._backward_hooks)) for x in xs if x._backward_hooks]
    retained = [(x, x.grad) for x in xs if x.retains_grad]
    for known, _ in hooks:
        known.clear()
    try:
        yield
    finally:
        for known, held in hooks:
            known.update(held)
        for x, grad in retained:
            x.grad = grad


def _made_of(x: Tensor, ends: Sequence[Tensor]) -> bool:
    """Whether a tensor's tape leads to one of these others."""
    stops = {origin(y) for y in ends if y.requires_grad and y is not x}
    return x.grad_fn is not None and any(place in stops for place in tape(x.grad_fn.next_functions, stops))


def closed(result: Tensor, ends: Sequence[Tensor]) -> bool:
    """Whether every path of the tape ends at one of these tensors."""
    stops = {origin(x) for x in ends if x.requires_grad}
    return all(place in stops for place in tape([(result.grad_fn, 0)], stops) if isinstance(place, Tensor))


def origin(x: Tensor) -> Any:
    """Where a tensor's tape begins: an operation and the number of its result, or the tensor itself."""
    return x if x.grad_fn is None else (x.grad_fn, x.output_nr)


def tape(edges: Iterable[tuple[Any, int]], stops: set[Any]) -> Iterator[Any]:
    """The origins of what a tape is made of, up to these; the leaves of each operation first."""
    waiting, visited = [edge for edge in edges if edge[0] is not None], set()
    while waiting:
        node, number = waiting.pop()
        place = getattr(node, "variable", (node, number))
        if place not in visited:
            visited.add(place)
            yield place
            if place not in stops:
                inner = [edge for edge in node.next_functions if edge[0] is not None]
                waiting += sorted(inner, key=_leads_to_leaf) if len(inner) > 1 else inner


def _leads_to_leaf(edge: tuple[Any, int]) -> bool:
    """Whether a tensor that no operation has made comes next."""
    return hasattr(edge[0], "variable")


class Noted:
    """The slopes of a problem without a tape; what they use is noted in `used`, at every one.

    Arguments:
        problem: the slopes, by samples.
        used: what is known to be used.
        missed: the error's words, where something else is used.
    """

    def __init__(self, problem: Any, used: Sequence[Tensor], missed: str) -> None:
        self.problem, self.used, self.missed = problem, list(used), missed

    def on(self, rows: Any) -> Callable[[Tensor, Tensor], Tensor]:
        """The slopes of some samples."""
        return partial(self._noting, lambda t, y: self.problem.on(rows)(t, y))

    def _noting(self, slope: Callable[[Tensor, Tensor], Tensor], t: Tensor, y: Tensor) -> Tensor:
        with torch.enable_grad():
            k, complete = self.proved(slope, t, y)
            if not complete:
                self.note(slope, t.detach().requires_grad_(), y.detach().requires_grad_())
                k, complete = self.proved(slope, t, y)
            if not complete:
                raise ValueError(
                    f"f uses {self.hidden(slope(t, y))}, which can be differentiated but which no operation shows, so "
                    f"that its gradient would be missed: {self.missed}"
                )
        return k if y.requires_grad else k.detach()

    def note(self, slope: Callable[[Tensor, Tensor], Tensor], *args: Tensor) -> None:
        """Adds what is used; what an operation that isn't shown makes of the time and the state is none of it."""
        with _Seen(args) as seen:
            slope(*args)
        known = {id(x) for x in self.used}
        self.used += [x for x in seen.found.values() if id(x) not in known and not _made_of(x, args)]

    def hidden(self, k: Tensor) -> str:
        """What else some slopes use, by its name if it is a parameter."""
        known = {origin(x) for x in self.used}
        found = [x for x in tape([(k.grad_fn, 0)], known) if isinstance(x, Tensor) and x not in known]
        names: dict[Tensor, str] = {}
        for module in reversed(modules_of(bare(self.problem.f))):  # the outermost last, whose names are whole
            names |= {p: name for name, p in module.named_parameters()}
        parameters = [f"the parameter {names[x]}" for x in found if x in names]
        return next(iter(parameters + [f"a tensor of shape {tuple(x.shape)}" for x in found]), "a tensor")

    def proved(self, slope: Callable[[Tensor, Tensor], Tensor], t: Tensor, y: Tensor) -> tuple[Tensor, bool]:
        """The slopes, and whether nothing else is used: their tape says so."""
        y = y if y.requires_grad else y.detach().requires_grad_()  # f itself may make a leaf of it
        k = slope(t, y)
        return k, closed(k, [t, y, *self.used])


class NotedToReplace(Noted):
    """The same for an adjoint that puts others in the place of what is used."""

    def proved(self, slope: Callable[[Tensor, Tensor], Tensor], t: Tensor, y: Tensor) -> tuple[Tensor, bool]:
        """The slopes, and whether they are constant without what is used."""
        k = _constant(slope, self.used, t, y)
        return (slope(t, y) if y.requires_grad else k), not k.requires_grad
