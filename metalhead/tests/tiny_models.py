"""A small member of each family, made by the family's own builder: name → (builder, size of image, other sizes)."""

from functools import partial

import metalhead as mh
from metalhead._models import _efficientnet, _mnasnet, _mobilenet_v2, _mobilenet_v3

ANY = (33, 46)

TINY = {
    "alexnet": (partial(mh.alexnet, hidden=32), 63, (70,)),
    "convnext": (partial(mh.convnext, (8, 16), (1, 1), drop_path=0.2), 32, ANY),
    "densenet": (partial(mh.densenet, (2, 2), 4, 8), 32, ANY),
    "efficientnet": (
        partial(
            mh.efficientnet,
            [(_efficientnet.fused, 1, 3, 1, 8, 2), (_efficientnet.mbconv, 4, 3, 2, 8, 2)],
            *(8, 32),
            dropout=0.2,
        ),
        32,
        ANY,
    ),
    "googlenet": (mh.googlenet, 33, (47,)),
    "inception_v3": (partial(mh.inception_v3, auxiliaries=False), 75, (81,)),
    "mnasnet": (partial(mh.mnasnet, 0.25, _mnasnet.STAGES[:2]), 33, ANY),
    "mobilenet_v2": (partial(mh.mobilenet_v2, 0.25, _mobilenet_v2.STAGES[:3]), 33, ANY),
    "mobilenet_v3": (partial(mh.mobilenet_v3, _mobilenet_v3.SMALL[:5], 32, 0.5), 33, ANY),
    "resnet": (partial(mh.resnet, mh.Bottleneck, (1, 2)), 32, ANY),
    "resnext": (partial(mh.resnet, mh.Bottleneck, (1, 1), groups=8, width=4), 32, ANY),
    "seresnet": (partial(mh.resnet, mh.Basic, (1, 1), gate=mh.squeeze_excite), 32, ANY),
    "squeezenet": (partial(mh.squeezenet, (3, 8), (0, 2, 4)), 33, (47,)),
    "swin": (partial(mh.swin, 8, (2, 2), (2, 2)), 64, (60, 33)),
    "convmixer": (partial(mh.convmixer, 8, 2, 4, 4), 32, ANY),
    "gmlp": (partial(mh.mixer, mh.GatedBlock, 8, 2, 8, imsize=32), 32, ()),
    "inception_resnet_v2": (partial(mh.inception_resnet_v2, (1, 0, 0)), 75, (81,)),
    "inception_v4": (partial(mh.inception_v4, (0, 0, 1)), 75, (81,)),
    "mixer": (partial(mh.mixer, mh.MixerBlock, 8, 2, 8, imsize=32), 32, ()),
    "mobilenet_v1": (partial(mh.mobilenet_v1, 0.25, ((32, 1, 1), (64, 2, 2))), 32, ANY),
    "res2net": (partial(mh.resnet, mh.Bottle2neck, (2, 1), scale=3), 32, ANY),
    "resmlp": (partial(mh.mixer, partial(mh.ResMLPBlock, scale=0.1), 8, 2, 8, imsize=32), 32, ()),
    "vgg": (partial(mh.vgg, (1, 1), hidden=16), 32, ANY),
    "vgg_bn": (partial(mh.vgg, (1, 1), hidden=16, batchnorm=True), 32, ANY),
    "xception": (partial(mh.xception, 1), 64, (71,)),
    "vit": (partial(mh.vit, 16, 2, 2, 8, imsize=32), 32, ()),
}
