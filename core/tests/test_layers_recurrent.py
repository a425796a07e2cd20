"""Recurrent layers: one step, whole sequences, states, and the same by every route."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from torchflux import relu
from torchflux.layers import GRU, LSTM, RNN, GRUCell, LSTMCell, Recurrence, RNNCell, initialstates

close = torch.testing.assert_close
CELLS = {"RNN": RNNCell, "LSTM": LSTMCell, "GRU": GRUCell}
LAYERS = {"RNN": RNN, "LSTM": LSTM, "GRU": GRU}
every = pytest.mark.parametrize("name", CELLS)


def states(name: str, *batch: int) -> Any:
    """A random state."""
    h, c = torch.randn(*batch, 4), torch.randn(*batch, 4)
    return (h, c) if name == "LSTM" else h


def stepwise(cell: Any, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    """What a recurrent layer means."""
    ys = []
    for t in range(x.shape[-2]):
        y, state = cell(x[..., t, :], state)
        ys.append(y)
    return torch.stack(ys, -2), state


@every
@pytest.mark.parametrize("bias", [True, False])
def test_cells_step_as_pytorchs(name: str, bias: bool) -> None:
    cell, twin = CELLS[name](3, 4, bias=bias), getattr(nn, f"{name}Cell")(3, 4, bias=bias)
    cell.load_state_dict(twin.state_dict(), strict=True)
    x, state = torch.randn(2, 3), states(name, 2)
    y, after = cell(x, state)
    expected = twin(x, state)
    close(after, tuple(expected) if name == "LSTM" else expected)
    assert y is (after[0] if name == "LSTM" else after)
    close(cell(x)[0], cell(x, initialstates(cell, 2))[0])


@every
def test_a_cell_steps_alike_with_any_batch_dimensions(name: str) -> None:
    cell, x, state = CELLS[name](3, 4), torch.randn(2, 3), states(name, 2)
    expected = cell(x, state)[0]
    for i in range(2):
        one = tuple(s[i] for s in state) if name == "LSTM" else state[i]
        close(cell(x[i], one)[0], expected[i])
    close(vmap(cell)(x, state)[0], expected)
    close(cell(x.expand(5, 2, 3), tuple(s.expand(5, 2, 4) for s in state) if name == "LSTM" else state)[0][0], expected)


@every
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch", [(2,), (), (2, 3)], ids=["batch", "one", "batches"])
@pytest.mark.parametrize("given", [True, False], ids=["state", "zeros"])
def test_sequences_are_steps(name: str, bias: bool, batch: tuple[int, ...], given: bool) -> None:
    layer = LAYERS[name](3, 4, bias=bias, return_state=True)
    x, state = torch.randn(*batch, 5, 3), states(name, *batch) if given else None
    y, after = layer(x, state)
    close((y, after), stepwise(layer.cell, x, state))
    assert y.shape == (*batch, 5, 4)
    close(LAYERS[name](3, 4)(x).shape, y.shape)


@every
def test_a_sequence_can_be_cut(name: str) -> None:
    layer, x = LAYERS[name](3, 4, return_state=True), torch.randn(2, 6, 3)
    first, state = layer(x[:, :2])
    second, last = layer(x[:, 2:], state)
    close((torch.cat([first, second], 1), last), layer(x))


@every
def test_all_routes_have_the_same_gradient(name: str) -> None:
    layer, x, state = LAYERS[name](3, 4), torch.randn(2, 5, 3), states(name, 2)
    parameters = dict(layer.named_parameters())

    def loss(p: dict[str, Tensor]) -> Tensor:
        return functional_call(layer, p, (x, state)).square().sum()

    by_kernel = torch.autograd.grad(loss(parameters), [*parameters.values()])
    by_steps = torch.autograd.grad(stepwise(layer.cell, x, state)[0].square().sum(), [*parameters.values()])
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")(parameters)
    for gradients in (by_steps, grad(loss)(parameters).values(), torch.autograd.grad(compiled, [*parameters.values()])):
        close(tuple(gradients), by_kernel)


@every
def test_a_layer_that_is_evaluated_still_has_a_gradient(name: str) -> None:
    layer, x = LAYERS[name](3, 4).eval(), torch.randn(2, 5, 3, requires_grad=True)
    assert torch.autograd.grad(layer(x).sum(), x)[0].count_nonzero() == x.numel()


def test_any_activation_and_a_new_one() -> None:
    x = torch.randn(2, 5, 3)
    layer = RNN(3, 4, torch.sin)
    close(layer(x), stepwise(layer.cell, x, None)[0])
    layer.cell.activation = relu  # now there is a kernel
    close(layer(x), stepwise(layer.cell, x, None)[0])
    assert layer(x).min() == 0


def test_any_cell_is_lifted() -> None:
    def counter(x: Tensor, state: Any) -> tuple[Tensor, Any]:
        count, total = state or (0, 0)
        return (total + x) / (count + 1), (count + 1, total + x)

    means, (count, total) = Recurrence(counter, return_state=True)(torch.tensor([[1.0], [3.0], [8.0]]))
    assert means.flatten().tolist() == [1.0, 2.0, 4.0]
    assert (count, total.item()) == (3, 12.0)


def test_a_cell_inside_a_function_trains() -> None:
    cell = LSTMCell(3, 4)
    layer = Recurrence(lambda x, state: cell(2 * x, state))
    x = torch.randn(2, 5, 3)
    close(layer(x), Recurrence(cell)(2 * x))
    assert len(list(layer.parameters())) == 4


def test_the_gates_of_a_gru_in_closed_form() -> None:
    """The reset gate acts on W_hn h + b_hn: PyTorch's and Flux's GRU, not GRUv3."""
    cell = GRUCell(1, 1, init_ih=torch.zeros, init_hh=torch.zeros)
    cell.bias_ih.data.copy_(torch.tensor([0.3, -0.2, 0.1]))
    cell.bias_hh.data.copy_(torch.tensor([0.0, 0.0, 0.7]))
    r, z = torch.tensor([0.3, -0.2]).sigmoid()
    n = torch.tanh(0.1 + r * 0.7)
    close(cell(torch.zeros(1), torch.tensor([2.0]))[0], ((1 - z) * n + z * 2.0).reshape(1))


def test_initial_states_follow_the_cell() -> None:
    cell = LSTMCell(3, 4).double()
    h, c = initialstates(cell, 2, 5)
    assert h.shape == c.shape == (2, 5, 4)
    assert h.dtype == torch.float64
    assert initialstates(GRUCell(3, 4)).tolist() == [0.0] * 4


@every
def test_what_does_not_fit_is_named(name: str) -> None:
    """PyTorch's own LSTM kernel would read beyond the end of its arguments."""
    layer = LAYERS[name](3, 4)
    with pytest.raises(ValueError, match=r"takes x: \(..., time, 3\) and states: \(..., 4\); got .* \[\(2, 5, 2\)"):
        layer(torch.zeros(2, 5, 2))
    for wrong in (states(name, 3), states(name), states(name, 1, 2)):
        with pytest.raises(ValueError, match=r"states: \(..., 4\); got x and states of"):
            layer(torch.zeros(2, 5, 3), wrong)


@every
def test_an_empty_batch_is_an_empty_result(name: str) -> None:
    assert LAYERS[name](3, 4)(torch.zeros(0, 5, 3)).shape == (0, 5, 4)
