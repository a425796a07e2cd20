"""Dense layers and their like, in closed form."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

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


@pytest.mark.parametrize("args", [(), (torch.relu,), (2.5,), (torch.relu, 3)])
def test_scale_refuses_what_is_no_size(args: tuple) -> None:
    with pytest.raises(ValueError, match="Scale takes sizes and then"):
        Scale(*args)


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


@pytest.mark.parametrize("padding_idx", [2, -2])
@pytest.mark.parametrize("form", ["indices", "one-hot"])
def test_the_padding_row_is_zero_and_frozen(padding_idx: int, form: str) -> None:
    table = Embedding(4, 3, padding_idx=padding_idx)
    x = torch.tensor([0, 2, 2])
    hot = x if form == "indices" else nn.functional.one_hot(x, 4).float()
    kept = hot.clone()
    y = table(hot)
    assert y[1:].count_nonzero() == 0
    y.sum().backward()
    assert table.weight.grad.tolist() == [[1.0] * 3, [0.0] * 3, [0.0] * 3, [0.0] * 3]
    assert torch.equal(hot, kept)


@pytest.mark.parametrize("reduction", ["mean", "sum", "max"])
def test_all_forms_of_bags(reduction: str) -> None:
    layer = EmbeddingBag(9, 3, reduction)
    bags = [[1, 2, 3], [7], [4, 4]]
    rows = [layer.weight[torch.tensor(bag)] for bag in bags]
    reduced = torch.stack([row.amax(0) if reduction == "max" else getattr(row, reduction)(0) for row in rows])
    flat, offsets = torch.tensor([i for bag in bags for i in bag]), torch.tensor([0, 3, 4])
    for y in (layer(bags), layer([torch.tensor(bag) for bag in bags]), layer(flat, offsets)):
        torch.testing.assert_close(y, reduced)
    torch.testing.assert_close(layer(torch.tensor(bags[0])), reduced[0])
    torch.testing.assert_close(layer(torch.tensor([bags[0]] * 2)), reduced[:1].expand(2, -1))
    assert layer([[], [1]])[0].tolist() == [0.0, 0.0, 0.0]


def test_bags_inside_transforms() -> None:
    layer, x = EmbeddingBag(9, 3), torch.randint(9, (4, 5))
    torch.testing.assert_close(vmap(layer)(x), layer(x))
    ragged = grad(lambda w: functional_call(layer, {"weight": w}, ([[1, 2], [3]],)).sum())
    assert ragged(layer.weight.detach())[:, 0].tolist() == [0, 0.5, 0.5, 1, 0, 0, 0, 0, 0]


def test_bags_refuse_other_reductions() -> None:
    with pytest.raises(ValueError, match="one of mean, sum, max; got 'median'"):
        EmbeddingBag(9, 3, "median")


def test_flatten_keeps_the_batch() -> None:
    assert flatten(torch.zeros(2, 3, 4, 5)).shape == (2, 60)
    assert flatten(torch.zeros(0, 3, 4)).shape == (0, 12)
    assert flatten(torch.zeros(2, 3)).shape == (2, 3)
