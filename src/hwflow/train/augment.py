"""Images shifted and mirrored, as usual for CIFAR."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from hwflow.errors import HwflowError

Augment = Literal["none", "crop", "crop+flip"]

CROP_MARGIN = 4
"""Pixels by which an augmented image may be shifted to either side."""


def as_augment(how: str) -> Augment:
    """Return the augmentation of a name; HwflowError for an unknown one."""
    for known in get_args(Augment):
        if how == known:
            return known  # type: ignore[no-any-return]  # get_args gives the literals
    raise HwflowError(f"augment must be none, crop or crop+flip, not {how!r}.")


def augmented(inputs: Tensor, how: str, draw: torch.Generator) -> Tensor:
    """Return the images, each shifted by up to 4 pixels (edges reflected) and perhaps mirrored.

    `how` is "none", "crop" or "crop+flip"; `inputs` has shape (N, C, H, W).
    """
    if how == "none":
        return inputs
    n, _, height, width = inputs.shape
    margin = min(CROP_MARGIN, height - 1, width - 1)  # a reflection needs a pixel more than it adds
    wide = F.pad(inputs, (margin,) * 4, mode="reflect")
    shift = torch.randint(0, 2 * margin + 1, (2, n, 1), generator=draw)
    rows = shift[0] + torch.arange(height)
    columns = shift[1] + torch.arange(width)
    if how == "crop+flip":
        mirrored = torch.rand((n, 1), generator=draw) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    each = torch.arange(n)[:, None, None]
    return wide[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
