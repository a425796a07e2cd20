"""The tensors that a function uses beside its arguments."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
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
            inside = not isinstance(x, Tensor) or id(x) in self.made or torch._C._functorch.is_batchedtensor(x)
            if not inside and x.requires_grad:
                self.found[id(x)] = x
        self.made.update((id(x), x) for x in tree_leaves(result) if isinstance(x, Tensor))
        return result


def captured(f: Callable[..., Tensor], *args: Tensor) -> tuple[Tensor, list[Tensor]] | None:
    """`f(*args)`, and what it uses and can be differentiated by; `None` if its tape leads to something else as well."""
    with _Seen(args) as seen:
        result = f(*args)
    found = list(seen.found.values())
    return (result, found) if closed(result, [*args, *found]) else None


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
    stops = {x.grad_fn if x.grad_fn is not None else x for x in ends if x.requires_grad}
    waiting: list[Any] = [result.grad_fn]
    visited: set[Any] = {None}
    while waiting:
        node = waiting.pop()
        if node in visited or node in stops:
            continue
        visited.add(node)
        if hasattr(node, "variable") and not any(node.variable is x for x in stops):
            return False
        waiting += [following for following, _ in node.next_functions]
    return True
