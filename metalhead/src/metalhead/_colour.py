"""Changes of brightness and colour of batches of images, by a number for each image.

Images are (batch, 1 or 3, height, width), floats from 0 to 1, and stay so; a factor of 1 changes nothing.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__: list[str] = []


def each(factor: Tensor) -> Tensor:
    """(batch,) → (batch, 1, 1, 1)."""
    return factor[:, None, None, None]


def blend(x: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """factor · x + (1 - factor) · other, within 0..1."""
    return torch.lerp(other.expand_as(x), x, each(factor).to(x)).clamp(0, 1)


def gray(x: Tensor) -> Tensor:
    """Luma, (batch, 1, height, width), of Rec. ITU-R BT.601."""
    return x if x.shape[1] == 1 else torch.einsum("bchw,c->bhw", x, x.new_tensor([0.2989, 0.587, 0.114]))[:, None]


def brightness(x: Tensor, factor: Tensor) -> Tensor:
    """Blends with black."""
    return (x * each(factor).to(x)).clamp(0, 1)


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    """Blends with the mean gray of the image."""
    return blend(x, gray(x).mean((1, 2, 3), keepdim=True), factor)


def saturation(x: Tensor, factor: Tensor) -> Tensor:
    """Blends with the gray image."""
    return blend(x, gray(x), factor)


def sharpness(x: Tensor, factor: Tensor) -> Tensor:
    """Blends with the image smoothed by 1 1 1, 1 5 1, 1 1 1 (over 13), whose border stays."""
    if min(x.shape[-2:]) < 3:
        return x
    kernel = x.new_tensor([[1, 1, 1], [1, 5, 1], [1, 1, 1]]).div(13).expand(x.shape[1], 1, 3, 3)
    smooth = x.clone()
    smooth[..., 1:-1, 1:-1] = F.conv2d(x, kernel, groups=x.shape[1])
    return blend(x, smooth, factor)


def hue(x: Tensor, turns: Tensor) -> Tensor:
    """Turns the hue by a part of the circle; gray stays.

    Source: A. R. Smith, Color gamut transform pairs, 1978, 10.1145/965139.807361, in its form without cases.
    """
    if x.shape[1] == 1:
        return x
    value, low = x.amax(1), x.amin(1)
    chroma = value - low
    red, green, blue = (x / torch.where(chroma == 0, 1, chroma)[:, None]).unbind(1)
    sector = torch.where(value == x[:, 0], green - blue, torch.where(value == x[:, 1], blue - red + 2, red - green + 4))
    turned = sector + 6 * turns.to(x)[:, None, None]
    ways = [(n + turned) % 6 for n in (5, 3, 1)]
    return torch.stack([value - chroma * torch.minimum(k, 4 - k).clamp(0, 1) for k in ways], 1)


def posterize(x: Tensor, bits: Tensor) -> Tensor:
    """Keeps the highest of eight bits."""
    step = each(2 ** (8 - bits)).to(x)
    return (x * 255 + 1e-3).floor().div(step, rounding_mode="floor") * step / 255


def solarize(x: Tensor, threshold: Tensor) -> Tensor:
    """Inverts what is at least as bright."""
    return torch.where(x >= each(threshold).to(x), 1 - x, x)


def autocontrast(x: Tensor) -> Tensor:
    """Stretches each channel to 0..1; a channel of one value stays."""
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    return torch.where(high > low, (x - low) / torch.where(high > low, high - low, 1), x)


def equalize(x: Tensor) -> Tensor:
    """Makes the histogram of each channel flat, of 256 values, with Pillow's rule."""
    levels = (x * 255).round().long().flatten(0, 1).flatten(1)
    histogram = torch.zeros(len(levels), 256, dtype=torch.long, device=x.device)
    histogram.scatter_add_(1, levels, torch.ones_like(levels))
    highest = levels.amax(1, keepdim=True)
    step = (levels.shape[1] - histogram.gather(1, highest)) // 255
    before = histogram.cumsum(1) - histogram
    table = ((step // 2 + before) // step.clamp(1)).clamp(0, 255)
    equal = table.gather(1, levels).to(x.dtype).div(255).reshape(x.shape)
    return torch.where((step > 0).reshape(*x.shape[:2], 1, 1), equal, x)
