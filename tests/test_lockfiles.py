"""The lock files hold what the pyproject.toml files declare, with hashes and without addresses. That pip
refuses what they do not hold is shown in test_set_up.py."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import torch_build
import workspace
from torchflux_lab._lockfile import entries, project_of

LOCKS = ("cpu", "cuda")
PYTORCH = torch_build.read_table()


def read(lock: str) -> str:
    return (workspace.ROOT / "lockfiles" / f"{lock}.txt").read_text(encoding="utf-8")


def pins(lock: str) -> dict[str, set[str]]:
    """The versions of every project in a lock; torch has two in the CPU lock."""
    found: dict[str, set[str]] = {}
    for entry in entries(read(lock)):
        (specifier,) = Requirement(entry.requirement).specifier
        assert specifier.operator == "=="
        found.setdefault(entry.name, set()).add(specifier.version)
    return found


def declared() -> list[tuple[str, str]]:
    """Every requirement that the repository declares, with the place that declares it."""
    packages = workspace.packages()
    ours = {package.name for package in packages}
    found = [(p.name, r) for p in packages for r in [*p.dependencies, *p.build_requirements]]
    found += [(group, r) for group, requirements in workspace.groups().items() for r in requirements]
    return [(place, r) for place, r in found if project_of(r) not in ours]


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize(("place", "requirement"), declared())
def test_every_declared_requirement_is_locked_at_an_allowed_version(lock: str, place: str, requirement: str) -> None:
    wanted = Requirement(requirement)
    versions = pins(lock).get(canonicalize_name(wanted.name), set())
    assert versions, f"{place} declares {requirement}, which lockfiles/{lock}.txt lacks: run `make lock`"
    assert all(wanted.specifier.contains(version, prereleases=True) for version in versions)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_entry_has_hashes_and_no_line_is_overlooked(lock: str) -> None:
    text = read(lock)
    found = entries(text)
    assert all(entry.hashes for entry in found)
    assert sum(len(entry.hashes) for entry in found) == text.count("sha256")
    rest = [line for line in text.splitlines() if line and not line.startswith(("#", " "))]
    assert len(rest) == len(found)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_address_no_path_and_no_option(lock: str) -> None:
    text = read(lock)
    assert "://" not in text
    assert not re.search(r"(^|\s)(~?/|[A-Za-z]:\\|@)", text)
    instructions = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    assert set(re.findall(r"(?:^|\s)(--?[a-z][a-z-]*)", instructions)) == {"--hash"}
    assert not re.search(r"\b[\w-]+\.(org|com|net|io|dev)\b", text)


@pytest.mark.parametrize("lock", LOCKS)
def test_the_packages_of_this_repository_are_not_locked(lock: str) -> None:
    assert not {package.name for package in workspace.packages()} & set(pins(lock))


def test_torch_is_pinned() -> None:
    assert PYTORCH.version == "2.13.0"
    assert pins("cpu")["torch"] == {"2.13.0", "2.13.0+cpu"}
    assert pins("cuda")["torch"] == {"2.13.0"}


@pytest.mark.parametrize(
    ("system", "expected"), [("linux", "2.13.0+cpu"), ("win32", "2.13.0+cpu"), ("darwin", "2.13.0")]
)
def test_each_platform_gets_one_cpu_build(system: str, expected: str) -> None:
    found = [Requirement(e.requirement) for e in entries(read("cpu")) if e.name == "torch"]
    chosen = [r for r in found if r.marker is not None and r.marker.evaluate({"sys_platform": system})]
    assert [str(requirement.specifier) for requirement in chosen] == [f"=={expected}"]


def test_the_cpu_lock_holds_the_hashes_of_the_table() -> None:
    locked = [digest for e in entries(read("cpu")) if e.name == "torch" for digest in e.hashes]
    assert sorted(locked) == sorted(f"sha256:{digest}" for digest in PYTORCH.wheels.values())


def test_both_locks_agree_and_only_the_cuda_lock_has_cuda() -> None:
    cpu, cuda = pins("cpu"), pins("cuda")
    assert {name: cuda[name] for name in cpu if name != "torch"} == {n: v for n, v in cpu.items() if n != "torch"}
    extra = set(cuda) - set(cpu)
    assert {"triton", "nvidia-cudnn-cu13"} <= extra
    assert all(name == "triton" or name.startswith(("nvidia-", "cuda-")) for name in extra)


def test_the_table_says_what_the_installed_cpu_build_requires() -> None:
    if "+cpu" not in importlib.metadata.version("torch"):
        pytest.skip("another build of PyTorch is installed")
    found = [Requirement(r) for r in importlib.metadata.requires("torch") or []]
    assert {str(r) for r in found if not (r.marker and "extra" in str(r.marker))} == set(PYTORCH.requires)


def test_the_environment_has_everything_that_its_packages_declare() -> None:
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_entries_of_a_lock() -> None:
    first, second = entries(
        f"# a comment\n\nA_b==1 ; sys_platform == 'linux' \\\n    --hash=sha256:{'0' * 64} \\\n"
        f"    --hash=sha256:{'1' * 64}\n    # via\n    #   c\nc==2+cpu \\\n    --hash=sha256:{'2' * 64}\n"
    )
    assert (first.name, second.name) == ("a-b", "c")
    assert first.requirement == "A_b==1 ; sys_platform == 'linux'"
    assert len(first.hashes) == 2
