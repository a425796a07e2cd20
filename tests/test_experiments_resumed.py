"""Experiments that are broken off and taken up again come to the same numbers, to the last bit."""

from pathlib import Path

import pytest

import workspace
from torchflux_lab import Checkpoint, Run, find, parameters_with, perform, perform_on
from torchflux_lab._agreement import flat

for package in ("matplotlib", "sklearn", "skimage", "tqdm"):
    pytest.importorskip(package)

PHYSICS = ("points=20", "width=5", "iterations=5", "compiled=false")
SHORT: dict[str, tuple[str, ...]] = {
    # A sampler beside the weights, and parameters without a module; both have two loops.
    "ebm": ("steps=40", "every=10", "chains=40", "long=200"),
    "lynx-hare": ("origins=1914", "priors=0.1", "seeds=1", "starts=2", "steps=21"),
    # Norms with running statistics, dropout, augmentation and the loader's order.
    "vgg-cifar": ("train=60", "test=50", "epochs=4", "repeats=1", "batch=20"),
    # The matrix of BFGS is among what a checkpoint holds.
    "burgers": (*PHYSICS, "extra=20", "steps=5", "rounds=3"),
    "diffusion-inverse": (*PHYSICS, "field_width=4", "steps=5", "rounds=3"),
    "heat-operator": (*PHYSICS, "sensors=6", "sources=5", "steps=5", "tests=10"),
    "navier-stokes-inverse": (*PHYSICS, "measured=20", "steps=3", "noises=0.05"),
    "allen-cahn": ("ways=naive Adam,causal BFGS", "points=50", *PHYSICS[1:], "extra=20", "rounds=14", "first=7"),
}


@pytest.mark.parametrize("name", SHORT)
def test_broken_off_and_resumed_it_comes_to_the_same_numbers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is broken off after its second save."""
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    whole.mkdir()
    resumed.mkdir()
    save, saved = Checkpoint.save, []

    def broken_off(checkpoint: Checkpoint, step: int) -> None:
        save(checkpoint, step)
        saved.append(step)
        if len(saved) == 2:
            raise KeyboardInterrupt

    with find(name, workspace.ROOT / "experiments").loaded() as program:
        parameters = parameters_with(program.parameters, SHORT[name])
        perform(program, parameters, whole)
        monkeypatch.setattr(Checkpoint, "save", broken_off)
        with pytest.raises(KeyboardInterrupt):
            perform(program, parameters, resumed)
        perform_on(program, parameters, Run.read(resumed), [])
    assert (resumed / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert numbers(resumed) == numbers(whole)


def numbers(folder: Path) -> dict[str, object]:
    """What a run came to, by name, without times."""
    results = Run.read(folder).results
    assert results is not None
    return {name: value for name, value in flat(results["results"]).items() if "seconds" not in name}
