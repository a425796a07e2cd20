"""What timm calls the parameters of models that are named as in torchvision here, and back."""

import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from itertools import accumulate, count
from typing import Any

from torchflux import Conv

from ._layers import SqueezeExcite
from ._model import Model

__all__ = ["timm_keys"]

Rules = list[tuple[str, Any]]  # a pattern for the beginning of a key, and what it becomes


def timm_keys(name: str, model: Model) -> dict[str, str]:
    """timm's name for each parameter and buffer of the model `name`, by our name; the same one where they agree.

    >>> from metalhead import create_model
    >>> keys = timm_keys("vgg11", create_model("vgg11", hidden=8))
    >>> keys["features.0.weight"], keys["classifier.6.bias"]
    ('features.0.weight', 'head.fc.bias')
    """
    rules = next((make(model) for pattern, make in FAMILIES.items() if fnmatchcase(name, pattern)), [])
    return {key: _renamed(key, rules) for key in model.state_dict()}


def _renamed(key: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        new, found = re.subn(rf"^{pattern}(?=\.|$)", replacement, key)
        if found:
            return new
    return key


def _vgg(model: Model) -> Rules:
    names = {0: "pre_logits.fc1", 3: "pre_logits.fc2", 6: "head.fc"}
    return [(rf"classifier\.{i}", name) for i, name in names.items()]


def _vit(model: Model) -> Rules:
    block = r"encoder\.layers\.encoder_layer_(\d+)\."
    return [
        ("class_token", "cls_token"),
        ("conv_proj", "patch_embed.proj"),
        (r"encoder\.pos_embedding", "pos_embed"),
        (block + r"ln_(\d)", r"blocks.\1.norm\2"),
        (block + r"self_attention\.in_proj_(\w+)", r"blocks.\1.attn.qkv.\2"),
        (block + r"self_attention\.out_proj", r"blocks.\1.attn.proj"),
        (block + r"mlp\.0", r"blocks.\1.mlp.fc1"),
        (block + r"mlp\.3", r"blocks.\1.mlp.fc2"),
        (r"encoder\.ln", "norm"),
        (r"heads\.head", "head"),
    ]


def _stage(form: str) -> Callable[[re.Match[str]], str]:
    """Puts in the number of a stage, of whose two parts in `features` the first is numbered 2 stage + 1."""
    return lambda found: found.expand(form.replace("STAGE", str(int(found[1]) // 2)))


def _convnext(model: Model) -> Rules:
    block = r"features\.([1357])\.(\d+)\."
    parts = {"layer_scale": "gamma", r"block\.0": "conv_dw", r"block\.2": "norm"}
    parts |= {r"block\.3": "mlp.fc1", r"block\.5": "mlp.fc2"}
    return [
        (r"features\.0\.(\d)", r"stem.\1"),
        *((block + ours, _stage(rf"stages.STAGE.blocks.\2.{timm}")) for ours, timm in parts.items()),
        (r"features\.([246])\.(\d)", _stage(r"stages.STAGE.downsample.\2")),
        (r"classifier\.0", "head.norm"),
        (r"classifier\.2", "head.fc"),
    ]


def _swin(model: Model) -> Rules:
    block = r"features\.([1357])\.(\d+)\."
    parts = {"norm([12])": r"norm\3", "attn": "attn", r"mlp\.0": "mlp.fc1", r"mlp\.3": "mlp.fc2"}
    return [
        (r"features\.0\.0", "patch_embed.proj"),
        (r"features\.0\.2", "patch_embed.norm"),
        *((block + ours, _stage(rf"layers.STAGE.blocks.\2.{timm}")) for ours, timm in parts.items()),
        (r"features\.([246])\.(reduction|norm)", _stage(r"layers.STAGE.downsample.\2")),
        ("head", "head.fc"),
    ]


# timm has one network of inverted residuals, whose blocks[stage][i] name their layers by what they do.


def _inverted(block: Any) -> Rules:
    """The names of the layers of one block, by their order and kind."""
    gates = {path for path, module in block.named_modules() if isinstance(module, SqueezeExcite)}
    inside = lambda path: any(path.startswith(f"{gate}.") for gate in gates)
    found = [(path, m) for path, m in block.named_modules() if hasattr(m, "weight") and not inside(path)]
    kinds = [("depthwise" if m.groups > 1 else "full") if isinstance(m, Conv) else "norm" for _, m in found]
    names = {
        ("full", "depthwise", "full"): ["conv_pw", "conv_dw", "conv_pwl"],
        ("depthwise", "full"): ["conv_dw", "conv_pw"],
        ("full", "full"): ["conv_exp", "conv_pwl"],
        ("full",): ["conv"],
    }[tuple(kind for kind in kinds if kind != "norm")]
    norms, convolutions = (f"bn{i}" for i in count(1)), iter(names)
    rules: Rules = [
        (path, next(norms if kind == "norm" else convolutions)) for (path, _), kind in zip(found, kinds, strict=True)
    ]
    for gate in gates:
        rules += [(f"{gate}.fc1", "se.conv_reduce"), (f"{gate}.fc2", "se.conv_expand")]
    return rules


def _blocks(blocks: Iterable[tuple[str, str, Any]]) -> Iterator[tuple[str, str]]:
    for path, new, block in blocks:
        for inner, name in _inverted(block):
            yield re.escape(f"{path}.{inner}"), f"{new}.{name}"


def _ends(stem: tuple[str, str], last: tuple[str, str] | None, classifier: str) -> Rules:
    """The rules for what stands around the blocks: paths of convolution and norm."""
    around = {stem[0]: "conv_stem", stem[1]: "bn1", classifier: "classifier"}
    if last is not None:
        around |= {last[0]: "conv_head", last[1]: "bn2"}
    return [(re.escape(path), new) for path, new in around.items()]


def _efficientnet(model: Model) -> Rules:
    stages, last = list(model["features"].items())[1:-1], len(model["features"]) - 1
    blocks = [(f"features.{s}.{i}", f"blocks.{int(s) - 1}.{i}", b) for s, stage in stages for i, b in stage.items()]
    ends = _ends(("features.0.0", "features.0.1"), (f"features.{last}.0", f"features.{last}.1"), "classifier.1")
    return [*_blocks(blocks), *ends]


def _mnasnet(model: Model) -> Rules:
    stages = list(model["layers"].items())[6:-2]
    blocks = [(f"layers.{s}.{i}", f"blocks.{n}.{i}", b) for n, (s, x) in enumerate(stages, 1) for i, b in x.items()]
    first = {3: "conv_dw", 4: "bn1", 6: "conv_pw", 7: "bn2"}
    last = int(stages[-1][0]) + 1
    ends = _ends(("layers.0", "layers.1"), (f"layers.{last}", f"layers.{last + 1}"), "classifier.1")
    return [*_blocks(blocks), *ends, *((rf"layers\.{i}", f"blocks.0.0.{name}") for i, name in first.items())]


def _in_stages(model: Model, repeats: tuple[int, ...]) -> Rules:
    """Blocks that stand in one row here and in stages in timm."""
    starts = [0, *accumulate(repeats)]
    places = [(s, i) for s, n in enumerate(repeats) for i in range(n)]
    blocks = model["features"].values()[1 : starts[-1] + 1]
    rows = zip(count(1), places, blocks, strict=False)
    return [*_blocks((f"features.{i}", f"blocks.{s}.{j}", block) for i, (s, j), block in rows)]


def _mobilenet_v2(model: Model) -> Rules:
    ends = _ends(("features.0.0", "features.0.1"), ("features.18.0", "features.18.1"), "classifier.1")
    return _in_stages(model, (1, 2, 3, 4, 3, 3, 1)) + ends


def _mobilenet_v3(repeats: tuple[int, ...]) -> Callable[[Model], Rules]:
    def rules(model: Model) -> Rules:
        last, stage = sum(repeats) + 1, len(repeats)
        tail = [(rf"features\.{last}\.0", f"blocks.{stage}.0.conv"), (rf"features\.{last}\.1", f"blocks.{stage}.0.bn1")]
        ends = _ends(("features.0.0", "features.0.1"), None, "classifier.3")
        return [*_in_stages(model, repeats), *tail, *ends, (r"classifier\.0", "conv_head")]

    return rules


FAMILIES: dict[str, Callable[[Model], Rules]] = {
    "vgg*": _vgg,
    "vit_*": _vit,
    "convnext_*": _convnext,
    "swin_*": _swin,
    "efficientnet_*": _efficientnet,
    "mnasnet*": _mnasnet,
    "mobilenet_v2": _mobilenet_v2,
    "mobilenet_v3_large": _mobilenet_v3((1, 2, 3, 4, 2, 3)),
    "mobilenet_v3_small": _mobilenet_v3((1, 2, 3, 2, 3)),
}
