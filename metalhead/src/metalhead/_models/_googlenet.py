"""GoogLeNet with batch norm (Szegedy et al. 2014; Ioffe and Szegedy 2015)."""

from typing import Any

from torchflux import AdaptiveMeanPool, BatchNorm, Chain, Dense, Dropout, MaxPool, Parallel, flatten

from .._init import truncated
from .._layers import ceilpool, concat, conv, globalmean, relu, uniform_bias
from .._model import Model, Plan
from .._registry import register

__all__ = ["googlenet"]


def linear(nin: int, nout: int, *activation: Any) -> Any:
    """A linear map with weights from N(0, 0.01²)."""
    return uniform_bias(Dense(nin, nout, *activation, init=init))


def init(*shape: int) -> Any:
    """N(0, 0.01²), cut off at ±2."""
    return truncated(*shape, std=0.01)


def block(kernel: int, nin: int, nout: int, stride: int = 1) -> Chain:
    """A convolution, its norm and relu."""
    return Chain(conv=conv(kernel, nin, nout, stride=stride, init=init), bn=BatchNorm(nout, relu, eps=1e-3))


def inception(nin: int, n1: int, squeezed3: int, n3: int, squeezed5: int, n5: int, pooled: int) -> Parallel:
    """Four branches side by side; the "5 × 5" one is 3 × 3 in the published weights (pytorch/vision issue 906)."""
    return Parallel(
        concat,
        branch1=block(1, nin, n1),
        branch2=Chain(block(1, nin, squeezed3), block(3, squeezed3, n3)),
        branch3=Chain(block(1, nin, squeezed5), block(3, squeezed5, n5)),
        branch4=Chain(MaxPool((3, 3), stride=1, pad=1), block(1, nin, pooled)),
    )


def auxiliary(nin: int, nclasses: int, dropout: float) -> Chain:
    """A head for a map in the middle of the network."""
    return Chain(
        pool=AdaptiveMeanPool((4, 4)),
        conv=block(1, nin, 128),
        flatten=flatten,
        fc1=linear(2048, 1024, relu),
        dropout=Dropout(dropout),
        fc2=linear(1024, nclasses),
    )


def googlenet(
    *,
    nclasses: int = 1000,
    inchannels: int = 3,
    auxiliaries: bool = True,
    dropout: float = 0.2,
    dropout_auxiliary: float = 0.7,
) -> Model:
    """GoogLeNet; while training it gives (y, y of the head in its second third, y of the one in its first).

    >>> import torch
    >>> googlenet(nclasses=10).eval()(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 10])
    """
    model = Model(
        Plan("inception5b", "fc", linear, inchannels),
        conv1=block(7, inchannels, 64, stride=2),
        maxpool1=ceilpool(3, 2),
        conv2=block(1, 64, 64),
        conv3=block(3, 64, 192),
        maxpool2=ceilpool(3, 2),
        inception3a=inception(192, 64, 96, 128, 16, 32, 32),
        inception3b=inception(256, 128, 128, 192, 32, 96, 64),
        maxpool3=ceilpool(3, 2),
        inception4a=inception(480, 192, 96, 208, 16, 48, 64),
        inception4b=inception(512, 160, 112, 224, 24, 64, 64),
        inception4c=inception(512, 128, 128, 256, 24, 64, 64),
        inception4d=inception(512, 112, 144, 288, 32, 64, 64),
        inception4e=inception(528, 256, 160, 320, 32, 128, 128),
        maxpool4=ceilpool(2, 2),
        inception5a=inception(832, 256, 160, 320, 32, 128, 128),
        inception5b=inception(832, 384, 192, 384, 48, 128, 128),
        avgpool=globalmean,
        dropout=Dropout(dropout),
        fc=linear(1024, nclasses),
    )
    if auxiliaries:
        model.add_auxiliary("aux2", "inception4d", auxiliary(528, nclasses, dropout_auxiliary), "fc2")
        model.add_auxiliary("aux1", "inception4a", auxiliary(512, nclasses, dropout_auxiliary), "fc2")
    return model


# torchvision's published number, 6,624,904, is without the two heads of training.
register("googlenet", googlenet, 6_624_904, "Szegedy et al. (2014), arXiv 1409.4842")
