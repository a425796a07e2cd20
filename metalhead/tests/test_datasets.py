"""Data sets: formats written here by hand, parts, laziness, worker processes, and fetching."""

import gzip
import hashlib
import http.server
import io
import pickle
import struct
import tarfile
import threading
from functools import partial

import numpy as np
import PIL.Image
import pytest
import torch
from pictures import encoded, noise, picture

import metalhead as mh
from metalhead._download import PUBLISHED, Published
from torchflux import DataLoader, splitobs

PLAIN = mh.Preprocess(16, 16, (0.0,) * 3, (1.0,) * 3)


@pytest.fixture
def imagenet(tmp_path):
    """Two classes in two parts; class/sub/ too, and files that are no images."""
    root = tmp_path / "tiny"
    for part, count in (("train", 3), ("val", 2)):
        for k, name in enumerate(("n02", "n01")):
            for i in range(count):
                path = root / part / name / ("sub" if i == 1 else "") / f"{i}.JPEG"
                path.parent.mkdir(parents=True, exist_ok=True)
                picture(seed=10 * k + i).save(path)
            (root / part / name / "notes.txt").write_text("no image")
    return root


def test_folders(imagenet):
    data = mh.image_folder(imagenet, {"n01": "tench"})
    assert repr(data) == "tiny(train: 6, val: 4)"
    assert data.labels == ("tench", "n02")
    assert data.train.targets == [0, 0, 0, 1, 1, 1]
    image, target = data.val[-1]
    assert isinstance(image, mh.Image)
    assert (target, data.val.label(3)) == (1, "n02")
    assert [i.source for i, _ in data.val] == sorted(str(p) for p in (imagenet / "val").rglob("*.JPEG"))
    assert len(data.train[1:5:2]) == 2
    assert data.train[1:5:2][1][0].source == data.train[3][0].source
    with pytest.raises(IndexError):
        data.train[6]
    with pytest.raises(ValueError, match="tiny has no test part, only train and val"):
        _ = data.test
    for hidden in (imagenet / "val" / ".notebooks", imagenet / "val" / "n01" / ".notebooks"):
        hidden.mkdir()
        picture().save(hidden / "copy.png")
    (imagenet / "val" / "n01" / "paper.pdf").write_bytes(b"%PDF-1.4")
    flat = mh.image_folder(imagenet / "val")
    assert flat.labels == ("n01", "n02")
    assert len(flat.train) == 4
    train, test = splitobs(flat.train, 0.5)
    assert (len(train), len(test)) == (2, 2)


def test_folders_that_are_wrong(imagenet, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        mh.image_folder(tmp_path / "gone")
    (imagenet / "val" / "n03").mkdir()
    with pytest.raises(ValueError, match=r"val has classes that are not in the first part: n03"):
        mh.image_folder(imagenet)
    (tmp_path / "empty" / "class").mkdir(parents=True)
    with pytest.raises(ValueError, match="has no images in folders of classes"):
        mh.image_folder(tmp_path / "empty")


def test_nothing_is_read_before_it_is_asked_for(imagenet):
    path = imagenet / "train" / "n01" / "0.JPEG"
    path.write_bytes(path.read_bytes()[:300])
    data = mh.image_folder(imagenet).train
    assert data[3][1] == 1
    with pytest.raises(ValueError, match=r"n01.0\.JPEG is damaged or cut short"):
        data[0]
    for kept in (data.readable(), data.map(PLAIN).readable(), data.map(PLAIN).map(torch.abs).readable()):
        assert (len(kept), len(kept.targets), len(kept.skipped)) == (5, 5, 1)
        assert kept.skipped[0][0] == str(path)
        assert "damaged or cut short" in kept.skipped[0][1]
        assert len(list(kept)) == 5


def test_transformations(imagenet):
    data = mh.image_folder(imagenet).map(PLAIN)
    x, target = data.train[4]
    torch.testing.assert_close(x, PLAIN(data.train.images[4]))
    assert target == 1
    torch.testing.assert_close(data.map(torch.neg).train[4][0], -x)
    assert mh.image_folder(imagenet).train.map(mh.to_tensor)[0][0].shape == (3, 20, 31)


@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_worker_processes(imagenet, context):
    data = mh.image_folder(imagenet).train.map(PLAIN).map(torch.neg)
    with_one = list(DataLoader(data, 4))
    with_two = list(DataLoader(data, 4, num_workers=1, multiprocessing_context=context))
    assert [y.tolist() for _, y in with_two] == [[0, 0, 0, 1], [1, 1]]
    for (a, _), (b, _) in zip(with_one, with_two, strict=True):
        assert torch.equal(a, b)
    assert len(pickle.loads(pickle.dumps(data))) == 6


def test_tables(tmp_path):
    for i in range(4):
        picture(seed=i).save(tmp_path / f"{i}.png")
    table = tmp_path / "birds.csv"
    table.write_text("label,path,part\nwren,0.png,train\nowl,1.png,val\nwren,2.png,train\nlark,3.png,train\n")
    data = mh.image_table(table, part="part")
    assert repr(data) == "birds(train: 3, val: 1)"
    assert data.labels == ("lark", "owl", "wren")
    assert data.train.targets == [2, 2, 0]
    assert np.array_equal(data.val[0][0].pixels, picture(seed=1))
    assert len(mh.image_table(table, root=tmp_path).train) == 4
    with pytest.raises(ValueError, match=r"no column 'class', but \['label', 'path', 'part'\]"):
        mh.image_table(table, label="class")
    table.write_text("label,path\nwren,0.png\n,1.png\n")
    with pytest.raises(ValueError, match=r"birds.csv, row 3"):
        mh.image_table(table)
    table.write_text("label,path\n")
    with pytest.raises(ValueError, match="lists no images"):
        mh.image_table(table)


def idx(array):
    code = {"uint8": 8, "int16": 11, "float32": 13}[array.dtype.name]
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def mnist_files(pack=gzip.compress):
    """The four files by name, with 5 and 3 images."""
    files = {}
    for start, n in (("train", 5), ("t10k", 3)):
        files[f"{start}-images-idx3-ubyte"] = idx(noise(n, 6, 7, seed=n))
        files[f"{start}-labels-idx1-ubyte"] = idx((np.arange(n) % 10).astype(np.uint8))
    return {name + (".gz" if pack is gzip.compress else ""): pack(content) for name, content in files.items()}


@pytest.mark.parametrize("pack", [gzip.compress, bytes])
def test_mnist(pack, tmp_path):
    for name, content in mnist_files(pack).items():
        (tmp_path / name).write_bytes(content)
    data = mh.mnist(tmp_path)
    assert repr(data) == "MNIST(train: 5, test: 3)"
    image, target = data.train[4]
    assert (image.colour, image.size, target) == ("L", (6, 7), 4)
    assert np.array_equal(image.values()[0], noise(5, 6, 7, seed=5)[4])
    assert mh.fashion_mnist(tmp_path).train.label(1) == "Trouser"
    assert len(data.test.readable()) == 3
    assert len(data.train[:2]) == 2


def test_idx_files(tmp_path):
    path = tmp_path / "array"
    for array in (np.arange(6, dtype=np.int16).reshape(2, 3) - 3, np.float32([1.5, -2]), np.zeros((0, 4), np.uint8)):
        path.write_bytes(idx(array))
        assert np.array_equal(mh.read_idx(path).numpy(), array)
    whole = idx(np.arange(6, dtype=np.uint8))
    broken = {"cut short, in its header": whole[:6], "no idx file": b"\x89PNG and more", "should have 6": whole[:-1]}
    broken |= {"should have 6 bytes": whole + b"x", "damaged or cut": gzip.compress(whole)[:-9]}
    for says, content in broken.items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"array.*{says}"):
            mh.read_idx(path)
    with pytest.raises(FileNotFoundError, match=r"no train-images-idx3-ubyte or .*download gets it"):
        mh.mnist(tmp_path)
    for name, content in mnist_files().items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros(2, np.uint8))))
    with pytest.raises(ValueError, match="3 images and 2 targets"):
        mh.mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.full(3, 10, np.uint8))))
    with pytest.raises(ValueError, match="a target 10, but 10 labels"):
        mh.mnist(tmp_path)


def cifar_archive(name="cifar-10-batches-bin"):
    """An archive as published, with two images a file."""
    files = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for i, file in enumerate(files):
            content = b"".join(bytes([i + k]) + noise(3072, seed=2 * i + k).tobytes() for k in range(2))
            member = tarfile.TarInfo(f"{name}/{file}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def test_cifar10(tmp_path):
    with tarfile.open(fileobj=io.BytesIO(cifar_archive())) as archive:
        archive.extractall(tmp_path, filter="data")
    data = mh.cifar10(tmp_path)
    assert repr(data) == "CIFAR-10(train: 10, test: 2)"
    assert data.train.targets == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]
    image, _ = data.train[3]
    assert (image.colour, image.size, data.train.label(3)) == ("RGB", (32, 32), "bird")
    assert np.array_equal(image.values(), noise(3072, seed=3).reshape(3, 32, 32))
    (tmp_path / "cifar-10-batches-bin" / "test_batch.bin").write_bytes(b"short")
    with pytest.raises(ValueError, match=r"test_batch.bin has 5 bytes, which are not whole records of 3073"):
        mh.cifar10(tmp_path)
    with pytest.raises(FileNotFoundError, match="download gets it"):
        mh.cifar10(tmp_path / "elsewhere")


def test_cifar100(tmp_path):
    record = bytes([1, 2]) + noise(3072).tobytes()
    for part in ("train", "test"):
        (tmp_path / f"{part}.bin").write_bytes(record)
    (tmp_path / "fine_label_names.txt").write_text("apple\nbaby\nbear\n")
    (tmp_path / "coarse_label_names.txt").write_text("fruit\npeople\n")
    assert mh.cifar100(tmp_path).train.label(0) == "bear"
    assert mh.cifar100(tmp_path, coarse=True).test.label(0) == "people"
    assert np.array_equal(mh.cifar100(tmp_path).test[0][0].values(), noise(3072).reshape(3, 32, 32))


def test_sets_that_come_with_libraries():
    pytest.importorskip("sklearn")
    pytest.importorskip("skimage")
    digits, faces = mh.digits(), mh.faces()
    assert [len(part) for part in (digits.train, digits.val, digits.test)] == [1258, 269, 270]
    assert [len(part) for part in (faces.train, faces.val, faces.test)] == [140, 30, 30]
    x = mh.to_tensor(digits.train[0][0])
    assert (x.shape, x.max().item()) == ((1, 8, 8), 1.0)
    everything = sorted(digits.train.targets + digits.val.targets + digits.test.targets)
    assert [everything.count(k) for k in range(10)] == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # the docs'
    assert mh.digits().test.targets == digits.test.targets
    assert 0 <= mh.to_tensor(faces.val[0][0]).min() < mh.to_tensor(faces.val[0][0]).max() <= 1
    assert (faces.train.targets + faces.val.targets + faces.test.targets).count(1) == 100


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Says nothing."""


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A folder, and the address that it is served at."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()
        thread.join()


def published(monkeypatch, which, url, files):
    hashes = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    monkeypatch.setitem(PUBLISHED, which, Published(url, hashes))


@pytest.mark.parametrize("which", ["mnist", "cifar10"])
def test_download(which, server, tmp_path, monkeypatch):
    folder, url = server
    files = mnist_files() if which == "mnist" else {"cifar-10-binary.tar.gz": cifar_archive()}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    published(monkeypatch, which, url, files)
    data = getattr(mh, which)(mh.download(which, tmp_path / "data"))
    assert len(data.train) > 3
    for name in files:
        (folder / name).unlink()
    assert mh.download(which, tmp_path / "data") == tmp_path / "data"  # what is there is not fetched again
    assert not [path for path in (tmp_path / "data").iterdir() if path.name.startswith(".")]


def test_downloads_that_go_wrong(server, tmp_path, monkeypatch):
    folder, url = server
    files = mnist_files()
    published(monkeypatch, "mnist", "http://127.0.0.1:9/", files)
    with pytest.raises(OSError, match="404"):
        mh.download("mnist", tmp_path / "data", mirror=url)
    for name, content in files.items():
        (folder / name).write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"has the MD5 .* not the published"):
        mh.download("mnist", tmp_path / "data", mirror=url)
    assert list((tmp_path / "data").iterdir()) == []
    for name, content in files.items():
        (folder / name).write_bytes(content)
    mh.download("mnist", tmp_path / "data", mirror=folder.as_uri())
    first = tmp_path / "data" / next(iter(files))
    first.write_bytes(b"spoiled")
    mh.download("mnist", tmp_path / "data", mirror=url)
    assert first.read_bytes() == files[first.name]
    with pytest.raises(ValueError, match="'imagenet' is not one of mnist"):
        mh.download("imagenet", tmp_path)


def test_a_data_set_of_arrays():
    with pytest.raises(ValueError, match="3 images and 2 targets"):
        mh.Images(torch.zeros(3, 4, 4, dtype=torch.uint8), [0, 0], ("a",))
    with pytest.raises(ValueError, match=r"images \(2, 3, 8, 8\) aren't \(images, height, width\[, channels\]\)"):
        mh.Images(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), [0, 0], ("a",))
    with pytest.raises(ValueError, match="which number is white"):
        _ = mh.Images(torch.rand(1, 4, 4), [0], ("a",))[0]
    deep = mh.Images(torch.full((1, 4, 4), 65535, dtype=torch.uint16), [0], ("a",))
    assert mh.to_tensor(deep[0][0]).unique().tolist() == [1.0]
    white = mh.Images(torch.full((1, 4, 4, 3), 100, dtype=torch.uint8), [0], ("a",), white=200.0)
    assert mh.to_tensor(white[0][0]).unique().tolist() == [0.5]
    assert isinstance(white[0][0].pixels, PIL.Image.Image)
    assert encoded(white[0][0].pixels).startswith(b"\x89PNG")
