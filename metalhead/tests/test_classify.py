"""Predictions: the right label, the right mode, device and dtype; what is not known is refused."""

import hashlib
import math

import numpy as np
import PIL.Image
import pytest
import safetensors.torch
import torch
from pictures import encoded, picture, shipped

import metalhead as mh
from torchflux import Chain, Dense

COLOURS = ("red", "green", "blue")
PLAIN = mh.Preprocess(16, 16, (0.0,) * 3, (1.0,) * 3)


def mean(x):
    """Scores the channels: the label is the colour of the image."""
    return 10 * x.mean((2, 3))


def coloured(colour):
    return PIL.Image.new("RGB", (20, 20), colour)


@pytest.mark.parametrize("colour", COLOURS)
def test_the_label_is_right(colour, tmp_path):
    image = coloured({"green": "lime"}.get(colour, colour))
    (tmp_path / "picture.png").write_bytes(encoded(image))
    for given in (image, tmp_path / "picture.png", encoded(image), mh.Image(image)):
        assert mh.classify(mean, given, labels=COLOURS, preprocess=PLAIN) == colour
    assert mh.classify(mean, PLAIN(image), labels=np.array(COLOURS)) == colour


def test_probabilities_are_softmax():
    prediction = mh.predict(mean, coloured((255, 51, 0)), labels=COLOURS, preprocess=PLAIN)
    assert prediction.labels == COLOURS
    weights = [math.exp(s) for s in (10, 2, 0)]
    assert prediction.probabilities == pytest.approx([w / sum(weights) for w in weights], rel=1e-6)
    assert [label for label, _ in mh.predict(mean, coloured("blue"), 1, labels=COLOURS, preprocess=PLAIN)] == ["blue"]
    assert len(prediction) == 3
    assert prediction[1] == ("green", prediction.probabilities[1])


def test_the_table():
    prediction = mh.Prediction(("a <b>", "cc"), (0.5, 0.03), mh.Image(picture("CMYK")))
    assert str(prediction).splitlines() == ["a <b>  50.0 %  ████████████", "cc      3.0 %  ▊"]
    text = prediction._repr_html_()
    assert "a &lt;b&gt;" in text
    assert "data:image/png;base64," in text
    assert "<img" not in mh.Prediction(("a",), (1.0,))._repr_html_()


def test_the_model_is_asked_in_evaluation_and_left_as_it_was():
    model = mh.create_model("squeezenet1_1", 4, generator=torch.Generator().manual_seed(0))
    model.features.eval()
    before = [m.training for m in model.modules()]
    first, second = (mh.predict(model, picture(), labels="abcd", preprocess=mh.Preprocess(72, 64)) for _ in range(2))
    assert first.probabilities == second.probabilities  # no dropout
    assert [m.training for m in model.modules()] == before
    assert True in before
    model.eval()
    with torch.no_grad():
        expected = model(mh.Preprocess(72, 64)(picture())[None])[0].softmax(0)
    assert max(first.probabilities) == pytest.approx(expected.max().item(), rel=1e-5)
    doubled = mh.predict(model.double(), picture(), labels="abcd", preprocess=mh.Preprocess(72, 64))
    assert doubled.probabilities == pytest.approx(first.probabilities, rel=1e-4)
    assert all(p.grad is None for p in model.parameters())
    quick = mh.fastest(model.float().train(), torch.zeros(2, 3, 64, 64), compile=False, rounds=1)
    third = mh.predict(quick, picture(), labels="abcd", preprocess=mh.Preprocess(72, 64))
    assert third.probabilities == pytest.approx(first.probabilities, rel=1e-4)
    assert model.training


def test_weights_bring_labels_and_preprocessing(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHFLUX_CACHE", str(tmp_path))
    path, donor = tmp_path / "w.safetensors", mh.create_model("squeezenet1_1", 3)
    safetensors.torch.save_file(dict(donor.state_dict()), path)
    entry = mh.Weights(
        name="colours.v1",
        model="squeezenet1_1",
        url=path.as_uri(),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        preprocessing=mh.Preprocess(72, 64),
        labels=COLOURS,
    )
    entry.fetch()
    model = mh.create_model("squeezenet1_1", weights=entry)
    prediction = mh.predict(model, shipped("chelsea.png"))
    donor.eval()
    with torch.no_grad():
        expected = donor(mh.Preprocess(72, 64)(shipped("chelsea.png"))[None])[0].softmax(0)
    assert mh.classify(model, shipped("chelsea.png")) == COLOURS[expected.argmax()]
    assert prediction.probabilities == pytest.approx(expected.sort(descending=True).values.tolist(), rel=1e-5)
    assert prediction.image.size == (64, 64)
    with pytest.raises(ValueError, match="has 2 classes and 0 labels"):
        mh.classify(mh.create_model("squeezenet1_1", 2, weights=entry), shipped("chelsea.png"))

    other = mh.create_model("squeezenet1_1", 3)
    mh.load_weights(other, entry)
    assert other.weights == model.weights == entry
    mh.load_weights(other, donor.state_dict())  # of which nobody says what they were trained on
    assert other.weights is None
    mh.load_weights(other, entry, adapt=["head"])
    model.reset_classifier(3)
    for fresh in (model, other):  # which has as many classes as before, but others
        assert fresh.weights.preprocessing == entry.preprocessing
        with pytest.raises(ValueError, match="has 3 classes and 0 labels"):
            mh.classify(fresh, shipped("chelsea.png"))


def test_what_is_not_known_is_refused():
    with pytest.raises(ValueError, match="give preprocess="):
        mh.classify(mean, coloured("red"), labels=COLOURS)
    with pytest.raises(ValueError, match="give preprocess="):
        mh.classify(mean, torch.zeros(3, 16, 16, dtype=torch.uint8), labels=COLOURS)
    with pytest.raises(ValueError, match="3 classes and 0 labels"):
        mh.classify(mean, coloured("red"), preprocess=PLAIN)
    with pytest.raises(ValueError, match="3 classes and 2 labels"):
        mh.classify(mean, coloured("red"), labels="ab", preprocess=PLAIN)
    with pytest.raises(ValueError, match="NaN"):
        mh.classify(lambda x: mean(x) * torch.nan, coloured("red"), labels=COLOURS, preprocess=PLAIN)
    with pytest.raises(ValueError, match="shape"):
        mh.classify(lambda x: x, coloured("red"), labels=COLOURS, preprocess=PLAIN)
    with pytest.raises(ValueError, match="one image"):
        mh.classify(mean, torch.zeros(2, 3, 8, 8), labels=COLOURS)
    with pytest.raises(ValueError, match="at least 1"):
        mh.predict(mean, coloured("red"), 0, labels=COLOURS, preprocess=PLAIN)


def test_a_trained_model_knows_its_digits():
    """Not a label somewhere in the list: the first, on images that the model was not trained on."""
    datasets = pytest.importorskip("sklearn.datasets")
    digits = datasets.load_digits()
    x, y = torch.from_numpy(digits.images).float()[:, None] / 16, torch.from_numpy(digits.target)
    ridge = x[:1500].flatten(1).T @ x[:1500].flatten(1) + torch.eye(64)
    targets = torch.nn.functional.one_hot(y[:1500], 10).float() * 2 - 1
    layer = Dense(64, 10)
    with torch.no_grad():
        layer.weight.copy_(torch.linalg.solve(ridge, x[:1500].flatten(1).T @ targets).T)
        layer.bias.zero_()
    model = Chain(lambda x: x.flatten(1), layer)
    plain = mh.Preprocess(8, 8, (0.0,), (1.0,))
    images = [mh.Image.of(array, "L", "HW", white=16.0) for array in digits.images[1500:].astype(np.float32)]
    found = [mh.classify(model, image, labels=range(10), preprocess=plain) for image in images]
    assert np.mean(np.array(found) == digits.target[1500:]) > 0.85
