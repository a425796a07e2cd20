"""Shares of images that are told wrongly: of one split, over splits, and one way beside another."""

import torch


def wrong(counts):
    """Of what it is and what is said: no and no, no and face, face and no, face and face."""
    return (counts[1] + counts[2]) / sum(counts)


def summaries(tree):
    """Nested dicts with the mean and the deviation over splits in place of the splits' counts."""
    return {key: summaries(x) if isinstance(x, dict) else summary(map(wrong, x)) for key, x in tree.items()}


def summary(values):
    values = torch.tensor(list(values))
    std = values.std(correction=min(1, len(values) - 1)).item()
    return {"mean": round(values.mean().item(), 4), "std": round(std, 4)}


def gained(ways, way, other):
    """By how much less of the same splits one way tells wrongly than the other: mean and standard error."""
    gains = {}
    for images in ways[way]:
        pairs = zip(ways[other][images], ways[way][images], strict=True)
        found = summary([wrong(theirs) - wrong(ours) for theirs, ours in pairs])
        gains[images] = {"mean": found["mean"], "error": round(found["std"] / len(ways[way][images]) ** 0.5, 4)}
    return gains
