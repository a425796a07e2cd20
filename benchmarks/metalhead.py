"""Vision models against torchvision's and timm's, side by side in one run, with the same weights.

python benchmarks/metalhead.py [--threads N] [--batch N] [--rounds N] [--compile]

Building ResNet-50; inference and a training step of ResNet-18 and VGG-16 on images of 224 × 224, eager, in the
channels-last layout, and compiled. A ratio under 1 is faster than torchvision's row in the same mode.
"""

import argparse
import copy
import sys
import time
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.append(sys.path.pop(0))  # this file has the name of the package
sys.path.append(str(Path(__file__).parents[1] / "metalhead" / "tests"))

from timing import alternate, table

import metalhead as mh

LAYOUTS = {"eager": torch.contiguous_format, "channels_last": torch.channels_last}


def peers(name, timm, torchvision):
    """The three models with the same weights; timm's VGG has other names."""
    ours, theirs = mh.create_model(name), torchvision.models.get_model(name)
    theirs.load_state_dict(ours.state_dict())
    other, keys = timm.create_model(name), mh.timm_keys(name, ours)
    shapes = other.state_dict()
    other.load_state_dict({keys[key]: x.reshape(shapes[keys[key]].shape) for key, x in ours.state_dict().items()})
    return {"metalhead": ours, "torchvision": theirs, "timm": other}


def inference(model, x):
    model.eval()

    def run():
        with torch.inference_mode():
            return model(x)

    return run


def training_step(model, x, y):
    model.train()
    optimiser = torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9)

    def step():
        optimiser.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimiser.step()
        return loss

    return step


def in_modes(models, compiled):
    """Mode by mode, since copies of large models don't all fit: its name, layout, and the models in it."""
    for layout_name, layout in LAYOUTS.items():
        yield layout_name, layout, {name: in_layout(model, layout) for name, model in models.items()}
        if compiled:
            twins = {name: torch.compile(in_layout(model, layout)) for name, model in models.items()}
            yield f"compiled, {layout_name}", layout, twins


def in_layout(model, layout):
    return copy.deepcopy(model).to(memory_format=layout)


def building(timm, torchvision, rounds):
    makers = {
        "metalhead": lambda: mh.create_model("resnet50"),
        "torchvision": lambda: torchvision.models.resnet50(),
        "timm": lambda: timm.create_model("resnet50"),
    }
    table("building ResNet-50", alternate(makers, rounds, clock=time.process_time), "torchvision", "timm")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--models", nargs="*", default=["resnet18", "vgg16"])
    parser.add_argument("--compile", action="store_true", help="compiled too, which takes minutes before it starts")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    from conftest import import_torchvision

    torchvision = import_torchvision()
    import timm

    building(timm, torchvision, options.rounds)
    x, y = torch.randn(options.batch, 3, 224, 224), torch.randint(0, 1000, (options.batch,))
    for name in options.models:
        models = peers(name, timm, torchvision)
        for title, make in (("inference", inference), ("training step", partial(training_step, y=y))):
            for mode, layout, twins in in_modes(models, options.compile):
                calls = {peer: make(twin, x.contiguous(memory_format=layout)) for peer, twin in twins.items()}
                seconds = alternate(calls, options.rounds, clock=time.process_time)
                table(f"{name}, batch {options.batch}, {title}, {mode}", seconds, "torchvision", "timm")


if __name__ == "__main__":
    main()
