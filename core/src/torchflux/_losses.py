"""Losses `loss(yhat, y, *, agg=torch.mean)`: the prediction first, then the target.

The meaning is Flux's and the layout PyTorch's: batch first, classes along the last dimension unless `dim`
says otherwise. `agg` turns the array of losses into the result: `torch.mean`, `torch.sum` (or the built-in
`sum`), `torchflux.identity` for no reduction, or any other function of a tensor.

Sizes are checked first, and nothing is ever broadcast: a (B, 1) prediction against a (B,) target is an error.
The target is brought to the dtype of the prediction, which is that of the result; it may be of integers or
booleans. `eps`, where there is one, is the machine epsilon of that dtype unless given.

The mean over an empty batch is NaN, as for every mean of nothing; the sum is 0.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, mean

# fmt: off
__all__ = ["binary_focal_loss", "binarycrossentropy", "crossentropy", "ctc_loss", "dice_coeff_loss", "focal_loss",
    "hinge_loss", "huber_loss", "kldivergence", "label_smoothing", "logitbinarycrossentropy", "logitcrossentropy",
    "mae", "mse", "msle", "poisson_loss", "siamese_contrastive_loss", "squared_hinge_loss", "tversky_loss"]
# fmt: on

Agg = Callable[[Tensor], Tensor]
Dim = int | tuple[int, ...] | None
Eps = float | None
Lengths = tuple[Tensor, Tensor] | None


def _reduce(losses: Tensor, agg: Agg) -> Tensor:
    return losses.sum() if agg is sum else agg(losses)


def _match(yhat: Tensor, y: Tensor) -> Tensor:
    """The target in the dtype of the prediction, once their sizes agree."""
    if yhat.shape != y.shape or not yhat.is_floating_point():
        given = f"yhat of shape {tuple(yhat.shape)}, {yhat.dtype} and y of shape {tuple(y.shape)}, {y.dtype}"
        needed = "a floating yhat and a y of its shape; squeeze a (B, 1) to (B,). Class indices lack `dim`"
        raise ValueError(f"a loss was given {given}. Nothing is broadcast: it needs {needed}")
    return y.to(yhat.dtype)


def _expectation(f: Callable[[Tensor], Tensor], p: Tensor, y: Tensor, dim: int) -> Tensor:
    """sum(y f(p)) along `dim`; integers y without that dimension are the index of the one class of weight 1."""
    if not y.is_floating_point() and y.shape == p.shape[:dim] + p.shape[dim:][1:]:
        return f(p.gather(dim, y.long().unsqueeze(dim)).squeeze(dim))
    return (_match(p, y) * f(p).clamp(min=torch.finfo(p.dtype).min)).sum(dim)  # 0 * -inf is NaN


def _above(p: Tensor, eps: Eps) -> Tensor:
    return p + (torch.finfo(p.dtype).eps if eps is None else eps)


def _overlap(part: Tensor, whole: Tensor, smooth: float, dim: Dim, agg: Agg) -> Tensor:
    """agg(1 - (sum(part) + smooth) / (sum(whole) + smooth)), the sums along `dim`."""
    exact = torch.promote_types(part.dtype, torch.float32)  # float16 ends at 65504
    share = (part.sum(dim, dtype=exact) + smooth) / (whole.sum(dim, dtype=exact) + smooth)
    return _reduce((1 - share).to(part.dtype), agg)


def mae(yhat: Tensor, y: Tensor, *, agg: Agg = mean) -> Tensor:
    """Mean absolute error, agg(|yhat - y|).

    >>> mae(torch.tensor([1.0, 4.0]), torch.tensor([1.0, 2.0]))
    tensor(1.)
    """
    return _reduce(F.l1_loss(yhat, _match(yhat, y), reduction="none"), agg)


def mse(yhat: Tensor, y: Tensor, *, agg: Agg = mean) -> Tensor:
    """Mean squared error, agg((yhat - y)^2).

    >>> mse(torch.tensor([1.0, 4.0]), torch.tensor([1.0, 2.0]))
    tensor(2.)
    """
    return _reduce(F.mse_loss(yhat, _match(yhat, y), reduction="none"), agg)


def msle(yhat: Tensor, y: Tensor, *, eps: Eps = None, agg: Agg = mean) -> Tensor:
    """Mean squared logarithmic error, agg((log(yhat + eps) - log(y + eps))^2), of numbers >= 0.

    >>> msle(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.0]))
    tensor(0.2402)
    """
    return _reduce((_above(yhat, eps).log() - _above(_match(yhat, y), eps).log()).square(), agg)


def huber_loss(yhat: Tensor, y: Tensor, *, delta: float = 1.0, agg: Agg = mean) -> Tensor:
    """agg(e^2 / 2 where e < delta, else delta (e - delta / 2)), with e = |yhat - y|.

    >>> huber_loss(torch.tensor([0.5, 3.0]), torch.tensor([0.0, 0.0]), agg=torch.sum)
    tensor(2.6250)

    Huber, Robust estimation of a location parameter, 1964, doi:10.1214/aoms/1177703732.
    """
    return _reduce(F.huber_loss(yhat, _match(yhat, y), reduction="none", delta=delta), agg)


def label_smoothing(y: Tensor, alpha: float, *, dim: int | None = -1) -> Tensor:
    """y (1 - alpha) + alpha / n, with n the number of classes along `dim`, or 2 if `dim` is None.

    `dim=None` is for binary targets, one number each (Flux: `dims=0`).

    >>> label_smoothing(torch.tensor([[0, 1], [1, 0]]), 0.2)
    tensor([[0.1000, 0.9000],
            [0.9000, 0.1000]])

    Szegedy et al., Rethinking the Inception architecture for computer vision, 2015, arXiv:1512.00567.
    """
    if not 0 <= alpha < 1:
        raise ValueError(f"label_smoothing: alpha must be in [0, 1), given {alpha}; 0.1 is usual")
    return y * (1 - alpha) + alpha / (2 if dim is None else y.shape[dim])


def crossentropy(yhat: Tensor, y: Tensor, *, dim: int = -1, eps: Eps = None, agg: Agg = mean) -> Tensor:
    """agg(-sum(y log(yhat + eps)) along `dim`), for probabilities yhat; `logitcrossentropy` is more exact.

    y has the shape of yhat (one-hot, or probabilities), or holds integer class indices without the dimension
    `dim`. An index out of range is an error; so is -100, which PyTorch leaves out.

    >>> crossentropy(torch.tensor([[0.5, 0.5], [0.25, 0.75]]), torch.tensor([0, 0]))
    tensor(1.0397)
    """
    return _reduce(-_expectation(lambda p: _above(p, eps).log(), yhat, y, dim), agg)


def logitcrossentropy(yhat: Tensor, y: Tensor, *, dim: int = -1, agg: Agg = mean) -> Tensor:
    """agg(-sum(y logsoftmax(yhat)) along `dim`): `crossentropy(softmax(yhat), y)`, without overflow.

    y is as in `crossentropy`. A logit of -inf masks its class out, and adds nothing where its target is 0.

    >>> logitcrossentropy(torch.tensor([[2.0, 2.0], [0.0, 1000.0]]), torch.tensor([0, 1]))
    tensor(0.3466)
    """
    if yhat.ndim == 2 and y.ndim == 1 and agg is mean and dim in (-1, 1) and not y.is_floating_point():
        # PyTorch leaves out the targets equal to ignore_index, -100 by default, without a word; no class is this.
        return F.cross_entropy(yhat, y.long(), ignore_index=-(2**62))
    return _reduce(-_expectation(lambda logp: logp, yhat.log_softmax(dim), y, dim), agg)


def binarycrossentropy(yhat: Tensor, y: Tensor, *, eps: Eps = None, agg: Agg = mean) -> Tensor:
    """agg(-y log(yhat + eps) - (1 - y) log(1 - yhat + eps)), for probabilities yhat.

    >>> binarycrossentropy(torch.tensor([0.5, 1.0]), torch.tensor([True, True]))
    tensor(0.3466)
    """
    y = _match(yhat, y)
    return _reduce(-torch.xlogy(y, _above(yhat, eps)) - torch.xlogy(1 - y, _above(1 - yhat, eps)), agg)


def logitbinarycrossentropy(yhat: Tensor, y: Tensor, *, agg: Agg = mean) -> Tensor:
    """agg((1 - y) yhat - logsigmoid(yhat)): `binarycrossentropy(sigmoid(yhat), y)`, without overflow.

    >>> logitbinarycrossentropy(torch.tensor([0.0, 1000.0]), torch.tensor([0, 0]))
    tensor(500.3466)
    """
    return _reduce(F.binary_cross_entropy_with_logits(yhat, _match(yhat, y), reduction="none"), agg)


def kldivergence(yhat: Tensor, y: Tensor, *, dim: int = -1, eps: Eps = None, agg: Agg = mean) -> Tensor:
    """agg(sum(y log(y) - y log(yhat + eps)) along `dim`): the Kullback-Leibler divergence KL(y || yhat).

    >>> kldivergence(torch.tensor([0.5, 0.5]), torch.tensor([1, 0]))
    tensor(0.6931)

    Kullback and Leibler, On information and sufficiency, 1951, doi:10.1214/aoms/1177729694.
    """
    y = _match(yhat, y)
    return _reduce((torch.xlogy(y, y) - torch.xlogy(y, _above(yhat, eps))).sum(dim), agg)


def poisson_loss(yhat: Tensor, y: Tensor, *, agg: Agg = mean) -> Tensor:
    """agg(yhat - y log(yhat)), for a rate yhat and a count y; the log likelihood up to log(y!).

    >>> poisson_loss(torch.tensor([1.0, 0.0]), torch.tensor([3, 0]), agg=sum)
    tensor(1.)
    """
    y = _match(yhat, y)
    # Not xlogy: its derivative at (0, 0) is 0 / 0.
    return _reduce(yhat - y * yhat.masked_fill(y == 0, 1).log(), agg)


def hinge_loss(yhat: Tensor, y: Tensor, *, agg: Agg = mean) -> Tensor:
    """agg(max(0, 1 - yhat y)), for targets -1 and 1.

    >>> hinge_loss(torch.tensor([0.5, 3.0]), torch.tensor([1, -1]), agg=sum)
    tensor(4.5000)
    """
    return _reduce(F.relu(1 - yhat * _match(yhat, y)), agg)


def squared_hinge_loss(yhat: Tensor, y: Tensor, *, agg: Agg = mean) -> Tensor:
    """agg(max(0, 1 - yhat y)^2), for targets -1 and 1.

    >>> squared_hinge_loss(torch.tensor([0.5, 3.0]), torch.tensor([1, -1]), agg=sum)
    tensor(16.2500)
    """
    return _reduce(F.relu(1 - yhat * _match(yhat, y)).square(), agg)


def dice_coeff_loss(yhat: Tensor, y: Tensor, *, smooth: float = 1.0, dim: Dim = None, agg: Agg = mean) -> Tensor:
    """1 - (2 sum(y yhat) + smooth) / (sum(y^2) + sum(yhat^2) + smooth).

    The sums run over everything, as in Flux, or over `dim` alone, and then `agg` is over the rest.

    >>> dice_coeff_loss(torch.tensor([1.0, 0.0]), torch.tensor([1, 0]))
    tensor(0.)

    Milletari, Navab and Ahmadi, V-Net, 2016, arXiv:1606.04797.
    """
    y = _match(yhat, y)
    return _overlap(2 * y * yhat, y.square() + yhat.square(), smooth, dim, agg)


def tversky_loss(yhat: Tensor, y: Tensor, *, beta: float = 0.7, dim: Dim = None, agg: Agg = mean) -> Tensor:
    """1 - (s + 1) / (s + beta sum((1 - y) yhat) + (1 - beta) sum(y (1 - yhat)) + 1), with s = sum(y yhat).

    `beta` weighs the false positives, as in Flux's code; Flux's documentation and the paper exchange beta and
    1 - beta. `dim` and `agg` are as in `dice_coeff_loss`.

    >>> tversky_loss(torch.tensor([1.0, 1.0]), torch.tensor([1, 0]))
    tensor(0.2593)

    Salehi, Erdogmus and Gholipour, Tversky loss function for image segmentation, 2017, arXiv:1706.05721.
    """
    y = _match(yhat, y)
    return _overlap(y * yhat, y * yhat + beta * (1 - y) * yhat + (1 - beta) * y * (1 - yhat), 1, dim, agg)


def binary_focal_loss(yhat: Tensor, y: Tensor, *, gamma: float = 2, eps: Eps = None, agg: Agg = mean) -> Tensor:
    """agg(-(1 - p)^gamma log(p + eps)), where p = y yhat + (1 - y) (1 - yhat), for probabilities yhat.

    >>> binary_focal_loss(torch.tensor([0.5, 1.0]), torch.tensor([1, 1]))
    tensor(0.0866)

    Lin et al., Focal loss for dense object detection, 2017, arXiv:1708.02002.
    """
    return _reduce(_focal(torch.lerp(1 - yhat, yhat, _match(yhat, y)), gamma, eps), agg)


def focal_loss(yhat: Tensor, y: Tensor, *, dim: int = -1, gamma: float = 2, eps: Eps = None, agg: Agg = mean) -> Tensor:
    """agg(-sum(y (1 - yhat)^gamma log(yhat + eps)) along `dim`), for probabilities yhat.

    y is as in `crossentropy`, which this is for gamma = 0.

    >>> focal_loss(torch.tensor([[0.5, 0.5], [0.0, 1.0]]), torch.tensor([0, 1]))
    tensor(0.0866)

    Lin et al., 2017, arXiv:1708.02002.
    """
    return _reduce(_expectation(lambda p: _focal(p, gamma, eps), yhat, y, dim), agg)


def _focal(p: Tensor, gamma: float, eps: Eps) -> Tensor:
    # The floor keeps the derivative finite at p = 1 for gamma < 1, and a rounded-up p > 1 from being NaN.
    return -((1 - p).clamp(min=torch.finfo(p.dtype).eps) ** gamma) * _above(p, eps).log()


def siamese_contrastive_loss(yhat: Tensor, y: Tensor, *, margin: float = 1.0, agg: Agg = mean) -> Tensor:
    """agg((1 - y) yhat^2 + y max(0, margin - yhat)^2), for a distance yhat and y = 1 where a pair differs.

    >>> siamese_contrastive_loss(torch.tensor([0.5, 0.5]), torch.tensor([0, 1]))
    tensor(0.2500)

    Hadsell, Chopra and LeCun, Dimensionality reduction by learning an invariant mapping, 2006,
    doi:10.1109/CVPR.2006.100.
    """
    return _reduce(torch.lerp(yhat.square(), F.relu(margin - yhat).square(), _match(yhat, y)), agg)


def ctc_loss(yhat: Tensor, y: Tensor, *, lengths: Lengths = None, blank: int = 0, agg: Agg = mean) -> Tensor:
    """agg(-log P(y | yhat)) over the sequences; P is summed over all alignments of y with the frames of yhat.

    yhat holds logits, (T, N, C) or for one sequence (T, C); `logsoftmax` is applied here. y holds classes
    other than `blank`, (N, S) or (S,). `lengths` is a pair, each (N,) or (): how many frames of yhat and how many
    labels of y are not padding; without it, all. Flux puts the blank last; here it is class 0. A target that has no
    alignment costs inf.

    Once differentiable, and `torch.compile` breaks its graph here: PyTorch has no more.

    >>> ctc_loss(torch.zeros(2, 1, 3), torch.tensor([[1]]))  # three of nine paths: 11, 01, 10
    tensor(1.0986)

    Graves et al., Connectionist temporal classification, 2006, doi:10.1145/1143844.1143891.
    """
    if yhat.ndim not in (2, 3) or y.ndim != yhat.ndim - 1 or y.shape[:-1] != yhat.shape[1:-1]:
        shapes = f"(T, N, C) and (N, S), or (T, C) and (S,), given {tuple(yhat.shape)} and {tuple(y.shape)}"
        raise ValueError(f"ctc_loss needs shapes {shapes}")
    frames, labels = lengths or (torch.full(y.shape[:-1], len(yhat)), torch.full(y.shape[:-1], y.shape[-1]))
    # F.ctc_loss reads memory outside the array for a class out of range; gather refuses it.
    padding = torch.arange(y.shape[-1], device=y.device) >= labels.to(y.device).unsqueeze(-1)
    yhat[0].gather(-1, y.masked_fill(padding, blank))
    # It has no kernel for half precision.
    logp = yhat.log_softmax(-1, dtype=torch.promote_types(yhat.dtype, torch.float32))
    return _reduce(F.ctc_loss(logp, y, frames, labels, blank, reduction="none").to(yhat.dtype), agg)
