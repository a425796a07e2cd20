"""The residual tower of AlphaGo Zero, with its two heads (Silver et al. 2017)."""

from torch import Tensor

from torchflux import Chain, Dense, Parallel, flatten, relu, softmax, tanh

from .._layers import conv_norm
from ._resnet import Basic

__all__ = ["alphago"]


def pair(policy: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Both."""
    return policy, value


def alphago(size: int = 19, planes: int = 17, n: int = 256, height: int = 19) -> Chain:
    """A convolution and residual blocks, and on what they give a head for the next move and one for who wins.

    Arguments:
        size: of the board, size × size points.
        planes: of the input: the stones of both players in the last eight positions, and whose turn it is.
        n, height: channels and blocks of the tower.

    x: (batch, planes, size, size) → (policy, value); the policy, (batch, size² + 1), is the probability of each move,
    the last one to pass, and the value, (batch, 1), lies between -1 and 1. Without the last layer,
    `model.heads.policy[:-1]`, the policy is in logits.

    >>> import torch
    >>> policy, value = alphago(9, n=8, height=2)(torch.zeros(3, 17, 9, 9))
    >>> policy.shape, value.shape, torch.allclose(policy.sum(-1), torch.ones(3))
    (torch.Size([3, 82]), torch.Size([3, 1]), True)

    Source: Silver et al. (2017), doi:10.1038/nature24270.
    """
    points = size**2
    policy = Chain(*conv_norm(1, n, 2), flatten, Dense(2 * points, points + 1), softmax)
    value = Chain(*conv_norm(1, n, 1), flatten, Dense(points, 256, relu), Dense(256, 1, tanh))
    return Chain(
        base=Chain(*conv_norm(3, planes, n), *(Basic(n, n) for _ in range(height))),
        heads=Parallel(pair, policy=policy, value=value),
    )
