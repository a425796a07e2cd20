"""Draws README.png: runs the README's ten lines, and puts what they found beside the solution.

python integrations/physics/picture.py [FILE]
"""

import re
import sys
from pathlib import Path

import torch

from torchflux_physics.plots import side_by_side

HERE = Path(__file__).parent


def draw(file: Path) -> None:
    """The picture of the example's rod."""
    (block, *_) = re.findall(r"```python\n(.*?)```", (HERE / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    found = {}
    exec(compile(block, "README.md", "exec"), found)
    x, t = torch.linspace(0, 3.14, 120), torch.linspace(0, 1, 120)
    grid = torch.cartesian_prod(x, t)
    solution = torch.exp(-0.3 * grid[:, 1]) * torch.sin(grid[:, 0])
    network = found["model"](grid).detach()[:, 0]
    figure = side_by_side({"x": x, "t": t}, solution.view(120, 120), network.view(120, 120), moments=(0, 0.5, 1))
    for ax in figure.axes[:3]:
        ax.plot(found["at"][:, 1], found["at"][:, 0], "k.", ms=3)
    figure.savefig(file, dpi=80)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "README.png")
