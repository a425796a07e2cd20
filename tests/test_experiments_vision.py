"""The experiments with images: a short version of each learns, and what its numbers stand on."""

import itertools
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import metalhead as mh
from torchflux_lab import find

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")
skimage = pytest.importorskip("skimage")
Short = Callable[..., dict[str, Any]]
FOLDER = Path(__file__).parent.parent / "experiments"


def test_digits(short: Short) -> None:
    results = short("digits", "rounds=1", "folds=2", "epochs=4", "dropout=0")
    assert results["accuracy"] > 0.85
    assert results["images misread"] == round(1797 * (1 - results["accuracy"]))


def test_digits_are_held_out_once_in_a_round_and_not_learnt_then() -> None:
    with find("digits", FOLDER).loaded():
        parts = sys.modules["digits"].folds(5, seed=3)
        assert sorted(i for _, held_out in parts for i in held_out) == list(range(1797))
        for learnt, held_out in parts:
            assert sorted(learnt + held_out) == list(range(1797))
        assert parts != sys.modules["digits"].folds(5, seed=4)


def test_digits_misread_are_told_from_those_read() -> None:
    """A network that says 3 to everything misreads all but the threes, image by image and in batches."""
    with find("digits", FOLDER).loaded():
        script = sys.modules["digits"]
        data = script.whole(script.DIGITS.map(script.PREPROCESS))
        three = torch.nn.Module()
        three.forward = lambda x: torch.eye(10)[3].expand(len(x), 10)  # type: ignore[method-assign]
        labels = torch.tensor([data[i][1] for i in range(len(data))])
        assert torch.equal(script.wrong(three, data), labels != 3)
        assert torch.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # UCI's test set


def refused(*_: object, **__: object) -> None:
    raise AssertionError("the network was asked")


def test_vgg_cifar_says_that_its_images_are_not_cifars(
    short: Short, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mh, "download", refused)
    results = short("vgg-cifar", "train=200", "test=100", "epochs=1", "repeats=1", "batch=20")
    assert results["images"] == {"train": 200, "test": 100}
    assert results["stand-in"].keys() == {"accuracy", "by class", "nearest neighbour"}
    assert not [name for name in results if "CIFAR" in name]
    said = "".join(capsys.readouterr())
    assert "NOT CIFAR-10's IMAGES" in said
    assert "--set folder=FOLDER --set download=true" in said


def test_vgg_cifar_learns_from_files_of_the_format(short: Short, tmp_path: Path) -> None:
    """Written byte by byte as the data set's page says: each class is of another colour, with noise."""
    folder, draws = tmp_path / "data" / "cifar-10-batches-bin", np.random.default_rng(0)
    colours = [*itertools.product((40, 215), repeat=3), (128, 128, 128), (128, 40, 215)]
    folder.mkdir(parents=True)
    for name, n in [(f"data_batch_{k}.bin", 80) for k in range(1, 6)] + [("test_batch.bin", 100)]:
        content = bytearray()
        for y in range(n):
            planes = [draws.normal(level, 10, 1024).clip(0, 255).astype(np.uint8) for level in colours[y % 10]]
            content += bytes([y % 10]) + b"".join(plane.tobytes() for plane in planes)
        (folder / name).write_bytes(content)
    settings = (f"folder={tmp_path / 'data'}", "epochs=2", "repeats=1", "batch=20", "rate=0.01", "dropout=0")
    results = short("vgg-cifar", *settings)
    found = results[f"files of {tmp_path / 'data'}"]  # which is not CIFAR-10, since there are not 60,000
    assert found["accuracy"] > 0.6
    assert list(found["by class"])[:3] == ["airplane", "automobile", "bird"]


def test_vgg_cifar_fetches_when_told_and_only_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with find("vgg-cifar", FOLDER).loaded() as program:
        script, asked = sys.modules["vgg-cifar"], []
        monkeypatch.setattr(mh, "download", lambda which, folder: asked.append((which, folder)) or folder)
        with pytest.raises(FileNotFoundError, match=r"data_batch_1.bin; metalhead.download gets it, once asked"):
            script.read(program.parameters(folder=str(tmp_path)))
        assert not asked
        with pytest.raises(FileNotFoundError):  # this download leaves nothing
            script.read(program.parameters(folder=str(tmp_path), download=True))
        assert asked == [("cifar10", str(tmp_path))]
        with pytest.raises(ValueError, match="download=true needs a folder"):
            program.parameters(download=True)


def test_vgg_cifars_stand_in_shows_what_its_classes_say(tmp_path: Path) -> None:
    """Read by metalhead, each image is of the file's class; the shapes have geometry's areas and symmetries."""
    with find("vgg-cifar", FOLDER).loaded():
        standin = sys.modules["standin"]
    standin.write(tmp_path, train=101, test=40, seed=0)
    parts = mh.cifar10(tmp_path)
    assert (len(parts.train), len(parts.test)) == (101, 40)
    rng = torch.Generator().manual_seed(0)
    classes = torch.randint(10, (21,), generator=rng)  # data_batch_1.bin has the 1st, 6th, ... of 101
    assert parts.train.targets[:21] == classes.tolist()
    seen = torch.stack([image.values() for image, _ in parts.train[:21]])
    assert torch.equal(seen, standin.images(classes, rng))
    radius, centre = 7 + 4 * torch.rand(400, generator=rng), 8 * torch.rand(400, 2, generator=rng) - 4
    areas = {"disc": math.pi, "ring": math.pi * (1 - 0.55**2), "square": 1.7**2, "frame": 1.7**2 - 0.9**2}
    areas |= {"triangle": 1.8 * (2 * 1.8 / 1.8) / 2, "plus": 2 * (2 * 0.6) - 0.6**2}
    for name, area in areas.items():  # of a shape that reaches from -1 to 1
        seen = standin.masks(torch.full((400,), standin.SHAPES.index(name)), centre, radius).sum((1, 2)) / radius**2
        assert seen.mean().item() == pytest.approx(area, rel=0.02), name
    middle = standin.masks(torch.arange(10), torch.zeros(10, 2), torch.full((10,), 10.0))
    masks = dict(zip(standin.SHAPES, middle, strict=True))
    symmetric = lambda name, *dims: torch.equal(masks[name], masks[name].flip(dims))
    assert all(
        symmetric(name, 0) and symmetric(name, 1) for name in ("disc", "ring", "square", "frame", "plus", "cross")
    )
    assert symmetric("triangle", 1)
    assert not symmetric("triangle", 0)
    assert torch.equal(masks["rows"], masks["columns"].T)


def test_faces(short: Short) -> None:
    results = short("faces", "splits=1", "images=60", "before=15", "looks=5,30", "rate=0.003")
    ways = {"random weights", "photographs", "digits"}
    assert results["errors"]["5 steps"].keys() == ways
    assert results["errors"]["30 steps"].keys() == ways | {"logistic regression"}
    for way, row in results["errors"]["30 steps"].items():
        assert row["60 images"]["mean"] < 0.15, way  # by guessing 0.5
    gain = results["less than from random weights"]["30 steps"]["digits"]["60 images"]["mean"]
    both = (results["errors"]["30 steps"][way]["60 images"]["mean"] for way in ("random weights", "digits"))
    assert gain == pytest.approx(next(both) - next(both), abs=1e-4)


def test_faces_are_split_without_overlap_and_in_halves() -> None:
    with find("faces", FOLDER).loaded():
        script = sys.modules["faces"]
    assert script.FACES.shape == (200, 1, 25, 25)
    assert script.ISFACE.sum() == 100
    for seed in range(3):
        learnt, held_out = script.split(seed)
        assert sorted(torch.cat([learnt, held_out]).tolist()) == list(range(200))
        assert script.ISFACE[held_out].sum() == 50
        assert script.ISFACE[learnt[:10]].tolist() == [0, 1] * 5
    assert not torch.equal(script.split(0)[0], script.split(1)[0])


def test_faces_begin_where_the_first_task_ended() -> None:
    """All but the head is as it was there; without weights it isn't."""
    with find("faces", FOLDER).loaded() as program:
        script, p = sys.modules["faces"], program.parameters(looks=(1,), rate=0.0)
        before, x = script.network(16).state_dict(), script.FACES[:20]
        after, fresh = (
            next(script.learn(x, script.ISFACE[:20], 0, weights, p))[1].state_dict() for weights in (before, None)
        )
    moved = [key for key in after if not torch.equal(after[key], before[key])]
    assert [key for key in moved if "running" not in key and "tracked" not in key] == ["fc.weight", "fc.bias"]
    assert not torch.equal(fresh["layer1.0.conv1.weight"], before["layer1.0.conv1.weight"])
    assert after["fc.weight"].shape == (2, 128)


def test_faces_are_judged_with_statistics_that_are_up_to_date() -> None:
    """What a network in evaluation mode says is what it says of a batch; with running means of before it isn't."""
    with find("faces", FOLDER).loaded():
        script = sys.modules["faces"]
    torch.manual_seed(0)
    model, x = script.network(2), script.FACES
    seeded = lambda: torch.Generator().manual_seed(0)
    rng = seeded()
    batch = script.AUGMENT(x[torch.randint(len(x), (100,), generator=rng)], rng)
    before = script.scores(model.eval(), batch)
    due = script.scores(model.train(), batch)
    assert torch.allclose(script.scores(script.settled(model, x, seeded()), batch), due, atol=0.02)
    assert (before - due).abs().max() > 0.2


def test_faces_photographs_are_cut_where_they_say() -> None:
    """A patch is found pixel by pixel in its own photograph, at one of the three sizes, and in no other."""
    with find("faces", FOLDER).loaded():
        sources = sys.modules["sources"]
    x, y = sources.patches(each=2)
    assert torch.bincount(y).tolist() == [2] * 16
    patch = x[0] * 0.25 + 0.5

    def nearest(name: str) -> float:
        image = mh.load(next((Path(skimage.__file__).parent / "data").glob(f"{name}.*"))).to("L")
        scaled = [mh.resize(image, size).values() / 255 for size in (48, 72, 108)]
        places = [whole.unfold(1, 25, 1).unfold(2, 25, 1) for whole in scaled]  # (1, rows, columns, 25, 25)
        return min((place - patch).abs().amax((0, 3, 4)).min().item() for place in places)

    assert nearest("brick") < 1e-6
    assert nearest("grass") > 0.05


def test_faces_saliency_of_a_linear_network_is_its_weights() -> None:
    with find("faces", FOLDER).loaded():
        looks = sys.modules["looks"]
    rng = torch.Generator().manual_seed(0)
    weight, x = torch.randn(2, 1, 5, 5, generator=rng), torch.randn(3, 1, 5, 5, generator=rng)
    model = lambda x: (x[:, None] * weight).sum((2, 3, 4))
    importance = looks.saliency(model, x, rng)
    due = (weight[1] - weight[0])[0]
    assert torch.allclose(importance, due.abs().expand(3, 5, 5))
    smooth = looks.smoothed(x, importance, share=0.2)
    changed = smooth != x
    assert changed.sum((1, 2, 3)).tolist() == [5, 5, 5]
    assert due.abs()[changed[0, 0]].min() >= due.abs()[~changed[0, 0]].max()
    i, j = divmod(due.abs().argmax().item(), 5)
    around = x[1, 0, max(0, i - 2) : i + 3, max(0, j - 2) : j + 3]
    assert smooth[1, 0, i, j].item() == pytest.approx(around.mean().item(), rel=1e-5)
    lost = ((x - looks.smoothed(x, importance))[:, 0] * due).sum((1, 2)).mean().item()
    assert looks.lost(model, x, importance) == pytest.approx(lost, rel=1e-4)
