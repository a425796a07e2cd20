"""The picture of the experiment: the curve beside others, where the heads look, and what the network writes."""

import textwrap

import matplotlib.pyplot as plt


def draw(text, attention, looks, bits, written, path):
    """A text (n,) with its attention (blocks, heads, n, n); (step, bits); bits by method; what was written."""
    figure = plt.figure(figsize=(15, 7), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=(0.75, 1.2, 0.8))
    draw_curve(left.subplots(), looks, bits)
    rows = middle.subplots(len(attention), 2, squeeze=False)
    for block, (row, heads) in enumerate(zip(rows, attention[:, -2:], strict=True), 1):  # those that see furthest
        for ax, weights, head in zip(row, heads, ("last head but one", "last head"), strict=True):
            draw_attention(ax, text, weights, f"block {block}, {head}")
    ax = right.subplots()
    ax.set_axis_off()
    lines = [part for line in written.strip().split("\n") for part in textwrap.wrap(line, 52) or [""]][:26]
    ax.text(0, 1, "\n".join(lines), va="top", fontsize=7.5, family="monospace", transform=ax.transAxes)
    ax.set_title("written", fontsize=10, loc="left")
    figure.savefig(path, dpi=90)
    plt.close(figure)


def draw_attention(ax, text, weights, title):
    """A row for each letter that looks, a column for each one that is looked at."""
    letters = [{"\n": "⏎", " ": "␣"}.get(letter, letter) for letter in text]
    ax.imshow(weights.numpy() ** 0.5, cmap="Greens", vmin=0, vmax=1)
    ax.set_xticks(range(len(text)), letters, fontsize=6)
    ax.set_yticks(range(len(text)), letters, fontsize=6)
    ax.tick_params(length=0, pad=1)
    ax.set_title(title, fontsize=9)


def draw_curve(ax, looks, bits):
    ax.plot(*zip(*looks, strict=True), color="#1b9e77", lw=1.8, label="GPT")
    counts = {name: value for name, value in bits.items() if name.startswith("counts")}
    best = min(counts, key=counts.get)
    ax.axhline(counts[best], color="#d95f02", lw=1, ls="--", label=best)
    ax.axhline(bits["char-rnn"], color="#7570b3", lw=1, ls="--", label="char-rnn (LSTM)")
    ax.set(xlabel="step", ylabel="held out, bits a letter", ylim=(2.3, 3.6))
    ax.legend(fontsize=9, frameon=False)
