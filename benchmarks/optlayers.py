"""Quadratic programs and roots as layers, forward and backward, against the peers, side by side in one run.

python benchmarks/optlayers.py [--rounds N] [--threads N] [--batches 1,32,256]

qpth, qpax and cvxpylayers take part where they are installed. All compute the minimisers and the gradients with respect
to every number of the programs in float64; how far they are from ours is printed, and how far ours are from
differences. With one thread, the processor's time is measured. Roots are compared with Newton's method by hand.
"""

import argparse
import importlib
import time
import warnings
from functools import partial

import numpy as np
import torch
from timing import alternate, table

from torchflux_optlayers import ConvexLayer, Implicit, root, solve_qp

WIDE = torch.float64


def programs(batch, n, m):
    """Q as its root S, p, G, h and a cotangent of x: those of `peers/w5.py`."""
    rng = np.random.default_rng(0)
    root = 0.3 * rng.standard_normal((batch, n, n)) / n**0.5 + np.eye(n)
    rest = 2 * rng.standard_normal((batch, n)), rng.standard_normal((batch, m, n)), rng.uniform(0.1, 1, (batch, m))
    return [torch.tensor(v) for v in (root, *rest, rng.standard_normal((batch, n)))]


def taped(layer):
    """x and the gradients for S, p, G and h of a layer of PyTorch's; `layer` takes Q, or S if it says so."""

    def run(S, p, G, h, weight):
        leaves = [v.detach().requires_grad_() for v in (S, p, G, h)]
        matrix = leaves[0] if getattr(layer, "root", False) else leaves[0].mT @ leaves[0]
        x = layer(matrix, *leaves[1:])
        (x * weight).sum().backward()
        return [x.detach(), *(v.grad for v in leaves)]

    return run


def ours(route):
    return taped(lambda *args: solve_qp(*args, route=route).x)


def of_qpth():
    from qpth.qp import QPFunction

    none = torch.empty(0, dtype=WIDE)
    solver = QPFunction(verbose=-1, eps=1e-10, maxIter=30, check_Q_spd=False)
    return taped(lambda *args: solver(*args, none, none))


def in_cvxpys_language(make, n, m):
    """What a class of layers makes of the programs, whose Q is given by its root."""
    import cvxpy as cp

    x, S, p, G, h = cp.Variable(n), cp.Parameter((n, n)), cp.Parameter(n), cp.Parameter((m, n)), cp.Parameter(m)
    problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(S @ x) + p @ x), [G @ x <= h])
    built = make(problem, parameters=[S, p, G, h], variables=[x])

    def layer(*args):
        return built(*args)[0]

    layer.root = True
    return taped(layer)


def of_cvxpylayers(n, m):
    from cvxpylayers.torch import CvxpyLayer

    return in_cvxpys_language(CvxpyLayer, n, m)


def of_qpax(n):
    import jax
    import jax.numpy as jnp
    import qpax

    jax.config.update("jax_enable_x64", True)

    def minimiser(Q, p, G, h):
        options = {"solver_tol": 1e-9, "target_kappa": 1e-9}
        return qpax.solve_qp_primal(Q, p, jnp.zeros((0, n)), jnp.zeros(0), G, h, **options)

    def loss(S, p, G, h, weight):
        x = jax.vmap(minimiser)(jnp.swapaxes(S, 1, 2) @ S, p, G, h)
        return (x * weight).sum(), x

    both = jax.jit(jax.grad(loss, (0, 1, 2, 3), has_aux=True))

    def run(*args):
        grads, x = both(*(jnp.asarray(v.numpy()) for v in args))
        return [torch.tensor(np.asarray(v)) for v in (x, *grads)]

    return run


def peers(n, m):
    """All that are installed."""
    found = {"torchflux, native": ours("native"), "torchflux, torch": ours("torch")}
    makers = {
        "ConvexLayer": lambda: in_cvxpys_language(ConvexLayer, n, m),
        "qpth": of_qpth,
        "qpax": lambda: of_qpax(n),
        "cvxpylayers": lambda: of_cvxpylayers(n, m),
    }
    for name, make in makers.items():
        try:
            importlib.import_module("cvxpy" if name == "ConvexLayer" else name)
            found[name] = make()
        except ImportError as reason:
            print(f"{name} is left out: {reason}")
    return found


def errors(run, arguments, expected):
    """The largest difference of each result, in relation to the largest number in it."""
    pairs = zip(run(*arguments), expected, strict=True)
    return ", ".join(f"{float((a - b).abs().max() / b.abs().max()):.0e}" for a, b in pairs)


def slope_error(arguments, step=1e-5):
    """How far our gradient for all of the numbers is from a central difference along a random direction."""
    generator = torch.Generator().manual_seed(0)
    *leaves, weight = arguments
    ways = [torch.randn(v.shape, generator=generator, dtype=WIDE) for v in leaves]

    def loss(t):
        S, p, G, h = (v + t * way for v, way in zip(leaves, ways, strict=True))
        return (solve_qp(S.mT @ S, p, G, h).x * weight).sum()

    _, *grads = ours("native")(*arguments)
    slope = sum((g * way).sum() for g, way in zip(grads, ways, strict=True))
    return float(abs((loss(step) - loss(-step)) / (2 * step) - slope) / abs(slope))


def layers(batch, n, m, rounds):
    arguments = programs(batch, n, m)
    found = peers(n, m)
    expected = found["torchflux, native"](*arguments)
    print(f"\nrelative differences from ours in x and the gradients for S, p, G, h; ours from differences: "
          f"{slope_error(programs(1, n, m)):.0e} (one program)")  # fmt: skip
    for name, run in list(found.items())[1:]:
        print(f"- {name}: {errors(run, arguments, expected)}")
    calls = {name: lambda run=run: run(*arguments) for name, run in found.items()}
    title = f"{batch} programs with {n} variables and {m} inequalities, forward and backward"
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    table(title, alternate(calls, rounds, clock=clock), "torchflux, native")


def portfolios(batch, rounds, n=10, factors=3):
    """A program over a second-order cone: the mean less the deviation, of which the factors are parameters too."""
    try:
        import cvxpy as cp
        from cvxpylayers.torch import CvxpyLayer
    except ImportError as reason:
        print(f"portfolios are left out: {reason}")
        return
    x, mean, root = cp.Variable(n), cp.Parameter(n), cp.Parameter((factors, n))
    problem = cp.Problem(cp.Maximize(mean @ x - cp.norm(root @ x)), [cp.sum(x) == 1, x >= -0.2])
    generator = torch.Generator().manual_seed(0)
    shapes = (batch, n), (batch, factors, n), (batch, n)
    *leaves, weight = (torch.randn(shape, generator=generator, dtype=WIDE) for shape in shapes)

    def run(layer):
        args = [v.clone().requires_grad_() for v in leaves]
        (layer(*args)[0] * weight).sum().backward()
        return [v.grad for v in args]

    makers = {"ConvexLayer": ConvexLayer, "cvxpylayers": CvxpyLayer}
    calls = {name: partial(run, make(problem, [mean, root], [x])) for name, make in makers.items()}
    ours, theirs = (torch.cat([v.flatten(1) for v in call()], 1) for call in calls.values())
    apart = (ours - theirs).abs().amax(1) / ours.abs().max()
    print(
        f"\ncvxpylayers' gradients, relative to the largest: median {apart.median():.0e}, up to {apart.max():.0e} off"
    )
    title = f"{batch} portfolios of {n} assets over a second-order cone, forward and backward"
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    table(title, alternate(calls, rounds, clock=clock), "ConvexLayer")


def warm_starts(length=50):
    """Systems factorised, and the time, along a sequence of programs that changes by a hundredth each time."""
    S, p, G, h, _ = programs(32, 20, 10)
    generator = torch.Generator().manual_seed(0)
    Q, cold, warm, before = S.mT @ S, 0, 0, None
    for _ in range(length):
        p = p + 0.01 * p.abs().mean() * torch.randn(p.shape, generator=generator, dtype=WIDE)
        cold += solve_qp(Q, p, G, h).iterations.double().mean().item() / length
        before = solve_qp(Q, p, G, h, warm_start=before)
        warm += before.iterations.double().mean().item() / length
    print(f"\nA sequence of programs: {cold:.2f} systems factorised each, with warm starts {warm:.2f}")


def cubic(y, a):
    return y**3 + y - a


def newton_by_hand(a, slope=None, rtol=1e-8, atol=1e-10):
    """Newton's method for all equations at once, until every step is small; `slope` is known, or by autograd."""
    y = torch.ones_like(a)
    for _ in range(256):
        if slope is None:
            y.requires_grad_()
            value = cubic(y, a)
            (known,) = torch.autograd.grad(value.sum(), y)
            value = value.detach()
        else:
            value, known = cubic(y, a), slope(y)
        step = value / known
        y = y.detach() - step
        if bool((step.abs() <= rtol * y.abs() + atol).all()):
            return y
    raise RuntimeError("no root")


def gradient_by_hand(a):
    """The gradient of the sum of the roots by `a`: one more step, with a tape and the slope held."""
    y = newton_by_hand(a.detach()).requires_grad_()
    (slope,) = torch.autograd.grad(cubic(y, a.detach()).sum(), y)
    a = a.detach().requires_grad_()
    return torch.autograd.grad((y.detach() - cubic(y.detach(), a) / slope).sum(), a)[0]


def roots(rounds, count=10_000):
    """Scalar equations y³ + y = a by `root`, against Newton's method by hand."""
    a = 1 + 9 * torch.rand(count, generator=torch.Generator().manual_seed(0), dtype=WIDE)
    start, needs = torch.ones_like(a), a.clone().requires_grad_()
    solve = lambda a, **options: root(cubic, start, a, batched=True, **options).value
    slopes = lambda **options: torch.autograd.grad(solve(needs, **options).sum(), needs)[0]
    known = 1 / (3 * solve(a).square() + 1)
    off = float((solve(a) - newton_by_hand(a)).abs().max()), float((slopes() - known).abs().max())
    print(f"\nroot: {off[0]:.0e} from the roots by hand; its gradient {off[1]:.0e} from the closed form")
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    calls = {
        "root": lambda: solve(a),
        "by hand, slope by autograd": lambda: newton_by_hand(a),
        "by hand, slope known": lambda: newton_by_hand(a, lambda y: 3 * y * y + 1),
    }
    table(f"{count} scalar equations", alternate(calls, rounds, clock=clock), *list(calls)[1:])
    calls = {
        "root, differentiable twice": slopes,
        "root, once": lambda: slopes(adjoint=Implicit(orders=1)),
        "by hand, once": lambda: gradient_by_hand(needs),
    }
    table(f"{count} scalar equations and the gradient", alternate(calls, rounds, clock=clock), "by hand, once")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batches", default="1,32,256")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the peers'
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} thread(s)")
    for batch in map(int, options.batches.split(",")):
        layers(batch, 20, 10, options.rounds)
    layers(128, 3, 4, options.rounds)
    portfolios(32, options.rounds)
    warm_starts()
    roots(options.rounds)


if __name__ == "__main__":
    main()
