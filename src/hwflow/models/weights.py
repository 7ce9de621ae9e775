"""Weights files: read without running code, compared with the network, loaded, identified."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hwflow.errors import ModelError

State = dict[str, Tensor]

TORCH_ENDINGS = (".pt", ".pth", ".th", ".bin")
"""File name endings that are read by torch.load(weights_only=True)."""

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "ema")
"""Keys under which training scripts keep the state among other things."""


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_state(path: Path) -> State:
    """Read a .safetensors file, or a .pt / .pth file that holds a state dict and nothing to run.

    Wrappers of training scripts ({"state_dict": ...}, a "module." prefix) are taken off. Raises
    ModelError when there is no such file or it holds anything but tensors by name.
    """
    if not path.is_file():
        raise ModelError(f"There is no weights file {str(path)!r}.")
    if path.suffix not in (".safetensors", *TORCH_ENDINGS):
        raise ModelError(
            f"Weights file {path.name!r} has an unknown ending. "
            f"Allowed: .safetensors, {', '.join(TORCH_ENDINGS)}."
        )
    try:
        found = _read(path)
    except Exception as error:  # torch and safetensors raise many kinds on a broken file
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"Cannot read weights from {path.name!r}: {reason} Give a file written by "
            "safetensors, or by torch.save(module.state_dict(), ...)."
        ) from error
    return _plain(_unwrap(found), path)


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _unwrap(found: Any) -> Any:
    for key in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            return found[key]
    return found


def _plain(found: Any, path: Path) -> State:
    if not isinstance(found, Mapping) or not found:
        raise ModelError(
            f"Weights file {path.name!r} holds no state dict but {type(found).__name__}. "
            "Write it by torch.save(module.state_dict(), ...)."
        )
    for key, value in found.items():
        if not isinstance(value, Tensor):
            raise ModelError(
                f"Weights file {path.name!r}: {str(key)!r} is no tensor but "
                f"{type(value).__name__}. Write it by torch.save(module.state_dict(), ...)."
            )
    prefix = "module." if all(str(key).startswith("module.") for key in found) else ""
    return {str(key).removeprefix(prefix): value for key, value in found.items()}


def load_weights(
    module: nn.Module, path: Path, name: str, rename: Callable[[str], str | None]
) -> str:
    """Load a weights file into `module` and return the file's SHA-256.

    Every tensor must be there, in its shape (batch counters of batch-norm may be missing), and
    finite; else ModelError lists the first that are not.
    """
    state = _renamed(read_state(path), rename)
    own = module.state_dict()
    fault = _misfit(state, own)
    if fault:
        raise ModelError(f"Weights {path.name!r} do not fit {name}: {fault}")
    check_finite(state, f"Weights {path.name!r}")
    own.update(state)  # keeps the version marks that some modules' load hooks ask for
    module.load_state_dict(own)
    return file_digest(path)


def _renamed(state: State, rename: Callable[[str], str | None]) -> State:
    pairs = ((rename(key), value) for key, value in state.items())
    return {key: value for key, value in pairs if key is not None}


def check_finite(state: Mapping[str, Tensor], where: str) -> None:
    """Raise ModelError naming the first tensor that holds NaN or infinity."""
    for key, value in state.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            count = int((~torch.isfinite(value)).sum())
            raise ModelError(
                f"{where}: {key} holds {count} NaN or infinite values of {value.numel()}. "
                "Give weights of a training that did not diverge."
            )


def _misfit(state: State, own: Mapping[str, Tensor]) -> str:
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    extra = [key for key in state if key not in own]
    shapes = [key for key in state if key in own and state[key].shape != own[key].shape]
    parts = [
        f"{key} has shape {tuple(state[key].shape)}, the network's {tuple(own[key].shape)}"
        for key in shapes[:3]
    ]
    parts += [f"missing: {_few(missing)}"] if missing else []
    parts += [f"not in the network: {_few(extra)}"] if extra else []
    if not parts:
        return ""
    return "; ".join(parts) + "." + _advice(shapes, state, own)


def _few(keys: list[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(keys[:3]) + more


def _advice(shapes: list[str], state: State, own: Mapping[str, Tensor]) -> str:
    """Say which argument makes the network fit: its classes or its input channels."""
    text = ""
    for key in shapes:
        there, here = state[key].shape, own[key].shape
        if len(there) == len(here) == 2 and there[1] == here[1]:
            text += (
                f" The file has {there[0]} classes, the network {here[0]}: "
                f"load it with num_classes={there[0]} (--classes {there[0]})."
            )
        if len(there) == len(here) == 4 and _other_than(1, there, here):
            text += f" The file takes images of {there[1]} channels, the network {here[1]}."
    return text


def _other_than(axis: int, there: torch.Size, here: torch.Size) -> bool:
    """Whether two shapes differ in this axis and in no other."""
    return [i for i, (a, b) in enumerate(zip(there, here, strict=True)) if a != b] == [axis]
