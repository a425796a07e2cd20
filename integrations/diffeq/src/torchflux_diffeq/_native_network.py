"""A chain of dense layers as a `@native` function, for slopes that call it beside what is known."""

import linecache
from itertools import count
from typing import Any

import numpy as np
from torch import Tensor

from ._native_args import NotNative
from ._native_chain import Affine, lowered
from ._native_slope import FEW

__all__ = ["lower"]

_numbers = count()
SHAPE = "weights of another shape than the network's when it was lowered: lower it again"
SIZE = "x has another length than the network takes"


def lower(model: Any) -> tuple[Any, tuple[Tensor, ...]]:
    """A chain as a `@native` function `net(x, weights)` of an array of numbers, and its weights.

    The weights are the model's parameters: pass them on in `args`, so that the gradient reaches them. The function is
    what the chain is now; call `lower` again if its layers change.

    Arguments:
        model: a `Chain` or `nn.Sequential` of dense layers, activations and functions of each number.

    Returns:
        The function, x: (nin,) → (nout,), and the tuple of weights and biases that it takes.

    Raises:
        NotNative: a layer is none of these.

    A universal differential equation, of which one term is known (Rackauckas et al., 2020, arXiv:2001.04385):

    >>> import torch
    >>> from torchflux import Chain, Dense, tanh
    >>> from torchflux_diffeq import solve
    >>> from torchflux_zygote import native
    >>> net, weights = lower(Chain(Dense(2, 8, tanh), Dense(8, 2)))
    >>> @native
    ... def slope(t, y, args):
    ...     rate, weights = args
    ...     return rate * y + net(y, weights)
    >>> solution = solve(slope, torch.ones(2), (0.0, 1.0), (-0.5, weights))
    >>> solution.ys.shape, solution.route
    (torch.Size([2, 2]), 'native')
    """
    from torchflux_zygote import native

    chain = lowered(model)
    if not chain.affine:
        raise NotNative(f"{model!r} has no dense layer")
    lines, functions, numbers = [f"{', '.join(_names(chain))}, = weights"], {}, count()
    for k, layer in enumerate(chain.layers):
        if isinstance(layer, Affine):
            lines += _affine(next(numbers), layer)
        elif layer.known is not None:
            lines.append(f"x = {layer.known.array}")
        else:
            functions[f"each_{k}"] = native(layer.function)
            lines.append(f"x = each_{k}(x)")
    body = "\n".join(f"    {line}" for line in [*lines, "return x"])
    text, file = f"def network(x, weights):\n{body}\n", f"<network {next(_numbers)}>"
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    space: dict[str, Any] = {"np": np, "__name__": __name__, **functions}
    exec(compile(text, file, "exec"), space)
    return native(space["network"]), tuple(chain.weights)


def _affine(k: int, layer: Affine) -> list[str]:
    """The lines of a dense layer: of few numbers a sum of columns, to few numbers sums over rows, which need no memory.

    Those would pass over weights of another shape, which a matrix product refuses.
    """
    nout, nin = layer.weight.shape
    bias = "" if layer.bias is None else f" + b{k}"
    if nin > FEW and nout > FEW:
        return [f"x = w{k} @ x{bias}"]
    lines = [f"if w{k}.shape[0] != {nout} or w{k}.shape[1] != {nin}:", f"    raise ValueError({SHAPE!r})"]
    lines += [f"if len(x) != {nin}:", f"    raise ValueError({SIZE!r})"]
    if layer.bias is not None:
        lines += [f"if len(b{k}) != {nout}:", f"    raise ValueError({SHAPE!r})"]
    if nout > FEW:
        return [*lines, "x = " + " + ".join(f"w{k}[:, {j}] * x[{j}]" for j in range(nin)) + bias]
    rows = [f"(w{k}[{i}] * x).sum()" for i in range(nout)]
    if nin <= FEW:
        rows = [" + ".join(f"w{k}[{i}, {j}] * x[{j}]" for j in range(nin)) for i in range(nout)]
    ends = ["" if layer.bias is None else f" + b{k}[{i}]" for i in range(nout)]
    return [*lines, f"x = np.array([{', '.join(a + b for a, b in zip(rows, ends, strict=True))}])"]


def _names(chain: Any) -> list[str]:
    """The variables of the weights."""
    return [
        name
        for k, layer in enumerate(chain.affine)
        for name in ([f"w{k}"] if layer.bias is None else [f"w{k}", f"b{k}"])
    ]
