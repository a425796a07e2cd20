"""How two models are compared: random weights, no dropout, results and gradients."""

import torch


def randomise(model, seed=0):
    """Draws every parameter and running statistic anew, so that none of them can be left out unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    for name, x in model.state_dict().items():
        if not x.is_floating_point():
            continue
        if x.ndim == 1 and name.endswith(("weight", "running_var", "gamma")):
            x.uniform_(0.5, 1.5, generator=generator)
        elif x.ndim == 1 or x.ndim == 3:
            x.normal_(0, 0.3, generator=generator)
        else:
            x.normal_(0, x[0].numel() ** -0.5, generator=generator)
    return model


def without_chance(model):
    """The model with every dropout and stochastic depth off, so that two can be compared while they train."""
    for module in model.modules():
        if hasattr(module, "p"):
            module.p = 0.0
        for name in ("dropout", "drop_prob", "attn_drop_p"):
            if isinstance(vars(module).get(name), float):
                setattr(module, name, 0.0)
    return model


def trained_outputs(model, x):
    """Results and gradients in training; the gradients by name."""
    model.train()
    outputs = model(x)
    outputs = list(outputs) if isinstance(outputs, tuple) else [outputs]
    sum(y.square().sum() for y in outputs).backward()
    return outputs, {name: p.grad for name, p in model.named_parameters()}


def seeded():
    return torch.Generator().manual_seed(1)


def compare(model, other, x):
    """In eval: results. In training: results, gradients of all parameters, and running statistics afterwards."""
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), other.eval()(x), rtol=1e-9, atol=1e-9)
    (ours, grads), (theirs, expected) = (trained_outputs(without_chance(m).requires_grad_(), x) for m in (model, other))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)
    scale = max(g.abs().max().item() for g in expected.values())
    torch.testing.assert_close(grads, expected, rtol=1e-6, atol=1e-9 * scale)
    torch.testing.assert_close(dict(model.named_buffers()), dict(other.named_buffers()), rtol=1e-9, atol=1e-9)
