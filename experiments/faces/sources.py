"""The images: faces and others, and those of the tasks that are learnt before; gray, 25 x 25, with their classes."""

from collections.abc import Callable
from pathlib import Path

import skimage
import torch
from torch import Tensor
from torch.nn.functional import unfold

import metalhead as mh
from torchflux import DataLoader

SIDE = 25
PREPROCESS = mh.Preprocess(size=SIDE, crop=SIDE, mean=(0.5,), std=(0.25,))
# scikit-image's photographs; of those that it ships, astronaut and camera show people, and are left out.
PHOTOGRAPHS = ("brick", "cell", "chelsea", "clock_motion", "coffee", "coins", "grass", "gravel", "ihc", "moon", "page")
PHOTOGRAPHS += ("motorcycle_left", "rocket", "retina", "hubble_deep_field", "text")


def everything(data: mh.Parts) -> tuple[Tensor, Tensor]:
    """All images of a data set, (n, 1, 25, 25), part after part, and their classes, (n,)."""
    parts = [next(iter(DataLoader(part, len(part)))) for part in data.map(PREPROCESS).parts.values()]
    x, y = zip(*parts, strict=True)
    return torch.cat(x), torch.cat(y)


def patches(each: int = 300, sizes: tuple[int, ...] = (48, 72, 108)) -> tuple[Tensor, Tensor]:
    """Patches of photographs whose shorter side is one of `sizes`, and which photograph each is of."""
    rng, found = torch.Generator().manual_seed(0), []
    for name in PHOTOGRAPHS:
        photograph = mh.load(next((Path(skimage.__file__).parent / "data").glob(f"{name}.*"))).to("L")
        scaled = [mh.resize(photograph, size).values() / photograph.known_white() for size in sizes]  # (1, h, w) each
        all_ = torch.cat([unfold(image[None], SIDE, stride=3)[0].T for image in scaled])  # (many, 625)
        found.append(all_[torch.randperm(len(all_), generator=rng)[:each]].view(-1, 1, SIDE, SIDE))
    classes = torch.arange(len(found)).repeat_interleave(torch.tensor([len(x) for x in found]))
    return (torch.cat(found) - 0.5) / 0.25, classes


SOURCES: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
    "photographs": patches,
    "digits": lambda: everything(mh.digits()),
}

FACES, ISFACE = everything(mh.faces())  # (200, 1, 25, 25) and (200,)


def split(seed: int) -> list[Tensor]:
    """Places of 100 images to learn from, of which faces are every second one, and of those held out."""
    rng = torch.Generator().manual_seed(seed)
    kinds = [torch.nonzero(k == ISFACE)[:, 0][torch.randperm(100, generator=rng)] for k in (0, 1)]
    return [torch.stack([kind[a:b] for kind in kinds], 1).flatten() for a, b in ((0, 50), (50, 100))]
