"""Recurrent layers: a cell makes one step, `Recurrence` a whole sequence.

The state is always an argument and a result; nothing is remembered between calls. Sequences are batch first:
(batch, time, features), or (time, features) for one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._activations import relu, tanh
from .._init import glorot_uniform, zeros
from .._outputsize import sized
from .._treelike import treelike
from ._basic import Activation, Init

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell", "Recurrence", "initialstates"]

Pair = tuple[Tensor, Tensor]


@dataclass(init=False, repr=False, eq=False)
class _Cell:
    """The parameters of a cell, gate after gate as in PyTorch."""

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None
    bias_hh: Tensor | None
    gates: ClassVar[int]

    def __init__(
        self,
        nin: int,
        nout: int,
        *,
        bias: bool = True,
        init_kernel: Init = glorot_uniform,
        init_recurrent_kernel: Init = glorot_uniform,
    ) -> None:
        n = self.gates * nout
        self.weight_ih, self.weight_hh = init_kernel(n, nin), init_recurrent_kernel(n, nout)
        self.bias_ih, self.bias_hh = (zeros(n), zeros(n)) if bias else (None, None)

    def parameters_in_order(self) -> tuple[Tensor | None, ...]:
        """As PyTorch's kernels take them."""
        return self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh

    def project(self, x: Tensor, h: Tensor) -> Pair:
        """W_ih x + b_ih and W_hh h + b_hh."""
        return F.linear(x, self.weight_ih, self.bias_ih), F.linear(h, self.weight_hh, self.bias_hh)


@sized(axis=-1)
@treelike
class RNNCell(_Cell):
    """One step of a plain recurrent network: h' = σ(W_ih x + b_ih + W_hh h + b_hh).

    Arguments:
        nin: size of the input; `...` leaves it to `autosize`.
        nout: size of the state, which is the result too.
        activation: σ.
        init_kernel: makes `weight_ih`, of shape (nout, nin).
        init_recurrent_kernel: makes `weight_hh`, of shape (nout, nout).

    x: (..., nin), state: (..., nout), zeros if not given → (y, state'), both (..., nout)

    >>> y, state = RNNCell(3, 5)(torch.zeros(2, 3))
    >>> y.shape, y is state
    (torch.Size([2, 5]), True)

    Source: Elman (1990), doi:10.1207/s15516709cog1402_1.
    """

    activation: Activation
    gates = 1

    def __init__(self, nin: int, nout: int, activation: Activation = tanh, **options: Any) -> None:
        _Cell.__init__(self, nin, nout, **options)
        self.activation = activation

    def __call__(self, x: Tensor, state: Tensor | None = None) -> Pair:
        """Makes one step."""
        from_x, from_h = self.project(x, initialstates(self, *x.shape[:-1]) if state is None else state)
        h = self.activation(from_x + from_h)
        return h, h

    @property
    def kernel(self) -> Any:
        """PyTorch's function for a whole sequence, if there is one."""
        return next((kernel for f, kernel in _RNN if f is self.activation), None)


@sized(axis=-1)
@treelike
class LSTMCell(_Cell):
    """One step of a long short-term memory, whose state is a pair (h, c).

    i, f, o = sigmoid(...), g = tanh(...) with W_ih x + b_ih + W_hh h + b_hh in the dots, in the order i, f, g, o;
    c' = f c + i g and h' = o tanh(c').

    Arguments:
        nin: size of the input; `...` leaves it to `autosize`.
        nout: size of the result and of both parts of the state.
        init_kernel: makes `weight_ih`, of shape (4 nout, nin).
        init_recurrent_kernel: makes `weight_hh`, of shape (4 nout, nout).

    x: (..., nin), state: a pair of (..., nout), zeros if not given → (h', (h', c')), all (..., nout)

    >>> y, (h, c) = LSTMCell(3, 5)(torch.zeros(2, 3))
    >>> y.shape, y is h
    (torch.Size([2, 5]), True)

    Source: Hochreiter and Schmidhuber (1997), doi:10.1162/neco.1997.9.8.1735; Gers et al. (2000).
    """

    gates = 4
    kernel = staticmethod(torch.lstm)
    __init__ = _Cell.__init__

    def __call__(self, x: Tensor, state: Pair | None = None) -> tuple[Tensor, Pair]:
        """Makes one step."""
        h, c = initialstates(self, *x.shape[:-1]) if state is None else state
        if x.ndim == 2 and _fusable():
            h, c = torch.lstm_cell(x, (h, c), *self.parameters_in_order())
        else:
            from_x, from_h = self.project(x, h)
            i, f, g, o = (from_x + from_h).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return h, (h, c)


@sized(axis=-1)
@treelike
class GRUCell(_Cell):
    """One step of a gated recurrent unit, with the reset gate r where PyTorch has it.

    r, z = sigmoid(W_ih x + b_ih + W_hh h + b_hh), n = tanh(W_in x + b_in + r (W_hn h + b_hn)), in the order
    r, z, n; h' = (1 - z) n + z h. The reset gate acts on the product W_hn h, as in Flux's `GRU`; in Flux's
    `GRUv3` (and Cho et al.) it acts on h before it.

    Arguments:
        nin: size of the input; `...` leaves it to `autosize`.
        nout: size of the state, which is the result too.
        init_kernel: makes `weight_ih`, of shape (3 nout, nin).
        init_recurrent_kernel: makes `weight_hh`, of shape (3 nout, nout).

    x: (..., nin), state: (..., nout), zeros if not given → (y, state'), both (..., nout)

    >>> y, state = GRUCell(3, 5)(torch.zeros(2, 3))
    >>> y.shape, y is state
    (torch.Size([2, 5]), True)

    Source: Cho et al. (2014), arXiv 1406.1078.
    """

    gates = 3
    kernel = staticmethod(torch.gru)
    __init__ = _Cell.__init__

    def __call__(self, x: Tensor, state: Tensor | None = None) -> Pair:
        """Makes one step."""
        h = initialstates(self, *x.shape[:-1]) if state is None else state
        if x.ndim == 2 and _fusable():
            h = torch.gru_cell(x, h, *self.parameters_in_order())
        else:
            from_x, from_h = self.project(x, h)
            (xr, xz, xn), (hr, hz, hn) = from_x.chunk(3, -1), from_h.chunk(3, -1)
            n = torch.tanh(xn + (xr + hr).sigmoid() * hn)
            h = n + (xz + hz).sigmoid() * (h - n)
        return h, h


_RNN = ((tanh, torch.rnn_tanh), (torch.tanh, torch.rnn_tanh), (relu, torch.rnn_relu), (torch.relu, torch.rnn_relu))


def _fusable() -> bool:
    """Whether PyTorch's recurrent kernels can be used: vmap has no rules for them, and Dynamo unrolls them."""
    return not (torch._C._are_functorch_transforms_active() or torch.compiler.is_compiling())


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

    For the cells of this module all steps are one call of PyTorch's kernel, which can't be differentiated
    twice; inside `torch.func` transforms and `torch.compile`, and for any other cell, they are a loop.

    Arguments:
        cell: any such callable; it is called with `state=None` at first, unless a state is given.
        return_state: whether to return the last state too.

    x: (batch, time, nin) or (time, nin), state: as the cell's → (batch, time, nout) or (time, nout); a pair of
    it and the state with `return_state`. Loads the state_dict of a one-layer `nn.RNN`, `nn.LSTM` or `nn.GRU`.

    >>> cumsum = Recurrence(lambda x, state: 2 * (x if state is None else state + x,))
    >>> cumsum(torch.ones(3, 1)).flatten()
    tensor([1., 2., 3.])

    Source: Flux.jl's `Recurrence`.
    """

    cell: Callable[..., tuple[Tensor, Any]]
    return_state: bool = False

    def __call__(self, x: Tensor, state: Any = None) -> Any:
        """Makes a step for each element of the sequence."""
        kernel = self.cell.kernel if isinstance(self.cell, _Cell) else None
        if kernel is not None and x.ndim in (2, 3) and _fusable():
            y, state = _at_once(kernel, self.cell, x, state)
        else:
            y, state = _step_by_step(self.cell, x, state)
        return (y, state) if self.return_state else y

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in [name for name in state if name.startswith(prefix) and name.endswith("_l0")]:
            state[f"{prefix}cell.{name[len(prefix) : -3]}"] = state.pop(name)
        nn.Module._load_from_state_dict(self, state, prefix, *args)  # type: ignore[arg-type]


def _step_by_step(cell: Callable[..., Any], x: Tensor, state: Any) -> tuple[Tensor, Any]:
    ys = []
    for step in x.unbind(-2):
        y, state = cell(step, state)
        ys.append(y)
    return torch.stack(ys, -2), state


def _at_once(kernel: Callable[..., Any], cell: Any, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    state = initialstates(cell, *x.shape[:-2]) if state is None else state
    parameters = [p for p in cell.parameters_in_order() if p is not None]
    layered = tuple(h.reshape(1, -1, h.shape[-1]) for h in (state if kernel is torch.lstm else (state,)))
    hx = layered if kernel is torch.lstm else layered[0]
    # One layer, no dropout, training if there is a gradient to keep, one direction, batch first.
    y, *last = kernel(
        x.reshape(-1, *x.shape[-2:]), hx, parameters, len(parameters) == 4, 1, 0.0, torch.is_grad_enabled(), False, True
    )
    ...


def RNN(
    nin: int, nout: int, activation: Activation = tanh, *, return_state: bool = False, **options: Any
) -> Recurrence:
    return Recurrence(RNNCell(nin, nout, activation, **options), return_state)


def LSTM(nin: int, nout: int, *, return_state: bool = False, **options: Any) -> Recurrence:
    return Recurrence(LSTMCell(nin, nout, **options), return_state)


def GRU(nin: int, nout: int, *, return_state: bool = False, **options: Any) -> Recurrence:
    return Recurrence(GRUCell(nin, nout, **options), return_state)
