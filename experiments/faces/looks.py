"""Where a network looks: how much each pixel counts, and whether that is so."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from torchflux import gradient


def difference(model, x: Tensor) -> Tensor:
    """By how much the score of "face" is above the other one, (n,), for images (n, 1, height, width)."""
    return model(x) @ torch.tensor([-1.0, 1.0])


def saliency(model, x: Tensor, rng: torch.Generator, samples: int = 20, noise: float = 0.1) -> Tensor:
    """|∂ difference / ∂ x|, a mean over images with noise: (n, height, width).

    Source: Simonyan, Vedaldi & Zisserman (2014), arXiv:1312.6034; with noise: Smilkov et al. (2017), arXiv:1706.03825.
    """
    draws = [x + noise * torch.randn(x.shape, generator=rng) for _ in range(samples)]
    slopes = [gradient(lambda x: difference(model, x).sum(), draw)[0].detach().abs() for draw in draws]
    return torch.stack(slopes).mean(0)[:, 0]


def smoothed(x: Tensor, importance: Tensor, share: float = 0.1) -> Tensor:
    """The images with that share of their pixels, the most important ones, replaced by the mean of the 5 x 5 there.

    Gray in their place would be something to look at by itself.
    """
    chosen = importance.flatten(1).argsort(1, descending=True)[:, : round(share * importance[0].numel())]
    mask = torch.zeros_like(importance).flatten(1).scatter(1, chosen, 1.0).view_as(importance)[:, None].bool()
    return torch.where(mask, avg_pool2d(x, 5, stride=1, padding=2, count_include_pad=False), x)


def lost(model, x: Tensor, importance: Tensor) -> float:
    """By how much the mean difference falls where the most important tenth of the pixels is smoothed."""
    with torch.no_grad():
        return (difference(model, x) - difference(model, smoothed(x, importance))).mean().item()


def without_tenths(model, x: Tensor, importance: Tensor, rng: torch.Generator) -> dict[str, float]:
    """The mean difference, and by how much it falls without a tenth of the pixels: most important ones, any, least."""
    with torch.no_grad():
        score = difference(model, x).mean().item()
    tenths = {"most salient": importance, "any": torch.rand(importance.shape, generator=rng), "least": -importance}
    return {"face": score} | {name: lost(model, x, each) for name, each in tenths.items()}
