"""PyTorch's CPU build: its wheels, their hashes, and the interpreters that one of them fits."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from torchflux_lab._environment import describe_interpreter

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
