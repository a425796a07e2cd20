"""Weights: files, recognition by names, fitting, errors, and the cache."""

import hashlib
import re

import pytest
import safetensors.torch
import torch
from model_comparison import randomise, seeded

import metalhead as mh
from torchflux import state


def donor(name="resnet18", **options):
    return randomise(mh.create_model(name, **{"nclasses": 7, **options})).eval()


def result(model, channels=3, size=40):
    with torch.no_grad():
        return model.eval()(torch.randn(2, channels, size, size, generator=seeded()))


@pytest.mark.parametrize("kind", ["safetensors", "pth", "nested", "named", "wrapped", "averaged", "timm", "dict"])
def test_files(kind, tmp_path):
    model, path = donor(), tmp_path / "weights.bin"
    tensors = dict(model.state_dict())
    if kind == "safetensors":
        safetensors.torch.save_file(tensors, path)
    elif kind == "nested":
        torch.save({"epoch": 3, "model_state_dict": tensors}, path)
    elif kind == "named":
        torch.save({"model": "resnet18", "net": tensors}, path)
    elif kind == "averaged":  # as torchvision's training script keeps the moving average beside the model
        average = {"n_averaged": torch.tensor(3), **{f"module.{key}": x for key, x in tensors.items()}}
        torch.save({"model": dict(mh.create_model("resnet18", 7).state_dict()), "model_ema": average}, path)
    elif kind == "timm":
        torch.save({"state_dict": dict(mh.create_model("resnet18", 7).state_dict()), "state_dict_ema": tensors}, path)
    elif kind == "wrapped":
        torch.save({f"module.{key}": x for key, x in tensors.items()}, path)
    else:
        torch.save(tensors, path)
    loaded = mh.create_model("resnet18", weights=tensors if kind == "dict" else path)
    assert torch.equal(result(loaded), result(model))
    assert loaded.head.weight.shape == (7, 512)  # as many classes as in the file


def test_files_that_are_no_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no weights at .*gone"):
        mh.read_weights(tmp_path / "gone.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(ValueError, match=r"text.pth is neither a safetensors file nor weights"):
        mh.read_weights(tmp_path / "text.pth")
    (tmp_path / "empty.pth").write_bytes(b"")
    with pytest.raises(ValueError, match="neither"):
        mh.read_weights(tmp_path / "empty.pth")
    safetensors.torch.save_file({"a": torch.zeros(1000)}, tmp_path / "cut.safetensors")
    content = (tmp_path / "cut.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[:500])
    with pytest.raises(ValueError, match="cut short"):
        mh.read_weights(tmp_path / "cut.safetensors")
    torch.save({"lr": 0.1}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="holds no tensors by name, but a dict"):
        mh.read_weights(tmp_path / "other.pth")
    torch.save(mh.create_model("squeezenet1_1", 2), tmp_path / "pickled.pth")  # a whole model: code would be run
    with pytest.raises(ValueError, match="neither"):
        mh.read_weights(tmp_path / "pickled.pth")


def test_what_is_no_source_of_weights(tmp_path):
    with pytest.raises(TypeError, match="an entry of published ones, not True"):
        mh.create_model("resnet18", weights=True)
    with pytest.raises(FileNotFoundError, match=r"no weights at DEFAULT; .* published\(name\)"):
        mh.create_model("resnet18", weights="DEFAULT")
    with pytest.raises(TypeError, match="into a Model, not into a Linear"):
        mh.load_weights(torch.nn.Linear(2, 2), {})
    for wrong in ("stem", ["heads"]):
        with pytest.raises(ValueError, match="adapt is a list of head, positions, stem, not"):
            mh.load_weights(mh.create_model("resnet18", 7), donor().state_dict(), adapt=wrong)


@pytest.mark.parametrize("change", [torch.Tensor.long, torch.Tensor.cfloat, torch.Tensor.to_sparse])
def test_numbers_that_mean_something_else_are_refused(change):
    """Whole ones would have a scale, of complex ones a part would be lost."""
    weights = {key: change(x) if key == "fc.weight" else x for key, x in donor().state_dict().items()}
    with pytest.raises(ValueError, match=r"fc.weight: torch\.\w+ \(torch\.\w+\), the model's are dense floats"):
        mh.create_model("resnet18", weights=weights)


def test_another_class_count():
    weights = state(donor())
    for nclasses in (3, 0):
        model = mh.create_model("resnet18", nclasses, weights=weights)
        assert torch.equal(result(model.features), result(donor().features))
        assert result(model).shape == (2, nclasses or 512)
    model = mh.create_model("resnet18", 3)
    assert mh.load_weights(model, weights, adapt=["head"]) == ["fc.weight", "fc.bias"]


def test_other_channels():
    weights, x = dict(donor().state_dict()), torch.randn(2, 1, 40, 40, generator=seeded())
    with torch.no_grad():
        gray = donor()(x.expand(-1, 3, -1, -1))
        torch.testing.assert_close(mh.create_model("resnet18", None, 1, weights=weights).eval()(x), gray)
        for n in (4, 6, 2):  # what all channels have in common gives the same result
            expected = gray if n == 6 else None
            found = mh.create_model("resnet18", None, n, weights=weights).eval()(x.expand(-1, n, -1, -1))
            assert found.shape == gray.shape
            if expected is not None:
                torch.testing.assert_close(found, expected)


def test_other_channels_as_timm_has_it(timm):
    weight = torch.randn(5, 3, 2, 2, generator=seeded())
    for n in (1, 2, 4, 6, 7):
        expected = timm.models.adapt_input_conv(n, weight.clone())
        torch.testing.assert_close(mh._loading._with_channels(weight, n), expected)


def test_another_size_of_image_for_a_vit(timm):
    weights = donor("vit_ti_16", imsize=64).state_dict()
    model = mh.create_model("vit_ti_16", weights=weights, imsize=96)
    expected = timm.layers.resample_abs_pos_embed(weights["encoder.pos_embedding"], (6, 6), num_prefix_tokens=1)
    torch.testing.assert_close(model.encoder.pos_embedding, expected)
    assert result(model, size=96).shape == (2, 7)
    with pytest.raises(ValueError, match=r"pos_embedding: \(1, 17, 192\), the model's is \(1, 197, 192\)"):
        mh.create_model("vit_ti_16", weights=weights)


def test_local_weights_and_a_pyramid(tmp_path):
    torch.save(donor().state_dict(), tmp_path / "w.pth")
    pyramid = mh.create_model("resnet18", weights=tmp_path / "w.pth", features=(1, 4)).eval()
    with torch.no_grad():
        maps = pyramid(torch.randn(2, 3, 40, 40, generator=seeded()))
    assert torch.equal(maps[1], result(donor().features))


TIMM = {
    "mobilenet_v2": ("mobilenetv2_100", {}),
    "convnext_tiny": ("convnext_tiny", {}),
    "mobilenet_v3_small": ("mobilenetv3_small_100", {"eps": 1e-5}),
    "densenet121": ("densenet121", {}),
}


@pytest.mark.parametrize("name", TIMM)
def test_checkpoints_of_timm(timm, name, tmp_path):
    theirs, options = TIMM[name]
    other = randomise(timm.create_model(theirs, num_classes=7)).eval()
    safetensors.torch.save_file(other.state_dict(), tmp_path / "timm.safetensors")
    model = mh.create_model(name, weights=tmp_path / "timm.safetensors", **options)
    expected = result(other)
    torch.testing.assert_close(result(model), expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())


def test_timms_weights_whose_eps_is_not_known(timm):
    weights = timm.create_model("mobilenetv3_small_100", num_classes=7).state_dict()
    with pytest.raises(ValueError, match=r"these are timm's weights for mobilenet_v3_small; .* eps=1e-5"):
        mh.create_model("mobilenet_v3_small", weights=weights)


def test_older_files_of_torchvision():
    model = donor("densenet121")
    old = re.compile(r"(denselayer\d+\.(?:norm|conv))([12])\.")
    weights = {old.sub(r"\1.\2.", k): x for k, x in model.state_dict().items() if "num_batches" not in k}
    assert any(".norm.1." in key for key in weights)
    assert torch.equal(result(mh.create_model("densenet121", weights=weights)), result(model))


def test_heads_that_are_only_for_training():
    model = donor("googlenet")
    weights = model.state_dict()
    fewer = mh.create_model("googlenet", weights=weights, auxiliaries=False)
    assert torch.equal(result(fewer), result(model))
    other = mh.create_model("googlenet", 3, weights=weights)
    assert other.aux1.fc2.weight.shape == (3, 1024)
    assert torch.equal(other.aux1.fc1.weight, model.aux1.fc1.weight)


def test_mismatches_are_named_and_change_nothing():
    model, weights = mh.create_model("resnet18", 7), dict(donor().state_dict())
    before = {key: x.clone() for key, x in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"fc.weight: \(7, 512\), the model's is \(5, 512\)"):
        mh.load_weights(mh.create_model("resnet18", 5), weights)
    wrong = {**weights, "surplus": torch.zeros(3)}
    del wrong["layer1.0.conv1.weight"]
    text = r"don't fit resnet18:\n  missing: layer1.0.conv1.weight \(64, 64, 3, 3\)\n  not in the model: surplus \(3,\)"
    with pytest.raises(ValueError, match=text):
        mh.load_weights(model, wrong)
    with pytest.raises(ValueError, match=r"and \d+ more"):
        mh.create_model("resnet50", weights=weights)
    transposed = {**weights, "fc.weight": weights["fc.weight"].T}
    with pytest.raises(ValueError, match=r"fc\.weight"):
        mh.load_weights(model, transposed)
    assert all(torch.equal(x, before[key]) for key, x in model.state_dict().items())


def test_published_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHFLUX_CACHE", str(tmp_path / "cache"))
    model, path = donor("squeezenet1_1"), tmp_path / "there.safetensors"
    safetensors.torch.save_file(dict(model.state_dict()), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    weights = mh.Weights("squeezed.v1", "squeezenet1_1", path.as_uri(), digest, metrics={"acc@1": 58.2})
    with pytest.raises(FileNotFoundError, match=r"squeezed.v1 is not in the cache .*fetch it first"):
        mh.create_model("squeezenet1_1", weights=weights)
    assert weights.fetch() == weights.path
    assert weights.fetch().parent == tmp_path / "cache" / "weights"
    assert torch.equal(result(mh.create_model("squeezenet1_1", weights=weights)), result(model))
    assert [file.name for file in weights.path.parent.iterdir()] == [weights.path.name]  # nothing else is left

    weights.path.write_bytes(b"spoiled")
    with pytest.raises(ValueError, match=f"squeezed.v1 has {digest}"):
        mh.create_model("squeezenet1_1", weights=weights)
    wrong = mh.Weights("wrong.v1", "squeezenet1_1", path.as_uri(), "0" * 64)
    with pytest.raises(ValueError, match=f"^{path.as_uri()} has the SHA-256 .*: it isn't kept"):
        wrong.fetch()
    assert not wrong.path.exists()
    with pytest.raises(ValueError, match="hexadecimal"):
        mh.Weights("bad", "resnet18", path.as_uri(), "xyz")
    with pytest.raises(ValueError, match="are for squeezenet1_1"):
        mh.create_model("squeezenet1_0", weights=weights)
