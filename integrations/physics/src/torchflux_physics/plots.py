"""Pictures of solutions. Needs Matplotlib: `pip install torchflux-physics[plots]`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["side_by_side"]

Array: TypeAlias = np.ndarray[Any, Any]


def side_by_side(
    coordinates: Mapping[str, Tensor], solution: Tensor, network: Tensor, moments: Sequence[float] = ()
) -> "Figure":
    """A field of two coordinates as it is, as a network has it, and the difference; beside them moments of it.

    `coordinates` are two by name, (m,) and (n,), the first drawn upwards and the second to the right; `solution` and
    `network` are (m, n). `moments` are values of the second coordinate at which the fields are drawn over the first,
    the solution as a wide line. The first two maps have one scale, the difference one of its own.

    >>> import torch
    >>> x, t = torch.linspace(0, 1, 30), torch.linspace(0, 2, 40)
    >>> solution = torch.sin(3 * x)[:, None] * torch.exp(-t)
    >>> figure = side_by_side({"x": x, "t": t}, solution, 1.01 * solution, moments=(0, 1))
    >>> [axes.get_title() for axes in figure.axes[:4]]
    ['solution', 'network', 'network − solution', 'wide: the solution']
    >>> figure.savefig("heat.png")  # doctest: +SKIP
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as missing:
        raise ImportError("pictures need Matplotlib: pip install torchflux-physics[plots]") from missing
    (vertical, up), (horizontal, right) = ((name, _array(values)) for name, values in coordinates.items())
    truth, ours = _array(solution), _array(network)
    for what, values in {"solution": truth, "network": ours}.items():
        if values.shape != (len(up), len(right)):
            raise ValueError(f"{what} has the shape {values.shape}, its coordinates ask for ({len(up)}, {len(right)})")
    number = 3 + bool(moments)
    figure = Figure(figsize=(3.75 * number, 3.4), layout="constrained")
    axes = figure.subplots(1, number)
    scale, error = abs(truth).max(), ours - truth
    maps = {"solution": (truth, scale), "network": (ours, scale), "network − solution": (error, abs(error).max())}
    for ax, (title, (values, largest)) in zip(axes, maps.items(), strict=False):
        image = ax.pcolormesh(right, up, values, cmap="RdBu_r", vmin=-largest, vmax=largest, rasterized=True)
        figure.colorbar(image, ax=ax)
        ax.set(title=title, xlabel=horizontal, ylabel=vertical)
    if moments:
        _sections(axes[-1], (vertical, up), (horizontal, right), truth, ours, moments)
    return figure


def _array(values: Tensor) -> Array:
    return values.detach().cpu().numpy()


def _sections(
    ax: "Axes", along: tuple[str, Array], at: tuple[str, Array], truth: Array, ours: Array, moments: Sequence[float]
) -> None:
    """Both fields along one coordinate, at moments of the other."""
    for moment in moments:
        k = abs(at[1] - moment).argmin()
        (line,) = ax.plot(along[1], ours[:, k], lw=1.3, label=f"{at[0]} = {moment:g}")
        ax.plot(along[1], truth[:, k], color=line.get_color(), lw=5, alpha=0.25)
    ax.set(title="wide: the solution", xlabel=along[0])
    ax.legend(fontsize=8, frameon=False)
