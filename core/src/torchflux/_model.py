"""What can be done with any model because it is a tree: flatten, copy, list, inspect."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ._walk import PathDict, children, fmap, leaves, trainables

__all__ = ["activations", "destructure", "loadmodel", "modules", "state"]


def destructure(model: Any) -> tuple[Tensor, Callable[[Tensor], Any]]:
    """All that trains as one vector, and the function that makes a model of such a vector.

    Gradients flow both ways: from the vector into the model's parameters, and from the rebuilt model into
    its vector. Tied parameters stand in the vector once and are tied in every rebuilt model. dtypes are
    promoted to a common one for the vector, and each part has its own again in the model.

    >>> from torchflux import Dense
    >>> flat, rebuild = destructure(Dense(3, 2))
    >>> flat.shape, rebuild(torch.zeros(8))(torch.ones(1, 3)).tolist()
    (torch.Size([8]), [[0.0, 0.0]])

    Source: Optimisers.jl's `destructure`.
    """
    if not (parts := trainables(model)):
        raise ValueError(f"nothing to flatten: {type(model).__name__} has nothing that trains")
    flat = torch.cat([x.reshape(-1) for x in parts])

    def rebuild(vector: Tensor) -> Any:
        if vector.shape != flat.shape:
            raise ValueError(f"the vector has shape {tuple(vector.shape)}; this model takes {tuple(flat.shape)}")
        pieces = dict(zip(map(id, parts), vector.split([x.numel() for x in parts]), strict=True))
        return fmap(lambda x: pieces[id(x)].view(x.shape).to(x.dtype) if id(x) in pieces else x, model)

    return flat, rebuild


def state(model: Any) -> PathDict:
    """Every tensor of a model, buffers included, by path: what to save. The tensors are the model's own.

    >>> from torchflux import Dense
    >>> list(state(Dense(2, 3)))
    ['weight', 'bias']
    """
    return PathDict({path: x.detach() for path, x in named_tensors(model).items()})


def named_tensors(model: Any) -> dict[str, Tensor]:
    """Every tensor of a tree by path, under each path that it has."""
    return {path: x for path, x in leaves(model) if isinstance(x, Tensor)}


def loadmodel(model: Any, source: Any) -> Any:
    """Copies the tensors of `source` (a model, a `state`, a `state_dict`) into `model`, by path.

    Returns:
        The model.

    Raises:
        ValueError: a tensor is missing, left over or of another shape, or two that are tied in `model`
            differ in `source`. The model is then unchanged.

    >>> from torchflux import Dense
    >>> a, b = Dense(2, 3), Dense(2, 3)
    >>> torch.equal(loadmodel(a, b).weight, b.weight)
    True
    """
    given = check_fit(model, source)
    for path, x in state(model).items():
        x.copy_(given[path])
    return model


def check_fit(model: Any, source: Any) -> dict[str, Tensor]:
    """The tensors of `source` by path, if they fit into `model`."""
    target, given = named_tensors(model), state(source)
    problems = [f"{'missing' if x in target else 'not in the model'}: {x}" for x in target.keys() ^ given.keys()]
    first: dict[int, str] = {}
    for path, x in target.items():
        if path in given and given[path].shape != x.shape:
            problems.append(f"{path}: shape {tuple(given[path].shape)}, the model's is {tuple(x.shape)}")
        other = first.setdefault(id(x), path)
        if other != path and not problems and not torch.allclose(given[path], given[other], 0, 0, equal_nan=True):
            problems.append(f"{path} and {other} are tied in the model and differ in the source")
    if problems:
        raise ValueError(f"can't load into {type(model).__name__}:\n  " + "\n  ".join(sorted(problems)))
    return given


def modules(model: Any) -> list[nn.Module]:
    """Every module in a model, itself included, each once: e.g. to pick out the `Dense` ones.

    >>> from torchflux import Chain, Dense
    >>> [type(m).__name__ for m in modules(Chain(Dense(2, 2), torch.tanh))]
    ['Chain', 'Dense']
    """
    parts = [module for part in children(model).values() if not isinstance(part, Tensor) for module in modules(part)]
    return list(dict.fromkeys([model, *parts] if isinstance(model, nn.Module) else parts))


def activations(chain: Any, x: Any) -> tuple[Any, ...]:
    """The results of all the layers of a chain, in order; the last is what the chain returns.

    >>> from torchflux import Chain
    >>> activations(Chain(torch.square, torch.neg), torch.tensor(3.0))
    (tensor(9.), tensor(-9.))
    """
    return tuple([x := layer(x) for layer in chain])
