"""Rules for NumPy's linear algebra. Source: Giles (2008), "An extended collection of matrix derivative results".

Decompositions are computed by PyTorch's functions of the same names, whose derivatives are known.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ._cotangent import value
from ._forward_torch import applied, linear_functions
from ._kinds import carries, conj, fit
from ._refuse import Refused
from ._registry import SUBSTITUTES, constant, pushes, rule

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


@rule(np.linalg.slogdet)
def _slogdet(a: Any) -> Pulled:
    y = real_slogdet(a)

    def back(ȳ: Any) -> tuple[Any, ...]:
        bar = value(ȳ)[1]
        return (
            None if bar is None else fit(np.asarray(bar)[..., None, None] * np.swapaxes(np.linalg.inv(a), -1, -2), a),
        )

    return y, back


def real_slogdet(a: Any) -> Any:
    if np.iscomplexobj(a):
        raise Refused("np.linalg.slogdet of a complex matrix", "use np.log(np.abs(np.linalg.det(a)))")
    return np.linalg.slogdet(a)


constant(real_slogdet)


@pushes(np.linalg.slogdet)
def _push_slogdet(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = real_slogdet(args[0])
    if dots[0] is None:
        return y, None
    return y, (None, (np.swapaxes(np.linalg.inv(args[0]), -1, -2) * dots[0]).sum(axis=(-2, -1)))


# By PyTorch's functions of the same names.


def tensor_of(a: Any) -> Any:
    """A tensor of the numbers of an array."""
    return torch.from_numpy(np.array(a, order="C"))


def array_of(t: Any) -> Any:
    """An array of the numbers of a tensor."""
    return t.numpy(force=True).copy()


@rule(tensor_of)
def _tensor_of(a: Any) -> Pulled:
    return tensor_of(a), lambda ȳ: (fit(ȳ, a),)


@rule(array_of)
def _array_of(t: Any) -> Pulled:
    return array_of(t), lambda ȳ: (fit(ȳ, t),)


linear_functions(tensor_of, array_of)


def cholesky(a: Any) -> Any:
    return array_of(torch.linalg.cholesky(tensor_of(a)))


def eigh(a: Any, UPLO: str = "L") -> Any:
    w, v = (array_of(x) for x in torch.linalg.eigh(tensor_of(a), UPLO))
    return Eigh(w, v * turns(v, np.linalg.eigh, a, UPLO))


def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    return array_of(torch.linalg.eigvalsh(tensor_of(a), UPLO))


def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    if not compute_uv:
        return svdvals(a)
    if full_matrices and np.shape(a)[-1] != np.shape(a)[-2]:
        raise Refused("np.linalg.svd with full_matrices=True of a matrix that isn't square", "pass full_matrices=False")
    u, s, vh = (array_of(x) for x in torch.linalg.svd(tensor_of(a), full_matrices))
    turn = turns(u, np.linalg.svd, a, full_matrices)
    return Svd(u * turn, s, np.swapaxes(np.conj(turn), -1, -2) * vh)


def svdvals(x: Any) -> Any:
    return array_of(torch.linalg.svdvals(tensor_of(x)))


def qr(a: Any, mode: str = "reduced") -> Any:
    if mode not in ("reduced", "r"):
        raise Refused(f"np.linalg.qr with mode={mode!r}", "use mode='reduced'")
    q, r = (array_of(x) for x in torch.linalg.qr(tensor_of(a)))
    turn = turns(q, np.linalg.qr, a)
    r = np.swapaxes(np.conj(turn), -1, -2) * r
    return r if mode == "r" else Qr(q * turn, r)


def turns(v: Any, f: Any, *args: Any) -> Any:
    """The signs (phases) by which vectors that PyTorch found become NumPy's: they differ between libraries."""
    w = next(x for x in f(*args) if x.ndim == v.ndim)
    overlap = np.sum(np.conj(v) * w, axis=-2, keepdims=True)
    return np.where(overlap == 0, 1.0, overlap / np.where(overlap == 0, 1.0, np.abs(overlap)))


def pinv(a: Any) -> Any:
    return array_of(torch.linalg.pinv(tensor_of(a), rtol=1e-15))  # NumPy's


def matrix_power(a: Any, n: int) -> Any:
    a = np.linalg.inv(a) if n < 0 else a
    y = np.broadcast_to(np.eye(np.shape(a)[-1], dtype=a.dtype), np.shape(a)) if n == 0 else a
    for _ in range(abs(n) - 1):
        y = y @ a
    return y


def multi_dot(arrays: Any) -> Any:
    y, *rest = arrays
    for a in rest:
        y = y @ a
    return y


constant(turns)
Eigh: Any = type(np.linalg.eigh(np.eye(1)))
Svd: Any = type(np.linalg.svd(np.eye(1)))
Qr: Any = type(np.linalg.qr(np.eye(1)))
for _f in (cholesky, eigh, eigvalsh, svd, svdvals, qr, pinv, matrix_power, multi_dot):
    SUBSTITUTES[getattr(np.linalg, _f.__name__)] = _f


@rule(np.einsum)
def _einsum(subscripts: str, *operands: Any, optimize: Any = False) -> Pulled:
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
    whole = tuple(map(max, bar.shape, operands[i].shape))
    return fit(np.broadcast_to(bar, whole), operands[i])


@pushes(np.einsum)
def _push_einsum(push: Any, args: Any, dots: Any, names: Any) -> Any:
    y = applied(np.einsum, args, names)
    total = None
    for i in range(1, len(args)):
        if dots[i] is not None:
            part = applied(np.einsum, (*args[:i], dots[i], *args[i + 1 :]), names)
            total = part if total is None else total + part
    return y, total
