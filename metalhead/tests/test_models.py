"""All models by name: what the registry says, and what needs no numbers, on the meta device."""

import warnings
from functools import partial

import pytest
import torch
from torch.utils import flop_counter

import metalhead as mh
import torchflux

HEADLESS = "mixer_"  # whose paper counts its parameters without the head


# What timm calls the models that torchvision doesn't have, where it isn't the same.
TIMM = {"mobilenet_v1": "mobilenetv1_100", "xception": "legacy_xception", **dict.fromkeys(["vit_ti_16", "vit_s_16"])}
TIMM |= {name: f"{name}_224" for name in mh.list_models("mixer*", "resmlp*", "gmlp*")}


@pytest.mark.parametrize("name", mh.list_models())
def test_names_shapes_and_counts(name, torchvision, timm):
    with torch.device("meta"):
        model, other = mh.create_model(name), reference(torchvision, timm, name)
    if other is not None:  # `test_keys` has the two that aren't there under these names
        ours, theirs = ({key: tuple(x.shape) for key, x in m.state_dict().items()} for m in (model, other))
        assert ours == theirs
    head = sum(p.numel() for p in model.head.parameters())
    aux = sum(p.numel() for key, p in model.named_parameters() if key.startswith("aux"))  # published without them
    count, published = sum(p.numel() for p in model.parameters()) - aux, mh.entry(name).parameters
    assert count == published if isinstance(published, int) else close(count, head, published, name)
    if name in torchvision.models.list_models():
        assert published in {w.meta["num_params"] for w in torchvision.models.get_model_weights(name)}


def reference(torchvision, timm, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name in torchvision.models.list_models(module=torchvision.models):
            options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
            return torchvision.models.get_model(name, **options)
        return timm.create_model(TIMM.get(name, name)) if TIMM.get(name, name) else None


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "convnext_tiny", "efficientnet_b0", "swin_t", "vit_ti_16"])
def test_parts_at_the_published_size(name):
    with torch.device("meta"):
        model = mh.create_model(name).eval()
        x = torch.empty(2, 3, model.plan.imsize, model.plan.imsize)
        features = model.features(x)
        model.reset_classifier(3)
        assert mh.classifier(model)(features).shape == (2, 3)
        pyramid = mh.features_only(model)
    assert pyramid.channels[-1] == features.shape[1 if features.ndim == 4 else -1]
    published = {
        "resnet18": ([64, 64, 128, 256, 512], [2, 4, 8, 16, 32]),
        "densenet121": ([64, 256, 512, 1024, 1024], [2, 4, 8, 16, 32]),
        "convnext_tiny": ([96, 192, 384, 768], [4, 8, 16, 32]),
        "efficientnet_b0": ([16, 24, 40, 112, 1280], [2, 4, 8, 16, 32]),
        "swin_t": ([96, 192, 384, 768], [4, 8, 16, 32]),
        "vit_ti_16": ([192] * 12, [16] * 12),
    }
    assert (pyramid.channels, pyramid.reductions) == published[name]


def test_reductions():
    """One step of a map in pixels of the image: what the strides multiply to, whatever is lost at the rims."""
    with torch.device("meta"):
        assert mh.create_model("inception_v3", features=True).reductions == [2, 4, 8, 16, 32]
        for imsize in (16, 32, 224):  # of few patches the token of the class would be a large part
            assert mh.features_only(mh.vit(8, 2, 2, 16, imsize=imsize)).reductions == [16, 16]


def test_what_a_pyramid_has_not():
    model = mh.create_model("resnet18", 7)
    with pytest.raises(ValueError, match="out_indices chooses no level"):
        mh.features_only(model, ())
    with pytest.raises(ValueError, match=r"no level \[5\] of features: this model has 5"):
        mh.features_only(model, (5,))
    with pytest.raises(ValueError, match="a pyramid of features has no head"):
        mh.features_only(model).reset_classifier(3)
    with pytest.raises(ValueError, match="nclasses=-1 must be at least 0"):
        model.reset_classifier(-1)


@pytest.mark.parametrize("name", ["vit_ti_16", "mixer_s16"])
def test_patches_lie_where_the_model_learned_them(name):
    with torch.device("meta"):
        model = mh.create_model(name)
        with pytest.raises(ValueError, match=r"7 × 28 patches, not 14 × 14; make the model with .* imsize"):
            model(torch.empty(1, 3, 112, 448))  # as many


def close(count, head, published, name):
    """Whether a count is the published one, in millions, as it was rounded."""
    count = (count - head if name.startswith(HEADLESS) else count) / 1e6
    return abs(count - published) <= max(0.01 * published, 0.5)


def test_names():
    assert len(mh.list_models()) >= 96
    assert mh.list_models("vgg1?", "alex*") == ["alexnet", "vgg11", "vgg13", "vgg16", "vgg19"]
    assert mh.list_models("nothing*") == []
    for wrong, right in (("resnet49", "resnet"), ("vgg_16", "vgg16"), ("efficientnetb0", "efficientnet_b0")):
        with pytest.raises(ValueError, match=f"there is no model '{wrong}'; did you mean .*{right}"):
            mh.create_model(wrong)
    with pytest.raises(ValueError, match=r"list_models\(\) names them all"):
        mh.create_model("???")
    with pytest.raises(ValueError, match="nclasses=-1 and inchannels=None must be"):
        mh.create_model("alexnet", -1)
    with pytest.raises(ValueError, match="inchannels=0 must be"):
        mh.create_model("alexnet", 3, 0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        mh.create_model("alexnet", colour=True)
    with pytest.raises(TypeError, match="unexpected keyword argument 'groups'"):
        mh.create_model("resnet18", groups=32)  # the basic block has none
    with pytest.raises(TypeError, match="num_classes is called nclasses here; pretrained is called weights here"):
        mh.create_model("resnet18", num_classes=10, pretrained=True)


def test_a_model_of_ones_own(monkeypatch):
    monkeypatch.setattr(mh._registry, "_ENTRIES", dict(mh._registry._ENTRIES))
    mh.register("resnet10", partial(mh.resnet, mh.Basic, (1, 1, 1, 1)), 5.4, "an example")
    assert len(mh.create_model("resnet10", 3)) == 9
    assert "resnet10" in mh.list_models("resnet1?")
    with pytest.raises(ValueError, match="there is a model 'resnet10' already"):
        mh.register("resnet10", mh.alexnet, 5.4, "an example")


def test_initialisation_is_drawn_from_the_generator():
    make = lambda seed: mh.create_model("squeezenet1_1", 5, generator=torch.Generator().manual_seed(seed))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    a, b, c = (make(seed).head.weight for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    generator = torch.Generator().manual_seed(1)
    one, two = (mh.create_model("squeezenet1_1", 5, generator=generator).head.weight for _ in range(2))
    assert torch.equal(one, a)
    assert not torch.equal(one, two)


# Where the weights' spread is known: (layer's weight, standard deviation of the published initialisation).
SPREADS = {
    "resnet18": [("layer4.0.conv2", (2 / (512 * 9)) ** 0.5), ("fc", (1 / 512 / 3) ** 0.5)],
    "densenet121": [("features.denseblock4.denselayer1.conv2", (2 / (128 * 9)) ** 0.5)],
    "mobilenet_v2": [("classifier.1", 0.01), ("features.18.0", (2 / 1280) ** 0.5)],
    "efficientnet_b0": [("classifier.1", (1 / 1000 / 3) ** 0.5)],
    "inception_v3": [("Mixed_7c.branch1x1.conv", 0.1), ("AuxLogits.fc", 0.001)],
    "squeezenet1_0": [("classifier.1", 0.01), ("features.12.expand3x3", (2 / (64 * 9)) ** 0.5)],
    "vit_ti_16": [("encoder.layers.encoder_layer_3.mlp.0", (2 / (192 + 768)) ** 0.5)],
    "swin_t": [("features.5.2.attn.qkv", 0.02)],
}


@pytest.mark.parametrize("name", SPREADS)
def test_initialisation_has_the_published_spread(name):
    model = mh.create_model(name, generator=torch.Generator().manual_seed(0))
    for layer, std in SPREADS[name]:
        weight = model.get_submodule(layer).weight
        assert weight.std().item() == pytest.approx(std, rel=0.02), layer
        assert abs(weight.mean().item()) < 0.02 * std * 10


def test_initialisation_agrees_with_torchvision(torchvision):
    """Of every parameter, mean and spread, as far as chance lets them agree."""
    torch.manual_seed(0)
    for name in ("resnet18", "mobilenet_v3_small", "mnasnet0_5"):
        ours, theirs = mh.create_model(name), torchvision.models.get_model(name)
        for (key, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            scale = max(b.std().item(), 1e-3) if b.numel() > 1 else 1.0
            error = 6 / a.numel() ** 0.5
            assert abs(a.mean() - b.mean()) <= error * scale * 1.5, key
            assert a.numel() < 50 or a.std().item() == pytest.approx(b.std().item(), rel=3 * error, abs=1e-6), key


def test_stochastic_depth_and_dropout_only_while_training():
    model = mh.convnext((8, 8), (2, 2), drop_path=0.9)
    x = torch.randn(4, 3, 32, 32)
    for block in (m for m in model.modules() if hasattr(m, "layer_scale")):
        torch.nn.init.ones_(block.layer_scale)
    assert torch.equal(model.eval()(x), model(x))
    assert not torch.equal(model.train()(x), model(x))
    torch.manual_seed(3)
    first = model(x)
    torch.manual_seed(3)
    assert torch.equal(model(x), first)


def test_a_dropped_branch_is_dropped_for_whole_samples():
    block = mh._models._convnext.Block(4, 0.5, scale=1.0)
    torch.manual_seed(0)
    x = torch.randn(64, 4, 5, 5)
    branch = (block.train()(x) - x).detach()
    kept = branch.flatten(1).abs().amax(1) > 0
    assert 16 < kept.sum() < 48
    torch.testing.assert_close(branch[kept], 2 * (block.eval()(x) - x).detach()[kept], rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_compiled_by_inductor():
    model = mh.resnet(mh.Basic, (1, 1), nclasses=5).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(model, fullgraph=True)(x), model(x), rtol=1e-4, atol=1e-4)


def test_operations_are_those_of_torchvision():
    """What torchvision publishes as `_ops`: giga multiply-adds of one image of 224 × 224."""
    published = {"resnet18": 1.814, "vgg16": 15.47, "mobilenet_v2": 0.301, "densenet121": 2.834, "resnet50": 4.089}
    for name, giga in published.items():
        with torch.device("meta"):
            model = mh.create_model(name).eval()
            with flop_counter.FlopCounterMode(display=False) as counter, torch.no_grad():
                model(torch.empty(1, 3, 224, 224))
        assert counter.get_total_flops() / 2e9 == pytest.approx(giga, rel=0.01), name


def test_the_core_works_on_models():
    model = mh.vgg((1, 1), hidden=8, nclasses=3)
    x = torch.randn(2, 3, 16, 16)
    assert torchflux.outputsize(model, (2, 3, 16, 16)) == (2, 3)
    (grads,) = torchflux.gradient(lambda m: m(x).square().sum(), model)
    assert grads["features.0.weight"].shape == (64, 3, 3, 3)
    assert len(torchflux.activations(model.eval(), x)) == len(model)
