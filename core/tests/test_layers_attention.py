"""Attention: PyTorch's values, Flux's sizes, masks, and the same with weights and without."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import grad, vmap

from torchflux.layers import MultiHeadAttention, causal_mask

close = torch.testing.assert_close


@pytest.mark.parametrize("bias", [True, False])
def test_attention_is_pytorchs(bias: bool) -> None:
    layer, twin = MultiHeadAttention(8, 2, bias=bias), nn.MultiheadAttention(8, 2, bias=bias, batch_first=True)
    for p in twin.parameters():
        nn.init.normal_(p)
    state = twin.state_dict()
    for kind in ("weight", "bias")[: 1 + bias]:
        for name, part in zip("qkv", state.pop(f"in_proj_{kind}").chunk(3), strict=True):
            state[f"{name}_proj.{kind}"] = part
    layer.load_state_dict(state, strict=True)
    q, k, v = torch.randn(2, 3, 8), torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    expected, weights = twin(q, k, v, average_attn_weights=False)
    close(layer(q, k, v)[0], expected)
    close(layer(q, k, v, return_weights=True), (expected, weights))
    close(layer(q)[0], twin(q, q, q)[0])
    close(layer(q, k)[0], twin(q, k, k)[0])


@pytest.mark.parametrize(
    ("dims", "inputs", "out"),
    [
        (64, (64, 64, 64), 64),
        ((64, 1024, 32), (64, 64, 64), 32),
        ((64, (24, 8), 32), (64, 64, 64), 32),
        (((4, 5, 6), 8, 7), (4, 5, 6), 7),
        (((4, 5, 6), (24, 8), 7), (4, 5, 6), 7),
    ],
)
def test_fluxs_sizes(dims: Any, inputs: tuple[int, int, int], out: int) -> None:
    layer = MultiHeadAttention(dims, nheads=8)
    q, k, v = (torch.randn(2, n, size) for n, size in zip((3, 5, 5), inputs, strict=True))
    y, weights = layer(q, k, v, return_weights=True)
    assert y.shape == (2, 3, out)
    assert weights.shape == (2, 8, 3, 5)
    close(weights.sum(-1), torch.ones(2, 8, 3))


@pytest.mark.parametrize("options", ["mask", "bias", "both", "neither"])
def test_with_weights_and_without_is_the_same(options: str) -> None:
    layer, x = MultiHeadAttention(8, 2), torch.randn(2, 5, 8)
    given: dict[str, Tensor] = {}
    if options in ("mask", "both"):
        given["mask"] = causal_mask(5)
    if options in ("bias", "both"):
        given["bias"] = torch.randn(2, 5, 5)
    fast, slow = layer(x, **given), layer(x, **given, return_weights=True)
    assert fast[1] is None
    close(fast[0], slow[0])
    close(vmap(lambda x: layer(x, **given)[0])(x), fast[0])


def test_the_scores_in_closed_form() -> None:
    layer = MultiHeadAttention(1, 1, init=torch.ones)
    q, k = torch.tensor([[2.0]]), torch.tensor([[1.0], [-1.0], [3.0]])
    bias, mask = torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([[True, True, False]])
    y, weights = layer(q, k, bias=bias, mask=mask, return_weights=True)
    expected = torch.tensor([2.0, -2.0 + 1.0]).softmax(0)
    close(weights.flatten(), torch.cat([expected, torch.zeros(1)]))
    close(y.flatten(), (expected * torch.tensor([1.0, -1.0])).sum().reshape(1))


def test_causal_attention_does_not_see_what_comes() -> None:
    layer, x = MultiHeadAttention(8, 2), torch.randn(1, 6, 8)
    changed = x.clone()
    changed[:, 4:] = 0
    y, z = layer(x, mask=causal_mask(6))[0], layer(changed, mask=causal_mask(6))[0]
    close(y[:, :4], z[:, :4])
    assert not torch.allclose(y[:, 4:], z[:, 4:])


def test_dropout_is_of_the_weights_while_training() -> None:
    layer, x = MultiHeadAttention(8, 2, dropout_prob=0.5), torch.randn(2, 50, 8)
    weights = layer(x, return_weights=True)[1]
    assert (weights == 0).float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])
    assert layer(x, return_weights=True)[1].count_nonzero() == weights.numel()


def test_masks_are_bool() -> None:
    with pytest.raises(RuntimeError, match="boolean tensor"):
        MultiHeadAttention(8, 2)(torch.zeros(1, 3, 8), mask=torch.ones(3, 3))


def test_gradients_inside_transforms_are_the_tapes() -> None:
    layer, x = MultiHeadAttention(8, 2), torch.randn(2, 5, 8, requires_grad=True)
    close(grad(lambda x: layer(x)[0].square().sum())(x), torch.autograd.grad(layer(x)[0].square().sum(), x)[0])
