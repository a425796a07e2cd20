"""The families, each in a file of its own; importing one registers its models."""

from ._alexnet import *
from ._alphago import *
from ._convmixer import *
from ._convnext import *
from ._densenet import *
from ._efficientnet import *
from ._googlenet import *
from ._inception_resnet_v2 import *
from ._inception_v3 import *
from ._inception_v4 import *
from ._mixers import *
from ._mnasnet import *
from ._mobilenet_v1 import *
from ._mobilenet_v2 import *
from ._mobilenet_v3 import *
from ._res2net import *
from ._resnet import *
from ._squeezenet import *
from ._swin import *
from ._unet import *
from ._vgg import *
from ._vit import *
from ._xception import *
