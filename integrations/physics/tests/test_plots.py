"""Pictures of solutions: what is drawn, on which scales, and what is refused."""

import pytest
import torch

plots = pytest.importorskip("torchflux_physics.plots")
X, T = torch.linspace(0, 1, 5), torch.linspace(0, 2, 7)


def test_maps_of_solution_and_network_share_a_scale_and_the_error_has_its_own() -> None:
    truth = torch.outer(X, T)
    figure = plots.side_by_side({"x": X, "t": T}, truth, truth + 0.01)
    solution, network, error = figure.axes[:3]
    limits = [ax.collections[0].get_clim() for ax in (solution, network, error)]
    assert limits[0] == limits[1] == (-2, 2)
    assert limits[2] == pytest.approx((-0.01, 0.01), rel=1e-5)
    assert (solution.get_xlabel(), solution.get_ylabel()) == ("t", "x")


def test_moments_are_sections_at_the_nearest_points() -> None:
    truth = torch.outer(X, T)
    *_, ax = (a for a in plots.side_by_side({"x": X, "t": T}, truth, 2 * truth, moments=(1.0,)).axes if a.lines)
    ours, wide = ax.lines
    assert torch.equal(torch.tensor(ours.get_ydata()), 2 * truth[:, 3])
    assert torch.equal(torch.tensor(wide.get_ydata()), truth[:, 3])


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"network has the shape \(7, 5\), its coordinates ask for \(5, 7\)"):
        plots.side_by_side({"x": X, "t": T}, torch.outer(X, T), torch.outer(T, X))
