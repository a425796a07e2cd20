"""Layers over sequences: recurrence, where a cell makes one step and `Recurrence` all of them, and attention.

The state of a cell is always an argument and a result; nothing is remembered between calls. Sequences are batch first:
(*batch, time, features), with any number of batch dimensions, or none.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .._activations import relu, tanh
from .._init import glorot_uniform, zeros
from .._treelike import treelike
from .._walk import fill, fmap, tensors
from ._basic import Activation, Dense, Init, layer, options_of

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "MultiHeadAttention", "RNNCell", "Recurrence"]
__all__ += ["causal_mask", "initialstates"]


class _Cell:
    """What cells have in common: parameters, gate after gate as in PyTorch, and how a step begins."""

    gates = 1

    def __init__(
        self, nin: int, nout: int, *, bias: bool = True, init_ih: Init = glorot_uniform, init_hh: Init = glorot_uniform
    ) -> None:
        n = self.gates * nout
        self.weight_ih, self.weight_hh = init_ih(n, nin), init_hh(n, nout)
        self.bias_ih, self.bias_hh = zeros(n) if bias else None, zeros(n) if bias else None

    def __call__(self: Any, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Makes one step."""
        state = initialstates(self, *x.shape[:-1]) if state is None else state
        h = state[0] if isinstance(state, tuple) else state
        state = self.step(F.linear(x, self.weight_ih, self.bias_ih), F.linear(h, self.weight_hh, self.bias_hh), state)
        return state[0] if isinstance(state, tuple) else state, state


@layer(axis=-1)
class RNNCell(_Cell):
    """One step of a plain recurrent network: h' = σ(W_ih x + b_ih + W_hh h + b_hh).

    Arguments:
        nin: size of the input; `...` leaves it to `autosize`.
        nout: size of the state, which is the result too.
        activation: σ.
        init_ih: makes `weight_ih`, of shape (nout, nin).
        init_hh: makes `weight_hh`, of shape (nout, nout).

    x: (..., nin), state: (..., nout), zeros if not given → (y, state'), both (..., nout)

    >>> y, state = RNNCell(3, 5)(torch.zeros(2, 3))
    >>> y.shape, y is state
    (torch.Size([2, 5]), True)

    Source: Elman (1990), doi:10.1207/s15516709cog1402_1.
    """

    @options_of(_Cell.__init__)
    def __init__(self, nin: int, nout: int, activation: Activation = tanh, **options: Any) -> None:
        _Cell.__init__(self, nin, nout, **options)
        self.activation = activation

    def step(self, from_x: Tensor, from_h: Tensor, h: Tensor) -> Tensor:
        """h' from W_ih x + b_ih and W_hh h + b_hh."""
        return self.activation(from_x + from_h)


@layer(axis=-1)
class LSTMCell(_Cell):
    """One step of a long short-term memory, whose state is a pair (h, c).

    i, f, o = sigmoid(...), g = tanh(...) with W_ih x + b_ih + W_hh h + b_hh in the dots, in the order i, f, g, o;
    c' = f c + i g and h' = o tanh(c').

    Arguments:
        nin: size of the input; `...` leaves it to `autosize`.
        nout: size of the result and of both parts of the state.
        init_ih: makes `weight_ih`, of shape (4 nout, nin).
        init_hh: makes `weight_hh`, of shape (4 nout, nout).

    x: (..., nin), state: a pair of (..., nout), zeros if not given → (h', (h', c')), all (..., nout)

    >>> y, (h, c) = LSTMCell(3, 5)(torch.zeros(2, 3))
    >>> y.shape, y is h
    (torch.Size([2, 5]), True)

    Source: Hochreiter and Schmidhuber (1997), doi:10.1162/neco.1997.9.8.1735; Gers et al. (2000).
    """

    gates = 4

    def step(self, from_x: Tensor, from_h: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """(h', c') from W_ih x + b_ih and W_hh h + b_hh."""
        i, f, g, o = (from_x + from_h).chunk(4, -1)
        c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


@layer(axis=-1)
class GRUCell(_Cell):
    """One step of a gated recurrent unit, with the reset gate r where PyTorch has it.

    r, z = sigmoid(W_ih x + b_ih + W_hh h + b_hh), n = tanh(W_in x + b_in + r (W_hn h + b_hn)), in the order
    r, z, n; h' = (1 - z) n + z h. The reset gate acts on the product W_hn h, as in Flux's `GRU`; in Flux's
    `GRUv3` (and Cho et al.) it acts on h before it.

    Arguments:
        nin: size of the input; `...` leaves it to `autosize`.
        nout: size of the state, which is the result too.
        init_ih: makes `weight_ih`, of shape (3 nout, nin).
        init_hh: makes `weight_hh`, of shape (3 nout, nout).

    x: (..., nin), state: (..., nout), zeros if not given → (y, state'), both (..., nout)

    >>> y, state = GRUCell(3, 5)(torch.zeros(2, 3))
    >>> y.shape, y is state
    (torch.Size([2, 5]), True)

    Source: Cho et al. (2014), arXiv 1406.1078.
    """

    gates = 3

    def step(self, from_x: Tensor, from_h: Tensor, h: Tensor) -> Tensor:
        """h' from W_ih x + b_ih and W_hh h + b_hh."""
        (xr, xz, xn), (hr, hz, hn) = from_x.chunk(3, -1), from_h.chunk(3, -1)
        n = torch.tanh(xn + (xr + hr).sigmoid() * hn)
        return n + (xz + hz).sigmoid() * (h - n)


def initialstates(cell: Any, *batch: int) -> Any:
    """The state that a cell starts from: zeros, of shape (*batch, nout); for an `LSTMCell` a pair of them.

    >>> [tuple(state.shape) for state in initialstates(LSTMCell(3, 5), 2)]
    [(2, 5), (2, 5)]
    """
    state = cell.weight_hh.new_zeros(*batch, cell.weight_hh.shape[-1])
    return (state, state) if isinstance(cell, LSTMCell) else state


@treelike
class Recurrence:
    """Lifts a cell, `cell(x, state) -> (y, state)`, from one step to whole sequences.

    For an `LSTMCell`, a `GRUCell`, and an `RNNCell` with this package's `tanh` or `relu`, all steps are one call of
    PyTorch's kernel (cuDNN's can't be differentiated twice); inside `torch.func` transforms and `torch.compile`,
    and for any other cell, they are a loop.

    Arguments:
        cell: any such callable; it is called with `state=None` at first, unless a state is given.
        return_state: whether to return the last state too.

    x: (*batch, time, nin), state: as the cell's → (*batch, time, nout); a pair of it and the last state with
    `return_state`.

    >>> def cumsum(x, state):
    ...     total = x if state is None else x + state
    ...     return total, total
    >>> Recurrence(cumsum)(torch.ones(3, 1)).flatten()
    tensor([1., 2., 3.])

    Source: Flux.jl's `Recurrence`.
    """

    def __init__(self, cell: Callable[..., tuple[Tensor, Any]], *, return_state: bool = False) -> None:
        self.cell, self.return_state = cell, return_state

    def __call__(self, x: Tensor, state: Any = None) -> Any:
        """Makes a step for each element of the sequence."""
        kernel = _KERNELS.get(self.cell.activation if isinstance(self.cell, RNNCell) else type(self.cell))
        # vmap has no rule for the kernel, and Dynamo unrolls it.
        eager = not (torch._C._are_functorch_transforms_active() or torch.compiler.is_compiling())
        y, state = _at_once(kernel, self.cell, x, state) if kernel and eager else _step_by_step(self.cell, x, state)
        return (y, state) if self.return_state else y


_KERNELS: dict[Any, Any] = {LSTMCell: torch.lstm, GRUCell: torch.gru, tanh: torch.rnn_tanh, relu: torch.rnn_relu}


def _step_by_step(cell: Callable[..., Any], x: Tensor, state: Any) -> tuple[Tensor, Any]:
    ys = []
    for step in x.unbind(-2):
        y, state = cell(step, state)
        ys.append(y)
    return torch.stack(ys, -2), state


def _at_once(kernel: Any, cell: Any, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    batch, (n, nin) = x.shape[:-2], (cell.weight_hh.shape[-1], cell.weight_ih.shape[-1])
    state = initialstates(cell, *batch) if state is None else state
    if x.shape[-1] != nin or any(h.shape != (*batch, n) for h in tensors(state)):  # it would read beyond the end
        given = [tuple(h.shape) for h in (x, *tensors(state))]
        raise ValueError(f"this layer takes x: (..., time, {nin}) and states: (..., {n}); got x and states of {given}")
    xs, hidden = x.reshape(batch.numel(), *x.shape[-2:]), fmap(lambda h: h.reshape(1, batch.numel(), n), state)
    parameters = [p for p in (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh) if p is not None]
    # One layer, no dropout, "training" if there is a gradient to keep, one direction, batch first.
    options = (len(parameters) == 4, 1, 0.0, torch.is_grad_enabled(), False, True)
    y, *last = kernel(xs, hidden, parameters, *options)
    return y.reshape(*x.shape[:-1], n), fill(state, (h.reshape(*batch, n) for h in last))


@options_of(RNNCell)
def RNN(nin: int, nout: int, *activation: Activation, return_state: bool = False, **options: Any) -> Recurrence:
    """`Recurrence` of an `RNNCell`, to which the other options go.

    x: (*batch, time, nin) → (*batch, time, nout)

    >>> RNN(3, 5, relu)(torch.zeros(2, 7, 3)).shape
    torch.Size([2, 7, 5])

    Source: Elman (1990), doi:10.1207/s15516709cog1402_1.
    """
    return Recurrence(RNNCell(nin, nout, *activation, **options), return_state=return_state)


@options_of(LSTMCell)
def LSTM(nin: int, nout: int, *, return_state: bool = False, **options: Any) -> Recurrence:
    """`Recurrence` of an `LSTMCell`, to which the other options go.

    x: (*batch, time, nin) → (*batch, time, nout)

    >>> y, (h, c) = LSTM(3, 5, return_state=True)(torch.zeros(2, 7, 3))
    >>> y.shape, h.shape, c.shape
    (torch.Size([2, 7, 5]), torch.Size([2, 5]), torch.Size([2, 5]))

    Source: Hochreiter and Schmidhuber (1997), doi:10.1162/neco.1997.9.8.1735.
    """
    return Recurrence(LSTMCell(nin, nout, **options), return_state=return_state)


@options_of(GRUCell)
def GRU(nin: int, nout: int, *, return_state: bool = False, **options: Any) -> Recurrence:
    """`Recurrence` of a `GRUCell`, to which the other options go.

    x: (*batch, time, nin) → (*batch, time, nout)

    >>> GRU(3, 5)(torch.zeros(2, 7, 3)).shape
    torch.Size([2, 7, 5])

    Source: Cho et al. (2014), arXiv 1406.1078.
    """
    return Recurrence(GRUCell(nin, nout, **options), return_state=return_state)


@treelike
class MultiHeadAttention:
    """softmax(q kᵀ / √d + bias) v for each head, between linear maps; batch first.

    Arguments:
        dims: one size for all; or (in, qkv, out); or ((q_in, k_in, v_in), (qk, v), out), where qk and v are the
            sizes of all heads together.
        nheads: how many heads; it divides qk and v.
        bias: whether the four linear maps have one.
        init: makes their weights.
        dropout_prob: of the attention weights, while training.

    q: (..., q_len, q_in), k: (..., kv_len, k_in), v: (..., kv_len, v_in) → (y, α), y: (..., q_len, out). What is
    not given is the last that is: `attention(x)` is self-attention, `attention(q, k)` takes k for v too.
    Options of the call:
        bias: what is added to the scores, broadcast to (..., nheads, q_len, kv_len).
        mask: bool, True where q may look at k, broadcast to the same; see `causal_mask`. It leaves every q
            something to look at: what a q that may look at nothing gets (zeros or NaN) is up to the kernel.
        return_weights: whether α is the weights, (..., nheads, q_len, kv_len), rather than `None`. It is off,
            other than in Flux, because PyTorch's fast kernels never make them; with it, and inside `torch.func`
            transforms, plain operations are used, which have second derivatives.

    >>> attention = MultiHeadAttention(64, nheads=8)
    >>> x = torch.zeros(2, 10, 64)
    >>> y, weights = attention(x, mask=causal_mask(10), return_weights=True)
    >>> y.shape, weights.shape
    (torch.Size([2, 10, 64]), torch.Size([2, 8, 10, 10]))

    Source: Vaswani et al. (2017), arXiv 1706.03762.
    """

    def __init__(
        self, dims: Any, nheads: int = 8, *, bias: bool = False, init: Init = glorot_uniform, dropout_prob: float = 0.0
    ) -> None:
        given, heads, out = (dims,) * 3 if isinstance(dims, int) else dims
        q, k, v = (given,) * 3 if isinstance(given, int) else given
        qk, vv = (heads,) * 2 if isinstance(heads, int) else heads
        self.q_proj, self.k_proj = Dense(q, qk, bias=bias, init=init), Dense(k, qk, bias=bias, init=init)
        self.v_proj, self.out_proj = Dense(v, vv, bias=bias, init=init), Dense(vv, out, bias=bias, init=init)
        self.nheads, self.dropout_prob = nheads, dropout_prob

    def __call__(self: Any, *qkv: Tensor, bias: Any = None, mask: Any = None, return_weights: bool = False) -> Any:
        """Applies the layer; gives the result and, if asked for, the attention weights."""
        given = zip((self.q_proj, self.k_proj, self.v_proj), (*qkv, *qkv[-1:] * (3 - len(qkv))), strict=True)
        # (..., len, heads * d) → (..., heads, len, d)
        q, k, v = (project(x).unflatten(-1, (self.nheads, -1)).transpose(-2, -3) for project, x in given)
        if mask is not None:
            bias = torch.where(mask, q.new_zeros(()) if bias is None else bias, float("-inf"))
        if return_weights or torch._C._are_functorch_transforms_active():  # vmap has no rule for the kernel
            scores = q @ k.mT * q.shape[-1] ** -0.5 + (0 if bias is None else bias)
            weights = F.dropout(scores.softmax(-1), self.dropout_prob, self.training)
            y = weights @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, bias, self.dropout_prob if self.training else 0)
        return self.out_proj(y.transpose(-2, -3).flatten(-2)), weights if return_weights else None


def causal_mask(n: int, device: torch.device | str | None = None) -> Tensor:
    """The mask that lets each place look at itself and what is before it: (n, n), bool.

    >>> causal_mask(3).int()
    tensor([[1, 0, 0],
            [1, 1, 0],
            [1, 1, 1]], dtype=torch.int32)
    """
    return torch.ones(n, n, dtype=torch.bool, device=device).tril()
