"""The no-U-turn sampler on two small models, warm-up included, against the peers, side by side in one run.

python benchmarks/mcmc.py [--rounds N] [--threads N] [--only WORD]

BlackJAX, NumPyro, nutpie (with PyMC) and Pyro take part where they are installed. All sample the same densities in
float64, and count the smallest effective sample size of the bulk of any parameter (Vehtari et al., 2021) in a second of
a whole run. Means have to agree within their errors. A first run compiles; the others take turns.
"""

import argparse
import statistics
import time
import warnings

import numpy as np
import torch
from mcmc_peers import of_jax, of_nutpie, of_pyro
from mcmc_peers.models import NUMBERS, OURS

from torchflux_mcmc import ess_bulk, nuts, run, window_adaptation

WARMUP, DRAWS = 1000, 1000
SHORT_WARMUP, SHORT_DRAWS = 200, 300
"""For Pyro, and for PyTorch's route next to it."""


def ours(title, chains, route, warmup=WARMUP, draws=DRAWS):
    """A sampler `seed -> draws (chains, draws, n)`."""
    native, batched, data = OURS[title]
    density, options = (native, {}) if route == "native" else (batched, {"batched": True})
    data = [torch.from_numpy(x) for x in data]

    def sample(seed):
        generator = torch.Generator().manual_seed(seed)
        start = 0.1 * torch.randn(chains, NUMBERS[title], generator=generator, dtype=torch.float64)
        warm = window_adaptation(nuts, density, route=route, **options)
        state, params = warm.run(generator, start, warmup, *data, chains=True)
        samples = run(generator, nuts(density, route=route, **options, **params), state, draws, *data)
        return samples.positions.numpy()

    return sample


def measured(peers, rounds):
    """Seconds of each peer's first run, and for each round seconds and effective draws."""
    first, found, means = {}, {name: [] for name in peers}, {name: [] for name in peers}
    for name, peer in peers.items():
        first[name], _ = _timed(peer, 0)
    for seed in range(1, rounds + 1):
        for name, peer in peers.items():
            seconds, draws = _timed(peer, seed)
            size = ess_bulk(draws)
            found[name].append((seconds, size.min()))
            means[name].append((draws.mean((0, 1)), draws.std((0, 1)) / np.sqrt(size)))
    _agree(means)
    return first, found


def _timed(peer, seed):
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    draws = peer(seed)
    return clock() - start, draws


def _agree(means):
    """The first and the last number of the position have the same mean in all libraries."""
    pooled = {}
    for name, rounds in means.items():
        centre = np.mean([m for m, _ in rounds], 0)
        error = np.sqrt(np.mean([e**2 for _, e in rounds], 0) / len(rounds))
        pooled[name] = centre[[0, -1]], error[[0, -1]]
    base, base_error = next(iter(pooled.values()))
    for name, (centre, error) in pooled.items():
        assert (np.abs(centre - base) < 5 * np.hypot(error, base_error)).all(), (name, centre, base)


def table(title, first, found, base):
    """Prints medians over the rounds; the ratio is that of effective draws a second in the same round."""
    print(f"\n### {title}\n")
    print(f"| | seconds | effective draws | a second | quartiles | ratio to {base} | first run, seconds |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    rates = {name: [size / seconds for seconds, size in rounds] for name, rounds in found.items()}
    for name, rounds in found.items():
        seconds, size = (statistics.median(column) for column in zip(*rounds, strict=True))
        low, middle, high = statistics.quantiles(rates[name], n=4) if len(rounds) > 1 else rates[name] * 3
        ratio = statistics.median(a / b for a, b in zip(rates[name], rates[base], strict=True))
        print(f"| {name} | {seconds:.3f} | {size:,.0f} | {middle:,.0f} | {low:,.0f}–{high:,.0f} | {ratio:.2f} "
              f"| {first[name]:.1f} |", flush=True)  # fmt: skip


def compiled(title, chains, options):
    """Machine code against machine code."""
    peers = {"torchflux, native": ours(title, chains, "native")}
    peers |= of_jax.peers(title, chains, WARMUP, DRAWS)
    peers |= of_nutpie.peers(title, chains, WARMUP, DRAWS, options.threads)
    base = "BlackJAX" if "BlackJAX" in peers else "torchflux, native"
    name = f"{title}, {chains} chain{'s' * (chains > 1)}, {WARMUP} + {DRAWS} transitions"
    table(name, *measured(peers, options.rounds), base)


def interpreted(title, options):
    """PyTorch against PyTorch: Pyro's one chain, and ours by the 64."""
    short = (SHORT_WARMUP, SHORT_DRAWS)
    peers = of_pyro.peers(title, *short) | {"torchflux, torch, 64 chains": ours(title, 64, "torch", *short)}
    base = "Pyro" if "Pyro" in peers else "torchflux, torch, 64 chains"
    table(f"{title} in PyTorch, {short[0]} + {short[1]} transitions", *measured(peers, min(options.rounds, 2)), base)


def leapfrog(chains=64, n=10):
    """Microseconds of a leapfrog step of one of many chains, on PyTorch's route, of a normal density."""
    alg = nuts(lambda x: -x.square().sum(-1) / 2, step_size=0.3, batched=True)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(chains, n, generator=generator, dtype=torch.float64)
    found = []
    for _ in range(5):
        start = time.process_time()
        samples = run(generator, alg, x, 60)
        found.append((time.process_time() - start) / samples.info.num_integration_steps.sum() * 1e6)
    print(f"\nA leapfrog step in PyTorch, {n} numbers, {chains} chains: {statistics.median(found):.1f} µs a chain")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="a word of the titles of what is run")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the peers'
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} thread(s)")
    for library, there in (("BlackJAX", of_jax.blackjax), ("NumPyro", of_jax.numpyro), ("nutpie", of_nutpie.nutpie),
                           ("Pyro", of_pyro.pyro)):  # fmt: skip
        print(f"{library} {there.__version__}" if there else f"{library} isn't installed: left out")
    for title in NUMBERS:
        for chains in (1, 4):
            if options.only in f"{title} {chains} native":
                compiled(title, chains, options)
        if options.only in f"{title} torch":
            interpreted(title, options)
    if options.only in "leapfrog":
        leapfrog()


if __name__ == "__main__":
    main()
