"""Portfolio weights as a layer, trained for what they earn, against predicting returns and then optimising.

Every four weeks an investor holds new weights w of 20 stocks, none below zero or above a limit, those that minimise

    γ/2 w·Σw + τ/2 |w - held|² - μ·w

Σ comes of the past two years. The expected returns μ are a linear function of what is known of each stock; the
coefficients, the aversion to risk γ and the reluctance to trade τ can be learned. Ways to find them:

    predict     the coefficients by regression on the next returns; γ is the investor's own, τ the cost's
    tuned       the same coefficients; γ and τ by the slope of the utility after costs, through the layer
    end to end  all by that slope

Everything is learned from the past only, again every few years, and used on the years that come.
"""

from dataclasses import dataclass, field
from math import log
from pathlib import Path

import torch
from bootstrap import compared
from market import KNOWN, NEXT, SPREAD, YEAR, YEARS
from picture import draw
from tqdm import tqdm, trange

from torchflux import Adam, back
from torchflux_optlayers import solve_qp

# Of a reproduction: everything is float64, and found by convex programs.
TOLERANCES = {"*": 1e-6}


@dataclass
class Parameters:
    seed: int = field(default=0, metadata={"help": "of the bootstrap; nothing else is random"})
    first: int = field(default=2005, metadata={"help": "year of the test"})
    last: int = field(default=2022, metadata={"help": "year of the test"})
    again: int = field(default=3, metadata={"help": "years between two trainings"})
    aversion: float = field(default=5.0, metadata={"help": "the investor's: the utility of a return r is r - 5/2 r²"})
    cost: float = field(default=0.001, metadata={"help": "of trading, in parts of what is bought or sold"})
    limit: float = field(default=0.2, metadata={"help": "for the weight of a stock"})
    steps: int = field(default=60, metadata={"help": "of a training"})
    rate: float = field(default=0.05, metadata={"help": "of Adam; coefficients are in units of 0.1 % in four weeks"})
    resamples: int = field(default=5000, metadata={"help": "of the bootstrap"})

    def __post_init__(self):
        if not 1994 <= self.first <= self.last <= 2022:
            raise ValueError(f"first={self.first}, last={self.last}: the test lies within 1994 and 2022")


# The investor.


class Policy:
    """What is learned: coefficients (4,) in units of 0.1 %, log γ and log τ."""

    def __init__(self, coefficients, log_γ, log_τ):
        self.weights = self.coefficients, self.log_γ, self.log_τ = coefficients, log_γ, log_τ

    def __call__(self, known, spread, held, limit):
        """The layer: from (b, 20, 4), (b, 20, 20) and (b, 20) to new weights (b, 20)."""
        eye, ones = torch.eye(20).to(held), torch.ones(20).to(held)
        τ = self.log_τ.exp()
        expected = 1e-3 * known @ self.coefficients
        bounds, most = torch.cat([-eye, eye]), torch.cat([0 * ones, limit * ones])
        return solve_qp(self.log_γ.exp() * spread + τ * eye, -expected - τ * held, bounds, most, ones[None], ones[:1]).x


EQUAL = torch.full((1, 20), 1 / 20, dtype=torch.float64)


def invest(policy, periods, p, held=EQUAL):
    """Returns after costs (times, b), weights, what was traded, for periods (times, b) in a row; what is held then."""
    held, returns, chosen, traded = held.expand(periods.shape[1], -1), [], [], []
    for i in periods:
        weights = policy(KNOWN[i], SPREAD[i], held, p.limit)
        trade, result = (weights - held).abs().sum(1), (weights * NEXT[i, :-1]).sum(1)
        returns, chosen, traded = [*returns, result - p.cost * trade], [*chosen, weights], [*traded, trade]
        held = weights * (1 + NEXT[i, :-1]) / (1 + result)[:, None]
    return torch.stack(returns), torch.stack(chosen), torch.stack(traded), held


def utility(returns, p):
    return returns - p.aversion / 2 * returns.square()


# The ways to learn, from the periods before some year.


def regression(past):
    """The coefficients that predict the next returns best, with respect to the stocks' mean."""
    x, y = KNOWN[past].flatten(0, 1), NEXT[past, :-1]
    return 1e3 * torch.linalg.lstsq(x, (y - y.mean(1, keepdim=True)).reshape(-1, 1)).solution[:, 0]


def predict(past, p):
    number = lambda x: torch.tensor(log(x)).double()
    return Policy(regression(past), number(p.aversion), number(0.05))


def trained(learn_all, past, p):
    """All years of the past at once, each begun with equal weights."""
    policy = predict(past, p)
    learned = policy.weights if learn_all else policy.weights[1:]
    opt = Adam([x.requires_grad_() for x in learned], p.rate)
    periods = past[len(past) % YEAR :].view(-1, YEAR).T  # (13, years)
    for _ in (bar := trange(p.steps, unit="step", leave=False)):
        mean = utility(invest(policy, periods, p)[0], p).mean()
        back(-1e3 * mean)
        opt()
        bar.set_postfix(utility=f"{YEAR * mean.item():.4f}")
    return Policy(*(x.detach() for x in policy.weights))


WAYS = {
    "end to end": lambda past, p: trained(True, past, p),
    "tuned": lambda past, p: trained(False, past, p),
    "predict": predict,
    "minimum variance": lambda past, p: Policy(torch.zeros(4).double(), *predict(past, p).weights[1:]),
    "equal weights": lambda past, p: lambda known, spread, held, limit: torch.full_like(held, 1 / 20),
}


# The test: what was learned of the past is used for a few years, then learned anew.


@torch.no_grad()
def walk(way, p):
    """Returns (times,), weights (times, 20), what was traded (times,), and the policies with their years."""
    held, parts, policies = EQUAL, [], {}
    for year in range(p.first, p.last + 1, p.again):
        now = ((year <= YEARS) & (min(year + p.again, p.last + 1) > YEARS)).nonzero()  # (times, 1)
        with torch.enable_grad():
            policies[year] = way((year > YEARS).nonzero()[:, 0], p)
        *part, held = invest(policies[year], now, p, held)
        parts.append(part)
    return *(torch.cat(part)[:, 0] for part in zip(*parts, strict=True)), policies


def yearly(returns, p):
    """What counts, along the last axis: the utility of a year and the Sharpe ratio."""
    ratio = YEAR**0.5 * returns.mean(-1) / returns.std(-1)
    return {"utility": YEAR * utility(returns, p).mean(-1), "Sharpe ratio": ratio}


def summary(returns, traded, p):
    worth = returns.log1p().cumsum(0).exp()
    return {
        "mean": YEAR * returns.mean().item(),
        "deviation": YEAR**0.5 * returns.std().item(),
        **{name: x.item() for name, x in yearly(returns, p).items()},
        "largest loss": (1 - worth / worth.cummax(0).values).max().item(),
        "traded": YEAR * traded.mean().item(),
    }


def main(parameters: Parameters, out: Path) -> dict:
    p, torch_threads = parameters, torch.get_num_threads()
    torch.set_num_threads(1)  # the arrays are small
    walks = {name: walk(way, p) for name, way in tqdm(WAYS.items(), unit="way")}
    torch.set_num_threads(torch_threads)
    market = NEXT[(p.first <= YEARS) & (p.last >= YEARS), -1]
    returns = {name: found[0] for name, found in walks.items()} | {"index": market}
    ours, others = returns["end to end"], list(returns)[1:]
    score = lambda returns: yearly(returns, p)
    differences = {name: compared(score, ours, returns[name], YEAR, p.resamples, p.seed) for name in others}
    draw(returns, walks, differences, p, out / "portfolio.png")
    traded = {name: found[2] for name, found in walks.items()} | {"index": 0 * market}
    return {
        "test": {name: summary(r, traded[name], p) for name, r in returns.items()},
        "end to end, less": differences,
        "learned": {
            name: {str(year): [x.tolist() for x in policy.weights] for year, policy in walks[name][3].items()}
            for name in ("end to end", "tuned")
        },
    }


if __name__ == "__main__":
    results = main(Parameters(), Path(__file__).parent)
    for name, row in results["test"].items():
        print(f"{name:18}", *(f"{what} {x:.3f}" for what, x in row.items()), sep="  ")
    for name, row in results["end to end, less"].items():
        parts = (what + " {difference:+.3f} [{low:+.3f}, {high:+.3f}]".format(**x) for what, x in row.items())
        print(f"less {name:18}", *parts, sep="  ")
