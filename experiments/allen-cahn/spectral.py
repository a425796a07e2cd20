"""The solution that the networks are compared with: Fourier in space, an explicit rule of order 8 in time."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from torchflux_diffeq import PID, Dopri8, solve
from torchflux_physics import relative_error


def beginning(x: Tensor) -> Tensor:
    """u(x, 0), of the shape of x."""
    return x**2 * torch.cos(math.pi * x)


def solution(n: int = 1024) -> tuple[Tensor, Tensor, Tensor]:
    """x (n,), t (101,) and u (n, 101): its Fourier series in x, solved to 1e-10 in time."""
    x, t = torch.arange(n).double() * 2 / n - 1, torch.linspace(0, 1, 101).double()
    curvature = -((math.pi * torch.arange(n // 2 + 1).double()) ** 2)

    def slope(t, u, args):
        return 1e-4 * torch.fft.irfft(curvature * torch.fft.rfft(u), n) + 5 * u - 5 * u**3

    return x, t, solve(slope, beginning(x), t, solver=Dopri8(), controller=PID(1e-10, 1e-10)).ys.T


class Comparison:
    """A network beside the solution, at 512 x 101 points."""

    def __init__(self):
        x, self.t, truth = solution()
        self.x, self.truth = x[::2], truth[::2]
        self.grid = torch.cartesian_prod(self.x, self.t)

    def __call__(self, model: Callable[[Tensor], Tensor]) -> tuple[Tensor, float]:
        """The network's values (512, 101), and their relative error."""
        with torch.no_grad():
            u = model(self.grid).view(self.truth.shape)
        return u, relative_error(u, self.truth)
