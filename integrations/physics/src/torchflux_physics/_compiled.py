"""The losses of a problem as one compiled program."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx

from torchflux import fmap, leaves

from ._layout import points_innermost
from ._points import Points
from ._problem import Batch, Problem

__all__ = ["Compiled", "compiled"]

EVERY_MODULE = frozenset(vars(nn.Module()))
"""The attributes of a module that has none of its own."""


@dataclass
class Compiled:
    """The losses of a problem, called like the problem itself; see `compiled`."""

    problem: Problem
    backend: str = "inductor"
    programs: dict[Any, "tuple[tuple[str, ...], Any]"] = field(default_factory=dict)

    def __call__(self, models: Any, batch: Batch, params: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """The mean square of each term's residual, by name."""
        trees = (
            models,
            {**self.problem.params, **(params or {})},
            {name: (p.points, dict(p.data)) for name, p in batch.items()},
        )
        inputs = tensors(trees)
        key = (
            tuple((x.shape, x.dtype, x.device, x.requires_grad) for x in inputs),
            _constants(trees),
            torch.is_grad_enabled(),
        )
        if key not in self.programs:
            self.programs[key] = self._program(trees, inputs)
        names, program = self.programs[key]
        return dict(zip(names, program(*inputs), strict=True))

    def _program(self, trees: Any, inputs: list[Tensor]) -> "tuple[tuple[str, ...], Any]":
        names: list[str] = []

        def losses(*given: Tensor) -> tuple[Tensor, ...]:
            models, params, batch = fill(trees, given)
            found = self.problem(models, {name: Points(*each) for name, each in batch.items()}, params)
            names[:] = found
            return tuple(found.values())

        traced = make_fx(losses, tracing_mode="fake", _allow_non_fake_inputs=True)(*inputs)
        _check_constants(traced)
        return tuple(names), torch.compile(
            points_innermost(traced), backend=self.backend, dynamic=False, fullgraph=True
        )


def compiled(problem: Problem, *, backend: str = "inductor") -> Compiled:
    """`problem` with its losses computed by one compiled program: the same call, the same numbers to rounding.

    The first call compiles, in ten seconds or more; so does a call with other numbers of points, or other constants.
    Functions that a residual or model calls are part of the program: what else they read is read when it is compiled.
    A module's own attributes are looked at in each call; a function made anew, as a lambda in a loop, compiles anew.
    Tensors that train belong into the models and `params`; one that is found elsewhere is refused.

    It pays for long trainings: an iteration takes a half to a third of the time. It needs a C++ compiler on the CPU.
    `backend` is that of `torch.compile`.
    """
    return Compiled(problem, backend)


def tensors(trees: Any) -> list[Tensor]:
    return [x for _, x in leaves(trees) if isinstance(x, Tensor)]


def fill(trees: Any, given: tuple[Tensor, ...]) -> Any:
    """The trees with these tensors in the places of theirs."""
    following = iter(given)
    return fmap(lambda _: next(following), trees, ties=False)


class _Same:
    """A key for one object, which it keeps: the `id` of one that is gone may be another's."""

    def __init__(self, it: Any) -> None:
        self.it = it

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.it is other.it

    def __hash__(self) -> int:
        return id(self.it)


def _constants(trees: Any) -> tuple[Any, ...]:
    """What is built into the program: numbers, flags, functions, and all that modules have beside their tensors."""
    plain = tuple((path, _key(x)) for path, x in leaves(trees) if not isinstance(x, Tensor))
    return plain + tuple((name, type(each), each.training, _attributes(each)) for name, each in _modules(trees))


def _modules(tree: Any) -> list[tuple[str, nn.Module]]:
    if isinstance(tree, nn.Module):
        return list(tree.named_modules())
    parts = tree.values() if isinstance(tree, Mapping) else tree if isinstance(tree, list | tuple) else ()
    return [found for part in parts for found in _modules(part)]


def _attributes(module: nn.Module) -> tuple[Any, ...]:
    hooks = (*module._forward_pre_hooks.values(), *module._forward_hooks.values())
    return _key(hooks), *((name, _key(x)) for name, x in vars(module).items() if name not in EVERY_MODULE)


def _key(x: Any) -> Any:
    """Equal for what makes the same program: by value for constants, by identity for functions and other objects."""
    if isinstance(x, tuple | list):
        return type(x), tuple(map(_key, x))
    if isinstance(x, dict):
        return tuple((name, _key(each)) for name, each in x.items())
    if isinstance(x, Tensor):  # neither a parameter nor a buffer
        return _Same(x), x._version
    return (type(x), x) if isinstance(x, int | float | complex | str | bool | None) else _Same(x)


def _check_constants(program: fx.GraphModule) -> None:
    hidden = [
        x
        for node in program.graph.nodes
        if node.op == "get_attr"
        for x in [getattr(program, str(node.target))]
        if x.requires_grad
    ]
    if hidden:
        raise ValueError(
            f"a tensor of shape {tuple(hidden[0].shape)} that trains is used by a residual or model and isn't part of "
            "either: its gradient would be lost. Pass it in params, or make it part of the model."
        )
