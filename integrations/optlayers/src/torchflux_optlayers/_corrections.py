"""Solutions of linear systems whose matrix is constant as functions of the right side, with every derivative."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["Correction", "Nothing", "Solved", "quiet"]

Function = Callable[[Tensor], Tensor]


def quiet(x: Tensor) -> Tensor:
    """Nothing but the derivatives."""
    return x - x.detach()


class Solved(torch.autograd.Function):
    """The solution of a linear system whose matrix is constant: `solve` the system, `back` the transposed one."""

    @staticmethod
    def forward(b: Tensor, solve: Function, back: Function) -> Tensor:
        """By the solver."""
        return solve(b)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keeps the solvers."""
        _, ctx.solve, ctx.back = inputs

    @staticmethod
    def backward(ctx: Any, *g: Any) -> Any:
        """The transposed system."""
        return Solved.apply(*g, ctx.back, ctx.solve), None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """The same system."""
        return Solved.apply(tangents[0], ctx.solve, ctx.back)

    @staticmethod
    def vmap(info: Any, in_dims: Any, b: Tensor, solve: Function, back: Function) -> Any:
        """One system after the other."""
        return torch.stack([Solved.apply(x, solve, back) for x in b.unbind(in_dims[0])]), 0


class Correction(Solved):
    """The same with the value 0, which needs no solving."""

    @staticmethod
    def forward(b: Tensor, solve: Function, back: Function) -> Tensor:
        """Nothing."""
        return torch.zeros_like(b)

    @staticmethod
    def vmap(info: Any, in_dims: Any, b: Tensor, solve: Function, back: Function) -> Any:
        """The same for more of them."""
        return Correction.apply(b, solve, back), in_dims[0]


class Nothing(torch.autograd.Function):
    """0, whose derivative is NaN: where anything depends on it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(r: Tensor) -> Tensor:
        """Nothing."""
        return torch.zeros_like(r)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Needs none."""

    @staticmethod
    def backward(ctx: Any, *g: Any) -> Any:
        """NaN for what isn't 0."""
        return torch.where(g[0] == 0, 0.0, torch.nan).to(g[0].dtype)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """NaN for what isn't 0."""
        return torch.where(tangents[0] == 0, 0.0, torch.nan).to(tangents[0].dtype)
