"""A virtual environment from a lock file: every package by its hash, and nothing from outside.

The set-up of this repository uses it as well, before anything is installed: it needs Python and no package.
"""

import os
import platform
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ._error import LabError
from ._lockfile import Entry, entries

__all__ = [
    "CPU_INDEX",
    "Environment",
    "NotOffered",
    "SetUpError",
    "clean_environment",
    "describe_interpreter",
    "running_wheel_tag",
]

# PyTorch's "+cpu" builds are published here only. Packages other than torch are never taken from it.
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
LOG = "set-up.log"
TAIL_LINES = 15
# Settings of pip that would send the packages somewhere else than into the environment.
REDIRECTING = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_CONSTRAINT", "PIP_REQUIREMENT")


class SetUpError(LabError):
    """The environment cannot be made; the message says why and what to do."""


class NotOffered(SetUpError):
    """pip found no file for a requirement, or none that fits."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment: its folder, the lock file that it is made from, and who is told what is being done."""

    folder: Path
    lock: Path
    say: Callable[[str], None]

    @property
    def python(self) -> Path:
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def log(self) -> Path:
        """Everything that the commands printed."""
        return self.folder / LOG

    def create(self) -> None:
        """Make it, with pip and nothing else. From inside another environment the Python below that is used."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.run([getattr(sys, "_base_executable", sys.executable), "-m", "venv", str(self.folder)])

    def install_lock(self, *options: str) -> None:
        """Install everything that the lock holds, with its hashes checked. The lock is complete, so pip has nothing
        to resolve (--no-deps), and nothing is built from source."""
        locked = entries(self.lock.read_text(encoding="utf-8"))
        torch = [entry for entry in locked if entry.name == "torch"]
        if any(entry.version.endswith("+cpu") for entry in torch):
            self._install_cpu_torch(torch, options)
        self.say(f"installing lockfiles/{self.lock.name}: {len(locked)} packages by their hashes")
        self._install_pinned(*options, "--requirement", str(self.lock))

    def install_editable(self, folders: Iterable[Path]) -> None:
        """Install packages from their source; they are built with what the lock has installed."""
        editable = [word for folder in folders for word in ("--editable", str(folder))]
        self.pip("install", "--no-deps", "--no-build-isolation", *editable)

    def pip(self, *arguments: str) -> str:
        return self.run([str(self.python), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments])

    def _install_pinned(self, *arguments: str) -> None:
        strict = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--progress-bar", "off"]
        self.pip("install", *strict, *arguments)

    def _install_cpu_torch(self, locked: list[Entry], options: tuple[str, ...]) -> None:
        """PyTorch's CPU build, from pip's own sources or else, for this package alone, from PyTorch's."""
        pin = self.folder / "torch.txt"
        pin.write_text("".join(entry.text for entry in locked), encoding="utf-8")
        self.say("asking pip for PyTorch's CPU build (the largest package: 100 to 200 MB to fetch the first time)")
        try:
            self._install_pinned(*options, "--requirement", str(pin))
        except NotOffered:
            self.say(f"pip's sources do not offer that build; asking PyTorch's own index, {CPU_INDEX}")
            self._ask_pytorch(pin, options)

    def _ask_pytorch(self, pin: Path, options: tuple[str, ...]) -> None:
        try:
            self._install_pinned(*options, "--index-url", CPU_INDEX, "--requirement", str(pin))
        except NotOffered as error:
            raise SetUpError(
                f"neither pip's own sources nor {CPU_INDEX} gave PyTorch's CPU build. Where that index is out of "
                f"reach, fetch its wheel torch-*+cpu-{running_wheel_tag()}.whl elsewhere, put it into a folder and "
                f"name the folder: PIP_FIND_LINKS=/that/folder. The whole output is in {self.log}."
            ) from error

    def run(self, command: list[str]) -> str:
        """Run a command and return what it printed to stdout; everything goes to the log as well."""
        done = subprocess.run(
            command,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            close_fds=False,  # the command holds the locks of whoever started it, and frees them when it ends
        )
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n{done.stdout}{done.stderr}\n")
        if done.returncode:
            self._explain(done.stdout + done.stderr)
        return done.stdout

    def _explain(self, output: str) -> NoReturn:
        """Turn what pip said when it failed into a sentence with advice."""
        log = f"The whole output is in {self.log}."
        missing = re.search(r"No matching distribution found for (\S+)", output)
        if missing:
            raise NotOffered(
                f"pip finds no file for {missing[1]} that this machine can use ({describe_interpreter()}). Is the "
                "package index within reach (`pip config list`, a proxy, the network)? If it is, this Python or "
                f"platform may have no wheel of that version: use another one, as in PYTHON=python3.12 make test. {log}"
            )
        if "DO NOT MATCH THE HASHES" in output:
            found = re.findall(r"^\s+(\S+==\S+).* from .*$", output, flags=re.MULTILINE)
            raise SetUpError(
                f"a file that pip was given for {', '.join(found) or 'a package'} does not have the hash that "
                f"lockfiles/{self.lock.name} holds, and was refused. Empty pip's cache (`pip cache purge`) and "
                f"run this again; if it stays, the index serves a changed file. {log}"
            )
        tail = "\n".join(output.rstrip().splitlines()[-TAIL_LINES:])
        raise SetUpError(f"a step of the set-up failed. Its last lines:\n{tail}\n{log}")


def clean_environment() -> dict[str, str]:
    """The process environment without what would lead Python or pip outside an environment."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", *REDIRECTING)}
    return kept | {"PYTHONNOUSERSITE": "1", "PYTHONIOENCODING": "utf-8"}


def describe_interpreter() -> str:
    return f"{platform.python_implementation()} {platform.python_version()} on {platform.platform()}"


def running_wheel_tag() -> str:
    """The tag of the PyTorch wheel that this interpreter wants, as PyTorch names its wheels."""
    major, minor = sys.version_info[:2]
    python = f"cp{major}{minor}" if sys.implementation.name == "cpython" else sys.implementation.name
    free_threaded = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    return f"{python}-{python}{free_threaded}-{_platform_tag()}"


def _platform_tag() -> str:
    machine = platform.machine()
    if sys.platform == "win32":
        return f"win_{machine.lower()}"
    if sys.platform == "darwin":
        return _at_least("macosx", _numbers(platform.mac_ver()[0]), (14, 0)) + f"_{machine}"
    library, version = platform.libc_ver()
    if library != "glibc":
        return f"{library or 'other'}linux_{machine}"
    return _at_least("manylinux", _numbers(version), (2, 28)) + f"_{machine}"


def _at_least(name: str, have: tuple[int, ...], need: tuple[int, int]) -> str:
    """PyTorch's wheels state the oldest system that they run on; a newer one wants the same wheel."""
    return f"{name}_" + "_".join(map(str, need if have >= need else have))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
