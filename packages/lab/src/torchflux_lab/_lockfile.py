"""Reading a lock file: a requirements file in which every requirement is pinned and hashed."""

import re
from dataclasses import dataclass

from ._packages import normalised

__all__ = ["Entry", "entries", "unlocked"]


@dataclass(frozen=True)
class Entry:
    """One pinned requirement with its hashes and the comments below it, as the file has them."""

    text: str

    @property
    def requirement(self) -> str:
        """The pin and its marker: `numpy==2.4.6 ; sys_platform == 'linux'`."""
        return self.text.splitlines()[0].rstrip(" \\")

    @property
    def name(self) -> str:
        return project_of(self.requirement)

    @property
    def version(self) -> str:
        found = re.search(r"==\s*([^\s;]+)", self.requirement)
        return found[1] if found else ""

    @property
    def hashes(self) -> list[str]:
        return re.findall(r"--hash=(sha256:[0-9a-f]{64})\b", self.text)


def entries(text: str) -> list[Entry]:
    """The entries of a lock file: each an unindented line and the indented lines below it."""
    blocks = re.findall(r"^[^\s#-].*\n(?:[ \t]+.*\n)*", text.rstrip() + "\n", flags=re.MULTILINE)
    return [Entry(block) for block in blocks]


def project_of(requirement: str) -> str:
    """The normalised name of the project that a requirement asks for.

    >>> project_of("Torch[opt] >= 2.13 ; python_version > '3'")
    'torch'
    """
    end = next((i for i, c in enumerate(requirement) if not (c.isalnum() or c in "-_.")), None)
    return normalised(requirement[:end])


def unlocked(text: str, versions: dict[str, str]) -> list[str]:
    """Which packages a lock file does not hold at their version, each with what it holds instead.

    >>> unlocked("numpy==2.4.6 --hash=sha256:0", {"numpy": "2.4.5", "torch": "2.13.0"})
    ['numpy 2.4.5 (locked: 2.4.6)', 'torch 2.13.0 (not locked)']
    """
    pinned: dict[str, list[str]] = {}
    for entry in entries(text):
        pinned.setdefault(entry.name, []).append(entry.version)
    found = {name: pinned.get(name, []) for name, version in versions.items() if version not in pinned.get(name, [])}
    return [
        f"{n} {versions[n]} ({'locked: ' + ', '.join(held) if held else 'not locked'})" for n, held in found.items()
    ]
