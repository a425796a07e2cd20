"""torchvision and timm as references, also where torchvision's compiled part doesn't fit the PyTorch that is there."""

import importlib
import sys
import types
import warnings
from pathlib import Path

import pytest
import torch

# pytest takes the folder for the package of the same name, if it comes here first.
if not hasattr(sys.modules.get("metalhead"), "__version__"):
    sys.modules.pop("metalhead", None)
    importlib.import_module("metalhead")

sys.path.insert(0, str(Path(__file__).parent))  # what the tests share lies beside them

# timm and torchvision need it to import; none of the models that are compared calls it.
LIBRARY = torch.library.Library("torchvision", "FRAGMENT")


def import_torchvision():
    """torchvision, with stubs in the place of its compiled extension if that can't be loaded."""
    try:
        import torchvision
    except (ImportError, RuntimeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        LIBRARY.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        extension = types.ModuleType("torchvision.extension")
        extension._has_ops = extension._load_library = lambda *_: False
        extension._assert_has_ops, extension._check_cuda_version = (lambda *_: None), (lambda *_: -1)
        sys.modules["torchvision.extension"] = extension
        sys.modules["torchvision._meta_registrations"] = types.ModuleType("torchvision._meta_registrations")
        import torchvision
    return torchvision


@pytest.fixture(scope="session")
def torchvision():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return import_torchvision()
        except ModuleNotFoundError:
            pytest.skip("torchvision is not installed")


@pytest.fixture(scope="session")
def timm(torchvision):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("timm")
