"""Networks between functions: solutions of a whole family of equations at once."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

__all__ = ["DeepONet", "FourierOperator", "SpectralConv"]


class DeepONet(nn.Module):
    """A function of a function: Σₖ branch(f)ₖ trunk(x)ₖ + b, f given by its values at sensors.

    **Arguments:** `branch` maps the values at m sensors to p numbers, `trunk` coordinates to p numbers.

    Called with functions (B, m) and points: points (n, d) that all functions share give (B, n); points (B, d), one for
    each function, give (B,) with `paired=True`.

    `at(f)` is the solution for one function f (m,), a model of points (n, d): what a residual takes. That for several,
    (B, m), gives (n, B): a field of vectors, with a component for each function.

    >>> import torch
    >>> from torchflux import Chain, Dense, tanh
    >>> net = DeepONet(Chain(Dense(10, 8, tanh), Dense(8, 4)), Chain(Dense(2, 8, tanh), Dense(8, 4)))
    >>> net(torch.rand(3, 10), torch.rand(7, 2)).shape
    torch.Size([3, 7])

    Source: Lu et al. (2021), doi:10.1038/s42256-021-00302-5.
    """

    def __init__(self, branch: Callable[[Any], Any], trunk: Callable[[Any], Any]) -> None:
        super().__init__()
        self.branch, self.trunk = branch, trunk
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, functions: Tensor, points: Tensor, paired: bool = False) -> Tensor:
        """The solutions at points."""
        weights, basis = self.branch(functions), self.trunk(points)
        if weights.shape[-1] != basis.shape[-1]:
            raise ValueError(
                f"the branch gives {weights.shape[-1]} numbers and the trunk {basis.shape[-1]}; as many of both"
            )
        if not paired:
            return weights @ basis.transpose(-1, -2) + self.bias
        if len(weights) != len(basis):
            raise ValueError(f"{len(weights)} functions and {len(basis)} points can't be paired")
        return (weights * basis).sum(-1) + self.bias

    def at(self, function: Tensor) -> Callable[[Any], Any]:
        """The solution for one function (m,), or those for several (B, m), as a model of points."""
        weights = self.branch(function).T if function.dim() == 2 else self.branch(function[None])[0]
        return lambda points: self.trunk(points) @ weights + self.bias


class SpectralConv(nn.Module):
    """A convolution over a periodic grid, by weights for its lowest frequencies.

    **Arguments:** `nin` and `nout` channels; `modes`, the number of frequencies kept in each dimension, one or two.

    x: (B, nin, *grid) → (B, nout, *grid), on any grid with at least 2 · modes places in each dimension

    Source: Li et al. (2021), arXiv:2010.08895.
    """

    def __init__(self, nin: int, nout: int, modes: tuple[int, ...]) -> None:
        super().__init__()
        if len(modes) not in (1, 2):
            raise ValueError(f"a spectral convolution has one or two dimensions, not {len(modes)}")
        self.modes = tuple(modes)
        corners = 2 ** (len(modes) - 1)  # positive and negative frequencies of the first of two dimensions
        self.weight = nn.Parameter(torch.randn(corners, nin, nout, *modes, 2) / (nin * nout) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """The convolution."""
        grid = x.shape[2:]
        if len(grid) != len(self.modes) or any(n < 2 * m for n, m in zip(grid, self.modes, strict=False)):
            least = " x ".join(str(2 * m) for m in self.modes)
            raise ValueError(
                f"a grid of at least {least} places was expected after (batch, channels); given: {tuple(x.shape)}"
            )
        dims = tuple(range(2, x.dim()))
        spectrum = torch.fft.rfftn(x, dim=dims)
        weight = torch.view_as_complex(self.weight)
        out = spectrum.new_zeros(len(x), weight.shape[2], *spectrum.shape[2:])
        for corner, kept in zip(weight, self._corners(), strict=True):
            out[(slice(None), slice(None), *kept)] = torch.einsum(
                "bi...,io...->bo...", spectrum[(slice(None), slice(None), *kept)], corner
            )
        return torch.fft.irfftn(out, s=grid, dim=dims)

    def _corners(self) -> list[tuple[slice, ...]]:
        last = slice(self.modes[-1])
        return (
            [(last,)] if len(self.modes) == 1 else [(slice(self.modes[0]), last), (slice(-self.modes[0], None), last)]
        )


class FourierOperator(nn.Module):
    """The Fourier neural operator: functions on a grid to functions on the grid, of any resolution.

    **Arguments:** `nin` and `nout` channels, `width` inside, `depth` layers, `modes` kept in each dimension. The grid's
    coordinates, from 0 to 1, are given to it with the input.

    x: (B, nin, *grid) → (B, nout, *grid)

    >>> import torch
    >>> operator = FourierOperator(1, 1, width=8, depth=2, modes=(4,))
    >>> operator(torch.rand(3, 1, 16)).shape, operator(torch.rand(3, 1, 64)).shape
    (torch.Size([3, 1, 16]), torch.Size([3, 1, 64]))

    Source: Li et al. (2021), arXiv:2010.08895.
    """

    def __init__(self, nin: int, nout: int, *, width: int = 32, depth: int = 4, modes: tuple[int, ...] = (12,)) -> None:
        super().__init__()
        conv = (nn.Conv1d, nn.Conv2d)[len(modes) - 1]
        self.lift = conv(nin + len(modes), width, 1)
        self.spectral = nn.ModuleList(SpectralConv(width, width, modes) for _ in range(depth))
        self.local = nn.ModuleList(conv(width, width, 1) for _ in range(depth))
        self.project = nn.Sequential(conv(width, 4 * width, 1), nn.GELU(), conv(4 * width, nout, 1))

    def forward(self, x: Tensor) -> Tensor:
        """The functions."""
        axes = [torch.linspace(0, 1, n, dtype=x.dtype, device=x.device) for n in x.shape[2:]]
        places = torch.stack(torch.meshgrid(*axes, indexing="ij")).expand(len(x), -1, *x.shape[2:])
        h = self.lift(torch.cat([x, places], 1))
        for k, (spectral, local) in enumerate(zip(self.spectral, self.local, strict=True)):
            h = spectral(h) + local(h)
            h = h if k == len(self.local) - 1 else gelu(h)
        return self.project(h)
