"""timm's networks by name, as "timm:resnet18"; timm is an optional package."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from hwflow.errors import ModelError, unknown_name
from hwflow.models.blueprint import Blueprint, Shape
from hwflow.network import Preprocess

if TYPE_CHECKING:
    from torch import nn


def timm_blueprint(
    name: str, num_classes: int | None, shape: Shape | None, pretrained: bool
) -> Blueprint:
    """Return what is needed to build the timm network called `name`.

    Raises ModelError when timm is not installed or does not know the name.
    """
    try:
        import timm
    except ImportError as error:
        raise ModelError(
            f"timm:{name} needs the package timm. Install it: pip install 'hwflow[timm]'."
        ) from error
    if not timm.is_model(name):
        raise ModelError(unknown_name("timm network", name, timm.list_models()))
    config = timm.get_pretrained_cfg(name)
    found = config.to_dict() if config is not None else {}
    shape = shape or tuple(found.get("input_size") or (3, 224, 224))
    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    build = partial(_build, name, pretrained, in_chans=shape[0], **options)
    return Blueprint(build, shape, _preprocess(found, shape))


def _build(name: str, pretrained: bool, **options: Any) -> nn.Module:
    import timm

    module: nn.Module = timm.create_model(name, pretrained=pretrained, **options)
    return module


def _preprocess(config: Mapping[str, Any], shape: Shape) -> Preprocess:
    channels = shape[0]
    mean, std = (tuple(config.get(key) or (0.5,) * channels) for key in ("mean", "std"))
    if len(mean) != channels:
        mean = std = (0.5,) * channels
    bilinear = config.get("interpolation") == "bilinear"
    return Preprocess(
        mean, std, size=shape[1:], crop=config.get("crop_pct") or 0.875,
        interpolation="bilinear" if bilinear else "bicubic",
    )  # fmt: skip
