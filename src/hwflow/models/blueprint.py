"""What a name stands for before anything is built: how to build it, and what it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hwflow.network import Preprocess

if TYPE_CHECKING:
    from torch import nn

Shape = tuple[int, int, int]
"""Channels, height and width of an input."""


def _same(key: str) -> str | None:
    return key


@dataclass(frozen=True)
class Blueprint:
    """A network that can be built."""

    build: Callable[[], nn.Module]
    shape: Shape
    preprocess: Preprocess
    download: Callable[[], Path] | None = None
    """Fetches the published weights and returns their file; None where there are none."""
    rename: Callable[[str], str | None] = _same
    """Key in a weights file -> key in the module; None for a key that is not used."""


def channel_preprocess(
    channels: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> Preprocess:
    """Return the preprocessing of images without resizing; 0.5 and 0.5 unless they are RGB."""
    if channels == len(mean):
        return Preprocess(mean, std)
    return Preprocess((0.5,) * channels, (0.5,) * channels)
