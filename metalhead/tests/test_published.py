"""The table of published weights says what torchvision says."""

import pytest

import metalhead as mh


def test_every_entry(torchvision):
    names = mh.list_weights()
    assert len(names) >= 70
    for name in names:
        weights = mh.published(name)
        models = torchvision.models
        theirs = next(w for w in models.get_model_weights(weights.model) if w.name.lower() == name.partition(".")[2])
        assert weights.url == theirs.url
        assert weights.metrics == theirs.meta["_metrics"]["ImageNet-1K"]
        assert weights.labels == tuple(theirs.meta["categories"])
        assert weights.source.startswith(theirs.meta["recipe"])
        assert ("NC" in weights.source) == ("SWAG" in theirs.meta.get("license", ""))
        steps, ours = theirs.transforms(), weights.preprocessing
        assert ([ours["size"]], [ours["crop"]]) == (steps.resize_size, steps.crop_size)
        assert ours["interpolation"] == steps.interpolation.value
        if weights.model not in ("googlenet", "inception_v3"):  # they convert what they get
            assert (list(ours["mean"]), list(ours["std"])) == (steps.mean, steps.std)
        assert weights.sha256 in weights.url


def test_the_normalisation_of_models_that_torchvision_gives_another():
    """x → 2 x - 1 is what its `transform_input` makes of an image that was normalised for the others."""
    mean, std = (mh.published("resnet18").preprocessing[key] for key in ("mean", "std"))
    ours = mh.published("inception_v3").preprocessing
    for pixel in (0.0, 0.3, 1.0):
        for channel in range(3):
            normalised = (pixel - mean[channel]) / std[channel]
            theirs = normalised * (std[channel] / 0.5) + (mean[channel] - 0.5) / 0.5
            assert (pixel - ours["mean"][channel]) / ours["std"][channel] == pytest.approx(theirs)


def test_names():
    assert mh.published("vit_b_16").name == "vit_b_16.imagenet1k_v1"
    with pytest.raises(ValueError, match=r"there are no weights 'resnet50.v2'; near are .*resnet50.imagenet1k"):
        mh.published("resnet50.v2")
    with pytest.raises(FileNotFoundError, match="fetch it first"):
        mh.create_model("resnet18", weights=mh.published("resnet18"))
