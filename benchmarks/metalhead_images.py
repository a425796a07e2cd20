"""Reading images: from a JPEG to a model's input, against plain Pillow and NumPy, and torchvision, on one core.

python benchmarks/metalhead_images.py [--rounds N]

Each peer decodes, resizes the shorter side to 256, cuts 224 × 224 out and normalises. The files are photographs that
scikit-image ships, as JPEGs of several sizes. A ratio under 1 is faster than Pillow and NumPy. What is less exact
than resizing the whole image says by how much.
"""

import argparse
import io
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import PIL
import PIL.Image
import torch

sys.path.append(sys.path.pop(0))  # beside this file is one with the name of the package
sys.path.append(str(Path(__file__).parents[1] / "metalhead" / "tests"))

from conftest import import_torchvision
from timing import alternate, table

import metalhead as mh

MEAN, STD = np.array(mh.Preprocess().mean), np.array(mh.Preprocess().std)
# Of ImageNet's mean size; of a web page; of a phone.
SIZES = {
    "400 × 500": ("chelsea.png", (500, 400)),
    "1411 × 1411": ("retina.jpg", None),
    "3000 × 4000": ("coffee.png", (4000, 3000)),
}


def jpeg(name, size):
    """A photograph of scikit-image as a JPEG of this width and height."""
    import skimage

    image = PIL.Image.open(Path(skimage.__file__).parent / "data" / name).convert("RGB")
    file = io.BytesIO()
    (image if size is None else image.resize(size, PIL.Image.Resampling.BICUBIC)).save(file, "jpeg", quality=90)
    return file.getvalue()


def plain(file):
    """What is written by hand: Pillow, then NumPy."""
    image = PIL.Image.open(io.BytesIO(file)).convert("RGB")
    width, height = image.size
    scale = 256 / min(width, height)
    width, height = int(width * scale), int(height * scale)
    image = image.resize((width, height), PIL.Image.Resampling.BILINEAR)
    left, top = round((width - 224) / 2), round((height - 224) / 2)
    x = (np.asarray(image.crop((left, top, left + 224, top + 224))) / 255 - MEAN) / STD
    return torch.from_numpy(x.transpose(2, 0, 1).astype(np.float32))


def with_torchvision():
    preprocess = import_torchvision().transforms._presets.ImageClassification(crop_size=224)
    return lambda file: preprocess(PIL.Image.open(io.BytesIO(file)).convert("RGB"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, Pillow {PIL.__version__}, 1 thread")
    peers = {"Pillow and NumPy": plain, "torchvision": with_torchvision()}
    peers |= {"metalhead": mh.Preprocess()}
    peers |= {f"metalhead, reducing_gap={gap}": mh.Preprocess(reducing_gap=gap) for gap in (3.0, 2.0)}
    for title, (name, size) in SIZES.items():
        file = jpeg(name, size)
        exact = plain(file)
        off = {peer: (run(file) - exact).abs().mean() for peer, run in peers.items()}
        calls = {f"{peer} (off by {off[peer]:.1g})": partial(run, file) for peer, run in peers.items()}
        table(title, alternate(calls, options.rounds, clock=time.process_time), next(iter(calls)))


if __name__ == "__main__":
    main()
