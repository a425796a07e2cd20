"""Augmentation: each change against torchvision's or a closed form; draws that are seeded, one for each image."""

import math

import numpy as np
import PIL.Image
import pytest
import torch
from PIL import ImageEnhance, ImageOps

import metalhead as mh
from metalhead import _colour as colour
from metalhead._augment import inside, random_boxes
from metalhead._randaugment import CHANGES
from metalhead._warp import rotation, warp


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=4, channels=3, height=20, width=31, seed=0):
    """Of 256 levels, as photographs are."""
    return torch.randint(0, 256, (n, channels, height, width), generator=seeded(seed)).float() / 255


def agree(found, expected, atol=1e-5):
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


EVERY = {
    "Flip": mh.Flip(),
    "RandomCrop": mh.RandomCrop(16, pad=2),
    "RandomResizedCrop": mh.RandomResizedCrop(16),
    "RandomErasing": mh.RandomErasing(),
    "RandomRotation": mh.RandomRotation(20),
    "ColourJitter": mh.ColourJitter(0.4, 0.4, 0.4, 0.1),
    "RandAugment": mh.RandAugment(),
    "Augment": mh.Augment(mh.Flip(), mh.RandomCrop(16)),
}


@pytest.mark.parametrize("augment", EVERY.values(), ids=EVERY)
@pytest.mark.parametrize("channels", [1, 3])
def test_contract(augment, channels):
    x = images(16, channels)
    before, state = x.clone(), torch.random.get_rng_state()
    y = augment(x, seeded())
    assert torch.equal(y, augment(x, seeded()))
    assert not torch.equal(y, augment(x, seeded(1)))
    assert torch.equal(x, before)  # nothing in place
    assert torch.equal(torch.random.get_rng_state(), state)  # nothing from the global generator
    assert y.dtype == torch.float32
    assert y.min() >= 0
    assert y.max() <= 1
    same = augment(x[:1].expand(16, -1, -1, -1), seeded())
    assert len({tuple(image.flatten().tolist()) for image in same}) > 1  # every image has a draw of its own
    assert augment(x.double(), seeded()).dtype == torch.float64
    for dtype in (torch.float16, torch.bfloat16):
        coarse = augment(x.to(dtype), seeded())
        assert coarse.dtype == dtype
        assert (coarse.float() - y).abs().median() < 0.01
    assert augment(x[:0], seeded()).shape[0] == 0
    with pytest.raises(ValueError, match="augmentation is of floats"):
        augment(x[0], seeded())
    with pytest.raises(ValueError, match=r"not torch.uint8 \(16, "):
        augment((x * 255).byte(), seeded())


def test_flips():
    x = images(400, 1, 2, 3)
    y = mh.Flip(0.25)(x, seeded())
    flipped = (y == x.flip(-1)).flatten(1).all(1)
    assert 60 < flipped.sum() < 140
    assert torch.equal(y[~flipped], x[~flipped])
    assert torch.equal(mh.Flip(1.0, vertical=True)(x, seeded()), x.flip(-2))


def test_what_is_certain_is_so_in_coarse_numbers_too():
    """Of 10,000 draws about 20 are rounded to 1 in bfloat16."""
    x = torch.tensor([0.0, 1.0], dtype=torch.bfloat16).expand(10_000, 1, 1, 2)
    assert mh.Flip(p=1.0)(x, seeded())[..., 0].float().mean() == 1
    assert (mh.RandomErasing(1.0, (0.9, 1.0), (1.9, 2.1), fill=5.0)(x, seeded()) == 5).float().mean() > 0.999


def test_crops_are_parts_of_the_padded_image():
    x = torch.arange(1.0, 31).reshape(1, 1, 5, 6).expand(300, 2, -1, -1)
    padded = torch.nn.functional.pad(x, [1] * 4, value=-1.0)[0]
    found = mh.RandomCrop(4, pad=1, fill=-1.0)(x, seeded())
    parts = {tuple(padded[:, t : t + 4, l : l + 4].flatten().tolist()) for t in range(4) for l in range(5)}
    assert {tuple(part.flatten().tolist()) for part in found} == parts  # every place, and nothing else
    with pytest.raises(ValueError, match="a crop of 9 doesn't fit images of 5 × 6"):
        mh.RandomCrop(9)(x, seeded())


def test_resized_crops(torchvision):
    crop, x = mh.RandomResizedCrop(12, scale=(0.3, 0.6)), images(64)
    boxes, parts = crop.boxes(x, seeded()), crop(x, seeded())
    for (top, left, h, w), image, part in zip(boxes, x, parts, strict=True):
        expected = torchvision.transforms.functional.resized_crop(image, top, left, h, w, [12, 12], antialias=True)
        agree(part, expected)
        assert 0.3 * 620 - 16 < h * w < 0.6 * 620 + 16
        assert 0.6 < w / h < 1.5
        assert top >= 0
        assert left >= 0
        assert top + h <= 20
        assert left + w <= 31
    wide = mh.RandomResizedCrop(4, scale=(1.0, 1.0), ratio=(3 / 4, 4 / 3)).boxes(images(1, 1, 10, 100), seeded())
    assert wide == [[0, 43, 10, 13]]  # nothing of that area fits: the largest middle


def test_boxes_have_the_area_and_the_aspect_asked_for():
    x = torch.zeros(2000, 1, 100, 100)
    box, fits = random_boxes(x, (0.1, 0.3), (0.5, 2.0), seeded())
    assert fits.all()
    area, aspect = box[:, 2] * box[:, 3] / 1e4, (box[:, 3] / box[:, 2]).log() / math.log(2)
    assert area.mean() == pytest.approx(0.2, abs=0.005)  # uniform
    assert area.std() == pytest.approx(0.2 / 12**0.5, abs=0.004)
    assert aspect.mean() == pytest.approx(0, abs=0.05)
    assert aspect.std() == pytest.approx(2 / 12**0.5, abs=0.03)


def test_erasing():
    x = images(500, 2, 12, 12) + 1
    y = mh.RandomErasing(0.4, scale=(0.25, 0.25), ratio=(1.0, 1.0), fill=-1.0)(x, seeded())
    gone = y == -1
    assert torch.equal(y[~gone], x[~gone])
    counts = gone.sum((1, 2, 3))
    assert set(counts.tolist()) == {0, 2 * 36}  # squares of a quarter
    assert 160 < (counts > 0).sum() < 240
    corner = inside(torch.tensor([[1, 2, 3, 4]]), torch.zeros(1, 1, 12, 12))
    assert corner.nonzero()[:, 2:].amin(0).tolist() == [1, 2]
    assert corner.nonzero()[:, 2:].amax(0).tolist() == [3, 5]


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_rotation(torchvision, interpolation):
    x, angles = images(), torch.tensor([30.0, -77, 0, 200])
    mode = torchvision.transforms.InterpolationMode(interpolation)
    y = warp(x.double(), rotation(angles.double(), 20, 31), interpolation)
    for found, image, angle in zip(y, x.double(), angles, strict=True):
        expected = torchvision.transforms.functional.rotate(image, angle.item(), mode)
        assert ((found - expected).abs() > 1e-5).double().mean() < (
            0.01 if interpolation == "nearest" else 1e-9
        )  # ties
    square = images(1, 3, 8, 8).double()
    quarter = warp(square, rotation(torch.tensor([90.0]).double(), 8, 8), interpolation)
    agree(quarter, square.rot90(1, (2, 3)), 1e-9)
    filled = warp(torch.ones(1, 1, 8, 8), rotation(torch.tensor([45.0]), 8, 8), "nearest", fill=0.25)
    assert filled.unique().tolist() == [0.25, 1.0]


FACTORS = torch.tensor([0.3, 1.0, 1.7, 0.0])


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "sharpness"])
@pytest.mark.parametrize("channels", [1, 3])
def test_factors(torchvision, name, channels):
    x = images(channels=channels)
    change, theirs = getattr(colour, name), getattr(torchvision.transforms.functional, f"adjust_{name}")
    expected = torch.stack([theirs(image, factor.item()) for image, factor in zip(x, FACTORS, strict=True)])
    agree(change(x, FACTORS), expected, 2e-6)
    agree(change(x, torch.ones(4)), x, 1e-6)
    assert (change(x, FACTORS + 0.1) - expected).abs().max() > 0.01 or (name, channels) == ("saturation", 1)


def test_factors_as_pillow_has_them():
    x = images(1)
    pillow = PIL.Image.fromarray((x[0] * 255).byte().permute(1, 2, 0).numpy())
    pairs = {"Brightness": colour.brightness, "Color": colour.saturation, "Sharpness": colour.sharpness}
    for name, change in pairs.items():
        expected = torch.from_numpy(np.array(getattr(ImageEnhance, name)(pillow).enhance(0.6))).permute(2, 0, 1) / 255
        agree(change(x, torch.tensor([0.6]))[0], expected, 1.6 / 255)
    expected = torch.from_numpy(np.array(ImageOps.equalize(pillow))).permute(2, 0, 1) / 255
    agree(colour.equalize(x)[0], expected)


def test_hue(torchvision):
    x, turns = images(), torch.tensor([0.2, -0.5, 0.0, 0.37])
    theirs = torchvision.transforms.functional.adjust_hue
    agree(colour.hue(x, turns), torch.stack([theirs(a, t.item()) for a, t in zip(x, turns, strict=True)]))
    red = torch.tensor([1.0, 0, 0]).reshape(1, 3, 1, 1)
    agree(colour.hue(red, torch.tensor([1 / 3]))[0, :, 0, 0], torch.tensor([0.0, 1, 0]))
    agree(colour.hue(torch.full((1, 3, 1, 1), 0.3), torch.tensor([0.2])), torch.full((1, 3, 1, 1), 0.3))


def test_changes_of_levels(torchvision):
    functional, x = torchvision.transforms.functional, images(3)
    levels, bits = (x * 255).round().byte(), torch.tensor([4, 8, 6])
    expected = torch.stack([functional.posterize(image, b.item()) for image, b in zip(levels, bits, strict=True)])
    agree(colour.posterize(x, bits), expected / 255, 1e-6)
    agree(colour.solarize(x, torch.full((3,), 0.4)), functional.solarize(x, 0.4))
    dim = x * 0.5 + 0.1
    agree(colour.autocontrast(dim), functional.autocontrast(dim))
    agree(colour.equalize(x), functional.equalize(levels) / 255)
    dark = (x**3 * 255).round() / 255
    agree(colour.equalize(dark), functional.equalize((dark * 255).round().byte()) / 255)
    flat = torch.full((1, 3, 4, 4), 0.2)
    assert torch.equal(colour.equalize(flat), flat)
    assert torch.equal(colour.autocontrast(flat), flat)


NAMES = """Identity ShearX ShearY TranslateX TranslateY Rotate Brightness Color Contrast Sharpness Posterize Solarize
AutoContrast Equalize"""
THEIRS = dict(zip(CHANGES, NAMES.split(), strict=True))


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("sign", [1, -1])
def test_randaugments_changes(torchvision, name, sign):
    """Each of them at strength 9 as torchvision does it on the same image."""
    module = torchvision.transforms.autoaugment
    x = images(2)
    magnitudes, signed = module.RandAugment()._augmentation_space(31, (20, 31))[THEIRS[name]]
    magnitude = float(magnitudes[9]) if magnitudes.ndim else 0.0
    levels = name in ("posterize", "equalize")
    magnitude = magnitude / 255 if name == "solarize" else magnitude * (sign if signed else 1)
    given = (x * 255).round().byte() if levels else x
    nearest = torchvision.transforms.InterpolationMode.NEAREST
    expected = module._apply_op(given, THEIRS[name], magnitude, nearest, [0.0] * 3)
    found = CHANGES[name](x, torch.full((2,), sign * 0.3), mh.RandAugment())
    wrong = (found - (expected / 255 if levels else expected)).abs() > 1e-5
    assert wrong.float().mean() < (0.01 if name in ("rotate", "shear_x", "shear_y") else 1e-6)


def test_randaugment_draws_every_change_as_often():
    x = torch.zeros(1400, 1, 2, 2)
    counts, original = dict.fromkeys(CHANGES, 0), dict(CHANGES)
    try:
        for name in CHANGES:
            CHANGES[name] = lambda x, s, how, name=name: counts.__setitem__(name, len(x)) or x
        mh.RandAugment(1)(x, seeded())
    finally:
        CHANGES.update(original)
    assert sum(counts.values()) == 1400
    assert all(60 < n < 145 for n in counts.values())
    assert torch.equal(mh.RandAugment(0)(x, seeded()), x)
    with pytest.raises(ValueError, match="strength from 0 to 30"):
        mh.RandAugment(strength=31)


def constant_images(n):
    """Image i is i everywhere, and of class i, so that what was mixed can be read from the result."""
    return torch.arange(float(n))[:, None, None, None].expand(n, 3, 16, 12), torch.eye(n)


def test_mixup():
    x, y = constant_images(200)
    mixed, targets = mh.Mixup(0.4)(x, y, seeded())
    agree(targets.sum(1), torch.ones(200))
    agree(mixed[:, 0, 0, 0], targets @ torch.arange(200.0), 1e-3)  # images and targets by the same λ
    shares = torch.cat([mh.Mixup(0.4)(x, y, seeded(k))[1].diagonal() for k in range(20)])
    alone = shares < 1 - 1e-6  # where the partner is another
    assert shares[alone].mean() == pytest.approx(0.5, abs=0.02)  # Beta(a, a): mean 1/2, variance 1 / (4 (2 a + 1))
    assert shares[alone].var() == pytest.approx(1 / (4 * 1.8), abs=0.01)


def test_cutmix():
    x, y = constant_images(200)
    mixed, targets = mh.CutMix()(x, y, seeded())
    agree(targets.sum(1), torch.ones(200))
    agree(mixed.mean((1, 2, 3)), targets @ torch.arange(200.0), 1e-3)  # targets by area
    for i in range(20):
        other = mixed[i, 0] != i
        rows, columns = other.any(1), other.any(0)
        assert torch.equal(other, rows[:, None] & columns)  # a box
        assert (rows.int().diff() != 0).sum() <= 2
    kept = torch.cat([mh.CutMix()(x, y, seeded(k))[1].diagonal() for k in range(20)])
    assert 0.5 < kept.mean() < 0.8  # λ is uniform, and boxes are cut at the border


@pytest.mark.parametrize("mix", [mh.Mixup(), mh.CutMix()])
def test_mixing_contract(mix):
    x, y = images(8), torch.eye(8)
    first, second = mix(x, y, seeded()), mix(x, y, seeded())
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], mix(x, y, seeded(1))[0])
    assert mix(x.double(), y, seeded())[0].dtype == torch.float64
    assert mix(x.double(), y, seeded())[1].dtype == torch.float32
    with pytest.raises(ValueError, match=r"targets are floats \(batch, classes\), as of onehotbatch, not torch.int64"):
        mix(x, torch.arange(8), seeded())
    with pytest.raises(ValueError, match="alpha must be positive"):
        type(mix)(0.0)(x, y, seeded())


def test_settings_that_make_no_sense():
    with pytest.raises(ValueError, match="at most half the circle"):
        mh.ColourJitter(hue=0.6)
    with pytest.raises(ValueError, match="at least 0"):
        mh.ColourJitter(-0.1)
    for augment in (mh.Flip(50), mh.RandomErasing(-0.1), mh.Flip(math.nan)):
        with pytest.raises(ValueError, match="p must be a probability, from 0 to 1, not"):
            augment(images(2), seeded())
    assert repr(mh.Augment(mh.Flip())) == "Augment(Flip(p=0.5, vertical=False))"
