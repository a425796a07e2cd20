"""Data: one-hot arrays, splits and batches. `DataLoader` is PyTorch's."""

from collections.abc import Sequence
from itertools import accumulate
from operator import itemgetter
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Subset

from ._walk import children, fmap, tensors

__all__ = ["DataLoader", "batch", "onecold", "onehot", "onehotbatch", "splitobs", "unbatch"]

Shares = float | tuple[float, ...]


def onehot(x: Any, labels: Sequence[Any]) -> Tensor:
    """A float32 vector (labels,) that is one at the place of `x` among the labels.

    >>> onehot("b", ["a", "b", "c"])
    tensor([0., 1., 0.])
    """
    return onehotbatch([x.item() if isinstance(x, Tensor) else x], labels)[0]


def onehotbatch(xs: Sequence[Any] | Tensor, labels: Sequence[Any]) -> Tensor:
    """One `onehot` row for each of `xs`: float32, (len(xs), labels).

    Raises:
        ValueError: something is not among the labels, or a label stands there twice.

    >>> onehotbatch([2, 0], range(3))
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    place = {label: i for i, label in enumerate(labels)}
    if len(place) != len(labels):
        raise ValueError(f"the labels are not distinct: {list(labels)}")
    values = xs.tolist() if isinstance(xs, Tensor) else list(xs)
    if unknown := [x for x in values if x not in place]:
        raise ValueError(f"{unknown[0]!r} is not among the labels {list(labels)}")
    index = torch.tensor([place[x] for x in values], dtype=torch.long)
    return torch.nn.functional.one_hot(index, len(place)).float()


def onecold(y: Tensor, labels: Sequence[Any] | None = None) -> Any:
    """The label of the largest entry along the last dimension: a tensor of indices, or a list of labels.

    >>> onecold(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), ["no", "yes"])
    ['yes', 'no']
    """
    if labels is None:
        return y.argmax(-1)
    if len(labels) != y.shape[-1]:
        raise ValueError(f"{len(labels)} labels for the {y.shape[-1]} entries of {tuple(y.shape)}")
    return labels[int(y.argmax())] if y.ndim == 1 else [onecold(row, labels) for row in y]


def splitobs(data: Any, at: Shares = 0.7, shuffle: bool = False, generator: Generator | None = None) -> tuple[Any, ...]:
    """Splits observations into parts of the given shares; the last part is what is left.

    Arguments:
        data: a tensor, a tree of tensors with the same first dimension, or a `Dataset`.

    >>> train, test = splitobs((torch.arange(10), torch.arange(10)), at=0.8)
    >>> len(train[0]), test[1]
    (8, tensor([8, 9]))
    """
    n = _count(data)
    shares = (at,) if isinstance(at, float | int) else tuple(at)
    if not all(share >= 0 for share in shares) or sum(shares) > 1 + 1e-9:
        raise ValueError(f"at={at} must be shares of the whole, together at most 1")
    order = torch.randperm(n, generator=generator) if shuffle else torch.arange(n)
    parts = order.tensor_split([round(n * share) for share in accumulate(shares)])
    return tuple(fmap(itemgetter(index), data) if tensors(data) else Subset(data, index.tolist()) for index in parts)


def _count(data: Any) -> int:
    counts = {len(x) for x in tensors(data)} or {len(data)}
    if len(counts) != 1:
        raise ValueError(f"the parts of the data have different numbers of observations: {sorted(counts)}")
    return counts.pop()


def batch(samples: Sequence[Any]) -> Any:
    """Stacks samples along a new first dimension; samples may be trees, and numbers become tensors.

    >>> batch([(torch.zeros(2), 1), (torch.ones(2), 3)])
    (tensor([[0., 0.],
            [1., 1.]]), tensor([1, 3]))
    """
    if not samples:
        raise ValueError("an empty list can't be batched: its shape is not known")
    return fmap(_stack, *samples, leaf=lambda x: not children(x), ties=False)


def _stack(*parts: Any) -> Tensor:
    return torch.stack([torch.as_tensor(part) for part in parts])


def unbatch(x: Any) -> list[Any]:
    """The samples of a batch: the inverse of `batch`.

    >>> unbatch((torch.tensor([1, 2]), torch.tensor([3, 4])))
    [(tensor(1), tensor(3)), (tensor(2), tensor(4))]
    """
    return [fmap(itemgetter(i), x, ties=False) for i in range(_count(x))]
