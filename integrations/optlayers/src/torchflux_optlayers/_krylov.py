"""Linear systems of which only products are known, row by row: conjugate gradients and GMRES."""

from collections.abc import Callable

import torch
from torch import Tensor

from ._outcome import places

__all__ = ["conjugate_gradients", "generalised_residuals"]

Product = Callable[[Tensor], Tensor]


def conjugate_gradients(product: Product, b: Tensor, rtol: float, most: int) -> Tensor:
    """The solutions of `A x = b` (rows, n) for symmetric, positive definite A.

    Source: Hestenes & Stiefel (1952), doi:10.6028/jres.049.044.
    """
    x, r = torch.zeros_like(b), b
    p, size = r, r.square().sum(-1, keepdim=True)
    enough = rtol**2 * size
    for _ in range(most):
        running = size > enough
        if not running.any():
            break
        along = product(p)
        curvature = (p * along).sum(-1, keepdim=True)
        length = torch.where(running & (curvature != 0), size / curvature, 0.0)
        x, r = x + length * p, r - length * along
        last, size = size, r.square().sum(-1, keepdim=True)
        p = torch.where(running, r + size / torch.where(last > 0, last, 1.0) * p, 0.0)
    return x


def generalised_residuals(product: Product, b: Tensor, rtol: float, most: int, restart: int) -> Tensor:
    """The solutions of `A x = b` (rows, n) for any A with an inverse.

    Source: Saad & Schultz (1986), doi:10.1137/0907058.
    """
    x, size = torch.zeros_like(b), b.norm(dim=-1)
    restart = min(restart, b.shape[-1])
    for _ in range(0, most, restart):
        r = b - product(x)
        if not (r.norm(dim=-1) > rtol * size).any():
            break
        x = x + _cycle(product, r, restart)
    return x


def _cycle(product: Product, r: Tensor, length: int) -> Tensor:
    """What one basis makes of a residual; directions that are nothing new are zeros."""
    start, tiny = r.norm(dim=-1), torch.finfo(r.dtype).eps
    basis = [r / torch.where(start > 0, start, 1.0).unsqueeze(-1)]
    images: list[Tensor] = []
    for _ in range(length):
        images.append(image := product(basis[-1]))
        known, new = torch.stack(basis, 1), image
        for _ in range(2):  # twice is enough
            new = new - (known.mT @ (known @ new.unsqueeze(-1))).squeeze(-1)
        size = new.norm(dim=-1, keepdim=True)
        some = size > 10 * tiny * image.norm(dim=-1, keepdim=True)
        basis.append(torch.where(some, new / torch.where(some, size, 1.0), 0.0))
    known = torch.stack(basis, 1)
    weights = least(known @ torch.stack(images, -1), known @ r.unsqueeze(-1))
    return (known[:, :-1].mT @ weights).squeeze(-1)


def least(matrix: Tensor, b: Tensor) -> Tensor:
    """The shortest x with the least `|A x - b|`, whatever the rank; that driver is one of the CPU."""
    return torch.linalg.lstsq(matrix.cpu(), b.cpu(), driver="gelsd").solution.to(b.device)


def checked(name: str, product: Product, x: Tensor, b: Tensor, rtol: float) -> Tensor:
    """The solutions, if their residuals are small.

    Raises:
        RuntimeError: some aren't.
    """
    left, size = (product(x) - b).norm(dim=-1), b.norm(dim=-1)
    bad = ~(left <= 10 * rtol * size)
    if bad.any():
        where = bad.nonzero()[:, 0].tolist()
        worst = float((left / size)[bad].max())
        raise RuntimeError(
            f"{name}: the linear system has a relative residual of {worst:.1e} (rtol is {rtol:.0e}) for the elements "
            f"{places(where)}: raise max_steps or rtol, or take linear_solver=Dense(), or GMRES() where the matrix "
            "isn't symmetric and positive definite; a singular one has no solution"
        )
    return x
