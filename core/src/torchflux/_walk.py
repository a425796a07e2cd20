"""The one tree walk.

A *tree* is any nesting of tuples, lists, dicts, dataclasses, modules and closures. `children` names the
parts of a node and `rebuild` makes the node again from new parts; whatever is structural in this library
(moving, counting, flattening, saving, differentiating) is written with these two.
"""

import copy
import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_batchedtensor

__all__ = ["PathDict", "children", "fmap", "leaves", "rebuild", "trainables"]

Function = Callable[..., Any]
CALLABLES = FunctionType | MethodType | partial
Tree = Any
"""Any nesting of tuples, lists, dicts, dataclasses, modules and closures."""


def children(node: Tree) -> dict[Any, Tree]:
    """The parts of a tree node by name; empty for a leaf.

    Those of a function, a `partial` or a bound method are the parameters and modules that it holds on to; what
    else it closes over is its data.

    >>> children({"a": 1, "b": (2, 3)}), children((4, 5))
    ({'a': 1, 'b': (2, 3)}, {0: 4, 1: 5})
    """
    if isinstance(node, (tuple, list, dict)):
        return dict(node) if isinstance(node, dict) else dict(enumerate(node))
    if isinstance(node, nn.Module):
        parts = {**node._parameters, **node._buffers, **node._modules}
        return {name: part for name, part in parts.items() if part is not None}
    if isinstance(node, CALLABLES):
        return {name: part for name, part in _held(node).items() if _holds_parameters(part, (node,))}
    if dataclasses.is_dataclass(node) and not isinstance(node, type):
        return {x.name: getattr(node, x.name) for x in dataclasses.fields(node) if hasattr(node, x.name)}
    return {}


def rebuild(node: Tree, new: dict[Any, Tree]) -> Tree:
    """`node` again, with its parts replaced by `new` (named as `children` names them).

    >>> rebuild([1, 2], {0: "a", 1: "b"})
    ['a', 'b']
    """
    if isinstance(node, tuple | list):
        return type(node)(*new.values()) if hasattr(node, "_fields") else type(node)(new.values())
    if isinstance(node, CALLABLES):
        return _rebuild_callable(node, new)
    if isinstance(node, nn.Module):
        twin: Any = object.__new__(type(node))
        vars(twin).update({k: x.copy() if type(x) in (dict, set, OrderedDict) else x for k, x in vars(node).items()})
        for parts in (twin._parameters, twin._buffers, twin._modules):
            parts.update({name: _like(part, new[name]) for name, part in parts.items() if name in new})
        return twin
    if type(node) is dict:
        return {**node, **new}  # torch.compile can't follow a copy
    twin = copy.copy(node)
    put = partial(dict.__setitem__ if isinstance(node, dict) else object.__setattr__, twin)
    for name, value in new.items():
        put(name, value)
    return twin


def _like(old: Tree, new: Tree) -> Tree:
    """A parameter's successor is a parameter too, unless a gradient flows through it, or may outside of `vmap`."""
    if isinstance(old, nn.Parameter) and isinstance(new, Tensor) and not (new.requires_grad or is_batchedtensor(new)):
        return new if isinstance(new, nn.Parameter) else nn.Parameter(new, old.requires_grad and differentiable(new))
    return new


def _held(f: Any) -> dict[str, Any]:
    """All that a function, partial or bound method holds on to."""
    if isinstance(f, MethodType):
        return {"self": f.__self__}
    if isinstance(f, partial):
        return {"func": f.func, **{f"arg{i}": x for i, x in enumerate(f.args)}, **f.keywords}
    cells = zip(f.__code__.co_freevars, f.__closure__ or (), strict=True)
    return {name: cell.cell_contents for name, cell in cells if cell != CellType()}  # those that are bound yet


def _rebuild_callable(f: Any, new: dict[str, Any]) -> Any:
    held = {**_held(f), **new}
    if isinstance(f, MethodType):
        return MethodType(f.__func__, held["self"])
    if isinstance(f, partial):
        func, *args = list(held.values())[: 1 + len(f.args)]
        return partial(func, *args, **{name: held[name] for name in f.keywords})
    cells = dict(zip(f.__code__.co_freevars, f.__closure__, strict=True))  # those that don't change are shared
    cells |= {name: CellType(x) for name, x in new.items() if x is not cells[name].cell_contents}
    itself = CellType()  # a function that calls itself calls its twin
    cells |= {name: itself for name, x in held.items() if x is f}
    twin = FunctionType(f.__code__, f.__globals__, f.__name__, f.__defaults__, tuple(cells.values()))
    itself.cell_contents, twin.__kwdefaults__ = twin, f.__kwdefaults__
    return twin


def _holds_parameters(part: Tree, above: tuple[Any, ...] = ()) -> bool:
    if not isinstance(part, CALLABLES) or any(part is f for f in above):
        return isinstance(part, nn.Parameter | nn.Module)
    return any(_holds_parameters(x, (*above, part)) for x in _held(part).values())


# The walks.


def fmap(f: Function, tree: Tree, *rest: Tree, leaf: Callable[..., bool] = torch.is_tensor, ties: bool = True) -> Tree:
    """`tree` again with `f` applied to its leaves (tensors, unless `leaf` says otherwise).

    With more trees, `f` takes the leaves that stand at the same place in each. A tensor or module that
    occurs twice is mapped once and stays shared (`ties=False` maps every occurrence by itself). Modules are
    copied, never changed; a mapped parameter is a parameter again, unless `f` is differentiable: then the
    copy holds the result, and gradients flow through it.

    >>> fmap(lambda x, y: x + y, {"a": torch.tensor(1)}, {"a": torch.tensor(2)})
    {'a': tensor(3)}
    """
    return _fmap(f, tree, rest, leaf, {} if ties else None)


def _fmap(f: Function, tree: Tree, rest: tuple[Tree, ...], leaf: Callable[..., bool], seen: Any) -> Tree:
    shared = seen is not None and isinstance(tree, Tensor | nn.Module)
    if shared and id(tree) in seen:
        return seen[id(tree)]
    if leaf(tree):
        new = _like(tree, f(tree, *rest))
    else:
        parts, others = children(tree), [children(other) for other in rest]
        if any(other.keys() != parts.keys() for other in others):
            raise ValueError(f"the trees differ: one has {list(parts)}, the rest {[list(other) for other in others]}")
        mapped = {k: _fmap(f, part, tuple(o[k] for o in others), leaf, seen) for k, part in parts.items()}
        new = rebuild(tree, mapped) if parts or isinstance(tree, nn.Module) else tree
    if shared:
        seen[id(tree)] = new
    return new


def tensors(tree: Tree) -> list[Tensor]:
    """The tensors of a tree, in order, every occurrence."""
    return [x for _, x in leaves(tree) if isinstance(x, Tensor)]


def fill(tree: Tree, values: Iterable[Tensor]) -> Tree:
    """`tree` with `values` in the place of its tensors, in order."""
    following = iter(values)
    return fmap(lambda _: next(following), tree, ties=False)


def leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of a tree with its path, as `state_dict` spells it: `("layers.0.weight", tensor)`.

    >>> list(leaves({"a": [1, 2]}))
    [('a.0', 1), ('a.1', 2)]
    """
    parts = {} if isinstance(tree, Tensor) else children(tree)
    if not parts and not isinstance(tree, (tuple, list, dict, nn.Module)):
        yield prefix, tree
    for name, part in parts.items():
        yield from leaves(part, f"{prefix}.{name}" if prefix else str(name))


def trainables(model: Tree, path: bool = False) -> list[Any]:
    """The tensors of `model` that train, each once; with `path=True`, pairs of path and tensor.

    Those are the parameters with `requires_grad`, and every floating-point tensor outside of modules.
    Buffers and frozen parameters are left out.

    >>> from torchflux import Chain, Dense
    >>> [(path, tuple(x.shape)) for path, x in trainables(Chain(Dense(2, 3), Dense(3, 1)), path=True)]
    [('0.weight', (3, 2)), ('0.bias', (3,)), ('1.weight', (1, 3)), ('1.bias', (1,))]
    """
    found = _trainable(model, "", {}).values()
    return list(found) if path else [x for _, x in found]


def _trainable(node: Tree, path: str, found: dict[int, tuple[str, Tensor]]) -> dict[int, tuple[str, Tensor]]:
    if isinstance(node, Tensor):
        if node.requires_grad if isinstance(node, nn.Parameter) else differentiable(node):
            found.setdefault(id(node), (path, node))
        return found
    parts = {**node._parameters, **node._modules} if isinstance(node, nn.Module) else children(node)
    for name, part in parts.items():
        _trainable(part, f"{path}.{name}" if path else str(name), found)
    return found


def differentiable(x: Tensor) -> bool:
    return x.is_floating_point() or x.is_complex()


class PathDict(dict[str, Any]):
    """Values laid out as a model is: a dict by parameter path that also reads like the model.

    The gradient of a module and the state of an optimiser are of this type.

    >>> grads = PathDict({"0.weight": 1, "0.bias": 2, "1.weight": 3})
    >>> grads["0.weight"], grads[0].bias, grads[1]
    (1, 2, {'weight': 3})
    """

    def __missing__(self, key: Any) -> Any:
        part = PathDict({path[len(f"{key}.") :]: v for path, v in self.items() if path.startswith(f"{key}.")})
        if not part:
            raise NoEntry(f"no {key!r} here; there are: {', '.join(self) or 'no entries'}")
        return part

    def __getattr__(self, name: str) -> Any:
        return self[name]


class NoEntry(AttributeError, KeyError):
    """A `PathDict` has no such part, whether it is read like a model or like a dict."""


def _unflatten(values: Iterable[Any], keys: Any) -> PathDict:
    return PathDict(zip(keys, values, strict=True))


# So that torch.func's transforms return it.
torch.utils._pytree.register_pytree_node(PathDict, lambda tree: (list(tree.values()), list(tree)), _unflatten)
