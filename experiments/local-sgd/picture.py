"""The picture of the experiment: accuracy by the samples that were seen, and by the bytes that were sent."""

import matplotlib.pyplot as plt

COLOURS = ("#1b9e77", "#7570b3", "#d95f02", "#e7298a", "#66a61e", "#a6761d")


def draw(looks, world, path):
    """Looks by method: lists of (steps, bytes, accuracy)."""
    figure, (steps, sent) = plt.subplots(1, 2, figsize=(10.5, 4), layout="constrained", sharey=True)
    for i, (name, seen) in enumerate(looks.items()):
        done, size, accuracy = zip(*seen, strict=True)
        ddp = name == "ddp"
        label = "DDP" if ddp else f"averages {name.removeprefix('local-')} steps apart"
        style = {
            "color": COLOURS[i % len(COLOURS)],
            "lw": 4 if ddp else 1.4,
            "alpha": 0.5 if ddp else 1,
            "label": label,
        }
        steps.plot(done, accuracy, **style)
        if size[-1]:
            sent.plot([x / 1e3 for x in size], accuracy, marker=".", ms=4, **style)
    steps.set(xlabel="step", ylabel="accuracy in the test", title=f"{world} process{'es' * (world > 1)}, equal samples")
    sent.set(xlabel="kB sent by each process", xscale="log", title="what it costs to talk")
    for ax in (steps, sent):
        ax.set_ylim(0.75, 1)
        ax.grid(alpha=0.3)
    steps.legend(fontsize=8, frameon=False, loc="lower right")
    figure.savefig(path, dpi=110)
    plt.close(figure)
