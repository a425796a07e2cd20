"""Attention over several heads."""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from .._init import glorot_uniform
from .._treelike import treelike
from ._basic import Dense, Init

__all__ = ["MultiHeadAttention", "causal_mask"]


@treelike
class MultiHeadAttention:
    """softmax(q kᵀ / √d + bias) v for each head, between linear maps; batch first.

    Arguments:
        dims: one size for all; or (in, qkv, out); or ((q_in, k_in, v_in), (qk, v), out), where qk and v are the
            sizes of all heads together.
        nheads: how many heads; it divides qk and v.
        bias: whether the four linear maps have one.
        init: makes their weights.
        dropout_prob: of the attention weights, while training.

    q: (..., q_len, q_in), k: (..., kv_len, k_in), v: (..., kv_len, v_in) → (y, α), y: (..., q_len, out). k is q
    and v is k, unless given. Options of the call:
        bias: what is added to the scores, broadcast to (..., nheads, q_len, kv_len).
        mask: bool, True where q may look at k, broadcast to the same; see `causal_mask`. It leaves every q
            something to look at: what a q that may look at nothing gets (zeros or NaN) is up to the kernel.
        return_weights: whether α is the weights, (..., nheads, q_len, kv_len), rather than `None`. It is off,
            other than in Flux, because PyTorch's fast kernels never make them; with it, and inside `torch.func`
            transforms, plain operations are used, which have second derivatives.

    >>> attention = MultiHeadAttention(64, nheads=8)
    >>> x = torch.zeros(2, 10, 64)
    >>> y, weights = attention(x, mask=causal_mask(10), return_weights=True)
    >>> y.shape, weights.shape
    (torch.Size([2, 10, 64]), torch.Size([2, 8, 10, 10]))

    Source: Vaswani et al. (2017), arXiv 1706.03762.
    """

    training: ClassVar[bool]  # nn.Module's

    def __init__(
        self, dims: Any, nheads: int = 8, *, bias: bool = False, init: Init = glorot_uniform, dropout_prob: float = 0.0
    ) -> None:
        given, heads, out = (dims,) * 3 if isinstance(dims, int) else dims
        q, k, v = (given,) * 3 if isinstance(given, int) else given
        qk, vv = (heads,) * 2 if isinstance(heads, int) else heads
        self.q_proj, self.k_proj = Dense(q, qk, bias=bias, init=init), Dense(k, qk, bias=bias, init=init)
        self.v_proj, self.out_proj = Dense(v, vv, bias=bias, init=init), Dense(vv, out, bias=bias, init=init)
        self.nheads, self.dropout_prob = nheads, dropout_prob

    def __call__(
        self,
        q: Tensor,
        k: Tensor | None = None,
        v: Tensor | None = None,
        *,
        bias: Tensor | None = None,
        mask: Tensor | None = None,
        return_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Applies the layer; gives the result and, if asked for, the attention weights."""
        k = q if k is None else k
        v = k if v is None else v
        q, k, v = self._split(self.q_proj(q)), self._split(self.k_proj(k)), self._split(self.v_proj(v))
        if mask is not None:
            bias = torch.where(mask, q.new_zeros(()) if bias is None else bias, float("-inf"))
        dropout, weights = self.dropout_prob if self.training else 0.0, None
        if return_weights or torch._C._are_functorch_transforms_active():  # vmap has no rule for the kernel
            scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + (0 if bias is None else bias)
            weights = F.dropout(scores.softmax(-1), dropout)
            y = weights @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, bias, dropout)
        return self.out_proj(y.transpose(-2, -3).flatten(-2)), weights if return_weights else None

    def _split(self, x: Tensor) -> Tensor:
        """(..., len, heads * d) → (..., heads, len, d)."""
        return x.unflatten(-1, (self.nheads, -1)).transpose(-2, -3)


def causal_mask(n: int, device: torch.device | str | None = None) -> Tensor:
    """The mask that lets each place look at itself and what is before it: (n, n), bool.

    >>> causal_mask(3).int()
    tensor([[1, 0, 0],
            [1, 1, 0],
            [1, 1, 1]], dtype=torch.int32)
    """
    return torch.ones(n, n, dtype=torch.bool, device=device).tril()
