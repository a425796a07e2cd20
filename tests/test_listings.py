"""The listings of "Fashionable Modelling with Flux" (Innes et al., 2018, arXiv 1811.01457) as programs that run.

Each reads like the paper's. Where the paper's has an error, it is mended here and named in a comment.
"""

import copy

import torch
from torch import nn

from torchflux import (
    Adam,
    BatchNorm,
    Chain,
    Conv,
    Dense,
    Momentum,
    back,
    crossentropy,
    flatten,
    gradient,
    hook,
    identity,
    logitbinarycrossentropy,
    logitcrossentropy,
    mse,
    onehotbatch,
    outputsize,
    relu,
    softmax,
    tanh,
    trainables,
    treelike,
)

# Listing 1: an activation function whose result has its argument's type.


def oftype(x, value):
    """`value` as a number of the type of `x`."""
    return torch.tensor(value, dtype=x.dtype) if isinstance(x, torch.Tensor) else type(x)(value)


def leakyrelu(x, a=None):
    a = oftype(x / 1, 0.01) if a is None else a
    return torch.maximum(a * x, x / 1) if isinstance(x, torch.Tensor) else max(a * x, x / 1)


def test_listing_1_keeps_the_type_of_its_argument():
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        y = leakyrelu(torch.tensor([-2.0, 3.0], dtype=dtype))
        assert y.dtype == dtype
        torch.testing.assert_close(y, torch.tensor([-0.02, 3.0], dtype=dtype))
    assert leakyrelu(torch.tensor([-2, 3])).dtype == torch.get_default_dtype()
    assert (leakyrelu(-2), leakyrelu(3)) == (-0.02, 3.0)


def test_listing_1_is_differentiable_as_it_stands():
    assert gradient(leakyrelu, -2.0)[0] == 0.01
    (slope,) = gradient(lambda x: leakyrelu(x).sum(), torch.tensor([-1.0, 1.0]))
    torch.testing.assert_close(slope, torch.tensor([0.01, 1.0]))


# Listing 3: a layer is a plain class with a call.


@treelike
class ResidualBlock:
    conv_layers: tuple
    norm_layers: tuple
    shortcut: object = identity

    def __call__(self, x):
        y = x
        for conv, norm in zip(self.conv_layers[:-1], self.norm_layers[:-1], strict=True):
            y = relu(norm(conv(y)))
        y = self.norm_layers[-1](self.conv_layers[-1](y))
        return relu(y + self.shortcut(x))


def residual_block(channels):
    def conv():
        return Conv((3, 3), channels, channels, pad=1)

    return ResidualBlock((conv(), conv()), (BatchNorm(channels), BatchNorm(channels)))


class TorchBlock(nn.Module):
    """The same by hand, in plain PyTorch."""

    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x):
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + x)


def test_listing_3_equals_a_hand_written_pytorch_block():
    torch.manual_seed(0)
    ours, theirs = residual_block(4), TorchBlock(4)
    names = {"conv_layers.0": "conv1", "conv_layers.1": "conv2", "norm_layers.0": "norm1", "norm_layers.1": "norm2"}
    weights = theirs.state_dict()
    ours.load_state_dict(
        {f"{a}.{key}": weights[f"{b}.{key}"] for a, b in names.items() for key in getattr(theirs, b).state_dict()}
    )
    x = torch.randn(5, 4, 6, 6)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=0)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=0, atol=0)  # statistics have moved alike
    (ours(x) ** 2).sum().backward()
    (theirs(x) ** 2).sum().backward()
    torch.testing.assert_close(ours.conv_layers[0].weight.grad, theirs.conv1.weight.grad)


def test_listing_3_canary_another_weight_shows():
    block, x = residual_block(4), torch.randn(5, 4, 6, 6)
    before = block(x)
    with torch.no_grad():
        block.conv_layers[1].weight += 0.1
    assert not torch.allclose(block(x), before)


# Listing 4: the discriminative adversarial network: two losses accumulate, one optimiser takes the step.


def adversarial_parts():
    shared = Chain(Dense(6, 8, tanh))
    classifier = Chain(*shared, Dense(8, 2))  # the shared layer is the classifier's first
    adversary = Chain(Dense(8, 4, relu), Dense(4, 2))
    return shared, classifier, adversary


def adversarial_data(n=8):
    return [(torch.randn(16, 6), torch.randint(0, 2, (16,)), torch.randint(0, 2, (16,))) for _ in range(n)]


def test_listing_4_word_for_word():
    """The paper writes `loss(y_c_hat, y)` with an undefined y: it is y_c. Tracker keeps the graph after
    `back!`; PyTorch frees it, so that the first of two sweeps over the shared layer says `retain`."""
    torch.manual_seed(0)
    shared, classifier, adversary = adversarial_parts()
    opt = Adam(trainables((classifier, adversary)), 0.01)
    lam, before = 0.1, copy.deepcopy(classifier.state_dict())
    for x, y_c, y_d in adversarial_data():
        features = shared(x)
        y_c_hat = classifier[1:](features)
        y_d_hat = adversary(features)
        c_loss = logitcrossentropy(y_c_hat, y_c) + lam * logitcrossentropy(y_d_hat, 1 - y_d)
        d_loss = logitcrossentropy(y_d_hat, y_d)
        back(c_loss, retain=True)
        back(d_loss)
        opt()
    assert all(torch.isfinite(x).all() and not torch.equal(x, before[k]) for k, x in classifier.state_dict().items())


def test_listing_4_literal_rewards_the_head_for_a_blurred_answer():
    """At the head's logit the sum's gradient is (1 + λ)p - (y + λ(1 - y)): no competition, a common optimum."""
    lam, y = 0.25, torch.tensor(1.0)
    best = (y + lam * (1 - y)) / (1 + lam)
    logit = torch.logit(best)
    (slope,) = gradient(lambda z: logitbinarycrossentropy(z, y) + lam * logitbinarycrossentropy(z, 1 - y), logit)
    torch.testing.assert_close(slope, torch.tensor(0.0), atol=1e-6, rtol=0)


def test_listing_4_two_sweeps_accumulate_the_gradient_of_the_sum():
    torch.manual_seed(1)
    shared, classifier, adversary = adversarial_parts()
    x, y_c, y_d = adversarial_data(1)[0]

    def losses():
        features = shared(x)
        return logitcrossentropy(classifier[1:](features), y_c), logitcrossentropy(adversary(features), 1 - y_d)

    c_loss, d_loss = losses()
    back(c_loss, retain=True)
    back(d_loss)
    (grads,) = gradient(lambda models: sum(losses()), (shared, adversary))
    torch.testing.assert_close(shared[0].weight.grad, grads[0]["0.weight"])
    torch.testing.assert_close(adversary[0].weight.grad, grads[1]["0.weight"])


def test_listing_4_routed_the_trunk_climbs_what_the_head_descends():
    """The listing lets both losses train everything, which doesn't compete; a reversed gradient does."""
    torch.manual_seed(2)
    shared, _, adversary = adversarial_parts()
    x, _, y_d = adversarial_data(1)[0]
    reverse = hook(lambda slope: -0.5 * slope)
    (literal,) = gradient(lambda parts: logitcrossentropy(parts[1](parts[0](x)), y_d), (shared, adversary))
    (routed,) = gradient(lambda parts: logitcrossentropy(parts[1](reverse(parts[0](x))), y_d), (shared, adversary))
    torch.testing.assert_close(routed[0]["0.weight"], -0.5 * literal[0]["0.weight"])
    torch.testing.assert_close(routed[1]["0.weight"], literal[1]["0.weight"])


# Listing 5: AlphaGo Zero. The paper's policy head follows a convolution with two channels by BatchNorm(1): it is 2.


def alphago_zero(board=5, planes=3, channels=8, height=2):
    tower = [residual_block(channels) for _ in range(height)]
    base = Chain(Conv((3, 3), planes, channels, pad=1), BatchNorm(channels, relu), *tower)
    value = Chain(
        Conv((1, 1), channels, 1),
        BatchNorm(1, relu),
        flatten,
        Dense(board**2, channels, relu),
        Dense(channels, 1, tanh),
    )
    policy = Chain(Conv((1, 1), channels, 2), BatchNorm(2, relu), flatten, Dense(2 * board**2, board**2 + 1), softmax)
    return base, value, policy


def test_listing_5_value_and_policy():
    base, value, policy = alphago_zero()
    x = torch.randn(4, 3, 5, 5)
    features = base(x)
    assert outputsize(base, (4, 3, 5, 5)) == tuple(features.shape) == (4, 8, 5, 5)
    v, p = value(features), policy(features)
    assert v.shape == (4, 1)
    assert (v.abs() <= 1).all()
    torch.testing.assert_close(p.sum(-1), torch.ones(4))


def test_listing_5_learns_a_position():
    torch.manual_seed(0)
    base, value, policy = models = alphago_zero()
    opt = Momentum(trainables(models), 0.02, rho=0.9)
    x, z, pi = torch.randn(8, 3, 5, 5), torch.ones(8, 1), onehotbatch([3] * 8, range(26))

    def loss():
        features = base(x)
        return crossentropy(policy(features), pi) + 0.01 * mse(value(features), z)

    first = loss().item()
    for _ in range(20):
        back(loss())
        opt()
    assert loss().item() < 0.2 * first


def test_listing_5_each_parameter_gets_a_gradient():
    models = alphago_zero()
    x = torch.randn(4, 3, 5, 5)
    (grads,) = gradient(lambda m: mse(m[1](m[0](x)), torch.zeros(4, 1)) + m[2](m[0](x))[:, 0].sum(), models)
    assert all(slope is not None and torch.isfinite(slope).all() for part in grads for slope in part.values())
