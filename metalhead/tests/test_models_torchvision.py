"""The models that torchvision has: the same names, shapes, numbers and results."""

import warnings
from copy import deepcopy

import pytest
import torch
from model_comparison import compare, randomise, seeded

import metalhead as mh


def reference(torchvision, name, **options):
    """torchvision's model on the meta device: its weights are ours."""
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        if name in ("googlenet", "inception_v3"):
            options["init_weights"] = False
        return torchvision.models.get_model(name, **options)


SMALL = {
    "convnext_tiny": 32,
    "densenet121": 32,
    "efficientnet_b0": 33,
    "efficientnet_v2_s": 33,
    "googlenet": 33,
    "mnasnet0_5": 33,
    "mobilenet_v2": 33,
    "mobilenet_v3_large": 33,
    "mobilenet_v3_small": 33,
    "resnet18": 33,
    "resnet50": 32,
    "resnext50_32x4d": 32,
    "squeezenet1_0": 43,
    "squeezenet1_1": 35,
}


@pytest.mark.parametrize("name", SMALL)
def test_same_results_gradients_and_statistics(torchvision, name):
    model = randomise(mh.create_model(name, nclasses=7)).double()
    other = reference(torchvision, name, num_classes=7)
    other.load_state_dict(deepcopy(model.state_dict()), strict=True, assign=True)
    compare(model, other, torch.randn(2, 3, SMALL[name], SMALL[name], dtype=torch.float64, generator=seeded()))


@pytest.mark.parametrize(("name", "size"), [("alexnet", 63), ("vgg11_bn", 32)])
def test_same_results_where_the_head_is_large(torchvision, name, size):
    model = mh.create_model(name, nclasses=7)
    other = reference(torchvision, name, num_classes=7)
    other.load_state_dict(model.state_dict(), strict=True, assign=True)
    x = torch.randn(2, 3, size, size, generator=seeded())
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), other.eval()(x), rtol=1e-4, atol=1e-6)
    for m in (model, other):
        randomise(m.features).double()
    compare(model.features, other.features, x.double())


def test_a_small_vision_transformer(torchvision):
    model = randomise(mh.vit(24, 2, 3, 8, imsize=32, nclasses=7)).double()
    other = torchvision.models.VisionTransformer(32, 8, 2, 3, 24, 96, num_classes=7).double()
    other.load_state_dict(model.state_dict(), strict=True)
    compare(model, other, torch.randn(2, 3, 32, 32, dtype=torch.float64, generator=seeded()))


@pytest.mark.parametrize("size", [(60, 92), (28, 64), (16, 16)])  # padded and shifted; shifted along one side; neither
def test_a_small_swin_transformer(torchvision, size):
    model = randomise(mh.swin(12, (2, 2), (2, 3), nclasses=7)).double()
    other = torchvision.models.SwinTransformer([4, 4], 12, [2, 2], [2, 3], [7, 7], num_classes=7).double()
    other.load_state_dict(model.state_dict(), strict=True)
    compare(model, other, torch.randn(2, 3, *size, dtype=torch.float64, generator=seeded()))


def test_inception_v3_and_its_auxiliary_head(torchvision):
    model = randomise(mh.create_model("inception_v3", nclasses=7)).double()
    other = reference(torchvision, "inception_v3", num_classes=7)
    other.load_state_dict(deepcopy(model.state_dict()), strict=True, assign=True)
    x = torch.randn(1, 3, 75, 75, dtype=torch.float64, generator=seeded())
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), other.eval()(x), rtol=1e-9, atol=1e-9)
        model.training = other.training = True  # the norms stay in eval: of this map only one number is left
        large = torch.randn(1, 3, 299, 299, generator=seeded())
        ours, theirs = model.float()(large), other.float()(large)
    assert len(ours) == 2
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * b.abs().max().item())


def test_a_wrong_model_is_noticed(torchvision):
    model = randomise(mh.create_model("resnet18", nclasses=7)).double()
    other = reference(torchvision, "resnet18", num_classes=7)
    other.load_state_dict(deepcopy(model.state_dict()), strict=True, assign=True)
    model.layer2[0].bn2.eps = 1e-3
    with pytest.raises(AssertionError, match="not close"):
        compare(model, other, torch.randn(2, 3, 33, 33, dtype=torch.float64, generator=seeded()))
