"""π, from random points: the share of a square's points that lie in its circle."""

import random
from dataclasses import dataclass, field
from pathlib import Path

# How results must agree when the run is reproduced; what is not named is a float to 1e-6, or equal.
TOLERANCES = {"error": 1e-3}


@dataclass
class Parameters:
    seed: int = 0
    points: int = field(default=100_000, metadata={"help": "how many are thrown"})


def main(parameters: Parameters, out: Path) -> dict:
    rng = random.Random(parameters.seed)
    inside = sum(rng.random() ** 2 + rng.random() ** 2 < 1 for _ in range(parameters.points))
    estimate = 4 * inside / parameters.points
    return {"inside": inside, "estimate": estimate, "error": abs(estimate - 3.141592653589793)}


if __name__ == "__main__":
    print(main(Parameters(), Path()))
