"""What is trained on, batch by batch: shuffled anew each epoch, in an order that the seed gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from itertools import count, islice
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from hwflow.errors import HwflowError

Batch = tuple[Tensor, Tensor]


@runtime_checkable
class Shuffles(Protocol):
    """A split that gives all its images once, in an order drawn from a seed."""

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def shuffled(self, size: int, seed: int) -> Iterator[Batch]:
        """Yield batches of `size` images."""
        ...


Trainable = Shuffles | Iterable[Batch]
"""What is trained on: a split, or a loader of (inputs, targets) that does its own shuffling."""


class Place(NamedTuple):
    """Where in the data a batch lies."""

    epoch: int
    batch: int
    """Its number in the epoch."""


def total_steps(split: Trainable, size: int, epochs: int | None, steps: int | None) -> int:
    """Return how many batches `epochs` or `steps` are; HwflowError for neither or both."""
    if (epochs is None) == (steps is None):
        raise HwflowError("Give either epochs or steps.")
    if size < 1 or (epochs or steps or 0) < 1:
        raise HwflowError("epochs, steps and batch_size must be 1 or more.")
    if steps is not None:
        return steps
    if isinstance(split, Shuffles):
        return epochs * max(1, len(split) // size)  # type: ignore[operator]  # one is not None
    if isinstance(split, Sized):
        return epochs * len(split)  # type: ignore[operator]
    loader = getattr(split, "loader", None)
    if isinstance(loader, Sized):
        return epochs * len(loader)  # type: ignore[operator]
    raise HwflowError("The length of this loader is not known. Give steps instead of epochs.")


def endless(
    split: Trainable, size: int, seed: int, steps: int, start: Place = Place(0, 0)
) -> Iterator[tuple[Place, Batch]]:
    """Go through the split again and again, `steps` batches in all, from `start` on."""
    done = 0
    for number in count(start.epoch):
        skipped = start.batch if number == start.epoch else 0
        before = done
        batches = islice(epoch(split, size, seed, number), skipped, skipped + steps - done)
        for place, batch in enumerate(batches, skipped):
            done += 1
            yield Place(number, place), batch
        if done == steps:
            return
        if done == before and not skipped:
            raise HwflowError("There are no images to train on. Give at least one.")


def epoch(split: Trainable, size: int, seed: int, number: int) -> Iterator[Batch]:
    """Yield the batches of one epoch."""
    if isinstance(split, Shuffles):
        order = np.random.SeedSequence([abs(seed), number]).generate_state(1)
        return split.shuffled(size, int(order[0]))
    return iter(split)


def first_inputs(split: Trainable, images: int, size: int, seed: int) -> Iterator[Tensor]:
    """Yield the inputs of `images` images, or all where there are fewer."""
    left = images
    for inputs, _ in epoch(split, min(size, images), seed, 0):
        yield inputs[:left]
        left -= len(inputs)
        if left <= 0:
            return
    if left == images:
        raise HwflowError("There are no images to take statistics from. Give at least one.")
