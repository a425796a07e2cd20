"""The tensors that a function uses beside its arguments."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

__all__ = ["captured", "closed", "replaced"]


class _Seen(TorchFunctionMode):
    """Notes the differentiable tensors that go into an operation and came out of none."""

    def __init__(self, known: tuple[Tensor, ...]) -> None:
        super().__init__()
        self.made: dict[int, Tensor] = {id(x): x for x in known}
        self.found: dict[int, Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for x in tree_leaves((args, kwargs)):
            inside = not isinstance(x, Tensor) or id(x) in self.made or is_functorch_wrapped_tensor(x)
            if not inside and x.requires_grad:
                self.found[id(x)] = x
        self.made.update((id(x), x) for x in tree_leaves(result) if isinstance(x, Tensor))
        return result


def captured(f: Callable[..., Tensor], *args: Tensor) -> tuple[Tensor, list[Tensor]] | None:
    """`f(*args)`, and what it uses and can be differentiated by; `None` if its tape leads to something else as well.

    None of what it uses is made of the rest, so that the derivatives by all of them add up.
    """
    with _Seen(args) as seen:
        result = f(*args)
    ends = [*args, *seen.found.values()]
    found = [x for x in seen.found.values() if not _made_of(x, ends)]
    return (result, found) if closed(result, [*args, *found]) else None


def _made_of(x: Tensor, ends: list[Tensor]) -> bool:
    """Whether a tensor's tape leads to one of these others."""
    stops = {_origin(y) for y in ends if y.requires_grad and y is not x}
    return x.grad_fn is not None and any(node in stops for node in _tape(x.grad_fn.next_functions, stops))


class replaced(TorchFunctionMode):
    """While it is active, operations get other tensors in place of some."""

    def __init__(self, originals: list[Tensor], others: list[Tensor]) -> None:
        super().__init__()
        self.others = {id(x): other for x, other in zip(originals, others, strict=True)}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = tree_map_only(Tensor, lambda x: self.others.get(id(x), x), (args, kwargs or {}))
        return func(*args, **kwargs)


def closed(result: Tensor, ends: list[Tensor]) -> bool:
    """Whether every path of the tape ends at one of these tensors."""
    stops = {_origin(x) for x in ends if x.requires_grad}
    return all(node in stops for node in _tape([(result.grad_fn, 0)], stops) if isinstance(node, Tensor))


def _origin(x: Tensor) -> Any:
    """Where a tensor's tape begins: the operation that it came out of, or the tensor itself."""
    return x if x.grad_fn is None else x.grad_fn


def _tape(edges: Iterable[tuple[Any, int]], stops: set[Any]) -> Iterator[Any]:
    """The operations and the leaf tensors that a tape leads to, up to these."""
    waiting = [node for node, _ in edges]
    visited: set[Any] = {None}
    while waiting:
        node = waiting.pop()
        if node not in visited:
            visited.add(node)
            origin = getattr(node, "variable", node)
            yield origin
            if origin not in stops:
                waiting += [following for following, _ in node.next_functions]
