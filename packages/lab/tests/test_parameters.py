"""Parameters: what is declared, what is set, what is refused before anything is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from torchflux_lab import LabError, parameters_of, parameters_with

if TYPE_CHECKING:
    from conftest import Project


@dataclass
class Declared:
    seed: int = 0
    rate: float = field(default=0.1, metadata={"help": "the learning rate"})
    sizes: list[int] = field(default_factory=lambda: [1, 2])
    derived: int = field(default=0, init=False)


def test_what_is_declared_is_read_with_its_help_and_defaults() -> None:
    seed, rate, sizes = parameters_of(Declared)
    assert (seed.name, seed.kind, seed.default, seed.help) == ("seed", int, 0, "")
    assert (rate.default, rate.help, rate.setting) == (0.1, "the learning rate", "rate=0.1")
    assert (sizes.default, sizes.setting, sizes.expects) == ([1, 2], "sizes=1,2", "list[int]")


def test_what_is_not_set_has_its_default() -> None:
    assert parameters_with(Declared) == Declared()
    assert parameters_with(Declared, ["rate=2", " sizes =3"]) == Declared(rate=2.0, sizes=[3])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ([("rate", float, 0.1)], "Parameters has no seed"),
        ([("seed", float, 0.1)], "Parameters has no seed"),
        ([("steps", int), ("seed", int, field(default=0, kw_only=True))], "'steps' has no default"),
        ([("seed", int, 0), ("net", "Network", None)], "name 'Network' is not defined"),
        ([("seed", int, 0), ("rule", object, field(default_factory=object))], "parameters['rule'] is a object"),
    ],
)
def test_a_dataclass_that_will_not_do_is_refused(fields: list[Any], said: str) -> None:
    with pytest.raises(LabError) as error:
        parameters_with(dataclasses.make_dataclass("Parameters", fields))
    assert said in str(error.value)


# On the command line, with the toy of conftest.py.


def test_the_parameters_are_shown_with_type_default_and_help(project: Project) -> None:
    result = project.torchflux("run", "toy", "--help")
    assert result.exit_code == 0
    lines = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines() if line.strip()}
    assert lines["parameter"] == ["type", "default", "help"]
    assert lines["rate"] == ["float", "0.5", "how", "fast", "[it]", "counts"]
    assert lines["lambdas"] == ["tuple[float,", "...]", "0.1,1.0"]
    assert lines["limit"] == ["int", "or", "none", "none"]
    assert lines["colour"] == ["red", "or", "green", "red"]
    assert not project.runs


def test_an_unknown_key_names_those_there_are(refused: Callable[..., str]) -> None:
    said = refused("run", "toy", "--set", "step=1")
    assert "no parameter 'step'. Did you mean 'steps'?" in said
    lines = [line.split(maxsplit=1) for line in said.splitlines()]
    assert ["rate=0.5", "float"] in lines
    assert ["lambdas=0.1,1.0", "tuple[float, ...]"] in lines


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("rate=x", "'rate' was given 'x', and float was expected. The default is rate=0.5."),
        ("steps=1.5", "'steps' was given '1.5', and int was expected"),
        ("fast=maybe", "'fast' was given 'maybe', and bool was expected"),
        ("sizes=1,b", "'sizes' was given '1,b', and list[int] was expected"),
        ("activation=gelu", "relu or tanh was expected"),
        ("colour=blue", "red or green was expected"),
        ("rate", "'rate' sets nothing: write --set key=value, for example --set rate=0.5"),
        ("", "'' sets nothing: write --set key=value, for example --set seed=0"),
        ("=1", "There is no parameter ''"),
        ("steps=-1", "steps must not be negative"),
        ("table=1", "'table' cannot be set here: its type is dict[str, int]"),
    ],
)
def test_a_bad_setting_says_what_was_given_and_what_is_expected(
    setting: str, said: str, refused: Callable[..., str]
) -> None:
    assert said in refused("run", "toy", "--set", setting)


def test_a_parameter_set_twice_is_refused(refused: Callable[..., str]) -> None:
    assert "'steps' is set twice" in refused("run", "toy", "-s", "steps=1", "-s", "steps=2")
    assert "'seed' is set twice" in refused("run", "toy", "--seed", "1", "-s", "seed=1")


def test_a_seed_that_is_no_number_is_refused(refused: Callable[..., str]) -> None:
    assert "--seed" in refused("run", "toy", "--seed", "x")
