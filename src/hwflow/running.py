"""Running torch modules: one output, a fast format, eval mode for a while, seeded numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hwflow.errors import HwflowError


def output(module: nn.Module, inputs: Tensor) -> Tensor:
    """Return the module's output; of a dict (torchvision's segmentation networks) its "out".

    Raises HwflowError when the module returns anything else than one tensor.
    """
    out = module(inputs)
    if isinstance(out, Mapping):
        out = out.get("out")
    if isinstance(out, tuple | list) and len(out) == 1:
        out = out[0]
    if not isinstance(out, Tensor):
        raise HwflowError(
            f"The network returns {type(out).__name__}, not one tensor. Give a network with one "
            'output, or a dict with the key "out".'
        )
    return out


def fast_format(images: Tensor) -> Tensor:
    """Return maps with their channels last: convolutions on a CPU run a third faster."""
    return images.contiguous(memory_format=torch.channels_last) if images.dim() == 4 else images


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module in eval mode for a while; every submodule returns to its own mode.

    Sets the flags alone, as modules made by `torch.export` refuse `eval`.
    """
    modes = [(part, part.training) for part in module.modules()]
    for part, _ in modes:
        part.training = False
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def state_digest(module: nn.Module) -> str:
    """Return the SHA-256 of a module's parameters and buffers, with their names."""
    found = hashlib.sha256()
    for name, value in module.state_dict().items():
        if isinstance(value, Tensor):
            found.update(name.encode())
            found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let torch draw random numbers from `seed` for a while; its generator is then as before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
