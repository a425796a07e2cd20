"""Reading a lock file: a requirements file in which every requirement is pinned and hashed."""

from __future__ import annotations

import re
from dataclasses import dataclass

import workspace


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
        return workspace.project_of(self.requirement)

    @property
    def hashes(self) -> list[str]:
        return re.findall(r"--hash=(sha256:[0-9a-f]{64})\b", self.text)


def entries(text: str) -> list[Entry]:
    """The entries of a lock file: each an unindented line and the indented lines below it."""
    blocks = re.findall(r"^[^\s#].*\n(?:[ \t]+.*\n)*", text, flags=re.MULTILINE)
    return [Entry(block) for block in blocks]
