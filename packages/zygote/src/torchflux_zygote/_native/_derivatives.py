"""Jacobians, Hessians and products with them, of operations."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._ir import Array, Type
from ._operation import Mode, Operation, apart

__all__ = ["hessian_blocks", "hessian_product", "jacobian_blocks", "pull", "push"]


def pull(operation: Operation, values: list[Any], cotangents: list[Any]) -> dict[int, Any]:
    """The gradient for every float input, from a cotangent for every float result."""
    found = operation.reverse([*values, *cotangents])
    return dict(zip(operation.wrt, found[len(operation.results) :], strict=True))


def push(operation: Operation, values: list[Any], tangents: dict[int, Any]) -> dict[int, Any]:
    """The tangent of every float result, from the tangents of float inputs (zero where there is none)."""
    given = [
        tangents[k]
        if tangents.get(k) is not None
        else np.zeros_like(values[k])
        if isinstance(values[k], np.ndarray)
        else 0.0
        for k in operation.wrt
    ]
    found = operation.forward(1)([*values, *given])
    return dict(zip(operation.floats, found[len(operation.results) :], strict=True))


def jacobian_blocks(operation: Operation, values: list[Any], mode: Mode = "auto") -> dict[int, Any]:
    """For every float input, the derivative of the one result: its shape followed by the input's.

    Forward or reverse mode, by itself whichever takes fewer sweeps; the sweeps are shared out to threads.
    """
    (result,) = operation(apart(values) if operation.changes else values)
    shape = np.shape(result)
    sizes = {k: int(np.size(values[k])) for k in operation.wrt}
    total = sum(sizes.values())
    if (total and mode == "forward") or (mode == "auto" and total <= np.size(result)):
        columns = _forward_sweeps(operation, values, sizes)
        return {k: np.moveaxis(block, 0, -1).reshape((*shape, *np.shape(values[k]))) for k, block in columns[0].items()}
    n = int(np.size(result))
    seeds = np.eye(n, dtype=_dtype(operation.results[0])).reshape((n, *shape))
    found = operation.reverse.batched((*(False for _ in values), True))([*values, seeds])
    return {k: grads.reshape((*shape, *np.shape(values[k]))) for k, grads in zip(operation.wrt, found[1:], strict=True)}


def _forward_sweeps(operation: Operation, values: list[Any], sizes: dict[int, int]) -> list[dict[int, Any]]:
    """One sweep for every number of the inputs in `sizes`: for every float result, its tangents by input."""
    total = sum(sizes.values())
    seeds, at = [], 0
    for k in operation.wrt:
        seed = np.zeros((total, *np.shape(values[k])), _dtype(operation.params[k]))
        if k in sizes:
            seed.reshape(total, -1)[at : at + sizes[k]] = np.eye(sizes[k])
            at += sizes[k]
        seeds.append(seed)
    pushed = operation.forward(1).batched((*(False for _ in values), *(True for _ in seeds)))
    found = pushed([*values, *seeds])[len(operation.results) :]
    cuts = np.cumsum([0, *sizes.values()])
    return [{k: tangents[a:b] for k, a, b in zip(sizes, cuts, cuts[1:], strict=False)} for tangents in found]


def hessian_blocks(operation: Operation, values: list[Any]) -> dict[int, dict[int, Any]]:
    """The second derivatives of one float result: forward mode over reverse mode."""
    gradient, inputs = operation.reverse, [*values, 1.0]
    sizes = {k: int(np.size(values[k])) for k in operation.wrt}
    found = _forward_sweeps(gradient, inputs, sizes)[1:]  # the first is the value's
    shapes = {k: np.shape(values[k]) for k in operation.wrt}
    return {
        i: {j: np.moveaxis(found[n][j], 0, -1).reshape((*shapes[i], *shapes[j])) for j in operation.wrt}
        for n, i in enumerate(operation.wrt)
    }


def hessian_product(operation: Operation, values: list[Any], tangents: dict[int, Any]) -> dict[int, Any]:
    """The product of the Hessian of one float result with a tangent."""
    found = push(operation.reverse, [*values, 1.0], tangents)
    return dict(zip(operation.wrt, list(found.values())[1:], strict=True))


def _dtype(t: Type) -> str:
    """The name of the number type."""
    return str(t.dtype if isinstance(t, Array) else t)
