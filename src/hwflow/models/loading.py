"""From a name to a network: ``load("cifar:resnet20", weights="resnet20.safetensors")``."""

from __future__ import annotations

import difflib
import re
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hwflow.errors import ModelError, unknown_name
from hwflow.factory import find_factory, is_factory
from hwflow.models.blueprint import Blueprint, Shape, channel_preprocess
from hwflow.network import Network, Preprocess

if TYPE_CHECKING:
    from torch import nn

DOWNLOAD = "DEFAULT"
"""The value of `weights` that asks for the published weights, from the network's source."""

_CIFAR = ("cifar:resnet8", "cifar:resnet20", "cifar:resnet32", "cifar:resnet44", "cifar:resnet56",
          "cifar:resnet110")  # fmt: skip
_FAMILIES = ("cifar", "torchvision", "timm")
_LITE = "efficientnet_lite0"
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_ON_PAPER = (".onnx", ".yaml", ".yml")
_WEIGHTS = (".safetensors", ".pt", ".pth", ".th")


def model_names() -> list[str]:
    """Return the names that :func:`load` knows; timm's are not listed."""
    from hwflow.models.torchvision_zoo import torchvision_names

    return [*_CIFAR, _LITE, *(f"torchvision:{name}" for name in torchvision_names())]


def load(
    spec: str,
    *,
    weights: str | Path | None = None,
    num_classes: int | None = None,
    input_shape: Shape | None = None,
    seed: int = 0,
) -> Network:
    """Load a network in eval mode, with an example input of batch 1 and its preprocessing.

    `spec` is a name of :func:`model_names`, "timm:NAME" or "package.module:function" (a function
    without arguments, or with `num_classes`, that returns a torch module or a Network). `weights`
    is a .safetensors, .pt or .pth file, or "DEFAULT" for the published ones, which is the only case
    that uses the network; None leaves random weights made from `seed` (and, in torchvision's
    GoogLeNet and Inception, the heads that only training uses: they count as parameters).
    `input_shape` is (channels, height, width) where it differs from the model's own.

    Raises ModelError when the name is unknown, the network cannot be built, or weights do not fit.
    """
    _check_numbers(num_classes, input_shape)
    wants_published = weights == DOWNLOAD
    plan = _blueprint(spec, num_classes, input_shape, wants_published, heads=weights is None)
    built = _build(plan, spec, seed)
    network = _network(plan, spec, built, input_shape)
    if plan.download is not None and wants_published:
        weights = _fetch(plan, spec)
    digest = network.weights or _own_digest(spec, network.module, wants_published)
    if weights is not None and weights != DOWNLOAD:
        from hwflow.models.weights import load_weights

        digest = load_weights(network.module, Path(weights), spec, plan.rename)
    network.module.eval()
    return Network(
        network.name, network.module, network.example, network.preprocess,
        network.calibration, digest,
    )  # fmt: skip


def _check_numbers(num_classes: int | None, shape: Shape | None) -> None:
    if num_classes is not None and num_classes < 1:
        raise ModelError(f"A network has 1 class or more, not num_classes={num_classes}.")
    if shape is not None and (len(shape) != 3 or min(shape) < 1):
        raise ModelError(
            f"input_shape must be (channels, height, width), each 1 or more, not {tuple(shape)}."
        )


def _blueprint(
    spec: str, classes: int | None, shape: Shape | None, published: bool, heads: bool
) -> Blueprint:
    family, _, name = spec.partition(":")
    if family == "torchvision":
        from hwflow.models.torchvision_zoo import torchvision_blueprint

        return torchvision_blueprint(name, classes, shape, published, heads)
    if family == "timm":
        from hwflow.models.timm_zoo import timm_blueprint

        return timm_blueprint(name, classes, shape, published)
    plan = _own(spec, classes, shape)
    if published:
        raise ModelError(
            f"{spec} has no published weights to download. Give a weights file, or leave "
            "`weights` out for random ones."
        )
    return plan


def _own(spec: str, classes: int | None, shape: Shape | None) -> Blueprint:
    if spec in _CIFAR:
        return _cifar(int(spec.removeprefix("cifar:resnet")), classes or 10, shape or (3, 32, 32))
    if spec == _LITE:
        return _lite(classes or 1000, shape or (3, 224, 224))
    if is_factory(spec) and not _misspelt(spec):
        return _factory(spec, classes, shape)
    raise ModelError(_no_such(spec))


def _cifar(depth: int, classes: int, shape: Shape) -> Blueprint:
    from hwflow.models.cifar_resnet import cifar_resnet

    build = partial(cifar_resnet, depth, classes, shape[0])
    return Blueprint(build, shape, channel_preprocess(shape[0], *_IMAGENET))


def _lite(classes: int, shape: Shape) -> Blueprint:
    from hwflow.models.efficientnet_lite import EfficientNetLite0

    channels = shape[0]
    preprocess = Preprocess(
        (127 / 128,) * channels, (1.0,) * channels, scale=128.0,  # (x - 127) / 128
        size=shape[1:], crop=0.875, interpolation="bicubic",
    )  # fmt: skip
    return Blueprint(partial(EfficientNetLite0, classes, channels), shape, preprocess)


def _factory(spec: str, classes: int | None, shape: Shape | None) -> Blueprint:
    function = find_factory(spec, ModelError)
    build = partial(function) if classes is None else partial(function, num_classes=classes)
    shape = shape or (3, 224, 224)
    return Blueprint(build, shape, channel_preprocess(shape[0], *_IMAGENET))


def _build(plan: Blueprint, spec: str, seed: int) -> nn.Module | Network:
    """Build with random weights from `seed`, leaving torch's own generator as it was."""
    from torch import nn

    from hwflow.running import seeded

    try:
        with seeded(seed):
            built = plan.build()
    except Exception as error:  # whatever torchvision, timm or the user's function raises
        size = "x".join(map(str, plan.shape))
        raise ModelError(
            f"{spec} cannot be built for input {size}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(built, nn.Module | Network):
        raise ModelError(
            f"{spec} returned {type(built).__name__}. It must return a torch.nn.Module or a "
            "hwflow.Network."
        )
    return built


def _network(
    plan: Blueprint, spec: str, built: nn.Module | Network, asked: Shape | None
) -> Network:
    import torch

    from hwflow.models.weights import check_finite

    module = built.module if isinstance(built, Network) else built
    if _is_own(spec):
        _check_shaped(module, spec)
        check_finite(module.state_dict(), spec)
    if isinstance(built, Network):
        shape = tuple(built.example.shape[1:])
        if asked not in (None, shape):
            raise ModelError(f"{spec} gives a network for input {shape}, not {asked}.")
        return built
    generator = torch.Generator().manual_seed(0)
    example = torch.randn((1, *plan.shape), generator=generator)
    return Network(spec, module, example, plan.preprocess)


def _own_digest(spec: str, module: nn.Module, published: bool) -> str | None:
    """Return the digest of weights that a module is built with, None where they are random."""
    from hwflow.running import state_digest

    return state_digest(module) if published or _is_own(spec) else None


def _is_own(spec: str) -> bool:
    """Whether `spec` names a function of the user's."""
    return is_factory(spec) and spec.partition(":")[0] not in _FAMILIES


def _check_shaped(module: nn.Module, spec: str) -> None:
    from torch.nn.parameter import is_lazy

    lazy = [name for name, value in module.state_dict().items() if is_lazy(value)]
    if lazy:
        raise ModelError(
            f"{spec} returns a network whose {lazy[0]} has no shape yet (a lazy module). "
            "Run it once on an input before you return it."
        )


def _fetch(plan: Blueprint, spec: str) -> Path:
    assert plan.download is not None  # the caller has looked
    try:
        return plan.download()
    except Exception as error:
        raise ModelError(
            f"Cannot download the weights of {spec}: {error}. Download the file elsewhere and give "
            "its path as weights."
        ) from error


def _misspelt(spec: str) -> str | None:
    """Return the family that was probably meant where `spec` names no importable module."""
    family = spec.partition(":")[0]
    if family == "cifar":
        return family
    near = difflib.get_close_matches(family, _FAMILIES, n=1, cutoff=0.75)
    return near[0] if near and not _importable(family) else None


def _importable(module: str) -> bool:
    return find_spec(module) is not None or Path(f"{module}.py").is_file() or Path(module).is_dir()


def _no_such(spec: str) -> str:
    ending = Path(spec).suffix.lower()
    if ending in _ON_PAPER:
        return (
            f"{spec} is no torch network: it can be costed (hwflow cost {spec} ...) but not "
            "edited. Give the torch model that it was made from to search or build."
        )
    if ending in _WEIGHTS:
        return (
            f"{spec} holds weights, not a network. Name the network and give the file as weights, "
            f"such as: cifar:resnet20 --weights {spec}."
        )
    hint = "Or write timm:NAME, or package.module:function."
    known = model_names()
    family, _, bare = spec.rpartition(":")
    meant = _misspelt(spec) if family else None
    if meant == "cifar":
        return _no_such_depth(spec)
    if meant:
        return f"Unknown model {spec!r}. Did you mean '{meant}:{bare}'? {hint}"
    if family:
        return unknown_name("model", spec, known, hint)
    full = {name.rpartition(":")[2]: name for name in reversed(known)}
    near = difflib.get_close_matches(bare, full, n=1)
    ask = f" Did you mean {full[near[0]]!r}?" if near else ""
    return f"Unknown model {spec!r}.{ask} See `hwflow list models`. {hint}"


def _no_such_depth(spec: str) -> str:
    """Name the CIFAR ResNet of the nearest depth."""
    digits = re.findall(r"\d+", spec)
    wanted = int(digits[-1]) if digits else 20
    near = min(_CIFAR, key=lambda name: abs(int(name.removeprefix("cifar:resnet")) - wanted))
    return f"Unknown model {spec!r}. Did you mean {near!r}? Known: {', '.join(_CIFAR)}."
