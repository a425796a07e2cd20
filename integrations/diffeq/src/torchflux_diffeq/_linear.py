"""Linear systems of the state's size, for steady states."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, gmres
from torch import Tensor

from ._lanes import greatest

__all__ = ["dense", "krylov"]


def dense(a: Tensor, b: Tensor) -> Tensor:
    """The solutions of `a x = b`, for `a` (rows, n, n) and `b` (rows, n); singular matrices are refused."""
    scales = torch.linalg.svdvals(a.detach())
    ill = greatest((scales[:, -1] <= 10 * a.shape[-1] * torch.finfo(a.dtype).eps * scales[:, 0]).int())
    if ill.any():
        raise ValueError(
            f"the slope's Jacobian at the steady state is singular, in the rows {np.flatnonzero(ill).tolist()}: the "
            "state isn't isolated (something may be conserved, so that it depends on y0); eliminate what is conserved, "
            "or solve up to a late time with adjoint=Discrete()"
        )
    return torch.linalg.solve(a, b)


def krylov(product: Callable[[Tensor], Tensor | None], b: Tensor) -> Tensor:
    """The solution of `a x = b` of which only products `a x` are known; `b` has any shape. The residual is checked."""

    def matvec(x: NDArray[np.floating]) -> NDArray[np.floating]:
        x = np.asarray(x).reshape(tuple(b.shape))
        found = product(torch.as_tensor(x, dtype=b.dtype, device=b.device))
        return np.zeros(b.numel()) if found is None else found.detach().cpu().numpy().ravel()

    due = b.detach().cpu().numpy().ravel()
    rtol = 1e-5 if b.dtype == torch.float32 else 1e-11
    operator = LinearOperator((b.numel(), b.numel()), matvec, dtype=due.dtype)
    x, _ = gmres(operator, due, rtol=rtol, atol=0.0, restart=min(b.numel(), 100), maxiter=20)
    residual, size = np.linalg.norm(matvec(x) - due), np.linalg.norm(due)
    if not residual <= 100 * rtol * size:
        raise ValueError(
            f"GMRES left a residual of {residual / size:.1e} in the steady state's linear system: raise "
            "Implicit(largest=) so that it is solved directly, or see whether the steady state is isolated"
        )
    return torch.as_tensor(x, dtype=b.dtype, device=b.device).reshape(b.shape)
