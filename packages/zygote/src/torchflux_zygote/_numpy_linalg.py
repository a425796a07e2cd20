"""Rules for NumPy's linear algebra. Source: Giles (2008), "An extended collection of matrix derivative results"."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ._kinds import carries, conj, fit
from ._refuse import Refused
from ._registry import pushes, rule

__all__: list[str] = []

Pulled = tuple[Any, Callable[[Any], tuple[Any, ...]]]


@rule(np.linalg.solve)
def _solve(a: Any, b: Any) -> Pulled:
    y = np.linalg.solve(a, b)

    def back(ȳ: Any) -> tuple[Any, ...]:
        b̄ = np.linalg.solve(conj(np.swapaxes(a, -1, -2)), ȳ)
        outer = b̄[..., None] * conj(y) if b.ndim == 1 else b̄ @ conj(np.swapaxes(y, -1, -2))
        return fit(-outer, a), fit(b̄, b)

    return y, back


@pushes(np.linalg.solve)
def _push_solve(push: Any, args: Any, dots: Any, names: Any) -> Any:
    a, b = args
    y = np.linalg.solve(a, b)
    right = dots[1]
    if dots[0] is not None:
        right = -(dots[0] @ y) if right is None else right - dots[0] @ y
    return y, None if right is None else np.linalg.solve(a, right)


@rule(np.linalg.inv)
def _inv(a: Any) -> Pulled:
    y = np.linalg.inv(a)
    return y, lambda ȳ: (-conj(np.swapaxes(y, -1, -2)) @ ȳ @ conj(np.swapaxes(y, -1, -2)),)


@pushes(np.linalg.inv)
def _push_inv(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = np.linalg.inv(args[0])
    return y, None if dots[0] is None else -(y @ dots[0] @ y)


@rule(np.linalg.det)
def _det(a: Any) -> Pulled:
    y = np.linalg.det(a)
    return y, lambda ȳ: (fit((ȳ * conj(y))[..., None, None] * conj(np.swapaxes(np.linalg.inv(a), -1, -2)), a),)


@pushes(np.linalg.det)
def _push_det(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = np.linalg.det(args[0])
    if dots[0] is None:
        return y, None
    return y, y * (np.swapaxes(np.linalg.inv(args[0]), -1, -2) * dots[0]).sum(axis=(-2, -1))


@rule(np.einsum)
def _einsum(subscripts: str, *operands: Any) -> Pulled:
    inputs, output = _subscripts(subscripts)
    y = np.einsum(subscripts, *operands)

    def back(ȳ: Any) -> tuple[Any, ...]:
        return (None, *(_einsum_bar(i, inputs, output, operands, ȳ) for i in range(len(operands))))

    return y, back


def _subscripts(text: str) -> tuple[list[str], str]:
    text = text.replace(" ", "")
    if "..." in text:
        raise Refused("np.einsum with an ellipsis", "name the axes")
    left, arrow, right = text.partition("->")
    letters = left.replace(",", "")
    implied = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    inputs = left.split(",")
    if any(len(set(term)) < len(term) for term in inputs):
        raise Refused("np.einsum with an axis named twice in one operand", "take the diagonal first")
    return inputs, right if arrow else implied


def _einsum_bar(i: int, inputs: list[str], output: str, operands: Any, ȳ: Any) -> Any:
    if not carries(operands[i]):
        return None
    others = [conj(x) for j, x in enumerate(operands) if j != i]
    terms = [output, *(term for j, term in enumerate(inputs) if j != i)]
    known = set("".join(terms))
    kept = "".join(c for c in inputs[i] if c in known)
    bar = np.einsum(f"{','.join(terms)}->{kept}", ȳ, *others)
    bar = np.expand_dims(bar, tuple(j for j, c in enumerate(inputs[i]) if c not in known))
    return fit(np.broadcast_to(bar, operands[i].shape), operands[i])


@pushes(np.einsum)
def _push_einsum(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = np.einsum(*args)
    total = None
    for i in range(1, len(args)):
        if dots[i] is not None:
            part = np.einsum(*args[:i], dots[i], *args[i + 1 :])
            total = part if total is None else total + part
    return y, total
