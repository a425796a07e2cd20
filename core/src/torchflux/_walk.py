"""The one tree walk.

A *tree* is any nesting of tuples, lists, dicts, dataclasses, modules and closures. `children` names the
parts of a node and `rebuild` makes the node again from new parts; whatever is structural in this library
(moving, counting, flattening, saving, differentiating) is written with these two. Register a type of your
own with `children.register` and `rebuild.register`.
"""

import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from functools import partial, singledispatch
from types import CellType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["PathDict", "children", "fmap", "leaves", "rebuild", "trainables"]

Tree = Any
"""Any nesting of tuples, lists, dicts, dataclasses, modules and closures."""


@singledispatch
def children(node: Tree) -> dict[Any, Tree]:
    """The parts of a tree node by name; empty for a leaf.

    >>> children({"a": 1, "b": (2, 3)})
    {'a': 1, 'b': (2, 3)}
    """
    if dataclasses.is_dataclass(node) and not isinstance(node, type):
        return {f.name: getattr(node, f.name) for f in dataclasses.fields(node) if hasattr(node, f.name)}
    return {}


@singledispatch
def rebuild(node: Tree, new: dict[Any, Tree]) -> Tree:
    """`node` again, with its parts replaced by `new` (named as `children` names them).

    >>> rebuild([1, 2], {0: "a", 1: "b"})
    ['a', 'b']
    """
    twin = copy.copy(node)
    for name, value in new.items():
        object.__setattr__(twin, name, value)
    return twin


@children.register(tuple)
@children.register(list)
def _(node: tuple | list) -> dict[int, Tree]:
    return dict(enumerate(node))


@rebuild.register(tuple)
def _(node: tuple, new: dict[int, Tree]) -> tuple:
    return type(node)(*new.values()) if hasattr(node, "_fields") else type(node)(new.values())


@rebuild.register(list)
def _(node: list, new: dict[int, Tree]) -> list:
    return type(node)(new.values())


@children.register(dict)
def _(node: dict) -> dict[Any, Tree]:
    return dict(node)


@rebuild.register(dict)
def _(node: dict, new: dict[Any, Tree]) -> dict:
    if type(node) is dict:
        return {**node, **new}
    twin = copy.copy(node)  # keeps what else a subclass holds
    dict.update(twin, new)
    return twin


@children.register(nn.Module)
def _(node: nn.Module) -> dict[str, Tree]:
    parts = {**node._parameters, **node._buffers, **node._modules}
    return {name: part for name, part in parts.items() if part is not None}


@rebuild.register(nn.Module)
def _(node: nn.Module, new: dict[str, Tree]) -> nn.Module:
    twin = object.__new__(type(node))
    twin.__dict__ = node.__dict__.copy()
    for kind in ("_parameters", "_buffers", "_modules"):
        old = node.__dict__[kind]
        twin.__dict__[kind] = {name: _like(part, new.get(name, part)) for name, part in old.items()}
    return twin


def _like(old: Tree, new: Tree) -> Tree:
    """A parameter's successor is a parameter too, unless a gradient flows through it."""
    if not isinstance(old, nn.Parameter) or not isinstance(new, Tensor) or isinstance(new, nn.Parameter):
        return new
    return new if new.grad_fn is not None else nn.Parameter(new, old.requires_grad and differentiable(new))


# Callables: what a closure, a partial or a bound method holds on to. Only parameters and modules count:
# a function may also close over its data.


@children.register(FunctionType)
def _(node: FunctionType) -> dict[str, Tree]:
    cells = zip(node.__code__.co_freevars, node.__closure__ or (), strict=True)
    held = {name: _contents(cell) for name, cell in cells}
    return {name: part for name, part in held.items() if part is not node and _holds_parameters(part)}


@rebuild.register(FunctionType)
def _(node: FunctionType, new: dict[str, Tree]) -> FunctionType:
    old = zip(node.__code__.co_freevars, node.__closure__ or (), strict=True)
    cells = tuple(CellType(new[name]) if name in new else cell for name, cell in old)
    twin = FunctionType(node.__code__, node.__globals__, node.__name__, node.__defaults__, cells)
    twin.__kwdefaults__ = node.__kwdefaults__
    return twin


@children.register(partial)
def _(node: partial) -> dict[str, Tree]:
    parts = {"func": node.func, **{f"arg{i}": arg for i, arg in enumerate(node.args)}, **node.keywords}
    return {name: part for name, part in parts.items() if _holds_parameters(part)}


@rebuild.register(partial)
def _(node: partial, new: dict[str, Tree]) -> partial:
    args = [new.get(f"arg{i}", arg) for i, arg in enumerate(node.args)]
    keywords = {name: new.get(name, value) for name, value in node.keywords.items()}
    return partial(new.get("func", node.func), *args, **keywords)


@children.register(MethodType)
def _(node: MethodType) -> dict[str, Tree]:
    return {"self": node.__self__} if _holds_parameters(node.__self__) else {}


@rebuild.register(MethodType)
def _(node: MethodType, new: dict[str, Tree]) -> MethodType:
    return MethodType(node.__func__, new["self"])


def _contents(cell: CellType) -> Tree:
    try:
        return cell.cell_contents
    except ValueError:  # the variable has not been bound yet
        return None


def _holds_parameters(part: Tree) -> bool:
    if isinstance(part, nn.Parameter | nn.Module):
        return True
    return isinstance(part, FunctionType | MethodType | partial) and bool(children(part))


# The walks.


def fmap(
    f: Callable[..., Any],
    tree: Tree,
    *rest: Tree,
    leaf: Callable[[Any], bool] = torch.is_tensor,
    ties: bool = True,
) -> Tree:
    """`tree` again with `f` applied to its leaves (tensors, unless `leaf` says otherwise).

    With more trees, `f` takes the leaves that stand at the same place in each. A tensor or module that
    occurs twice is mapped once and stays shared (`ties=False` maps every occurrence by itself). Modules are
    copied, never changed; a mapped parameter is a parameter again, unless `f` is differentiable: then the
    copy holds the result, and gradients flow through it.

    >>> fmap(lambda x, y: x + y, {"a": torch.tensor(1)}, {"a": torch.tensor(2)})
    {'a': tensor(3)}
    """
    return _fmap(f, tree, rest, leaf, {} if ties else None)


def _fmap(
    f: Callable[..., Any], tree: Tree, rest: tuple[Tree, ...], leaf: Callable[[Any], bool], seen: dict | None
) -> Tree:
    shared = seen is not None and isinstance(tree, Tensor | nn.Module)
    if shared and id(tree) in seen:
        return seen[id(tree)]
    if leaf(tree):
        new = f(tree, *rest)
    else:
        parts, others = children(tree), [children(other) for other in rest]
        mapped = {k: _fmap(f, part, tuple(o[k] for o in others), leaf, seen) for k, part in parts.items()}
        new = rebuild(tree, mapped) if parts or isinstance(tree, nn.Module) else tree
    if shared:
        seen[id(tree)] = new
    return new


def tensors(tree: Tree) -> list[Tensor]:
    """The tensors of a tree, in order, every occurrence."""
    found: list[Tensor] = []
    fmap(found.append, tree, ties=False)
    return found


def fill(tree: Tree, values: Iterable[Tensor]) -> Tree:
    """`tree` with `values` in the place of its tensors, in order."""
    following = iter(values)
    return fmap(lambda _: next(following), tree, ties=False)


def leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of a tree with its path, as `state_dict` spells it: `("layers.0.weight", tensor)`.

    >>> list(leaves({"a": [1, 2]}))
    [('a.0', 1), ('a.1', 2)]
    """
    parts = children(tree)
    if not parts and not isinstance(tree, tuple | list | dict | nn.Module):
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
    found = named_trainables(model)
    return list(found.items()) if path else list(found.values())


def named_trainables(model: Tree) -> dict[str, Tensor]:
    """`trainables` by path."""
    found: dict[str, Tensor] = {}
    _collect(model, "", found, set())
    return found


def _collect(node: Tree, prefix: str, found: dict[str, Tensor], seen: set[int]) -> None:
    if isinstance(node, nn.Module):  # spelt out: this runs at every training step
        for name, x in node._parameters.items():
            if x is not None and id(x) not in seen and _trains(x):
                seen.add(id(x))
                found[prefix + name] = x
        for name, module in node._modules.items():
            if module is not None:
                _collect(module, f"{prefix}{name}.", found, seen)
    elif isinstance(node, Tensor):
        if id(node) not in seen and _trains(node):
            seen.add(id(node))
            found[prefix[:-1]] = node
    else:
        for key, part in children(node).items():
            _collect(part, f"{prefix}{key}.", found, seen)


def _trains(x: Tensor) -> bool:
    return x.requires_grad if isinstance(x, nn.Parameter) else differentiable(x)


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
            raise KeyError(f"no {key!r} here; there are: {', '.join(self) or 'no entries'}")
        return part

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(error.args[0]) from None
