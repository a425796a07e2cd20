"""timm's names for the models that are named as in torchvision."""

from copy import deepcopy

import pytest
import torch
from model_comparison import randomise, seeded

import metalhead as mh

PAIRS = {
    "vgg19_bn": "vgg19_bn",
    "vit_s_16": "vit_small_patch16_224",
    "vit_ti_16": "vit_tiny_patch16_224",
    "vit_b_32": "vit_base_patch32_224",
    "convnext_tiny": "convnext_tiny",
    "swin_t": "swin_tiny_patch4_window7_224",
    "efficientnet_b0": "efficientnet_b0",
    "efficientnet_v2_s": "tf_efficientnetv2_s",
    "mnasnet1_0": "mnasnet_100",
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v3_large": "mobilenetv3_large_100",
    "mobilenet_v3_small": "mobilenetv3_small_100",
    "resnet50": "resnet50",
    "resnext101_64x4d": "resnext101_64x4d",
    "wide_resnet50_2": "wide_resnet50_2",
}


def renamed(name, model):
    """Our tensors under timm's names."""
    keys = mh.timm_keys(name, model)
    assert len(set(keys.values())) == len(keys)
    return {keys[key]: x for key, x in model.state_dict().items()}


@pytest.mark.parametrize("name", PAIRS)
def test_every_name_has_its_partner(timm, name):
    with torch.device("meta"):
        model, other = mh.create_model(name), timm.create_model(PAIRS[name], num_classes=1000)
    ours = {key: x.numel() for key, x in renamed(name, model).items()}
    ours = {key: n for key, n in ours.items() if not key.endswith("relative_position_index")}  # timm computes it
    assert ours == {key: x.numel() for key, x in other.state_dict().items()}
    back = {timms: key for key, timms in mh.timm_keys(name, model).items()}
    assert back.keys() >= other.state_dict().keys()
    assert set(back.values()) == set(model.state_dict())


SMALL = {
    "convnext_tiny": ({}, {}),
    "efficientnet_b0": ({}, {}),
    "mnasnet1_0": ({}, {}),
    "mobilenet_v2": ({}, {}),
    "mobilenet_v3_small": ({"eps": 1e-5}, {}),
    "swin_t": ({}, {}),
    "vit_ti_16": ({"imsize": 64}, {"img_size": 64}),
}


@pytest.mark.parametrize("name", SMALL)
def test_same_results_under_timms_names(timm, name):
    ours, theirs = SMALL[name]
    model = randomise(mh.create_model(name, nclasses=7, **ours)).eval()
    with torch.device("meta"):
        shapes = timm.create_model(PAIRS[name], num_classes=7, **theirs).state_dict()
    other = timm.create_model(PAIRS[name], num_classes=7, **theirs).eval()
    tensors = renamed(name, model)
    other.load_state_dict({key: deepcopy(tensors[key]).reshape(x.shape) for key, x in shapes.items()}, strict=True)
    size = 224 if name == "swin_t" else 64  # timm's windows shrink with a small image
    x = torch.randn(1, 3, size, size, generator=seeded())
    with torch.no_grad():
        expected = other(x)
        torch.testing.assert_close(model(x), expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())
