"""EfficientNet-Lite0 in a few lines, with the names and the paddings of weights that come from TensorFlow.

Source: the first paper's b0 (Tan and Le 2019, arXiv 1905.11946) without gates and with relu6:
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
"""

from metalhead._layers import conv, globalmean, linear, numbered, skip_if
from metalhead._model import Model, Plan
from metalhead._models._efficientnet import B0
from torchflux import BatchNorm, identity, relu6


def norm(n, activation=identity):
    return BatchNorm(n, activation, eps=1e-3, momentum=0.01)


def one_sided(kernel, stride):
    """TensorFlow's padding of a side of even length: with stride 2 one more at the end than at the beginning."""
    return (kernel // 2 - (stride - 1), kernel // 2) * 2


def block(nin, nout, kernel, stride, expansion, padding):
    """Widen, convolve each channel by itself, narrow."""
    n = nin * expansion
    widen = {"_expand_conv": conv(1, nin, n), "_bn0": norm(n, relu6)} if expansion > 1 else {}
    depthwise = conv(kernel, n, n, stride=stride, groups=n, pad=padding(kernel, stride))
    narrow = {"_project_conv": conv(1, n, nout), "_bn2": norm(nout)}
    return skip_if(stride == 1 and nin == nout, **widen, _depthwise_conv=depthwise, _bn1=norm(n, relu6), **narrow)


def efficientnet_lite0(padding=one_sided):
    """Images (n, 3, 224, 224) → scores (n, 1000)."""
    blocks, nin = [], 32
    for expansion, kernel, stride, nout, repeats in B0:
        for i in range(repeats):
            blocks.append(block(nin, nout, kernel, 1 if i else stride, expansion, padding))
            nin = nout
    return Model(
        Plan("_bn1", "_fc", linear),
        _conv_stem=conv(3, 3, 32, stride=2, pad=padding(3, 2)),
        _bn0=norm(32, relu6),
        _blocks=numbered(*blocks),
        _conv_head=conv(1, nin, 1280),
        _bn1=norm(1280, relu6),
        mean=globalmean,
        _fc=linear(1280, 1000),
    )
