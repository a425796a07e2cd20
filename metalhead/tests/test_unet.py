"""U-Nets on the backbones, and the tower of AlphaGo."""

import copy

import pytest
import torch
from model_comparison import randomise, trained_outputs, without_chance
from tiny_models import TINY

import metalhead as mh

FLAT = {"vit", "mixer", "resmlp", "gmlp", "convmixer"}


@pytest.mark.parametrize("name", TINY)
def test_any_backbone(name):
    build, size, _ = TINY[name]
    if name in FLAT:
        with pytest.raises(ValueError, match="all have 1/"):
            mh.unet(build())
        return
    model = without_chance(randomise(mh.unet(build(), nclasses=2, width=4)))
    x = torch.randn(2, 3, size, size + 3, generator=torch.Generator().manual_seed(0))
    assert model.eval()(x).shape == (2, 2, size, size + 3)
    outputs, grads = trained_outputs(model, x)
    assert outputs[0].shape == (2, 2, size, size + 3)
    assert all(grad is not None and grad.abs().max() > 0 for grad in grads.values())


def test_a_unet_is_a_model():
    model = mh.unet("resnet18", nclasses=3, inchannels=1, width=4).eval()
    x = torch.randn(2, 1, 40, 33)
    assert mh.classifier(model)(mh.backbone(model)(x)).shape == (2, 3, 40, 33)
    torch.testing.assert_close(mh.checkpointed(model)(x), model(x))
    torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), model(x))
    model.reset_classifier(5)
    assert copy.deepcopy(model)(x).shape == (2, 5, 40, 33)


def test_the_weights_of_a_given_backbone_are_shared():
    backbone = TINY["resnet"][0]()
    model = mh.unet(backbone, nclasses=2)
    assert model.encoder.backbone.conv1.weight is backbone.conv1.weight


def test_alphago():
    model = mh.alphago()
    n, p = 256, 361
    tower = 17 * 9 * n + 2 * n + 19 * 2 * (n * 9 * n + 2 * n)
    policy = 2 * n + 4 + (2 * p + 1) * (p + 1)
    value = n + 2 + (p + 1) * 256 + 257
    assert sum(x.numel() for x in model.parameters()) == tower + policy + value
    small = mh.alphago(5, n=4, height=1)
    x = torch.randn(3, 17, 5, 5)
    moves, winner = small(x)
    torch.testing.assert_close(moves.sum(-1), torch.ones(3))
    assert winner.abs().max() < 1
    torch.testing.assert_close(small.heads.policy[:-1](small.base(x)).softmax(-1), moves)
    (moves.log()[:, 0].sum() + winner.sum()).backward()
    assert all(x.grad.abs().max() > 0 for x in small.parameters())
