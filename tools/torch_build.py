"""PyTorch's CPU build: its wheels, their hashes, and the interpreters that one of them fits."""

from __future__ import annotations

import platform
import sys
import sysconfig
import tomllib
from dataclasses import dataclass
from pathlib import Path

# The "+cpu" builds are published here only. Packages other than torch are never taken from it.
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
TABLE = Path(__file__).with_name("torch_cpu.toml")


@dataclass(frozen=True)
class CpuBuild:
    """What torch_cpu.toml says: the version, what it requires, and a hash for every wheel."""

    version: str
    requires: list[str]
    wheels: dict[str, str]

    def lock_entries(self) -> str:
        """The two entries of the CPU lock: macOS has one build, which carries no "+cpu"."""
        mac = [digest for name, digest in self.wheels.items() if "macosx" in name]
        others = [digest for name, digest in self.wheels.items() if "macosx" not in name]
        return _entry(f"torch=={self.version} ; sys_platform == 'darwin'", mac) + _entry(
            f"torch=={self.version}+cpu ; sys_platform != 'darwin'", others
        )

    def objection(self, wheel_tag: str) -> str | None:
        """Why this build cannot be installed where wheels with this tag are wanted."""
        if any(name.endswith(f"-{wheel_tag}.whl") for name in self.wheels):
            return None
        locked = sorted({name.removesuffix(".whl").split("-", 3)[3] for name in self.wheels})
        pythons = sorted({name.split("-")[2].replace("cp3", "3.") for name in self.wheels})
        return (
            f"this is {describe_interpreter()}, which wants a PyTorch wheel {wheel_tag}. The CPU lock "
            f"holds PyTorch {self.version} for CPython {', '.join(pythons)} on {', '.join(locked)}, and "
            f"no hash for that one. Name another Python (PYTHON=python3.12 make test), or add the "
            f"wheel's hash to tools/{TABLE.name} and run `make lock`."
        )


def read_table(path: Path = TABLE) -> CpuBuild:
    return CpuBuild(**tomllib.loads(path.read_text(encoding="utf-8")))


def _entry(requirement: str, digests: list[str]) -> str:
    hashes = [f"    --hash=sha256:{digest}" for digest in sorted(digests)]
    return " \\\n".join([requirement, *hashes]) + "\n"


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


def describe_interpreter() -> str:
    return f"{platform.python_implementation()} {platform.python_version()} on {platform.platform()}"
