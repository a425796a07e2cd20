"""The native route: the same transitions as PyTorch's, in machine code; and what it refuses."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm
from test_invariance import CHAINS, DTYPE, evidence, exact, rng

from torchflux_mcmc import Dense, Diagonal, NotNative, ess_bulk, native_source, nuts, run, window_adaptation
from torchflux_mcmc._adaptation import _DualAveraging, _Moments
from torchflux_mcmc._hamiltonian import kinetic, leapfrog
from torchflux_mcmc._kernel import start
from torchflux_mcmc._positions import Positions
from torchflux_mcmc._target import Target

pytest.importorskip("torchflux_zygote")
from torchflux_mcmc import _native_chains, _native_random, _native_tree, _native_warmup
from torchflux_zygote import native
from torchflux_zygote._native import _compile


@native
def banana(q):
    """As in `test_invariance`."""
    return -(q[0] ** 2) / 2 - (q[1] - q[0] ** 2) ** 2


@native
def normal(q, mean, precision):
    """Up to a constant."""
    r = q - mean
    return -(r @ (precision @ r)) / 2


MATRIX = torch.tensor([[1.0, 0.4], [0.4, 2.0]], dtype=DTYPE)
MEAN = torch.tensor([1.0, -2.0, 0.5], dtype=DTYPE)
COVARIANCE = torch.tensor([[1.0, 0.9, 0.0], [0.9, 4.0, -0.5], [0.0, -0.5, 0.25]], dtype=DTYPE)
PRECISION = torch.linalg.inv(COVARIANCE)
KERNELS = {
    "steps of 0.3": nuts(banana, 0.3),
    "large steps": nuts(banana, 0.8),
    "diagonal": nuts(banana, 0.3, torch.tensor([0.5, 3.0])),
    "dense": nuts(banana, 0.3, MATRIX),
    "small trees": nuts(banana, 0.2, max_num_doublings=2),
}


@pytest.mark.parametrize("name", KERNELS)
def test_exact_draws_stay_exact(name):
    generator = rng(len(name))
    x = exact(CHAINS, generator)
    samples = run(generator, KERNELS[name], x, 4)
    moved = samples.positions[:, -1]
    assert samples.route == "native"
    assert (moved != x).any(1).double().mean() > 0.5
    assert evidence(moved) > 1e-4


def test_the_canary(monkeypatch):
    """Momenta that are a fifth too large for their kinetic energy are found out."""
    arrays = _native_chains._arrays
    monkeypatch.setattr(_native_chains, "_arrays", lambda *args: (arrays(*args)[0], 1.2 * arrays(*args)[1]))
    samples = run(rng(), KERNELS["steps of 0.3"], exact(CHAINS, rng()), 20)
    assert evidence(samples.positions[:, -1]) < 1e-6


def test_trees_are_those_of_the_torch_route():
    """As many steps, accepted as often, within the error of their means."""
    x = exact(CHAINS, rng(1))
    ours = run(rng(2), nuts(banana, 0.15), x, 2).info
    theirs = run(rng(3), nuts(banana.function, 0.15, route="torch"), x, 2).info
    for name in ("num_integration_steps", "acceptance_rate", "energy"):
        a, b = (getattr(info, name).mean(1) for info in (ours, theirs))
        assert abs(a.mean() - b.mean()) < 4 * math.sqrt((a.var() + b.var()) / CHAINS), name
    shares = [
        np.bincount(np.log2(info.num_integration_steps[:, 0] + 1).astype(int), minlength=8) for info in (ours, theirs)
    ]
    assert (np.abs(shares[0] - shares[1]) < 5 * np.sqrt(shares[0] + shares[1] + 1)).all(), shares


@pytest.mark.parametrize("matrix", [torch.ones(3, dtype=DTYPE), torch.tensor([0.5, 2.0, 1.0], dtype=DTYPE), COVARIANCE])
def test_trajectories_are_those_of_the_torch_route(matrix):
    alg = nuts(normal, inverse_mass_matrix=matrix)
    machine = alg.native(normal, Positions(MEAN, False), (MEAN, PRECISION))
    space = machine.program.chains.py_func.__globals__
    target = Target(normal.function, Positions(MEAN, False), False, (MEAN, PRECISION))
    rows, p = (
        start(target, torch.tensor([[0.3, -0.8, 2.0]], dtype=DTYPE)),
        torch.tensor([[0.7, 0.2, -1.0]], dtype=DTYPE),
    )
    metric = alg.tuning(rows).metric
    m, root = (x[0] for x in _native_chains._arrays(metric, rows.q))
    end = np.stack([rows.q[0], p[0], rows.gradient[0], np.empty(3)])
    for _ in range(25):
        rows, p = leapfrog(target, rows, p, torch.tensor([[0.2]], dtype=DTYPE), metric)
        value = space["leapfrog"](end, 0.2, m, *machine.data)
    assert np.allclose(end[:3], torch.cat((rows.q, p, rows.gradient)), rtol=1e-12, atol=1e-13)
    energy = _native_tree.energy_of(3, end, value)
    assert math.isclose(energy, float(kinetic(p, metric)[0] - rows.logdensity[0]), rel_tol=1e-12)
    drawn = np.zeros((40_000, 3))
    random = np.empty(4, np.uint64)
    _native_random.seed(random, 5)
    for row in drawn:
        _native_tree.refresh(3, random, root, end)
        row[:] = end[1]
    mass = torch.linalg.inv(matrix if matrix.dim() == 2 else torch.diag(matrix))
    scale = mass.diagonal().sqrt()
    assert ((torch.cov(torch.from_numpy(drawn.T)) - mass).abs() < 0.03 * scale * scale[:, None]).all()


def test_random_words_are_the_published_ones():
    """xoshiro256++ from 1, 2, 3, 4 (test vector of the authors' C code); SplitMix64 from 1234567 (Rosetta Code)."""
    state = np.array([1, 2, 3, 4], np.uint64)
    assert [int(_native_random.word(state)) for _ in range(5)] == [
        41943041, 58720359, 3588806011781223, 3591011842654386, 9228616714210784205
    ]  # fmt: skip
    _native_random.seed(state, 1234567)
    assert state.tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]


def test_random_numbers_have_their_distribution():
    state, z = np.empty(4, np.uint64), np.empty(9999)
    _native_random.seed(state, -7)
    u = [_native_random.uniform(state) for _ in range(5000)]
    _native_random.normals(state, z)
    pairs = (z[:-1:2] + z[1::2]) / math.sqrt(2)
    assert kstest(u, "uniform").pvalue > 1e-3
    assert min(kstest(z, norm.cdf).pvalue, kstest(pairs, norm.cdf).pvalue) > 1e-3


def test_the_same_seed_is_the_same_chain_whatever_the_threads():
    x, alg, threads = torch.zeros(6, 2, dtype=DTYPE), nuts(banana, 0.3), torch.get_num_threads()
    draws = []
    for number in (1, 3):
        torch.set_num_threads(number)
        draws.append(run(rng(3), alg, x, 50).positions)
    torch.set_num_threads(threads)
    assert torch.equal(*draws)
    assert not torch.equal(draws[0], run(rng(4), alg, x, 50).positions)
    assert torch.equal(draws[0][:, 4::5], run(rng(3), alg, x, 10, thin=5).positions)


def test_runs_go_on_where_they_stopped(tmp_path):
    alg, generator = nuts(banana, 0.3), rng(3)
    whole = run(rng(3), alg, torch.zeros(3, 2, dtype=DTYPE), 20)
    state = alg.init(torch.zeros(3, 2, dtype=DTYPE), chains=True)
    for k in range(12):
        if k == 5:
            torch.save((state, generator.get_state()), tmp_path / "chain.pt")
            with torch.serialization.safe_globals([type(state)]):
                state, place = torch.load(tmp_path / "chain.pt")
            generator = torch.Generator()
            generator.set_state(place)
        state, info = alg.step(generator, state)
        assert torch.equal(state.position, whole.positions[:, k])
        assert torch.equal(info.num_integration_steps, torch.from_numpy(whole.info.num_integration_steps[:, k]))
    rest = run(generator, alg, state, 8)
    assert torch.equal(rest.positions, whole.positions[:, 12:])
    assert torch.equal(rest.state.logdensity_grad, whole.state.logdensity_grad)


@pytest.mark.parametrize("dense", [False, True])
def test_moments_of_a_correlated_normal(dense):
    generator, chains = rng(4), 4
    warmup = window_adaptation(nuts, normal, dense=dense, route="native")
    start = torch.zeros(chains, 3, dtype=DTYPE)
    state, params = warmup.run(generator, start, 1000, MEAN, PRECISION, chains=True)
    matrix = params["inverse_mass_matrix"]
    found = matrix.covariance if dense else matrix.variance
    due = COVARIANCE if dense else COVARIANCE.diagonal()
    assert isinstance(matrix, Dense if dense else Diagonal)
    assert torch.allclose(found.mean(0), due, atol=0.3 * float(due.max()), rtol=0.3)
    samples = run(generator, nuts(normal, **params), state, 2000, MEAN, PRECISION)
    assert 0.75 < samples.info.acceptance_rate.mean() < 0.97
    z = (samples.positions - MEAN) / COVARIANCE.diagonal().sqrt()
    correlation = COVARIANCE / (COVARIANCE.diagonal()[:, None] * COVARIANCE.diagonal()).sqrt()
    products = (z[..., None] * z[..., None, :] - correlation).flatten(2)[..., [0, 1, 2, 4, 5, 8]]
    for statistic in (z, products):
        error = statistic.std((0, 1)).numpy() / np.sqrt(ess_bulk(statistic))
        assert (np.abs(statistic.mean((0, 1)).numpy()) < 4 * error).all()


def test_a_target_that_moves_is_not_compiled_again():
    alg = nuts(normal, 0.8)
    state = alg.init(torch.zeros(3, dtype=DTYPE), MEAN, PRECISION)
    code = alg.native(normal, Positions(MEAN, False), (MEAN, PRECISION)).program.chains
    versions = len(code.signatures)
    generator = rng()
    for k in range(3):
        mean, precision = MEAN + k, (1 + 2 * k) * PRECISION
        state, _ = alg.step(generator, state, mean, precision)
        slope = -precision @ (state.position - mean)
        assert torch.allclose(state.logdensity_grad, slope)
        assert torch.allclose(state.logdensity, slope @ (state.position - mean) / 2)
    again = alg.native(normal, Positions(MEAN, False), (mean, PRECISION)).program.chains
    assert again is code
    assert len(code.signatures) == versions


def test_learning_is_that_of_the_torch_route():
    theirs, ours = _DualAveraging(np.array([0.3]), 0.8), np.array([0.8, 0, 0, 0, 0, 0, 0])
    _native_warmup.restart(ours, 0.3)
    for rate in (0.1, 0.9, 1.0, 0.6):
        size = theirs.update(np.array([0]), np.array([rate]))
        assert math.isclose(_native_warmup.average(ours, rate), size[0], rel_tol=1e-13)
    assert math.isclose(ours[4], theirs.average[0], rel_tol=1e-13)
    draws = torch.randn(30, 1, 3, generator=rng(), dtype=DTYPE)
    for dense in (False, True):
        moments, squares = _Moments(draws[0], dense), np.zeros((4 if dense else 2, 3))
        matrix, root, room = (np.zeros((3 if dense else 1, 3)) for _ in range(3))
        state, windows = np.zeros(7), np.array([[5, 35]])
        for k, q in enumerate(draws):
            moments.add(np.array([0]), q)
            closed = _native_warmup.learn(k + 5, windows, state, q[0].numpy(), squares, room[0], matrix, root)
            assert closed == (k == 29)
        due = moments.taken(0)
        assert np.allclose(matrix if dense else matrix[0], due, rtol=1e-12)
        assert np.allclose(root if dense else root[0], torch.linalg.cholesky(due) if dense else due.rsqrt(), rtol=1e-12)
        assert not squares.any()


def test_the_number_of_steps_is_bounded_and_divergences_are_told():
    alg = nuts(normal, 0.001, max_num_doublings=4)
    _, info = alg.step(rng(), alg.init(MEAN, MEAN, PRECISION), MEAN, PRECISION)
    assert info.num_integration_steps == 15
    samples = run(rng(), nuts(normal, 1.0), MEAN.repeat(2, 1), 5, MEAN, 1e8 * PRECISION)
    assert samples.divergences == 10
    assert torch.equal(samples.positions, MEAN.repeat(2, 5, 1))
    assert (samples.info.num_integration_steps == 1).all()


def test_single_precision_stays_single():
    state, params = window_adaptation(nuts, banana).run(rng(), torch.zeros(2), 200)
    assert isinstance(params["step_size"], float)
    samples = run(rng(), nuts(banana, **params), state.position.repeat(400, 1), 10)
    for x in (state.logdensity, params["inverse_mass_matrix"], samples.positions, samples.state.logdensity_grad):
        assert x.dtype == torch.float32
    assert evidence(samples.positions[:, -1].double()) > 1e-4


def test_bars(capsys):
    x = torch.zeros(2, 2, dtype=DTYPE)
    state, params = window_adaptation(nuts, banana).run(rng(), x, 20, chains=True, progress=True)
    assert "warm-up: 100%" in capsys.readouterr().err
    run(rng(), nuts(banana, **params), state, 5, progress=True)
    assert "10/10" in capsys.readouterr().err


def test_metrics_that_fit_nothing():
    for matrix, message in (
        (torch.tensor([[1.0, 0.9], [0.0, 1.0]]), "not symmetric"),
        (Diagonal(torch.ones(2, 2)), r"has the shape \(2, 2\); the position takes \(2,\), or \(4, 2\)"),
    ):
        with pytest.raises(ValueError, match=message):
            run(rng(), nuts(banana, 0.5, matrix), torch.zeros(4, 2, dtype=DTYPE), 3)


@native
def pole(q):
    """Infinite beyond a wall."""
    if abs(q[0]) < 1.0 and abs(q[1]) < 1.0:
        return -(q @ q) / 2
    return math.inf


def test_no_chain_moves_into_a_pole():
    x = run(rng(), nuts(pole, 0.9, route="native"), torch.zeros(8, 2, dtype=DTYPE), 40).positions
    assert (x.abs() < 1.0).all()
    assert (x != 0).any(2).double().mean() > 0.5


def test_a_run_of_one_chain_goes_on():
    alg = nuts(banana, 0.3)
    state, _ = alg.step(rng(), alg.init(torch.zeros(2, dtype=DTYPE)))
    samples = run(rng(1), alg, state, 3)
    assert samples.route == "native"
    assert torch.equal(samples.positions, run(rng(1), alg, state.position[None], 3).positions)


def test_the_route_can_be_chosen():
    x = torch.zeros(2, 2, dtype=DTYPE)
    assert run(rng(), nuts(banana, 0.3, route="torch"), x, 2).route == "torch"
    assert run(rng(), nuts(banana, 0.3, route="native"), x, 2).route == "native"
    assert run(rng(), nuts(lambda q: banana(q), 0.3), x, 2).route == "torch"
    assert "def leapfrog" in native_source(nuts(banana), x[0])
    with pytest.raises(ValueError, match="'auto', 'native' or 'torch'"):
        nuts(banana, route="fast").init(x[0])


@pytest.mark.parametrize(
    ("alg", "position", "batch", "message"),
    [
        (nuts(lambda q: -(q**2).sum(), route="native"), torch.ones(2), (), "decorate it by @native"),
        (nuts(banana, route="native", batched=True), torch.ones(2), (), "batched=True"),
        (nuts(banana, route="native"), {"a": torch.ones(2)}, (), "pass one vector"),
        (nuts(banana, route="native"), torch.ones(2, 2), (), "pass one vector"),
        (nuts(banana, route="native"), torch.ones(2, dtype=torch.bfloat16), (), "floats on the CPU"),
        (nuts(normal, route="native"), MEAN, (MEAN, "x"), "the data has 'x' in it"),
    ],
)
def test_what_is_not_native(alg, position, batch, message):
    with pytest.raises(NotNative, match=f"route='native': .*{message}.*route='torch'"):
        alg.init(position, *batch)


@native
def vector(q):
    """Not summed up."""
    return -(q**2)


@native
def pair(q):
    """Two numbers."""
    return q[0], q[1]


FLAT = torch.diag(torch.tensor([1.0, 0.0, 1.0], dtype=DTYPE))


@pytest.mark.parametrize(
    ("alg", "position", "batch", "error", "message"),
    [
        (nuts(vector), MEAN, (), ValueError, "return a scalar: sum over the data"),
        (nuts(pair), MEAN, (), TypeError, "return one number"),
        (nuts(normal), MEAN, (MEAN * math.nan, PRECISION), ValueError, "log density is nan where the position starts"),
        (nuts(normal), MEAN, (MEAN, FLAT), ValueError, r"doesn't depend on position\[1\]"),
        (nuts(normal), MEAN, (MEAN[:2], PRECISION), ValueError, "the shapes"),
        (nuts(normal), torch.tensor([1, 2, 3]), (MEAN, PRECISION), TypeError, "pass floats"),
        (nuts(normal), MEAN * math.nan, (MEAN, PRECISION), ValueError, "NaN or inf"),
    ],
)
def test_bad_densities_and_positions(alg, position, batch, error, message):
    with pytest.raises(error, match=message):
        alg.init(position, *batch)


def test_chains_that_start_badly_are_named():
    start = torch.stack((MEAN, MEAN * 1e300))
    with pytest.raises(ValueError, match="log density is -inf where chain 1 starts"):
        run(rng(), nuts(normal), start, 5, MEAN, PRECISION)
    start = torch.full((2, 3), 1e-200, dtype=DTYPE)
    with pytest.raises(ValueError, match="no step size from 1e-18 to 1e18 is accepted"):
        window_adaptation(nuts, normal).run(rng(), start, 5, MEAN * 0, PRECISION * 1e100, chains=True)


def test_a_flat_place_to_start_from_is_no_coordinate_without_density():
    """The gradient is zero where it starts, but not everywhere."""
    assert nuts(normal).init(MEAN, MEAN, PRECISION).logdensity == 0


def test_compiled_code_is_found_again(monkeypatch):
    """Another run of the same function compiles nothing."""
    run(rng(), nuts(banana, 0.3), torch.zeros(2, 2, dtype=DTYPE), 2)
    monkeypatch.setattr(_compile, "compiled", lambda *args: pytest.fail("compiled again"))
    assert run(rng(), nuts(banana, 0.3), torch.zeros(2, 2, dtype=DTYPE), 2).route == "native"
