"""What every model can do, on a small member of each family; on all models where no numbers are needed."""

import copy
import io
import pickle

import pytest
import safetensors.torch
import torch
from model_comparison import randomise, trained_outputs, without_chance
from tiny_models import TINY

import metalhead as mh
from torchflux import Chain, loadmodel

# They are made of the same layers as the others, only of more of them.
SLOW_TO_EXPORT = {"googlenet", "inception_v3", "inception_v4", "inception_resnet_v2", "xception"}

each = pytest.mark.parametrize("name", TINY)


def made(name, **options):
    return randomise(TINY[name][0](nclasses=7, **options))


def images(name, *, batch=2, size=None, channels=3, dtype=torch.float32):
    size = size or TINY[name][1]
    return torch.randn(batch, channels, size, size, generator=torch.Generator().manual_seed(1)).to(dtype)


@each
def test_shape_parts_and_slices(name):
    model, x = made(name).eval(), images(name)
    with torch.no_grad():
        y, features = model(x), model.features(x)
        assert y.shape == (2, 7)
        assert features.ndim in (3, 4)
        torch.testing.assert_close(mh.classifier(model)(mh.backbone(model)(x)), y)
        torch.testing.assert_close(mh.classifier(model)(features), y)
        torch.testing.assert_close(model[2:](model[:2](x)), y)
        torch.testing.assert_close(Chain(*model)(x), y)
        assert model[-1] is list(model)[-1]
        assert len(model[1:3]) == 2
        assert model.head is model.get_submodule(model.plan.head)
        for size in TINY[name][2]:
            assert model(images(name, batch=1, size=size)).shape == (1, 7)


@each
def test_gradients_reach_every_parameter_and_checkpoints_change_nothing(name):
    model, x = without_chance(made(name)), images(name)
    twin = mh.checkpointed(copy.deepcopy(model))
    outputs, grads = trained_outputs(model, x)
    assert all(grad is not None and grad.abs().max() > 0 for grad in grads.values())
    again, recomputed = trained_outputs(twin, x)
    torch.testing.assert_close(again, outputs)
    torch.testing.assert_close(recomputed, grads)
    assert twin.state_dict().keys() == model.state_dict().keys()
    torch.testing.assert_close(dict(twin.named_buffers()), dict(model.named_buffers()))


@each
def test_dtypes(name):
    model = made(name).eval()
    with torch.no_grad():
        single = model(images(name))
        double = copy.deepcopy(model).double()(images(name, dtype=torch.float64))
        half = copy.deepcopy(model).bfloat16()(images(name, dtype=torch.bfloat16))
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-4 * double.abs().max().item())
    assert half.dtype == torch.bfloat16
    assert half.isfinite().all()
    assert (half.double() - double).abs().max() < 0.2 * double.abs().max()


@each
def test_compiled_and_exported(name):
    model, x = made(name).eval(), images(name)
    torch._dynamo.reset()
    with torch.no_grad():
        y = model(x)
        torch.testing.assert_close(torch.compile(model, backend="eager", fullgraph=True)(x), y)
        if name not in SLOW_TO_EXPORT:
            anybatch = ({0: torch.export.Dim("batch")},)
            exported = torch.export.export(model, (x,), dynamic_shapes=anybatch).module()
            torch.testing.assert_close(exported(x), y)
            torch.testing.assert_close(exported(torch.cat([x, x, x])), torch.cat([y, y, y]))


@each
def test_round_trips(name, tmp_path):
    model, x = made(name).eval(), images(name)
    y = model(x)
    other = TINY[name][0](nclasses=7).eval()
    assert not torch.equal(other(x), y)
    other.load_state_dict(model.state_dict(), strict=True)
    assert torch.equal(other(x), y)
    safetensors.torch.save_file(model.state_dict(), tmp_path / "model.safetensors")
    fresh = TINY[name][0](nclasses=7).eval()
    assert torch.equal(loadmodel(fresh, safetensors.torch.load_file(tmp_path / "model.safetensors"))(x), y)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    fresh.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(pickle.loads(pickle.dumps(fresh))(x), y)
    assert torch.equal(copy.deepcopy(fresh)(x), y)


@each
def test_pyramid(name):
    model, x = made(name).eval(), images(name)
    whole = mh.features_only(model)
    maps = whole(x)
    assert len(maps) > 1
    assert [y.shape[1 if y.ndim == 4 else -1] for y in maps] == whole.channels
    assert whole.reductions == sorted(whole.reductions)
    assert not any(key.startswith(f"{model.plan.head}.") for key in whole.state_dict())
    some = mh.features_only(model, out_indices=(-1, 0))(x)
    assert torch.equal(some[0], maps[-1])
    assert torch.equal(some[1], maps[0])
    checked = mh.checkpointed(mh.features_only(model))(x)
    assert all(torch.equal(a, b) for a, b in zip(checked, maps, strict=True))
    with pytest.raises(ValueError, match=r"no level \[9\]"):
        mh.features_only(model, out_indices=(9,))


@each
def test_other_heads_and_channels(name):
    model = made(name, inchannels=1).eval()
    model.reset_classifier(3)
    y = model(images(name, channels=1))
    assert y.shape == (2, 3)
    model.double().reset_classifier(5)
    assert model(images(name, channels=1, dtype=torch.float64)).shape == (2, 5)
    model.float().reset_classifier(0)
    features = model(images(name, channels=1))
    assert features.shape[0] == 2
    model.reset_classifier(3)
    outputs, _ = trained_outputs(without_chance(model), images(name, channels=1))
    assert all(y.shape == (2, 3) for y in outputs)


def test_compiled_in_training():
    torch._dynamo.reset()
    model, x = made("resnet"), images("resnet")
    model.add_auxiliary(
        "aux", "layer1", Chain(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(256, 7)), "2"
    )
    outputs = torch.compile(copy.deepcopy(model), backend="eager", fullgraph=True)(x)
    assert len(outputs) == 2
    for y, expected in zip(outputs, model(x), strict=True):
        torch.testing.assert_close(y, expected)
    view = mh.checkpointed(made("resnet"))
    assert torch.compile(view, backend="eager", fullgraph=True)(x).shape == (2, 7)
