"""The models that timm has and torchvision hasn't: timm's names, shapes, numbers and results."""

from copy import deepcopy

import pytest
import torch
from model_comparison import compare, randomise, seeded

import metalhead as mh

NAMES = {"mobilenet_v1": "mobilenetv1_100", "xception": "legacy_xception"}


def reference(timm, name, **options):
    with torch.device("meta"):
        return timm.create_model(NAMES.get(name, name), **options)


def with_our_weights(model, other):
    other.load_state_dict(deepcopy(model.state_dict()), strict=True, assign=True)
    return other


SMALL = {"mobilenet_v1": 33, "seresnet18": 33, "xception": 71}


@pytest.mark.parametrize("name", SMALL)
def test_same_results_gradients_and_statistics(timm, name):
    model = randomise(mh.create_model(name, nclasses=7)).double()
    other = with_our_weights(model, reference(timm, name, num_classes=7))
    compare(model, other, torch.randn(2, 3, SMALL[name], SMALL[name], dtype=torch.float64, generator=seeded()))


LARGE = {"inception_v4": 75, "inception_resnet_v2": 75, "convmixer_768_32": 28, "convmixer_1536_20": 28}


@pytest.mark.parametrize("name", LARGE)
def test_same_results_of_large_models(timm, name):
    model = randomise(mh.create_model(name, nclasses=7)).eval()
    other = with_our_weights(model, reference(timm, name, num_classes=7)).eval()
    x = torch.randn(1, 3, LARGE[name], LARGE[name], generator=seeded())
    with torch.no_grad():
        expected = other(x)
        torch.testing.assert_close(model(x), expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize(("groups", "width", "scale"), [(1, 26, 4), (8, 4, 3)])
def test_a_small_res2net(timm, groups, width, scale):
    model = mh.resnet(mh.Bottle2neck, (2, 1, 1, 1), groups=groups, width=width, scale=scale, nclasses=7)
    block, options = timm.models.res2net.Bottle2neck, {"cardinality": groups, "base_width": width}
    other = timm.models.resnet.ResNet(block, [2, 1, 1, 1], 7, **options, block_args={"scale": scale}).double()
    other.load_state_dict(randomise(model).double().state_dict(), strict=True)
    compare(model, other, torch.randn(2, 3, 33, 33, dtype=torch.float64, generator=seeded()))


def test_small_mixers(timm):
    from timm.models import mlp_mixer

    blocks = {
        mh.MixerBlock: {},
        mh.GatedBlock: {"mlp_ratio": 6, "block_layer": mlp_mixer.SpatialGatingBlock, "mlp_layer": mlp_mixer.GatedMlp},
        mh.ResMLPBlock: {"mlp_ratio": 4, "block_layer": mlp_mixer.ResBlock, "norm_layer": mlp_mixer.Affine},
    }
    for block, options in blocks.items():
        last = {"last": mh.Affine} if block is mh.ResMLPBlock else {}
        ours = mh.mixer(block, 8, 2, 8, imsize=32, nclasses=7, **last)
        theirs = mlp_mixer.MlpMixer(7, 32, patch_size=8, num_blocks=2, embed_dim=8, **options)
        model = randomise(ours).double()
        theirs.double().load_state_dict(model.state_dict(), strict=True)
        compare(model, theirs, torch.randn(2, 3, 32, 32, dtype=torch.float64, generator=seeded()))


@pytest.mark.filterwarnings("ignore:Using padding=.same.")
@pytest.mark.parametrize("kernel", [3, 4])  # an even one is padded unevenly
def test_a_small_convmixer(timm, kernel):
    model = randomise(mh.convmixer(8, 2, kernel, 4, nclasses=7)).double()
    other = timm.models.convmixer.ConvMixer(8, 2, kernel, 4, num_classes=7).double()
    other.load_state_dict(model.state_dict(), strict=True)
    compare(model, other, torch.randn(2, 3, 32, 32, dtype=torch.float64, generator=seeded()))
