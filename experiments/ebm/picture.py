"""The picture of the experiment: digits, samples without their noise, and free energies in training and after it."""

import matplotlib.pyplot as plt
import numpy as np
import torch

COLOURS = {"digits": "#333333", "chains": "#1b9e77", "mixed": "#7570b3", "scrambled": "#d95f02", "noise": "#e7298a"}
COLUMNS = 8


def draw(samples, looks, energies, path):
    """Samples by name: clean images (n, 64); looks: (step, F of digits, F of chains); energies by name, (n,)."""
    figure = plt.figure(figsize=(12.5, 5.4), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1))
    titles = ("held-out digits", "the chains after training", "the same chains, long after")
    for ax, title, images in zip(top.subplots(1, 3), titles, samples.values(), strict=True):
        ax.imshow(tiled(images).numpy(), cmap="gray_r", vmin=-0.1, vmax=1.0)
        ax.set(xticks=[], yticks=[])
        ax.set_frame_on(False)
        ax.set_title(title, fontsize=10)
    training, after = bottom.subplots(1, 2)
    draw_training(training, looks)
    draw_energies(after, energies)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def tiled(images):
    """Images (n, 64) in rows, with a gap between them."""
    padded = torch.nn.functional.pad(images.view(-1, 8, 8), (1, 1, 1, 1), value=-0.1)  # (n, 10, 10)
    return padded.view(-1, COLUMNS, 10, 10).transpose(1, 2).reshape(-1, 10 * COLUMNS)


def draw_training(ax, looks):
    steps, digits, chains = zip(*looks, strict=True)
    ax.plot(steps, np.array(chains) - np.array(digits), color=COLOURS["chains"], lw=1.2)
    ax.axhline(0, color="#777777", lw=1, ls="--")
    ax.set(xlabel="step of the weights", ylabel="mean F, chains − held-out digits")


def draw_energies(ax, energies):
    groups = {
        "digits": energies["held-out digits"],
        "chains": energies["chains, long after"],
        **{name: energies[name] for name in ("mixed", "scrambled", "noise")},
    }
    labels = {"digits": "held-out digits", "chains": "chains, long after"}
    edges = np.linspace(min(x.min().item() for x in groups.values()), max(x.max().item() for x in groups.values()), 90)
    for name, x in groups.items():
        style = {"color": COLOURS[name], "label": labels.get(name, name), "weights": np.full(len(x), 1 / len(x))}
        ax.hist(x.numpy(), bins=edges, histtype="step", lw=1.5, **style)
    ax.set(xlabel="free energy F", ylabel="share", xlim=(edges[0], edges[-1]))
    ax.legend(fontsize=8, frameon=False)
