"""Problems: conditions of every kind at exact solutions, names, weights, hard conditions, the compiled program."""

import math
import re
from typing import Any

import pytest
import torch

import torchflux as tf
from torchflux_physics import (
    Cloud,
    Condition,
    Data,
    Dirichlet,
    Disk,
    Hard,
    Initial,
    Interval,
    Neumann,
    Periodic,
    Points,
    Problem,
    Robin,
    compiled,
)

DOUBLE = {"dtype": torch.float64}
SPACETIME = Interval("x", 0, math.pi) * Interval("t", 0, 1)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def string(conditions: Any) -> Problem:
    return Problem(SPACETIME, {"wave": lambda u: u.tt - u.xx}, conditions)


def exact(p: Any) -> Any:
    return torch.sin(p[:, 0]) * torch.cos(p[:, 1])


CONDITIONS: dict[str, Any] = {
    "dirichlet": Dirichlet("u", 0.0, on=SPACETIME.boundary),
    "function": Dirichlet("u", lambda x, t: torch.sin(x) * torch.cos(t), on=SPACETIME.end),
    "initial": Initial("u", lambda x: torch.sin(x), on=SPACETIME.start),
    "velocity": Initial("u.t", 0.0, on=SPACETIME.start),
    "neumann": Neumann("u", lambda t: -torch.cos(t), on=SPACETIME.boundary),
    "robin": Robin("u", 2.0, 3.0, lambda t: -3 * torch.cos(t), on=SPACETIME.boundary),
    "data": Data("u", torch.sin(torch.ones(4)), at=Cloud(torch.tensor([[1.0, 0.0]] * 4), ("x", "t"))),
    "own": Condition(lambda u, x, normal: u * normal[0] + 0 * x, on=SPACETIME.side("x", upper=True)),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_holds_for_the_solution_and_not_for_another(name: str) -> None:
    problem = string({name: CONDITIONS[name]})
    batch = problem.sample({"wave": 8, name: 16}, generator=seeded(), **DOUBLE)
    assert all(loss < 1e-12 for loss in problem(exact, batch).values())
    wrong = lambda p: exact(p) + 0.1 * torch.sin(3 * p[:, 0] + 1) * (1 + p[:, 1])
    assert problem(wrong, batch)[name] > 1e-4


def test_periodic() -> None:
    domain = Interval("x", 0, 1) * Interval("t", 0, 1)
    around = Periodic("u", "x", 1.0, on=domain.side("x"), order=2)
    problem = Problem(domain, lambda u: u.t + u.x, {"around": around})
    batch = problem.sample({"equation": 8, "around": 8}, generator=seeded(), **DOUBLE)
    losses = problem(lambda p: torch.sin(2 * math.pi * (p[:, 0] - p[:, 1])), batch)
    assert list(losses) == ["equation", "around.0", "around.1", "around.2"]
    assert all(loss < 1e-20 for loss in losses.values())
    ramp = problem(lambda p: p[:, 0] ** 2, batch)
    assert ramp["around.0"] == pytest.approx(1)
    assert ramp["around.1"] == pytest.approx(4)


MODELS: dict[str, Any] = {
    "one model of two fields": ({"u v": lambda p: torch.stack([p[:, 0], p[:, 0] * p[:, 1]], 1)}, "u v", ("u", "v")),
    "two models": ({"u": lambda p: p[:, 0], "v": lambda p: p[:, 0] * p[:, 1]}, "u v", ("u", "v")),
    "a field of vectors": ({"u": lambda p: torch.stack([p[:, 0], p[:, 0] * p[:, 1]], 1)}, "u", ("0", "1")),
}


@pytest.mark.parametrize("name", MODELS)
def test_data_of_several_fields(name: str) -> None:
    models, fields, parts = MODELS[name]
    places = torch.rand(6, 2, generator=seeded(), **DOUBLE)
    values = torch.stack([places[:, 0] + 0.5, places[:, 0] * places[:, 1]], 1)  # the first is 0.5 off
    problem = Problem(SPACETIME, {}, {"seen": Data(fields, values, at=Cloud(places, ("x", "t")))})
    losses = problem(models, problem.sample({"seen": 4}, generator=seeded(), **DOUBLE))  # in another order
    assert list(losses) == [f"seen.{part}" for part in parts]
    assert [loss.item() for loss in losses.values()] == pytest.approx([0.25, 0])
    assert problem.total(losses, {"seen": 2.0}) == pytest.approx(0.5)
    assert problem.total(losses, {f"seen.{parts[0]}": 4.0}) == pytest.approx(1)


def test_data_of_derivatives() -> None:
    places = torch.rand(6, 2, generator=seeded(), **DOUBLE)
    values = torch.stack([places[:, 1], places[:, 0]], 1)
    seen = Data("psi.x psi.t", values, at=Cloud(places, ("x", "t")))
    problem = Problem(SPACETIME, {}, {"seen": seen})
    losses = problem({"psi": lambda p: p[:, 0] * p[:, 1] + 3 * p[:, 1]}, problem.sample({"seen": 6}, **DOUBLE))
    assert losses == {"seen.psi.x": 0, "seen.psi.t": pytest.approx(9)}


def test_data_of_another_shape_is_refused() -> None:
    places = Cloud(torch.zeros(6, 2), ("x", "t"))
    for fields, shape in (("u v", (6,)), ("u v", (2, 6)), ("u v", (6, 3)), ("u", (5,)), ("u", ()), ("u", (6, 2, 1))):
        with pytest.raises(ValueError, match=rf"values of .* at 6 points are \(6.*\); given: {re.escape(str(shape))}"):
            Data(fields, torch.zeros(shape), at=places)
    problem = Problem(SPACETIME, {}, {"seen": Data("u", torch.zeros(6, 2), at=places)})
    batch = problem.sample({"seen": 6})
    with pytest.raises(ValueError, match="u has 3 components at a point, of which 2 were measured"):
        problem(lambda p: torch.stack([p[:, 0]] * 3, 1), batch)
    with pytest.raises(ValueError, match=r"a field of vectors \(d,\) was expected, not one of shape \(\)"):
        problem(lambda p: p[:, 0], batch)


def test_normals_on_curves() -> None:
    disk = Disk("xy", (0, 0), 2)
    problem = Problem(disk, lambda u: u.xx + u.yy - 4, {"rim": Neumann("u", 4.0, on=disk.boundary)})
    batch = problem.sample({"equation": 8, "rim": 8}, generator=seeded(), **DOUBLE)
    losses = problem(lambda p: p[:, 0] ** 2 + p[:, 1] ** 2, batch)
    assert max(losses.values()) < 1e-20


def test_weights_by_name() -> None:
    problem = string({"ends": CONDITIONS["dirichlet"]})
    losses = {"wave": torch.tensor(1.0), "ends": torch.tensor(10.0)}
    assert problem.total(losses) == 11
    assert problem.total(losses, {"ends": 0.5}) == 6
    weighted = Problem(problem.domain, problem.equations, problem.conditions, weights={"wave": 3.0})
    assert weighted.total(losses) == 13
    parts = {"wave.a": torch.tensor(1.0), "wave.b": torch.tensor(1.0)}
    assert weighted.total(parts, {"wave.b": 2.0}) == 5
    with pytest.raises(ValueError, match="weights for end, which no term is called: there are wave, ends"):
        problem.total(losses, {"end": 1.0})
    with pytest.raises(ValueError, match="weights for wav"):
        Problem(problem.domain, problem.equations, problem.conditions, weights={"wav": 1.0})


def test_terms_without_points_are_refused() -> None:
    problem = string({"ends": CONDITIONS["dirichlet"]})
    with pytest.raises(ValueError, match="ends would have no points"):
        problem.sample({"wave": 10})
    with pytest.raises(ValueError, match="counts for walls, which no term is called"):
        problem.sample({"wave": 10, "ends": 2, "walls": 2})
    batch = problem.sample({"wave": 10, "ends": 2})
    with pytest.raises(ValueError, match="ends has no points in this batch"):
        problem(exact, {"wave": batch["wave"]})
    with pytest.raises(ValueError, match="wave has no points"):
        problem(exact, {**batch, "wave": batch["wave"][:0]})
    with pytest.raises(ValueError, match="both called wave"):
        string({"wave": CONDITIONS["dirichlet"]})


def test_samples_are_reproducible_and_typed() -> None:
    problem = string({"ends": CONDITIONS["dirichlet"]})
    first, second = (problem.sample({"wave": 10, "ends": 4}, generator=seeded()) for _ in range(2))
    for name in first:
        assert torch.equal(first[name].points, second[name].points)
        assert first[name].points.dtype == torch.float32
        assert len(first[name]) == {"wave": 10, "ends": 4}[name]


def test_hard_conditions() -> None:
    torch.manual_seed(0)
    net = tf.Chain(tf.Dense(2, 8, tf.tanh), tf.Dense(8, 1)).double()
    model = Hard(net, lambda u, x, t: torch.sin(x) + t**2 * torch.sin(x) * u)
    problem = string(
        {"ends": CONDITIONS["dirichlet"], "start": CONDITIONS["initial"], "velocity": CONDITIONS["velocity"]}
    )
    batch = problem.sample({"wave": 8, "ends": 8, "start": 8, "velocity": 8}, generator=seeded(), **DOUBLE)
    losses = problem(model, batch)
    assert max(losses[name] for name in ("ends", "start", "velocity")) < 1e-28
    assert losses["wave"] > 1e-4
    assert "t**2 * torch.sin(x) * u" in repr(model)
    two = Hard(lambda p: torch.stack([p[:, 0], p[:, 1]], 1), lambda u, v, x: (u * x, v), fields=("u", "v"))
    assert two(torch.ones(3, 2)).shape == (3, 2)
    with pytest.raises(TypeError, match="the transform takes z; known are the fields and coordinates u, x, t"):
        Hard(net, lambda u, z: u * z)
    with pytest.raises(
        ValueError, match="the model made 2 numbers of a point and the fields are u: give a name to each"
    ):
        Hard(lambda p: p, lambda u, x: u * x)(torch.ones(3, 2))  # not the first of them alone


def test_unknowns_are_trained() -> None:
    problem = Problem(
        SPACETIME, {"heat": lambda u, k: u.t - k * u.xx}, params={"k": torch.nn.Parameter(torch.tensor(0.5, **DOUBLE))}
    )
    batch = problem.sample({"heat": 16}, generator=seeded(), **DOUBLE)
    decay = lambda p: torch.exp(-2 * p[:, 1]) * torch.sin(p[:, 0])
    (slope,) = torch.autograd.grad(problem(decay, batch)["heat"], problem.params["k"])
    step = 1e-6
    up, down = (problem(decay, batch, {"k": 0.5 + s})["heat"] for s in (step, -step))
    assert slope.item() == pytest.approx((up - down).item() / 2 / step, rel=1e-6)
    assert problem(decay, batch, {"k": 2.0})["heat"] < 1e-28


def test_the_compiled_program_gives_the_same() -> None:
    torch.manual_seed(0)
    model = tf.Chain(tf.Dense(2, 8, tf.tanh), tf.Dense(8, 1)).double()
    k = torch.nn.Parameter(torch.tensor(0.5, **DOUBLE))
    conditions = {"ends": CONDITIONS["neumann"], "data": CONDITIONS["data"]}
    problem = Problem(SPACETIME, {"heat": lambda u, k: u.t - k * u.xx}, conditions, params={"k": k})
    batch = problem.sample({"heat": 16, "ends": 5, "data": 4}, generator=seeded(), **DOUBLE)
    fast = compiled(problem, backend="aot_eager")
    trained = [*model.parameters(), k]
    for _ in range(2):
        plain, ours = problem(model, batch), fast(model, batch)
        assert list(plain) == list(ours)
        for name in plain:
            torch.testing.assert_close(ours[name], plain[name], rtol=1e-12, atol=1e-15)
        exact_slopes = torch.autograd.grad(problem.total(plain), trained)
        for a, b in zip(torch.autograd.grad(problem.total(ours), trained), exact_slopes, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-13)
        with torch.no_grad():
            for x in trained:
                x.mul_(1.1)
    assert len(fast.programs) == 1


class Scaled(torch.nn.Module):
    """Two numbers that aren't among its parameters, one of them a tensor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor, self.shift, self.layer = factor, torch.zeros(1, **DOUBLE), torch.nn.Linear(1, 1).double()

    def forward(self, x: Any) -> Any:
        return self.layer(x) * self.factor * (x + self.shift)


def chain(*layers: Any) -> tf.Chain:
    return tf.Chain(tf.Dense(1, 3, init=tf.glorot_normal), *layers, tf.Dense(3, 1)).double()


def test_the_compiled_program_is_another_where_a_model_differs_in_more_than_its_tensors() -> None:
    """Activations, attributes, functions that are gone, and the mode: none may be taken for what was compiled."""
    problem = Problem(Interval("x", 0, 1), lambda u: u.x + u)
    batch, fast = problem.sample({"equation": 8}, generator=seeded(), **DOUBLE), compiled(problem, backend="eager")
    agree = lambda model: (
        fast(model, batch)["equation"].item() == pytest.approx(problem(model, batch)["equation"].item())
    )
    for k in range(1, 4):
        assert agree(chain(lambda x, k=k: k * x))
        assert agree(Scaled(k))
    assert agree(chain(tf.tanh))
    assert agree(chain(torch.sin))
    assert agree(chain(torch.nn.LeakyReLU(0.1)))
    assert agree(chain(torch.nn.LeakyReLU(0.5)))
    model = Scaled(1.0)
    for change in (lambda: setattr(model, "factor", 3.0), lambda: model.shift.add_(1)):
        assert agree(model)
        change()
    assert agree(model)
    number = len(fast.programs)
    model.layer = torch.nn.Linear(1, 1).double()
    assert agree(model)
    assert len(fast.programs) == number


def test_a_compiled_model_in_training_and_the_same_in_use_are_two_programs() -> None:
    problem = Problem(Interval("x", 0, 1), lambda u: u)
    batch, fast = problem.sample({"equation": 8}, generator=seeded(), **DOUBLE), compiled(problem, backend="eager")
    model = chain(tf.Dropout(1 - 1e-12))
    trained = fast(model.train(), batch)["equation"].item()
    used = fast(model.eval(), batch)["equation"].item()
    assert used == pytest.approx(problem(model, batch)["equation"].item())
    assert used != pytest.approx(trained)


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")  # Inductor, when it is loaded
def test_the_machine_code_gives_the_same() -> None:
    problem = Problem(Interval("x", 0, 1), lambda u: u.xx - u)
    model, batch = (
        tf.Chain(tf.Dense(1, 4, tf.tanh), tf.Dense(4, 1)),
        problem.sample({"equation": 8}, generator=seeded()),
    )
    plain, fast = (f(model, batch)["equation"] for f in (problem, compiled(problem)))
    torch.testing.assert_close(fast, plain)


def test_the_compiled_program_refuses_hidden_parameters() -> None:
    hidden = torch.nn.Parameter(torch.tensor(0.5))
    problem = Problem(Interval("x", 0, 1), lambda u: u.xx * Secret.value)
    Secret.value = hidden
    batch = {"equation": Points(torch.rand(4, 1))}
    with pytest.raises(ValueError, match=r"its gradient would be lost\. Pass it in params"):
        compiled(problem)(tf.Chain(tf.Dense(1, 4, tf.tanh), tf.Dense(4, 1)), batch)


class Secret:
    value: Any = None
