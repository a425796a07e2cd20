"""U-Net (Ronneberger et al. 2015) on any backbone."""

from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from torchflux import Chain, treelike

from .._layers import concat, conv, conv_norm
from .._model import Model, Plan, features_only
from .._registry import create_model

__all__ = ["unet"]

head = partial(conv, 1, bias=True)


@treelike
class Pyramid:
    """The maps of a backbone, the finest first; the image itself stands in front where no map has its size.

    x: (batch, channels, height, width) → a list of maps
    """

    backbone: Any
    image: bool

    def __call__(self, x: Tensor) -> list[Tensor]:
        """Applies the backbone."""
        return [x, *self.backbone(x)] if self.image else self.backbone(x)


@treelike
class Decoder:
    """From the coarsest map to the finest: enlarge, put the next map beside it, convolve twice.

    Arguments:
        channels: of the maps, the finest first.
        widths: of the results, the finest first.

    maps → (batch, widths[0], height, width), the size of the finest map
    """

    def __init__(self, channels: list[int], widths: list[int]) -> None:
        below = [*widths[1:], channels[-1]]
        self.blocks = [
            Chain(*conv_norm(3, nin + skip, n), *conv_norm(3, n, n))
            for nin, skip, n in zip(below, channels[:-1], widths, strict=True)
        ]

    def __call__(self: Any, maps: list[Tensor]) -> Tensor:
        """Joins the maps."""
        *skips, y = maps
        for skip, block in zip(reversed(skips), reversed(self.blocks), strict=True):
            y = block(concat(F.interpolate(y, skip.shape[2:]), skip))
        return y


def unet(
    backbone: str | Model = "resnet34", nclasses: int = 1000, inchannels: int = 3, *, width: int = 16, **options: Any
) -> Model:
    """A U-Net: each pixel's class from the maps of all resolutions of a backbone.

    Arguments:
        backbone: a model, whose weights are shared, or the name of one, which gets the `options`.
        nclasses: of the result.
        inchannels: of the images; of a model that is given, its own are taken.
        width: channels of the finest result of the decoder; each coarser one has twice as many.

    x: (batch, inchannels, height, width) → (batch, nclasses, height, width)

    Raises:
        ValueError: the backbone has maps of one resolution only.

    >>> import torch
    >>> unet("resnet18", nclasses=2)(torch.zeros(1, 3, 65, 50)).shape
    torch.Size([1, 2, 65, 50])

    Source: Ronneberger, Fischer and Brox (2015), arXiv 1505.04597.
    """
    model = create_model(backbone, 1, inchannels, **options) if isinstance(backbone, str) else backbone
    pyramid = features_only(model)
    if pyramid.reductions[0] == pyramid.reductions[-1]:
        raise ValueError(f"the maps of this backbone all have 1/{pyramid.reductions[0]} of the image's resolution")
    image = pyramid.reductions[0] > 1
    channels = [model.plan.inchannels] * image + pyramid.channels
    widths = [width * 2**i for i in range(len(channels) - 1)]
    return Model(
        Plan("decoder", "head", head, model.plan.inchannels, model.plan.imsize),
        encoder=Pyramid(pyramid, image),
        decoder=Decoder(channels, widths),
        head=head(width, nclasses),
    )
