"""Solutions of differential equations with their gradients, against the peers, side by side in one run.

python benchmarks/diffeq.py [--rounds N] [--threads N] [--only WORD]

torchdiffeq is always there; diffrax (with JAX) and torchode take part where they are installed. All solve with
Dormand and Prince's method at the tolerances 1e-6 and 1e-8 in float64 and hand over loss and gradient, each of which
is compared with that of a solution at tolerances a thousand times smaller. A ratio is the time over that of the peer
named in its column: under 1 is faster.
"""

import argparse
import os
import warnings
from importlib.metadata import version

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import torch
from diffeq_peers import by_hand, of_jax, of_torch
from diffeq_peers.native_slopes import lotka_volterra as native_lotka_volterra
from diffeq_peers.native_slopes import lotka_volterra_fit
from diffeq_peers.native_slopes import van_der_pol as native_van_der_pol
from diffeq_peers.workloads import ATOL, RTOL, lotka_volterra, neural_ode, stiff_batch
from timing import alternate, table

from torchflux import Chain
from torchflux_diffeq import PID, Dopri5, autonomous, per_sample, solve


def options_of(w, **options):
    return {"solver": Dopri5(), "controller": PID(RTOL, ATOL), "max_steps": w.max_steps} | options


def ours(w, **options):
    """Loss and gradient by `solve`."""
    return lambda: w.gradient(solve(w.model, w.y0, w.ts, **options_of(w, **options)).ys)


def natively(w, f, each=False):
    """The same as machine code, of a `@native` slope of the parameter or a chain that holds its own."""
    p = next(w.model.parameters())
    args = None if isinstance(f, autonomous) else per_sample(p) if each else p
    options = options_of(w, route="native", batched=w.batched)
    return lambda: w.gradient(solve(f, w.y0, w.ts, args, **options).ys)


def errors(w, peers):
    """How far the gradients are from that of a much finer solution, relative to the largest number."""
    exact = ours(w, controller=PID(1e-3 * RTOL, 1e-3 * ATOL), max_steps=10**6)()[1:]
    found = {}
    for name, peer in peers.items():
        pairs = zip(peer()[1:], exact, strict=True)
        found[name] = max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs)
        assert found[name] < 1e-2, (name, found[name])
    return found


def compare(w, peers, rounds):
    print(f"\n{w.title}: largest error of the gradient")
    for name, error in errors(w, peers).items():
        print(f"  {name}: {error:.0e}")
    table(w.title, alternate(peers, rounds), "torchdiffeq", "torchflux, native")


def workloads():
    """Each with its peers."""
    for samples in (1, 256):
        w = lotka_volterra(samples)
        peers = of_torch.peers(w) | of_jax.peers(w, forward=True) | by_hand.peers(w)
        peers["torchflux, shared steps"] = ours(w, batched=False)
        if w.batched:
            peers["torchflux"] = ours(w, batched=True)
        peers["torchflux, native"] = natively(w, native_lotka_volterra)
        peers["torchflux, loss native too"] = lotka_volterra_fit(w)
        yield w, peers
    w = neural_ode()
    peers = of_torch.peers(w) | of_jax.peers(w, joint=True)
    peers |= {"torchflux, shared steps": ours(w), "torchflux": ours(w, batched=True)}
    chain = autonomous(Chain(lambda y: y**3, *w.model.net))
    yield w, peers | {"torchflux, native": natively(w, chain)}
    w = stiff_batch()
    peers = of_torch.peers(w, slow=False) | of_jax.peers(w)
    yield w, peers | {"torchflux": _stiff(w), "torchflux, native": natively(w, native_van_der_pol, each=True)}


def _stiff(w):
    """Each oscillator's stiffness has to follow it when others have left."""
    mu = per_sample(w.model.mu)
    slope = lambda t, y, mu: torch.stack((y[..., 1], mu * (1 - y[..., 0] ** 2) * y[..., 1] - y[..., 0]), -1)
    return lambda: w.gradient(solve(slope, w.y0, w.ts, mu, batched=True, **options_of(w)).ys)


def evaluations():
    """What an easy oscillator pays for a stiff one in its batch."""
    w, calls = stiff_batch(), [0]

    def counted(t, y):
        calls[0] += 1
        return w.model(t, y)

    with torch.no_grad():
        of_torch.odeint(counted, w.y0, w.ts, **of_torch.OPTIONS)
        options = options_of(w)
        slope = lambda t, y, mu: torch.stack((y[..., 1], mu * (1 - y[..., 0] ** 2) * y[..., 1] - y[..., 0]), -1)
        batch = solve(slope, w.y0, w.ts, per_sample(w.model.mu), batched=True, **options).stats
        alone = solve(slope, w.y0[0], w.ts, 1.0, **options).stats
    print("\n### Evaluations for an easy oscillator beside a stiff one\n")
    print(f"torchdiffeq {calls[0]}, torchflux {int(batch.evaluations[0])}, alone {alone.evaluations}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="a word of the titles of the workloads that are run")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the peers'
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {options.threads} thread(s)")
    for name, there in (("diffrax", of_jax.diffrax), ("torchode", of_torch.torchode)):
        print(f"{name} {version(name) if there else 'is not installed: left out'}")
    for w, peers in workloads():
        if options.only.lower() in w.title.lower():
            compare(w, peers, options.rounds)
    evaluations()


if __name__ == "__main__":
    main()
