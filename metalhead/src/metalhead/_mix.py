"""Mixup and CutMix: images of a batch mixed with others of it, and their targets too."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ._augment import checked, inside, integers

__all__ = ["CutMix", "Mixup"]


def _shares(n: int, alpha: float, generator: Generator, x: Tensor) -> Tensor:
    """Draws from Beta(alpha, alpha); torch.distributions, which samples so too, takes no generator."""
    if not alpha > 0:
        raise ValueError(f"alpha must be positive, not {alpha}")
    drawn = torch._sample_dirichlet(torch.full((n, 2), alpha, device=generator.device), generator)
    return drawn[:, 0].to(x)


def _targets(x: Tensor, y: Tensor) -> Tensor:
    if y.ndim != 2 or len(y) != len(checked(x)) or not y.is_floating_point():
        raise ValueError(f"targets are floats (batch, classes), as of onehotbatch, not {y.dtype} {tuple(y.shape)}")
    return y


@dataclass(frozen=True)
class Mixup:
    """λ x + (1 - λ) x' for an image x' of the same batch, λ from Beta(alpha, alpha) for each image.

    >>> x, y = torch.rand(2, 3, 8, 8), torch.eye(2)
    >>> [part.shape for part in Mixup(0.2)(x, y, torch.Generator())]
    [torch.Size([2, 3, 8, 8]), torch.Size([2, 2])]

    Source: H. Zhang et al., arXiv:1710.09412.
    """

    alpha: float = 0.2

    def __call__(self, x: Tensor, y: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """x: (batch, channels, height, width), y: (batch, classes), floats both."""
        y, share = _targets(x, y), _shares(len(x), self.alpha, generator, x)
        other = torch.randperm(len(x), generator=generator, device=generator.device).to(x.device)
        mixed = torch.lerp(x[other], x, share[:, None, None, None])
        return mixed, torch.lerp(y[other], y, share[:, None].to(y))


@dataclass(frozen=True)
class CutMix:
    """A box of another image of the batch is put into each; targets are mixed by area.

    Source: S. Yun et al., arXiv:1905.04899, equations 1 and 2.
    """

    alpha: float = 1.0

    def __call__(self, x: Tensor, y: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """x: (batch, channels, height, width), y: (batch, classes), floats both."""
        y, share = _targets(x, y), _shares(len(x), self.alpha, generator, x)
        other = torch.randperm(len(x), generator=generator, device=generator.device).to(x.device)
        put = inside(self._box(share, x, generator), x)
        kept = 1 - put.to(y).mean((1, 2, 3))
        return torch.where(put, x[other], x), torch.lerp(y[other], y, kept[:, None])

    def _box(self, share: Tensor, x: Tensor, generator: Generator) -> Tensor:
        """Of the image's aspect and 1 - λ of its area, about any pixel; what is outside the image counts not."""
        sides = x.new_tensor(x.shape[-2:])
        size = ((1 - share).sqrt()[:, None] * sides).long()
        centre = torch.stack([integers(side, (len(x),), generator, x) for side in x.shape[-2:]], 1)
        return torch.cat([centre - size // 2, size // 2 * 2], 1)
