"""Write lockfiles/cpu.txt and lockfiles/cuda.txt: every package that this repository needs, with its
version and hashes.

    python tools/lock.py [--upgrade]

Versions that the files hold already are kept as long as they are allowed; --upgrade takes the newest.
Runs in the environment that set_up.py makes, because uv is one of the packages in it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch_build
import workspace
from torchflux_lab._lockfile import Entry, entries, project_of

LOCKFILES = workspace.ROOT / "lockfiles"
OLDEST_PYTHON = "3.11"
HEADER = """\
# {what}
# Written by `make lock` from the pyproject.toml files; do not edit. lockfiles/README.md explains.
"""
CPU = "Everything that torchflux needs, with PyTorch's CPU build."
CUDA = "Everything that torchflux needs, with PyTorch's CUDA build and the libraries that it loads."
# Settings of uv that would let other sources than its index into the lock, or choose another torch.
SOURCES = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_TORCH_BACKEND", "UV_CONSTRAINT", "UV_OVERRIDE")


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the lock files.")
    parser.add_argument("--upgrade", action="store_true", help="take the newest allowed versions")
    upgrade = parser.parse_args().upgrade
    build = torch_build.read_table()
    old_cpu, old_cuda = ([] if upgrade else _locked(name) for name in ("cpu", "cuda"))
    # uv keeps the hashes of the pins that it keeps, so the two builds of torch must not mix.
    cpu = _without_torch(resolve(_without_torch(old_cpu), build.version, requires=build.requires))
    # One resolution: what both files hold, the second takes from the first.
    shared = {entry.name for entry in cpu}
    cuda = resolve(cpu + [entry for entry in old_cuda if entry.name not in shared], build.version)
    write("cpu", CPU, cpu + entries(build.lock_entries()))
    write("cuda", CUDA, cuda)


def resolve(keep: list[Entry], torch: str, requires: list[str] | None = None) -> list[Entry]:
    """Let uv resolve everything at this version of torch, preferring the versions in `keep`; `requires`
    stands for what torch itself declares (the CPU build needs less than the index says)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs = write_inputs(folder)
        _write(folder / "uv.toml", _torch_settings(torch, requires))
        out = _write(folder / "lock.txt", "".join(entry.text for entry in keep))
        run_uv(folder, ["--config-file", "uv.toml", "--output-file", out.name, *inputs])
        return entries(out.read_text(encoding="utf-8"))


def write_inputs(folder: Path) -> list[str]:
    """Copies of all declarations without the workspace packages, which no index holds, at the same
    relative paths, so that the comments in the lock name the real files. Returns uv's arguments."""
    packages = workspace.packages()
    ours = {package.name for package in packages}
    arguments = []
    for package in packages:
        path = (package.folder / "pyproject.toml").relative_to(workspace.ROOT)
        wanted = [d for d in package.dependencies if project_of(d) not in ours]
        _write(folder / path, _project(package.name, wanted))
        arguments.append(path.as_posix())
    build = sorted({r for package in packages for r in package.build_requirements})
    groups = workspace.groups() | {"build-system": build}
    _write(folder / "pyproject.toml", _project("workspace", []) + _dependency_groups(groups))
    return arguments + [word for group in groups for word in ("--group", f"pyproject.toml:{group}")]


def run_uv(folder: Path, arguments: list[str]) -> None:
    from uv import find_uv_bin

    command = [find_uv_bin(), "pip", "compile", "--universal", "--python-version", OLDEST_PYTHON]
    # fewest: one version of a package for every Python, so that all of them run the same code.
    command += ["--fork-strategy", "fewest", "--generate-hashes", "--no-build", "--no-header", "--quiet"]
    command += ["--no-emit-index-url", "--no-emit-find-links", *arguments]
    environment = {key: value for key, value in os.environ.items() if key not in SOURCES}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8")
    if done.returncode:
        sys.exit(f"lock: uv found no resolution; nothing was written.\n{done.stderr}")


def write(name: str, what: str, entries: list[Entry]) -> None:
    text = "".join(entry.text for entry in sorted(entries, key=lambda entry: entry.name))
    part = _write(LOCKFILES / f"{name}.txt.part", HEADER.format(what=what) + "\n" + text)
    shutil.move(part, LOCKFILES / f"{name}.txt")
    print(f"lock: lockfiles/{name}.txt holds {len(entries)} pins")


def _locked(name: str) -> list[Entry]:
    path = LOCKFILES / f"{name}.txt"
    return entries(path.read_text(encoding="utf-8")) if path.exists() else []


def _without_torch(entries: list[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.name != "torch"]


def _project(name: str, dependencies: list[str]) -> str:
    table = f'[project]\nname = "{name}"\nversion = "0"\nrequires-python = ">={OLDEST_PYTHON}"\n'
    return table + f"dependencies = {json.dumps(dependencies)}\n"


def _dependency_groups(groups: dict[str, list[str]]) -> str:
    lines = [f"{name} = {json.dumps(requirements)}" for name, requirements in groups.items()]
    return "\n".join(["[dependency-groups]", *lines]) + "\n"


def _torch_settings(version: str, requires: list[str] | None) -> str:
    constraint = f'constraint-dependencies = ["torch=={version}"]\n'
    if requires is None:
        return constraint
    fields = f'name = "torch"\nversion = "{version}"\nrequires-dist = {json.dumps(requires)}\n'
    return f"{constraint}[[dependency-metadata]]\n{fields}"


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


if __name__ == "__main__":
    main()
