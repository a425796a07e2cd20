"""Images: what is kept from files of every kind, what is refused, and what conversions do."""

import pickle
import struct
import zlib
from contextlib import suppress

import numpy as np
import PIL.Image
import pytest
import torch
from pictures import encoded, noise, picture, shipped
from PIL import ImageCms

import metalhead as mh
from metalhead import Image, load


@pytest.mark.parametrize(
    ("mode", "format", "bits", "channels"),
    [
        ("1", "png", 1, 1),
        ("L", "png", 8, 1),
        ("LA", "png", 8, 2),
        ("RGB", "png", 8, 3),
        ("RGBA", "png", 8, 4),
        ("CMYK", "tiff", 8, 4),
        ("LAB", "tiff", 8, 3),
        ("RGBA", "webp", 8, 4),
    ],
)
def test_modes_are_kept(mode, format, bits, channels, tmp_path):
    original, path = picture(mode), tmp_path / f"picture.{format}"
    original.save(path, **({"lossless": True, "exact": True} if format == "webp" else {}))
    image = load(path)
    assert (image.colour, image.bits, image.channels, image.size) == (mode, bits, channels, (20, 31))
    assert image.layout == ("HW" if channels == 1 else "HWC")
    expected = np.asarray(original)[None] if channels == 1 else np.asarray(original).transpose(2, 0, 1)
    assert np.array_equal(image.values().numpy(), expected)
    if mode == "LAB":  # a* and b* have no full intensity
        with pytest.raises(ValueError, match=r'convert it to\("RGB"\)'):
            mh.to_tensor(image)
        image, expected = image.to("RGB"), np.asarray(original.convert("RGB")).transpose(2, 0, 1)
    x = mh.to_tensor(image)
    assert x.dtype == torch.float32
    torch.testing.assert_close(x, torch.from_numpy(expected.astype(np.float32) / (1 if bits == 1 else 255)))
    assert load(path.read_bytes()).values().equal(load(path).values())
    assert pickle.loads(pickle.dumps(image)).values().equal(image.values())


def test_sixteen_bits():
    values = noise(5, 7, dtype=np.uint16)
    image = load(encoded(PIL.Image.fromarray(values)))
    assert (image.colour, image.bits) == ("I;16", 16)
    assert np.array_equal(image.values().numpy()[0], values)
    torch.testing.assert_close(mh.to_tensor(image)[0], torch.from_numpy(values.astype(np.float32) / 65535))
    assert np.array_equal(image.eight_bits().values().numpy()[0], np.rint(values / 257))
    assert load(encoded(PIL.Image.fromarray(values)), bits=8).bits == 8
    half = mh.to_tensor(mh.resize(image, (5, 3)))  # 16 bits are kept
    assert half.unique().numel() == 15
    with pytest.raises(ValueError, match="16 bits, which RGB has not"):
        image.to("RGB")


def png(width, height, depth, colour, rows):
    """A PNG written by hand."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_colours_of_sixteen_bits_are_not_cut_in_silence():
    values = noise(2, 3, 3, dtype=np.uint16)
    file = png(3, 2, 16, 2, [row.astype(">u2").tobytes() for row in values])
    with pytest.raises(ValueError, match=r"16 bits a colour, of which Pillow keeps 8; say bits=8"):
        load(file)
    with pytest.raises(ValueError, match="16 bits a colour"):
        load(b"P6 1 1 65535\n" + bytes(range(6)))
    assert (load(file, bits=8).values().permute(1, 2, 0).numpy() == values >> 8).all()


def test_palettes_and_transparent_colours():
    flat = picture("L").convert("RGB").quantize(8)
    assert load(encoded(flat)).colour == "RGB"
    assert np.array_equal(load(encoded(flat)).pixels, flat.convert("RGB"))
    image = load(encoded(flat, transparency=3))
    assert image.colour == "RGBA"
    assert np.array_equal(np.asarray(image.pixels)[..., 3] == 0, np.asarray(flat) == 3)
    gray = PIL.Image.fromarray(np.array([[7, 8]], np.uint8))
    assert load(encoded(gray, transparency=7)).values()[1].tolist() == [[0, 255]]
    assert load(encoded(gray.convert("RGB"), transparency=(8, 8, 8))).values()[3].tolist() == [[255, 0]]


@pytest.mark.parametrize("tag", range(1, 9))
def test_orientation(tag, tmp_path):
    """Every EXIF orientation of one picture is the same upright; the turns are those of the standard's table."""
    upright = noise(4, 6)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),  # the file's right side is at the top: it is to be turned clockwise
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[tag]
    exif = PIL.Image.Exif()
    exif[274] = tag
    picture = PIL.Image.fromarray(np.ascontiguousarray(stored))
    image = load(encoded(picture, exif=exif.tobytes()))
    assert image.orientation == tag
    assert image.size == (4, 6)
    assert np.array_equal(image.values()[0].numpy(), upright)
    assert mh.centre_crop(image, 2).values().equal(torch.from_numpy(upright[None, 1:3, 2:4].copy()))
    assert mh.resize(image, 4).size == (4, 6)
    assert image.upright().orientation == 1


def test_animations():
    frames = [PIL.Image.fromarray(np.full((3, 3), k, np.uint8)) for k in (10, 200)]
    file = encoded(frames[0], "gif", save_all=True, append_images=frames[1:])
    image = load(file)
    assert image.frames == 2
    assert image.values().unique().tolist() == [10]
    assert load(file, frame=1).values().unique().tolist() == [200]
    with pytest.raises(ValueError, match="has 2 frames, there is none of index 2"):
        load(file, frame=2)
    with pytest.raises(ValueError, match="there is none of index -1"):
        load(file, frame=-1)
    assert "2 frames" in repr(image)


@pytest.mark.parametrize("damage", ["cut", "header", "empty", "foreign", "missing", "folder", "postscript"])
def test_files_that_can_not_be_read(damage, tmp_path):
    path, whole = tmp_path / "picture.png", encoded(picture(height=200, width=200))
    content = {"cut": whole[: len(whole) // 2], "header": whole[:20], "empty": b"", "foreign": b"<svg></svg>"}
    content["postscript"] = encoded(picture(), "eps")
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes(content[damage])
    says = {"cut": "damaged or cut short", "empty": "is empty", "foreign": "starts with b'<svg>"}
    says |= {"missing": "", "folder": "", "header": "", "postscript": "EPS, which would have to be drawn"}
    kind = {"missing": FileNotFoundError, "folder": IsADirectoryError}.get(damage, ValueError)
    with pytest.raises(kind, match=rf"picture\.png.*{says[damage]}"):
        load(path)
    if damage in content:
        with pytest.raises(ValueError, match=r"^\d+ bytes"):
            load(content[damage])


@pytest.mark.filterwarnings("ignore")
def test_damaged_in_any_place():
    """Whatever byte is wrong: an image or a ValueError."""
    generator = np.random.default_rng(0)
    for format in ("png", "jpeg", "gif", "tiff", "bmp", "webp"):
        whole = encoded(picture(), format)
        for _ in range(60):
            content = bytearray(whole[: generator.integers(1, len(whole) + 1)])
            content[generator.integers(len(content))] = generator.integers(256)
            with suppress(ValueError):
                load(bytes(content))


def test_decompression_bombs(monkeypatch):
    with pytest.raises(ValueError, match=r"suspiciously large.*MAX_IMAGE_PIXELS"):
        load(png(50_000, 50_000, 8, 2, []))
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(ValueError, match="suspiciously large"):
        load(encoded(picture()))
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 620)
    assert load(encoded(picture())).size == (20, 31)


def test_transparency_needs_a_background():
    image = load(encoded(PIL.Image.new("RGBA", (2, 2), (200, 100, 0, 51))))
    with pytest.raises(ValueError, match=r"transparent in places: say on which background="):
        image.to("RGB")
    assert image.to("RGB", (255, 0, 10)).values()[:, 0, 0].tolist() == [244, 20, 8]  # 0.2 of one and 0.8 of the other
    for wrong in (255, (255,), (255, 0, 10, 255)):
        with pytest.raises(ValueError, match=r"a background is \(red, green, blue\), not"):
            image.to("RGB", wrong)
    opaque = Image(PIL.Image.new("LA", (2, 2), (9, 255)))
    assert opaque.to("RGB").values().unique().tolist() == [9]
    gray = Image(PIL.Image.new("LA", (1, 1), (100, 0))).to("RGB", (1, 2, 3))
    assert gray.values().flatten().tolist() == [1, 2, 3]


def test_conversions():
    rgb = Image(picture())
    assert np.array_equal(rgb.to("L").pixels, picture().convert("L"))
    assert Image(picture("L")).to("RGB").values()[2].equal(Image(picture("L")).values()[0])
    assert Image(picture("1"), 1.0).to("RGB").values().unique().tolist() == [0, 255]
    ink = Image(PIL.Image.new("CMYK", (1, 1), (255, 0, 0, 0)))
    assert ink.to("RGB").values().flatten().tolist() == [0, 255, 255]
    with pytest.raises(ValueError, match='"L" or "RGB", not to \'CMYK\''):
        rgb.to("CMYK")
    lab = Image(picture().convert("LAB")).to("RGB").values().int() - rgb.values().int()
    assert lab.abs().float().mean() < 3  # but for what 8 bits of L*a*b* don't tell apart


def linear_profile():
    """A profile, written by hand, of the primaries of sRGB (adapted to D50) whose numbers are proportional to light."""
    fixed = lambda *numbers: struct.pack(f">{len(numbers)}i", *(round(x * 65536) for x in numbers))
    xyz = lambda *numbers: b"XYZ \0\0\0\0" + fixed(*numbers)
    name = b"linear\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(78 + 1),
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.43607, 0.22249, 0.01392),
        b"gXYZ": xyz(0.38515, 0.71687, 0.09708),
        b"bXYZ": xyz(0.14307, 0.06061, 0.71410),
        **{tag: b"curv" + bytes(8) for tag in (b"rTRC", b"gTRC", b"bTRC")},
    }
    table, data, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        table += tag + struct.pack(">II", start + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    header = struct.pack(">I4sI4s4s4s", start + len(data), b"lcms", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + fixed(0.9642, 1.0, 0.8249)
    return header.ljust(128, b"\0") + table + data


def test_profiles_are_honoured():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    file = load(encoded(picture(), icc_profile=srgb))
    assert file.icc == srgb
    assert file.to("RGB").values().equal(file.values())
    assert file.to("RGB").icc is None
    linear = Image(picture(), icc=linear_profile()).to("RGB").values().permute(1, 2, 0).numpy()
    light = np.asarray(picture()) / 255
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)  # IEC 61966-2-1
    assert np.abs(linear - 255 * expected).max() <= 2
    assert np.abs(linear - 255.0 * light).max() > 60  # unless it is ignored
    with pytest.raises(ValueError, match=r"profile of the image doesn't fit RGB .*with_\(icc=None\)"):
        Image(picture(), icc=b"nonsense").to("RGB")


def test_arrays_say_what_they_are():
    array = noise(4, 5, 3)
    image = Image.of(array, "RGB", "HWC")
    assert np.array_equal(image.values().permute(1, 2, 0).numpy(), array)
    assert Image.of(array.transpose(2, 0, 1), "RGB", "CHW").values().equal(image.values())
    assert Image.of(array, "YCbCr", "HWC").colour == "YCbCr"
    assert mh.to_tensor(Image.of(np.full((2, 2), 8.0, np.float32), "L", "HW", white=16.0)).unique().tolist() == [0.5]
    assert Image.of(noise(2, 2, dtype=np.uint16), "L", "HW").bits == 16
    with pytest.raises(ValueError, match=r"'RGB' has 3 channels, CHW \(3, 4, 5\) has 5"):
        Image.of(noise(5, 3, 4), "RGB", "CHW")
    with pytest.raises(ValueError, match="which number is white"):
        Image.of(np.zeros((2, 2), np.float32), "L", "HW")
    with pytest.raises(ValueError, match="no RGB images of float32"):
        Image.of(np.zeros((2, 2, 3), np.float32), "RGB", "HWC")
    with pytest.raises(ValueError, match="has no pixels"):
        Image.of(np.zeros((0, 2), np.uint8), "L", "HW")
    with pytest.raises(ValueError, match="say which is white"):
        mh.to_tensor(Image(PIL.Image.new("I", (2, 2)), None))


def test_another_white():
    """Few levels are no reason to round to them."""
    levels = noise(9, 7) // 16 + 1  # 1 to 16
    few, exact = Image.of(levels, "L", "HW", white=16.0), torch.from_numpy(levels[None] / 16)
    for interpolation in ("bilinear", "bicubic"):
        for size in ((4, 5), (13, 20)):
            expected = mh.resize(exact, size, interpolation).float()
            torch.testing.assert_close(mh.to_tensor(mh.resize(few, size, interpolation)), expected, rtol=0, atol=1e-6)
    assert mh.resize(few, 5, "nearest").values().dtype == torch.uint8
    assert few.to("RGB").values()[2].numpy().max() == few.eight_bits().values().max() == 255
    colours = Image.of(noise(9, 7, 3) // 2, "RGB", "HWC", white=127.0)
    smaller = mh.resize(mh.to_tensor(colours), 5)
    torch.testing.assert_close(mh.to_tensor(mh.resize(colours, 5)), smaller, rtol=0, atol=2 / 255)
    assert (mh.to_tensor(colours.to("L")) - mh.to_tensor(colours).mean(0)).abs().max() < 0.5
    for mode in ("LA", "RGBA", "CMYK", "YCbCr"):
        with pytest.raises(ValueError, match=f"which is {mode}, is 255.0, not 16.0"):
            Image(picture(mode), white=16.0)
    assert [Image(PIL.Image.new(mode, (2, 2))).white for mode in ("1", "L", "I;16", "F")] == [1, 255, 65535, None]


def test_a_picture_in_a_notebook():
    assert load(Image(picture("CMYK"))._repr_png_()).colour == "RGB"
    for array, white in ((np.eye(4, dtype=np.uint8) * 16, 16.0), (np.eye(4, dtype=np.uint16) * 4095, 4095.0)):
        image = load(Image.of(array, "L", "HW", white=white)._repr_png_())
        assert image.values().unique().tolist() == [0, 255]


def test_draft():
    path = shipped("hubble_deep_field.jpg")
    whole, half = load(path), load(path, draft=400)
    assert whole.size == (872, 1000)
    assert (half.size, half.extent) == ((436, 500), None)
    assert pickle.loads(pickle.dumps(half)).values().equal(half.values())
    odd = load(encoded(PIL.Image.open(path).crop((0, 0, 997, 871)), "jpeg"), draft=200)
    assert (odd.size, odd.extent) == ((218, 250), (871 / 4, 997 / 4))
    exact, fast = (mh.to_tensor(mh.resize(image, 200)) for image in (whole, half))
    assert exact.shape == fast.shape
    assert (exact - fast).abs().mean() < 0.01
