"""A toy: it counts.

What comes below the first line is not shown.
"""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Literal


class Colour(Enum):
    red = 1
    green = 2


@dataclass
class Parameters:
    seed: int = 0
    steps: int = 3
    rate: float = field(default=0.5, metadata={"help": "how fast [it] counts"})
    fast: bool = False
    tag: str = "plain"
    lambdas: tuple[float, ...] = (0.1, 1.0)
    pair: tuple[int, str] = (1, "a")
    sizes: list[int] = field(default_factory=lambda: [2, 3])
    limit: int | None = None
    activation: Literal["relu", "tanh"] = "relu"
    colour: Colour = Colour.red
    table: dict[str, int] = field(default_factory=dict)

    def __post_init__(self):
        if self.steps < 0:
            raise ValueError("steps must not be negative")


def main(parameters: Parameters, out: Path) -> dict:
    (out / "curve.png").write_bytes(b"")
    return {"sum": sum(range(parameters.steps)), "test": {"rate": parameters.rate}, "counts": [1, 2]}


if __name__ == "__main__":
    print(main(Parameters(), Path()))
