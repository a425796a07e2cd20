"""Residuals of one point at many: values against closed forms, names, flux forms, systems, and what is refused."""

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

import torchflux as tf
from torchflux_physics import curl, div, grad, integral, laplacian, residuals
from torchflux_physics._layout import points_innermost

rng = torch.Generator().manual_seed(0)
POINTS = torch.rand(9, 2, dtype=torch.float64, generator=rng)
SPACE = torch.rand(9, 3, dtype=torch.float64, generator=rng)


def network(nin: int = 2, nout: int = 1) -> Any:
    torch.manual_seed(0)
    return tf.Chain(tf.Dense(nin, 8, tf.tanh), tf.Dense(8, 8, tf.tanh), tf.Dense(8, nout)).double()


def zero(x: Any, atol: float = 1e-12) -> None:
    torch.testing.assert_close(x, torch.zeros_like(x), rtol=0, atol=atol)


def test_equations_with_known_solutions() -> None:
    heat = lambda p: torch.exp(-p[:, 1]) * torch.sin(p[:, 0])
    zero(residuals(lambda u: u.t - u.xx, heat, POINTS)["residual"])
    soliton = lambda p: 2 / torch.cosh(p[:, 0] - 4 * p[:, 1]) ** 2
    zero(residuals(lambda u: u.t + 6 * u * u.x + u.xxx, soliton, POINTS)["residual"], 1e-10)
    beam = lambda p: torch.cos(p[:, 1]) * torch.cosh(p[:, 0])
    zero(residuals(lambda u: u.tt + u.xxxx, beam, POINTS)["residual"])
    assert residuals(lambda u: u.t - 1.01 * u.xx, heat, POINTS)["residual"].abs().min() > 1e-4


def test_names_of_all_kinds() -> None:
    wave = lambda p: torch.sin(p[:, 0] * 3) * p[:, 1]
    everything = lambda u, x, t, nu, params: u.xx + nu * u + x * 0 + t * 0 + params["other"]
    zero(residuals(everything, wave, POINTS, {"nu": 9.0, "other": torch.tensor(0.0)})["residual"])
    polar = lambda p: p[:, 0] ** 2 * torch.cos(2 * p[:, 1])
    laplace = lambda u, r: u.r_r + u.r / r + u.theta_theta / r**2
    zero(residuals(laplace, polar, POINTS + 1, coordinates=("r", "theta"))["residual"])
    swapped = residuals(lambda u: u.xt - u.tx, network(), POINTS)["residual"]
    zero(swapped, 0)


def test_fluxes_are_differentiated_as_written() -> None:
    conductivity = lambda u: 1 + u * u
    flux = residuals(lambda u, x: (conductivity(u) * torch.exp(x) * u.x).x, network(), POINTS)["residual"]
    expanded = lambda u, x: torch.exp(x) * (conductivity(u) * (u.xx + u.x) + 2 * u * u.x**2)
    torch.testing.assert_close(flux, residuals(expanded, network(), POINTS)["residual"], rtol=1e-12, atol=1e-12)
    twice = residuals(lambda u: (u**3).xx - 6 * u * u.x**2 - 3 * u**2 * u.xx, network(), POINTS)["residual"]
    zero(twice)


def test_systems_and_several_models() -> None:
    vortex = lambda p: torch.stack(
        [-torch.cos(p[:, 0]) * torch.sin(p[:, 1]), torch.sin(p[:, 0]) * torch.cos(p[:, 1]),
         -(torch.cos(2 * p[:, 0]) + torch.cos(2 * p[:, 1])) / 4], 1)  # fmt: skip

    def euler(u: Any, v: Any, p: Any) -> Any:
        return {"x": u * u.x + v * u.y + p.x, "y": u * v.x + v * v.y + p.y, "mass": div([u, v])}

    found = residuals(euler, {"u v p": vortex}, POINTS, coordinates="xy")
    assert list(found) == ["x", "y", "mass"]
    for value in found.values():
        zero(value)
    source = lambda p: -torch.sin(p[:, 0])
    pair = residuals(lambda u, f: (u.xx - f, f), {"u": lambda p: torch.sin(p[:, 0]), "f": source}, POINTS)
    assert list(pair) == ["0", "1"]
    zero(pair["0"])


def test_a_model_that_is_not_named_is_not_called() -> None:
    def broken(p: Any) -> Any:
        raise AssertionError

    residuals(lambda u: u, {"u": network(), "f": broken}, POINTS)


def test_vector_calculus() -> None:
    field = lambda p: torch.stack([p[:, 0] * p[:, 1], p[:, 1] * p[:, 2] ** 2, p[:, 0] ** 3], 1)
    x, y, z = SPACE.T
    at = lambda residual: residuals(residual, {"w": field}, SPACE, coordinates="xyz")["residual"]
    torch.testing.assert_close(at(lambda w: div(w)), y + z**2)
    turned = (-2 * y * z, -3 * x**2, -x)
    for k in range(3):
        torch.testing.assert_close(at(lambda w, k=k: curl(w)[k]), turned[k])
    zero(residuals(lambda w: div(curl(w)), {"w": network(3, 3)}, SPACE, coordinates="xyz")["residual"])
    torch.testing.assert_close(at(lambda w: laplacian(w)[2]), 6 * x)
    torch.testing.assert_close(at(lambda w: grad(w)[1] @ grad(w)[0]), z**2 * x)
    moving = residuals(lambda u: laplacian(u), lambda p: p[:, 0] ** 2 + p[:, 1] ** 5, POINTS)["residual"]
    torch.testing.assert_close(moving, torch.full((9,), 2.0).double())  # time is left out
    flat = residuals(
        lambda u, v: curl([u, v]), {"u v": lambda p: torch.stack([-p[:, 1], p[:, 0]], 1)}, POINTS, coordinates="xy"
    )
    torch.testing.assert_close(flat["residual"], torch.full((9,), 2.0).double())


def test_integrals() -> None:
    exponential = lambda p: torch.exp(p[:, 0])
    zero(residuals(lambda u, x, t: u - 1 - integral(lambda s: u(s, t), 0, x), exponential, POINTS)["residual"])
    zero(residuals(lambda u, x, t: u.x - integral(lambda s: u(s, t), 0, x).x, exponential, POINTS)["residual"])
    whole = residuals(lambda u, t: integral(lambda s: s * u(s, t), -1.0, 1.0), exponential, POINTS)["residual"]
    torch.testing.assert_close(whole, torch.full((9,), 2 / math.e, dtype=torch.float64), rtol=1e-14, atol=0)
    whole = residuals(lambda u: u - 1 + integral(lambda s: u(s, 0), 0, 1), exponential, POINTS.float())["residual"]
    torch.testing.assert_close(whole, torch.exp(POINTS[:, 0]).float() + math.e - 2)


def test_integrals_of_integrals() -> None:
    product = lambda p: p[:, 0] * p[:, 1] ** 2
    inside = lambda u, nodes: lambda s: integral(lambda r: u(r, s), 0, s, nodes=nodes)  # s⁴ / 2
    for nodes in (5, 20):  # as many as outside, and fewer
        to_x = lambda u, x, nodes=nodes: integral(inside(u, nodes), 0, x)
        zero(residuals(lambda u, x, to_x=to_x: to_x(u, x) - x**5 / 10, product, POINTS)["residual"])
        zero(residuals(lambda u, x, to_x=to_x: to_x(u, x).x - x**4 / 2, product, POINTS)["residual"])
    with pytest.raises(ValueError, match=r"gives \(20, 2\) at 20 nodes; one number at each was expected"):
        residuals(lambda u, t: integral(lambda s: u(s, t), 0, 1), lambda p: p * 2, POINTS)


def test_another_place() -> None:
    delayed = residuals(lambda u, x, t: u(x, t - 1) - u / math.e, lambda p: torch.exp(p[:, 1]), POINTS)["residual"]
    zero(delayed)
    scaled = residuals(lambda u, x, t: u(2 * x, t).x - 2 * torch.cos(2 * x), lambda p: torch.sin(p[:, 0]), POINTS)
    zero(scaled["residual"])
    fixed = residuals(lambda u: u(0.5, 1) - math.e / 2, lambda p: p[:, 0] * torch.exp(p[:, 1]), POINTS)
    zero(fixed["residual"])


@dataclass
class Advection:
    """An equation that isn't hashable."""

    speed: float

    def __call__(self, u: Any) -> Any:
        return u.t + self.speed * u.x


def test_an_equation_that_is_an_object() -> None:
    zero(residuals(Advection(2.0), lambda p: torch.sin(p[:, 0] - 2 * p[:, 1]), POINTS)["residual"])


def test_components_one_by_one() -> None:
    pair = lambda p: torch.stack([torch.sin(p[:, 0]), torch.cos(p[:, 0])], 1)
    zero(residuals(lambda u: sum(c * c for c in u) - 1 + 0 * +u[0], pair, POINTS)["residual"])


def test_a_compiled_model() -> None:
    model = network()
    plain = residuals(lambda u: u.xx, model, POINTS)["residual"]
    compiled = torch.compile(model, backend="eager")
    torch.testing.assert_close(residuals(lambda u: u.xx, compiled, POINTS)["residual"], plain)


def test_complex_fields() -> None:
    wave = lambda p: torch.exp(1j * (2 * p[:, 0] - 4 * p[:, 1]))
    found = residuals(lambda psi: 1j * psi.t + psi.xx, {"psi": wave}, POINTS)["residual"]
    assert found.is_complex()
    zero(found)


def test_gradients_reach_parameters_and_points() -> None:
    model, nu = network(), torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    burgers = lambda u, nu: u.t + u * u.x - nu * u.xx
    points = POINTS.clone().requires_grad_()
    loss = residuals(burgers, model, points, {"nu": nu})["residual"].square().mean()
    weights = list(model.parameters())[:-1]
    found = torch.autograd.grad(loss, [*weights, nu, points])

    def by_hand(nu: Tensor, points: Tensor) -> Tensor:
        u = lambda p: model(p[None])[0, 0]
        parts = [(u(p), torch.func.grad(u)(p), torch.func.hessian(u)(p)) for p in points]
        return torch.stack([g[1] + v * g[0] - nu * h[0, 0] for v, g, h in parts]).square().mean()

    for a, b in zip(found, torch.autograd.grad(by_hand(nu, points), [*weights, nu, points]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_one_point_is_meant() -> None:
    # Operations that would mix the points of a batch act on one of them.
    pair = residuals(
        lambda u: torch.linalg.vector_norm(torch.stack([u.x, u.t])) - torch.hypot(u.x, u.t), network(), POINTS
    )["residual"]
    zero(pair)


def test_a_traced_program_with_the_points_innermost() -> None:
    model = network()
    parameters = dict(model.named_parameters())

    def loss(parameters: dict[str, Tensor], points: Tensor) -> Tensor:
        called = lambda p: torch.func.functional_call(model, parameters, (p,))
        return residuals(lambda u: u.t + u * u.x - 0.1 * u.xx, called, points)["residual"].square().mean()

    points = torch.rand(20, 2, dtype=torch.float64, generator=rng)
    program = make_fx(loss, tracing_mode="fake")(parameters, points)
    before = sum(node.target is torch.ops.aten.t.default for node in program.graph.nodes)
    program = points_innermost(program)
    after = sum(node.target is torch.ops.aten.t.default for node in program.graph.nodes)
    assert after <= before / 2
    torch.testing.assert_close(program(parameters, points), loss(parameters, points), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("residual", "error", "message"),
    [
        (lambda u: grad(u), ValueError, r"of shape \(1,\) at a point; it must be a number"),
        (lambda u: "zero", ValueError, "a str at a point"),
        (lambda u: u.xz, AttributeError, "no 'xz': derivatives are named by x, t, as in 'xx'"),
        (lambda u, z: u, TypeError, "takes z, which nothing is named. Known are the fields u, the coordinates x, t"),
        (lambda u: u if u > 0 else -u, TypeError, r"torch\.where"),
        (lambda u: u(1.0), TypeError, "1 coordinates were given; a place has x, t"),
        (lambda u: u.x(1.0, 2.0), TypeError, "only a model's own field"),
        (lambda u: div(u), ValueError, r"field of vectors \(d,\) was expected"),
        (lambda u: div([u, u]), ValueError, "divergence of 2 components"),
        (lambda u: curl([u]), ValueError, "curl of 1 components"),
        (lambda u: sum(u), TypeError, "no components to go through"),
        (lambda u: (), ValueError, "no equation at all"),
        (lambda u: u > 0, ValueError, "of torch.bool at a point; a floating number was expected"),
    ],
)
def test_refused(residual: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        residuals(residual, network(), POINTS)


def test_one_name_for_two_things() -> None:
    u = network()
    for models, params, data in (
        ({"u": u, "t": u}, None, {}),
        (u, {"t": 1.0}, {}),
        (u, {"k": 1.0}, {"k": POINTS[:, 0]}),
    ):
        with pytest.raises(TypeError, match="which more than one thing is named"):
            residuals((lambda u, k: u + k) if data else (lambda u, t: u + t), models, POINTS, params, data=data)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("x", "x"), "two coordinates are called x"),
        (("x", "xx"), "called xx: that is a derivative, by x"),
        (("x", "jet"), "called jet: .*a field has its own"),
        (("x", "t_0"), "called t_0: an underscore parts names"),
    ],
)
def test_names_that_coordinates_cannot_have(names: tuple[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        residuals(lambda u: u.x, network(), POINTS, coordinates=names)


@pytest.mark.parametrize(
    ("models", "points", "error", "message"),
    [
        (
            network(),
            torch.zeros(3, 3),
            ValueError,
            r"\(n, 2\), a column for each of x, t; given: torch.float32 \(3, 3\)",
        ),
        (network(), torch.zeros(3, 2, dtype=torch.long), ValueError, "floating"),
        (network(), [[0.0, 1.0]], ValueError, "given: a list"),
        (lambda p: 3.0, POINTS, TypeError, "returned a float"),
        (lambda p: torch.zeros(9), POINTS, TypeError, "doesn't depend on the coordinates"),
        (lambda p: p.sum(0), POINTS, ValueError, r"made \(2,\) of points \(9, 2\)"),
        ({"u v": network()}, POINTS, ValueError, r"\(n, 2\) was expected"),
        ({"u v": network(), "v": network()}, POINTS, ValueError, "two models have a field v"),
        ({}, POINTS, ValueError, "no model"),
    ],
)
def test_refused_models(models: Any, points: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        residuals(lambda u: u.x, models, points)


def test_no_points() -> None:
    assert residuals(lambda u: {"a": u.xx}, network(), POINTS[:0])["a"].shape == (0,)
    assert residuals(lambda u: u.xx, network(), POINTS[:1])["residual"].shape == (1,)
