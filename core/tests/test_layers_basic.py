"""Dense layers and their like, in closed form."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import torchflux
from torchflux.layers import Bilinear, Dense, Embedding, EmbeddingBag, Scale, flatten


def constant(*rows: list[float]) -> Callable[..., Tensor]:
    """An initialiser that gives this matrix."""
    return lambda *shape: torch.tensor(rows).reshape(shape)


def test_dense() -> None:
    layer = Dense(2, 1, torch.relu, init=constant([1.0, -2.0]))
    layer.bias.data.fill_(0.5)
    assert layer(torch.tensor([[3.0, 1.0], [0.0, 1.0]])).tolist() == [[1.5], [0.0]]


def test_scale() -> None:
    layer = Scale(2, 2, torch.relu, init=constant([1.0, 2.0], [3.0, 4.0]))
    layer.bias.data.copy_(torch.tensor([[0.0, 1.0], [-9.0, 0.0]]))
    assert layer(torch.ones(1, 2, 2)).tolist() == [[[1.0, 3.0], [0.0, 4.0]]]
    assert Scale(3, bias=False)(torch.full((3,), 2.0)).tolist() == [2.0, 2.0, 2.0]


def test_bilinear_is_pytorchs_and_takes_one_input_twice() -> None:
    layer, twin = Bilinear((3, 4), 5), nn.Bilinear(3, 4, 5)
    layer.load_state_dict(twin.state_dict(), strict=True)
    x, y = torch.randn(2, 6, 3), torch.randn(2, 6, 4)
    torch.testing.assert_close(layer(x, y), twin(x, y))
    square = Bilinear((3, 3), 5, torch.tanh)
    torch.testing.assert_close(square(x), square(x, x))


def test_a_one_hot_row_is_its_index_and_a_mixture_the_mixture() -> None:
    table, i = Embedding(6, 3), torch.tensor([[1, 5], [0, 2]])
    one_hot = nn.functional.one_hot(i, 6)
    torch.testing.assert_close(table(one_hot.bool()), table(i))
    torch.testing.assert_close(table(one_hot.float()), table(i))
    torch.testing.assert_close(table(one_hot.float().mean(0)), table(i).mean(0))


@pytest.mark.parametrize("reduction", ["mean", "sum", "max"])
def test_all_forms_of_bags(reduction: str) -> None:
    layer = EmbeddingBag(9, 3, reduction)
    bags = [torch.tensor(bag) for bag in ([1, 2, 3], [7], [4, 4])]
    rows = [layer.weight[bag] for bag in bags]
    reduced = torch.stack([row.amax(0) if reduction == "max" else getattr(row, reduction)(0) for row in rows])
    for y in (layer(bags), layer(torch.cat(bags), torch.tensor([0, 3, 4]))):
        torch.testing.assert_close(y, reduced)
    torch.testing.assert_close(layer(torch.stack([bags[0]] * 2)), reduced[:1].expand(2, -1))
    assert layer([bags[0][:0], bags[1]])[0].tolist() == [0.0, 0.0, 0.0]


def test_flatten_keeps_the_batch() -> None:
    assert flatten(torch.zeros(2, 3, 4, 5)).shape == (2, 60)
    assert flatten(torch.zeros(0, 3, 4)).shape == (0, 12)
    assert flatten(torch.zeros(2, 3)).shape == (2, 3)


def test_the_padding_vector_of_an_embedding_is_zero_and_stays_so():
    layer = torchflux.Embedding(4, 3, padding_idx=1)
    assert not layer.weight[1].any()
    assert layer.weight[0].any()
    layer(torch.tensor([0, 1, 1])).sum().backward()
    assert not layer.weight.grad[1].any()
    assert layer.weight.grad[0].any()
