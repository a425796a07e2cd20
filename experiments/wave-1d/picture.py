"""The second picture of the experiment: how the error falls, in each way of training."""

import matplotlib.pyplot as plt


def draw(looks, path):
    """`looks`: of each way by its name, pairs of seconds and error."""
    figure, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
    for name, seen in looks.items():
        seconds, errors = zip(*seen, strict=True)
        ax.semilogy(seconds, errors, ".-" if "BFGS" in name else ".--", lw=1.5, label=name)
    ax.set(xlabel="seconds of the processor, without compilation", ylabel="relative error")
    ax.grid(alpha=0.3)
    figure.legend(fontsize=9, frameon=False, loc="outside right center")
    figure.savefig(path, dpi=100)
    plt.close(figure)
