"""Preprocessing: torchvision's pixels, for every kind of input; and what is not guessed."""

import io
import math

import numpy as np
import PIL.Image
import pytest
import torch
from pictures import encoded, noise, picture, shipped

import metalhead as mh
from metalhead import Image, Preprocess

RULES = ["bilinear", "bicubic"]
SIZES = [(40, 40, 32, 28), (61, 40, 32, 28), (40, 91, 32, 32), (20, 31, 48, 45), (33, 200, 24, 23)]


def theirs(torchvision, ours):
    mode = torchvision.transforms.InterpolationMode(ours.interpolation)
    return torchvision.transforms._presets.ImageClassification(
        crop_size=ours.crop, resize_size=ours.size, mean=ours.mean, std=ours.std, interpolation=mode
    )


@pytest.mark.parametrize("interpolation", RULES)
@pytest.mark.parametrize(("height", "width", "size", "crop"), SIZES)
def test_torchvisions_pixels(torchvision, interpolation, height, width, size, crop):
    preprocess, original = Preprocess(size, crop, interpolation=interpolation), picture("RGB", height, width)
    expected = theirs(torchvision, preprocess)(original)
    for image in (original, Image(original), encoded(original)):
        torch.testing.assert_close(preprocess(image), expected, rtol=0, atol=2e-6)
    batch = torch.from_numpy(noise(2, 3, height, width))
    torch.testing.assert_close(preprocess(batch), theirs(torchvision, preprocess)(batch), rtol=0, atol=2e-6)
    floats = batch.float() / 255
    torch.testing.assert_close(preprocess(floats), theirs(torchvision, preprocess)(floats), rtol=0, atol=2e-5)


@pytest.mark.parametrize("interpolation", RULES)
def test_a_photograph(torchvision, interpolation):
    preprocess, path = Preprocess(interpolation=interpolation), shipped("chelsea.png")
    expected = theirs(torchvision, preprocess)(PIL.Image.open(path).convert("RGB"))
    torch.testing.assert_close(preprocess(path), expected, rtol=0, atol=2e-6)
    without_antialias = torch.nn.functional.interpolate(
        mh.load(path).values()[None].float(), (256, 384), mode="bilinear"
    )
    assert (without_antialias[0, :, 16:240, 80:304] / 255 - (preprocess(path) * 0.226 + 0.449)).abs().mean() > 0.005


@pytest.mark.parametrize("interpolation", RULES)
def test_tensors_and_images_agree(interpolation):
    image = mh.load(shipped("chelsea.png"))
    for size in (100, (77, 200), 400):
        pixels = mh.resize(image, size, interpolation).values()
        tensor = mh.resize(image.values(), size, interpolation)
        assert tensor.shape == pixels.shape
        difference = (tensor.int() - pixels.int()).abs()
        assert difference.max() <= 2  # Pillow rounds after each direction
        assert difference.float().mean() < 0.3
        floats = mh.resize(image.values().double(), size, interpolation).clamp(0, 255)
        assert (floats - tensor).abs().max() <= 0.501
    gray = Image(picture("L"))
    assert mh.resize(gray, 8, "nearest").values().equal(mh.resize(gray.values(), 8, "nearest"))


def test_resizing_a_closed_form():
    """Half the size: the triangle filter of support 2 weighs 1 3 3 1; borders are left out and the rest scaled."""
    x = torch.tensor([[8.0, 8, 0, 0, 0, 0, 0, 0]])
    x = mh.resize(x.expand(8, 8), (8, 4))
    torch.testing.assert_close(x[0], torch.tensor([8 * 6 / 7, 8 / 8, 0, 0]))
    with pytest.raises(TypeError, match="int64"):
        mh.resize(torch.zeros(1, 4, 4, dtype=torch.int64), 2)
    with pytest.raises(ValueError, match="no image"):
        mh.resize(torch.zeros(3, 0, 4), 2)
    with pytest.raises(ValueError, match="at least 1"):
        mh.resize(torch.zeros(3, 4, 4), 0)
    assert mh.resize(torch.zeros(2, 1, 3, 4, 4, dtype=torch.float16), 2).dtype == torch.float16


def test_crops_are_refused_where_the_image_is_smaller():
    with pytest.raises(ValueError, match="a crop of 5 × 5 doesn't fit an image of 4 × 9"):
        mh.centre_crop(torch.zeros(3, 4, 9), 5)
    with pytest.raises(ValueError, match="a crop of 40"):
        Preprocess(32, 40)


def test_normalise():
    x = torch.rand(4, 2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = mh.normalise(x, [0.5, 0.25], [2.0, 4.0])
    assert y.dtype == torch.float64
    assert math.isclose(y[1, 1, 2, 0], (x[1, 1, 2, 0] - 0.25) / 4)
    image = Image(picture("L"))
    torch.testing.assert_close(mh.normalise(image, [0.5], [0.5]), mh.to_tensor(image) * 2 - 1)
    with pytest.raises(TypeError, match="divide it by its full intensity"):
        mh.normalise(torch.zeros(1, 2, 2, dtype=torch.uint8), [0.5], [0.5])
    with pytest.raises(ValueError, match="2 means and 2 deviations"):
        mh.normalise(x[:, :1], [0.5, 0.5], [1, 1])


def test_as_many_channels_as_means():
    gray, flat = Preprocess(16, 16, (0.5,), (0.5,)), Preprocess(16, 16, (0.5,) * 3, (0.5,) * 3)
    assert gray(picture("RGB")).shape == (1, 16, 16)
    assert flat(picture("L")).shape == (3, 16, 16)
    torch.testing.assert_close(flat(picture("L"))[2], gray(picture("L"))[0])
    assert flat(torch.zeros(1, 20, 20)).shape == (3, 16, 16)
    deep = PIL.Image.fromarray(noise(20, 31, dtype=np.uint16))
    assert flat(deep).shape == (3, 16, 16)
    x = mh.resize(torch.from_numpy(np.asarray(deep).astype(np.float32))[None] / 65535, 16)
    torch.testing.assert_close(gray(deep), (x[:, :, 4:20] - 0.5) / 0.5, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match=r"shape \(2, 20, 20\) is not \(..., 3, height, width\)"):
        flat(torch.zeros(2, 20, 20))
    assert flat(picture("1")).unique().numel() > 2
    few = Image.of(noise(20, 31) // 16, "L", "HW", white=15.0)
    for preprocess in (gray, flat, Preprocess(16, 16, (0.5,), (0.5,), reducing_gap=2.0)):
        x = mh.centre_crop(mh.resize(mh.to_tensor(few), 16), 16).expand(len(preprocess.mean), -1, -1)
        torch.testing.assert_close(preprocess(few), (x - 0.5) / 0.5, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="1 or 3 channels"):
        Preprocess(mean=(0.5, 0.5), std=(1.0, 1.0))
    with pytest.raises(ValueError, match="interpolation must be one of"):
        Preprocess(interpolation="cubic")
    for wrong in (torch.full((3, 20, 20), 255.0), torch.full((3, 20, 20), -0.5), torch.full((3, 20, 20), torch.nan)):
        with pytest.raises(ValueError, match="floats are images from 0 to 1, not from"):
            flat(wrong)
    with pytest.raises(TypeError, match="not a float"):
        flat(3.0)


def test_metadata_is_read():
    rotated, exif = picture(), PIL.Image.Exif()
    exif[274] = 6
    preprocess = Preprocess(16, 16)
    file = encoded(rotated, "jpeg", exif=exif.tobytes(), quality=100, subsampling=0)
    pixels = PIL.Image.open(io.BytesIO(file))
    expected = preprocess(PIL.Image.fromarray(np.rot90(pixels, -1).copy()))
    torch.testing.assert_close(preprocess(file), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(preprocess(pixels), expected, rtol=0, atol=1e-6)
    scan = encoded(rotated, "tiff", exif=exif)  # which Pillow turns while it reads the pixels
    expected = preprocess(PIL.Image.fromarray(np.rot90(rotated, -1).copy()))
    for image in (scan, PIL.Image.open(io.BytesIO(scan))):
        torch.testing.assert_close(preprocess(image), expected, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match=r"was changed since it was read: use PIL.ImageOps.exif_transpose"):
        preprocess(pixels.rotate(-90, expand=True))
    with pytest.raises(ValueError, match="transparent in places"):
        preprocess(picture("RGBA"))
    white = Preprocess(16, 16, background=(255, 255, 255))
    clear = PIL.Image.new("RGBA", (20, 20), (9, 9, 9, 0))
    torch.testing.assert_close(white(clear), white(PIL.Image.new("RGB", (20, 20), (255, 255, 255))))


@pytest.mark.parametrize("interpolation", RULES)
def test_faster_where_allowed(interpolation):
    path = shipped("hubble_deep_field.jpg")
    exact = Preprocess(128, 112, interpolation=interpolation)(path)
    for gap, off in ((2.0, 0.03), (3.0, 0.02), (6.0, 0.001)):
        close = Preprocess(128, 112, interpolation=interpolation, reducing_gap=gap)(path)
        assert close.shape == exact.shape
        assert close.is_contiguous()
        assert 0 < (close - exact).abs().mean() < off
    shifted = (exact - exact.roll(1, -1)).abs().mean()
    assert shifted > 0.1  # a picture that is one pixel off would be seen
    large = Preprocess(16, 16, interpolation=interpolation, reducing_gap=2.0)
    plain = Preprocess(16, 16, interpolation=interpolation)
    smooth = mh.load(shipped("chelsea.png"))  # no JPEG: averaged by an integer
    assert (large(smooth) - plain(smooth)).abs().mean() < 0.05
    for mode in ("L", "CMYK", "1"):
        assert (large(picture(mode)) - plain(picture(mode))).abs().max() < 0.04
    gray = Preprocess(16, 16, (0.5,), (0.5,), reducing_gap=2.0)
    assert (gray(picture()) - Preprocess(16, 16, (0.5,), (0.5,))(picture())).abs().max() < 0.02
    deep = PIL.Image.fromarray(noise(20, 31, dtype=np.uint16))
    assert torch.equal(large(deep), plain(deep))
    assert Preprocess(reducing_gap=2.0)(encoded(picture())).shape == (3, 224, 224)  # nothing to reduce
    with pytest.raises(ValueError, match="at least 1"):
        Preprocess(reducing_gap=0.5)
