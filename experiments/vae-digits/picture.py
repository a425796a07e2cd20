"""The picture of the experiment: the plane of two latent numbers, images and their reconstructions, new digits."""

import matplotlib.pyplot as plt
import torch

SIDE, ROWS, COLUMNS = 16, 6, 12


def draw(plane, large, images, labels, table, path):
    """Plane: the model of the smallest latent space, large: of the largest; held-out images (n, 64) and labels."""
    figure = plt.figure(figsize=(15, 5.2), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=(1.05, 1, 1.15))
    draw_codes(left.subplots(), plane, images, labels)
    draw_plane(middle.subplots(), plane)
    top, bottom = right.subplots(2, 1)
    draw_reconstructions(top, large, images)
    draw_samples(bottom, large)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def draw_codes(ax, model, images, labels):
    with torch.no_grad():
        mean, _ = model.encoder(images)
    for digit, colour in enumerate(plt.get_cmap("tab10").colors):
        x, y = mean[labels == digit, :2].T.numpy()
        ax.scatter(x, y, s=34, color=colour, marker=f"${digit}$", lw=0.3)
    ax.set(xlabel="z₁", ylabel="z₂", aspect="equal")
    ax.set_title(f"where held-out digits lie, {model.latent} latent numbers", fontsize=10)


def draw_plane(ax, model):
    places = torch.special.ndtri((torch.arange(SIDE) + 0.5) / SIDE)  # an equal share of p(z) lies between two
    z = torch.zeros(SIDE, SIDE, model.latent)
    z[..., 0], z[..., 1] = places[None], places.flip(0)[:, None]
    show(
        ax, tiled(model.seen(z.flatten(0, 1)), SIDE), f"what lies at points of the plane, {model.latent} latent numbers"
    )


def draw_reconstructions(ax, model, images):
    x = images[: ROWS // 2 * COLUMNS]
    with torch.no_grad():
        mean, _ = model.encoder(x)
    pairs = torch.stack([x.float().view(-1, COLUMNS, 64), model.seen(mean).view(-1, COLUMNS, 64)], 1)
    show(ax, tiled(pairs.flatten(0, 2), COLUMNS), f"held out, and below what is left, {model.latent} latent numbers")


def draw_samples(ax, model):
    z = torch.randn(ROWS * COLUMNS, model.latent, generator=torch.Generator().manual_seed(0))
    show(ax, tiled(model.seen(z), COLUMNS), f"new digits, {model.latent} latent numbers")


def show(ax, image, title):
    ax.imshow(image.numpy(), cmap="gray_r", vmin=0, vmax=16)
    ax.set(xticks=[], yticks=[])
    ax.set_frame_on(False)
    ax.set_title(title, fontsize=10)


def tiled(images, columns):
    """Images (n, 64) in rows, with a gap between them."""
    padded = torch.nn.functional.pad(images.view(-1, 8, 8), (1, 1, 1, 1))  # (n, 10, 10)
    return padded.view(-1, columns, 10, 10).transpose(1, 2).reshape(-1, 10 * columns)
