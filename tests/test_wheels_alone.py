"""Every package works alone: its wheel, in an environment that holds what it declares and nothing else."""

from __future__ import annotations

import functools
import importlib.metadata as metadata
import os
import subprocess
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import workspace
from torchflux_lab._packages import normalised
from workspace import Package

PACKAGES = {package.name: package for package in workspace.packages()}
PLACES_OF_TESTS = ("test", "tests", "conftest.py")

# Runs in the small environment. Public are the modules whose whole dotted name has no underscore in front.
IMPORT_EVERYTHING = """
import importlib, importlib.util, pkgutil, sys
name, *strangers = sys.argv[1:]
package = importlib.import_module(name)
for module in pkgutil.walk_packages(package.__path__, name + "."):
    if not any(part.startswith("_") for part in module.name.split(".")):
        importlib.import_module(module.name)
seen = [stranger for stranger in strangers if importlib.util.find_spec(stranger)]
if seen:
    sys.exit(f"can be imported without being declared: {seen}")
"""


def build(packages: list[Package], folder: Path) -> dict[str, Path]:
    """The wheel of every package, by the package's name."""
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    command += ["--wheel-dir", str(folder), *(str(package.folder) for package in packages)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {normalised(wheel.name.split("-")[0]): wheel for wheel in folder.glob("*.whl")}


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build(list(PACKAGES.values()), tmp_path_factory.mktemp("wheels"))


def header(wheel: Path) -> Message:
    """A wheel's METADATA."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


# what a wheel needs, by its own declaration --------------------------------------------------------


def applying(requirements: list[str], extras: set[str]) -> Iterator[Requirement]:
    """The requirements that hold on this platform with these extras."""
    for requirement in map(Requirement, requirements):
        asked = [{"extra": extra} for extra in extras or {""}]
        if requirement.marker is None or any(map(requirement.marker.evaluate, asked)):
            yield requirement


def closure(wheel: Path, wheels: dict[str, Path]) -> set[str]:
    """The names of all distributions that a wheel needs, itself included. What this repository holds is
    described by its wheels, everything else by what is installed."""
    found: set[tuple[str, frozenset[str]]] = set()
    open_ends = [(normalised(str(header(wheel)["Name"])), frozenset[str]())]
    while open_ends:
        name, extras = end = open_ends.pop()
        if end in found:
            continue
        found.add(end)
        source = header(wheels[name]) if name in wheels else metadata.metadata(name)
        needed = applying(source.get_all("Requires-Dist") or [], set(extras))
        open_ends += [(normalised(r.name), frozenset(r.extras)) for r in needed]
    return {name for name, _ in found}


# the small environment -----------------------------------------------------------------------------


@functools.cache
def owners() -> dict[str, set[str]]:
    """Which distributions put files into every top-level folder or file of the full environment."""
    found = defaultdict(set)
    for distribution in metadata.distributions():
        for top in tops(distribution):
            found[top].add(normalised(distribution.name))
    return dict(found)


def tops(distribution: metadata.Distribution) -> set[str]:
    """What a distribution has in site-packages; commands and caches are left out."""
    paths = [file.parts for file in distribution.files or [] if file.parts[0] not in ("..", "__pycache__")]
    return {parts[0] for parts in paths}


def link(distribution: metadata.Distribution, site: Path) -> None:
    """Put a distribution into another site-packages folder by links: a folder that it has for itself as
    a whole, a shared one (a namespace) file by file."""
    name = normalised(distribution.name)
    tops = {top for top, names in owners().items() if name in names}
    shared = {top for top in tops if owners()[top] != {name}}
    for top in tops - shared:
        (site / top).symlink_to(Path(str(distribution.locate_file(top))))
    for file in distribution.files if shared and distribution.files else []:
        if file.parts[0] in shared:
            (site / file).parent.mkdir(parents=True, exist_ok=True)
            (site / file).symlink_to(Path(str(distribution.locate_file(file))))


def small_environment(folder: Path, needed: set[str], wheels: dict[str, Path]) -> Path:
    """An environment with these distributions only; returns its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = workspace.scripts_folder(folder) / Path(sys.executable).name
    ask = [str(python), "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip())
    for name in needed - set(wheels):
        link(metadata.distribution(name), site)
    for name in needed & set(wheels):  # our wheels hold Python files only: to unpack is to install
        zipfile.ZipFile(wheels[name]).extractall(site)
    return python


def strangers(needed: set[str]) -> list[str]:
    """The modules of the full environment that belong to none of these distributions."""
    modules = dict(metadata.packages_distributions())
    modules |= {package.import_name: [package.name] for package in PACKAGES.values()}
    found = [name for name, of in modules.items() if not needed & set(map(normalised, of))]
    # A name that is in the standard library or starts with an underscore says nothing.
    return [n for n in found if n.isidentifier() and n[0] != "_" and n not in sys.stdlib_module_names]


def import_alone(wheel: Path, wheels: dict[str, Path], folder: Path) -> subprocess.CompletedProcess[str]:
    """Install a wheel with what it declares, import its public modules, and look for undeclared ones."""
    needed = closure(wheel, wheels)
    python = small_environment(folder / "alone", needed, wheels)
    import_name = wheel.name.split("-")[0]
    command = [str(python), "-I", "-c", IMPORT_EVERYTHING, import_name, *strangers(needed)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


# the packages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_works_with_what_it_declares(name: str, wheels: dict[str, Path], tmp_path: Path) -> None:
    done = import_alone(wheels[name], wheels, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", PACKAGES)
def test_a_wheel_holds_its_package_typed_licensed_and_without_tests(name: str, wheels: dict[str, Path]) -> None:
    files = [Path(file) for file in zipfile.ZipFile(wheels[name]).namelist()]
    import_name = PACKAGES[name].import_name
    assert {file.parts[0].split("-")[0] for file in files} == {import_name}
    assert Path(import_name, "py.typed") in files
    assert not [file for file in files if set(file.parts) & set(PLACES_OF_TESTS) or "test_" in file.name]
    assert header(wheels[name])["License-Expression"] == "MIT"


def test_the_workspace_is_found() -> None:
    assert "torchflux" in PACKAGES


# the check itself ----------------------------------------------------------------------------------


def fake_package(folder: Path, dependencies: str) -> Package:
    """A package that imports `iniconfig` (installed here: pytest needs it) in a public module."""
    source = folder / "src" / "torchflux_fake"
    source.mkdir(parents=True)
    (source / "__init__.py").touch()
    (source / "settings.py").write_text("import iniconfig\n")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n\n'
        f'[project]\nname = "torchflux-fake"\nversion = "1"\ndependencies = [{dependencies}]\n\n'
        '[tool.hatch.build.targets.wheel]\npackages = ["src/torchflux_fake"]\n'
    )
    return Package(folder)


@pytest.mark.parametrize(("dependencies", "works"), [("", False), ('"iniconfig"', True)])
def test_the_check_notices_an_undeclared_dependency(dependencies: str, works: bool, tmp_path: Path) -> None:
    built = build([fake_package(tmp_path / "source", dependencies)], tmp_path)
    done = import_alone(built["torchflux-fake"], built, tmp_path)
    assert (done.returncode == 0) == works
    assert ("No module named 'iniconfig'" in done.stderr) != works


def test_the_check_notices_a_neighbour_that_nobody_declared(tmp_path: Path) -> None:
    built = build([fake_package(tmp_path / "source", '"iniconfig"')], tmp_path)
    needed = closure(built["torchflux-fake"], built)
    assert needed == {"torchflux-fake", "iniconfig"}
    python = small_environment(tmp_path / "alone", needed | {"pluggy"}, built)
    command = [str(python), "-I", "-c", IMPORT_EVERYTHING, "torchflux_fake", *strangers(needed)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr.strip() == "can be imported without being declared: ['pluggy']"
