"""torchvision's networks by name, as "torchvision:resnet50"."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwflow.errors import ModelError, unknown_name
from hwflow.models.blueprint import Blueprint, Shape
from hwflow.network import Preprocess

if TYPE_CHECKING:
    from torch import nn

_KINDS = {
    "detection": "a detection network: it takes lists of images and returns boxes",
    "video": "a video network: it takes clips, not one image",
    "optical_flow": "an optical-flow network: it takes two images",
    "quantization": "quantized already",
}
"""Families of torchvision that hwflow does not take, by their package."""

_OWN_SCALE = frozenset({"googlenet", "inception_v3"})
"""Converted from TensorFlow: trained on (x - 0.5) / 0.5. torchvision writes this as ImageNet's mean
and deviation and a correction inside the network; here the network is left plain."""

_AUX = re.compile(r"^(aux1|aux2|AuxLogits|aux_classifier)\.")
"""Heads that only training uses."""

_DENSE = re.compile(r"^(.*denselayer\d+\.(?:norm|conv))\.([12]\..*)$")
"""The first DenseNet weights call norm1 "norm.1"."""


def torchvision_names() -> list[str]:
    """Return the names of torchvision's networks from one image to one output."""
    from torchvision import models

    return [name for name in models.list_models() if _kind(name) not in _KINDS]


def _kind(name: str) -> str:
    """Return the package of torchvision.models that `name` is from."""
    from torchvision import models

    parts = models.get_model_builder(name).__module__.split(".")
    return parts[2] if len(parts) > 3 else "classification"


def torchvision_blueprint(
    name: str,
    num_classes: int | None,
    shape: Shape | None,
    pretrained: bool,
    heads: bool = True,
) -> Blueprint:
    """Return what is needed to build the torchvision network called `name`.

    Size and preprocessing are those of its published weights (`pretrained`: the newest, else the
    first). `heads` keeps the heads that only training uses where torchvision's default network has
    them; they never run here. Raises ModelError for an unknown name or one of a family that is not
    taken.
    """
    _check(name)
    entry = _weights_entry(name, pretrained)
    preprocess, shape = _preset(name, entry, shape)
    build = partial(_build, name, num_classes, shape, heads)
    return Blueprint(build, shape, preprocess, partial(_download, entry), _rename(name))


def _check(name: str) -> None:
    from torchvision import models

    if name not in models.list_models():
        raise ModelError(unknown_name("torchvision network", name, torchvision_names()))
    if _kind(name) == "quantization":
        plain = name.removeprefix("quantized_")
        raise ModelError(
            f"torchvision:{name} is quantized already. "
            f"Load torchvision:{plain} and let hwflow choose the bits."
        )
    if _kind(name) in _KINDS:
        raise ModelError(
            f"torchvision:{name} is {_KINDS[_kind(name)]}. hwflow takes networks from one image to "
            "one output: `hwflow list models` names them. Its backbone can be given by a factory "
            "of yours, package.module:function."
        )


def _weights_entry(name: str, pretrained: bool) -> Any:
    from torchvision import models

    entries = models.get_model_weights(name)
    return entries.DEFAULT if pretrained else next(iter(entries))


def _preset(name: str, entry: Any, shape: Shape | None) -> tuple[Preprocess, Shape]:
    preset = entry.transforms()
    resized = preset.resize_size[0]
    cropped = (getattr(preset, "crop_size", None) or preset.resize_size)[0]
    shape = shape or (3, cropped, cropped)
    _check_shape(name, shape, entry.meta.get("min_size", (1, 1)))
    mean, std = tuple(preset.mean), tuple(preset.std)
    if name in _OWN_SCALE:
        mean = std = (0.5, 0.5, 0.5)
    bicubic = preset.interpolation.value == "bicubic"
    size = (shape[1], shape[2])
    return Preprocess(
        mean, std, size=size, crop=cropped / resized,
        interpolation="bicubic" if bicubic else "bilinear",
    ), shape  # fmt: skip


def _check_shape(name: str, shape: Shape, least: tuple[int, int]) -> None:
    if shape[0] != 3:
        raise ModelError(f"torchvision:{name} takes images of 3 channels, not {shape[0]}.")
    fixed = name.startswith(("vit_", "maxvit", "swin_"))
    if not fixed and (shape[1] < least[0] or shape[2] < least[1]):
        raise ModelError(
            f"torchvision:{name} needs images of {least[0]}x{least[1]} or more, "
            f"not {shape[1]}x{shape[2]}."
        )


def _build(name: str, num_classes: int | None, shape: Shape, heads: bool) -> nn.Module:
    from torchvision import models

    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    if _kind(name) == "segmentation":
        options["weights_backbone"] = None  # else torchvision downloads the backbone's
    if name in _OWN_SCALE:
        options |= {"aux_logits": heads, "init_weights": False}
    if name.startswith("vit_"):
        if shape[1] != shape[2]:
            raise ValueError("it takes square images")
        options["image_size"] = shape[1]
    if name.startswith("maxvit"):
        options["input_size"] = shape[1:]
    module: nn.Module = models.get_model(name, weights=None, **options)
    return module


def _download(entry: Any) -> Path:
    """Fetch the weights into torch's cache unless they are there."""
    import torch

    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = re.search(r"-([a-f0-9]{8,})\.", path.name)
        torch.hub.download_url_to_file(
            entry.url, str(path), digest[1] if digest else None, progress=False
        )
    return path


def _rename(name: str) -> Callable[[str], str | None]:
    if name.startswith("densenet"):
        return _dense_key
    return _without_aux


def _dense_key(key: str) -> str | None:
    return _DENSE.sub(r"\1\2", key)


def _without_aux(key: str) -> str | None:
    return None if _AUX.match(key) else key
