"""A split: preprocessed inputs with their targets, in batches; a data set: its splits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hwflow.errors import DataError

Batch = tuple[Tensor, Tensor]
"""Inputs (n, C, H, W), float32, and their targets (n, ...)."""

BATCH = 250
"""Images in a batch where nothing else is said."""

CACHE_BYTES = 512 * 2**20
"""Splits whose inputs take at most this are preprocessed once and kept in memory."""


class Source(Protocol):
    """Preprocessed inputs by index."""

    @property
    def targets(self) -> Tensor:
        """The targets, shape (N, ...)."""
        ...

    @property
    def bytes_per_image(self) -> int | None:
        """Size of one input in memory; None where all are in memory already."""
        ...

    def read(self, indices: Sequence[int]) -> Tensor:
        """Return the inputs at `indices`, float32 (n, C, H, W)."""
        ...

    def digest(self) -> str:
        """Return what identifies the content and its preprocessing."""
        ...


@dataclass(frozen=True, eq=False)
class Origin:
    """Which items of a larger set a split is."""

    whole: object
    """The set: an object, or what it is called."""
    indices: NDArray[np.int64]

    def same_set(self, other: Origin) -> bool:
        """Whether two splits are taken from one set, opened once or twice."""
        return self.whole is other.whole or _names(self.whole) == _names(other.whole) is not None


def _names(whole: object) -> tuple[object, ...] | None:
    """Return what a set is called: a name, or as torchvision's sets are opened; None otherwise."""
    if isinstance(whole, str):
        return (whole,)
    root = getattr(whole, "root", None)
    opened = (getattr(whole, key, None) for key in ("train", "split", "mode"))
    size = len(whole) if isinstance(whole, Sized) else None
    return None if root is None else (type(whole), str(root), size, *map(str, opened))


@dataclass(frozen=True, eq=False)
class Split:
    """A part of a data set that can be read by index: "train", "val" or "test"."""

    name: str
    source: Source = field(repr=False)
    origin: Origin | None = field(default=None, repr=False)
    """Where its images are taken from, if that is known."""

    def __post_init__(self) -> None:
        if len(self) == 0:
            raise DataError(f"The split {self.name!r} has no images. Give at least one.")

    def __len__(self) -> int:
        return len(self.source.targets)

    def __iter__(self) -> Iterator[Batch]:
        return self.batches()

    def __getstate__(self) -> dict[str, Any]:
        """Leave what is kept in memory out of copies for other processes."""
        return {"name": self.name, "source": self.source}

    @property
    def targets(self) -> Tensor:
        """All targets, shape (N, ...)."""
        return self.source.targets

    @property
    def inputs(self) -> Tensor:
        """All inputs, (N, C, H, W): for a large split use :meth:`head` or :meth:`batches`."""
        return self._read(range(len(self)))

    @cached_property
    def digest(self) -> str:
        """What identifies the images, their targets and their preprocessing."""
        return self.source.digest()

    @cached_property
    def _kept(self) -> Tensor | None:
        size = self.source.bytes_per_image
        if size is None or len(self) * size > CACHE_BYTES:
            return None
        return torch.cat(
            [self.source.read(part) for part in _chunks(range(len(self)), BATCH)]
        ).contiguous(memory_format=torch.channels_last)

    def _read(self, indices: Sequence[int]) -> Tensor:
        if self._kept is None:
            return self.source.read(indices)
        if isinstance(indices, range) and indices.step == 1:
            return self._kept[indices.start : indices.stop]
        return self._kept[list(indices)]

    def head(self, count: int) -> Tensor:
        """Return the first `count` inputs (fewer where there are fewer)."""
        wanted = range(min(count, len(self)))
        return self._read(wanted) if "_kept" in self.__dict__ else self.source.read(wanted)

    def sample(self, count: int, seed: int = 0) -> Tensor:
        """Return `count` inputs drawn without repetition (all where there are fewer)."""
        return self.source.read(self._chosen(count, seed))

    def _chosen(self, count: int, seed: int) -> list[int]:
        order = np.random.default_rng(seed).permutation(len(self))[:count]
        return [int(index) for index in np.sort(order)]

    def batches(self, size: int = BATCH, limit: int | None = None) -> Iterator[Batch]:
        """Yield the images in order, `size` at a time; with a `limit`, a fixed choice of so many.

        The choice is drawn, not the first ones: files often lie sorted by class.
        """
        if limit is None or limit >= len(self):
            for part in _chunks(range(len(self)), size):
                yield self._read(part), self.targets[part.start : part.stop]
            return
        chosen = self._chosen(limit, seed=0)
        for part in _chunks(range(limit), size):
            some = chosen[part.start : part.stop]
            yield self._read(some), self.targets[some]

    def shuffled(self, size: int, seed: int) -> Iterator[Batch]:
        """Yield all images once, in an order drawn from `seed`; a last short batch is left out.

        A split of fewer than `size` images is one batch.
        """
        order = [int(index) for index in np.random.default_rng(seed).permutation(len(self))]
        for start in range(0, max(len(order) - size, 0) + 1, size):
            part = order[start : start + size]
            yield self._read(part), self.targets[part]


def _chunks(indices: range, size: int) -> Iterator[range]:
    if size < 1:
        raise DataError(f"A batch has 1 image or more, not {size}.")
    for start in range(indices.start, indices.stop, size):
        yield range(start, min(start + size, indices.stop))


@dataclass(frozen=True, eq=False)
class Stream:
    """A user's own loader of (inputs, targets), read in its own order and batches."""

    name: str
    loader: Iterable[Any] = field(repr=False)
    check: Callable[[Any, str], Batch] = field(repr=False)
    """Returns a batch of the loader, or raises DataError."""
    origin: Origin | None = field(default=None, repr=False)
    """Where its images are taken from, if that is known."""

    def __iter__(self) -> Iterator[Batch]:
        return self.batches()

    @property
    def inputs(self) -> Tensor:
        """All inputs, (N, C, H, W)."""
        return torch.cat([inputs for inputs, _ in self])

    @cached_property
    def digest(self) -> str:
        """What identifies the loader: its kind, its length, and the shapes of its first batch.

        The content is not read: a loader may be endless, or shuffle.
        """
        inputs, targets = next(self.batches())
        length = len(self.loader) if isinstance(self.loader, Sized) else None
        seen = (type(self.loader).__qualname__, length, inputs.shape, targets.shape, self.name)
        return hashlib.sha256(repr(seen).encode()).hexdigest()

    def batches(self, size: int = BATCH, limit: int | None = None) -> Iterator[Batch]:
        """Yield the loader's batches (of its own size) up to `limit` images."""
        left = limit
        any_yet = False
        for batch in self.loader:
            inputs, targets = self.check(batch, self.name)
            any_yet = True
            yield (inputs, targets) if left is None else (inputs[:left], targets[:left])
            if left is not None:
                left -= len(inputs)
                if left <= 0:
                    return
        if not any_yet:
            raise DataError(f"The loader of the split {self.name!r} has no images.")

    def head(self, count: int) -> Tensor:
        """Return the first `count` inputs."""
        return torch.cat([inputs for inputs, _ in self.batches(limit=count)])

    def sample(self, count: int, seed: int = 0) -> Tensor:
        """Return the first `count` inputs; a loader that shuffles draws from `seed`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.head(count)


AnySplit = Split | Stream

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Data:
    """A data set. The search sees `val`, statistics come from `train`, `test` is for the end."""

    name: str
    makers: Mapping[str, Callable[[], AnySplit]] = field(repr=False)
    """Split name -> what reads it, when it is first asked for."""
    _made: dict[str, AnySplit] = field(default_factory=dict, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The splits that there are."""
        return tuple(name for name in SPLITS if name in self.makers)

    @property
    def train(self) -> AnySplit:
        """The training split."""
        return self.split("train")

    @property
    def val(self) -> AnySplit:
        """The validation split: what a search may look at."""
        return self.split("val")

    @property
    def test(self) -> AnySplit:
        """The test split: for the final figures only."""
        return self.split("test")

    def split(self, name: str) -> AnySplit:
        """Return a split by name; DataError says which there are."""
        if name not in self.makers:
            have = ", ".join(self.names) or "none"
            raise DataError(
                f"Data set {self.name!r} has no split {name!r} (it has: {have}). "
                f"Add one called {name!r}."
            )
        if name not in self._made:
            self._made[name] = self.makers[name]()
        return self._made[name]

    def calibration(self, count: int = 256, seed: int = 0) -> Tensor:
        """Return `count` training inputs drawn from `seed`, from which edits take statistics."""
        if count < 1:
            raise DataError(f"Calibration needs 1 image or more, not {count}.")
        return self.train.sample(count, seed)

    def check_disjoint(self) -> None:
        """Raise DataError when splits share images, with how many and which first.

        Compared are index lists into one set, image files (and links to them), and contents; a
        stream is not read for it. `hwflow search` and `hwflow build` call this before they begin;
        with a data set of your own in Python, call it yourself. Of equal contents up to 0.1 % pass.
        """
        from hwflow.data.overlap import check_disjoint

        # a split that was not asked for yet is not kept
        splits = {n: self._made[n] if n in self._made else self.makers[n]() for n in self.names}
        check_disjoint(self.name, splits)
