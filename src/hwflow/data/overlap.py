"""Whether the splits of a data set share images: by index, by file, by content.

An accuracy on images that were trained on, or that a search has chosen by, says nothing of new
ones. Splits that are lists of indices into one set, or image files, must share nothing. Images that
are equal in content may be few (SHARED_CONTENT): large sets come with some.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hwflow.data.sources import ArraySource, DatasetSource, FileSource, TensorSource
from hwflow.data.split import AnySplit, Origin, Split
from hwflow.errors import DataError

PAIRS = (("train", "val"), ("train", "test"), ("val", "test"))

SHARED_CONTENT = 0.001
"""The share of a split that may be equal in content to images of another."""

COMPARED_BYTES = 2**28
"""Files of equal size are read and compared until so much was read."""

SHOWN = 5

Part = TypeVar("Part")


def check_disjoint(name: str, splits: Mapping[str, AnySplit]) -> None:
    """Raise DataError when two of the splits share images; it says how many and which first."""
    _check(name, {key: Marks(split) for key, split in splits.items()}, shared)


def check_origins(name: str, origins: Mapping[str, Origin]) -> None:
    """Raise DataError when two lists of indices into one set share any; it names the first."""
    _check(name, origins, _by_index)


def _check(
    name: str, parts: Mapping[str, Part], look: Callable[[Part, Part], Shared | None]
) -> None:
    for first, second in PAIRS:
        if first in parts and second in parts:
            found = look(parts[first], parts[second])
            if found is not None:
                raise DataError(_sentence(name, first, second, found))


@dataclass(frozen=True)
class Shared:
    """What two splits share."""

    count: int
    of: int
    """How many images of the second were looked at."""
    by: str
    """How that is known: "index", "file" or "content"."""
    first: tuple[str, ...]
    """The first few of them, in words."""


@dataclass(frozen=True, eq=False)
class Marks:
    """What tells the images of a split from others; found when first asked for."""

    split: AnySplit

    @property
    def origin(self) -> Origin | None:
        """The larger set that the split is taken from, where it is known."""
        source = self.split.source if isinstance(self.split, Split) else None
        if isinstance(source, DatasetSource):
            return Origin(source.dataset, np.asarray(source.indices))
        return self.split.origin

    @property
    def files(self) -> FileSource | None:
        """The image files, None where the split has other sources."""
        source = self.split.source if isinstance(self.split, Split) else None
        return source if isinstance(source, FileSource) else None

    @cached_property
    def content(self) -> dict[bytes, int] | None:
        """Digest of each image in memory -> its place; None where images are not in memory."""
        source = self.split.source if isinstance(self.split, Split) else None
        if isinstance(source, ArraySource):
            return _digests(source.pixels)
        if isinstance(source, TensorSource):
            return _digests(source.tensor.contiguous().numpy())
        return None

    @cached_property
    def paths(self) -> list[str]:
        """The paths of the files."""
        assert self.files is not None  # asked for where there are files
        root = f"{self.files.root}{os.sep}"
        return [root + name for name in self.files.files]

    @cached_property
    def states(self) -> list[os.stat_result]:
        """What the file system says of each file."""
        return [os.stat(path) for path in self.paths]  # noqa: PTH116  # there are a million

    @property
    def ids(self) -> list[tuple[int, int] | str]:
        """What is the same for all links to a file."""
        return [
            # some file systems number no files
            (state.st_dev, state.st_ino) if state.st_ino else str(Path(path).resolve())
            for path, state in zip(self.paths, self.states, strict=True)
        ]

    @cached_property
    def by_size(self) -> dict[int, list[int]]:
        """Size in bytes -> the places of the files that have it."""
        found: dict[int, list[int]] = defaultdict(list)
        for place, state in enumerate(self.states):
            found[state.st_size].append(place)
        return found

    @cached_property
    def read(self) -> dict[int, bytes]:
        """Digests of the files that were read, by place."""
        return {}

    def digest(self, place: int) -> bytes:
        """Return the digest of a file; it is read once."""
        if place not in self.read:
            with open(self.paths[place], "rb", buffering=0) as file:  # noqa: PTH123
                self.read[place] = hashlib.sha256(file.read()).digest()
        return self.read[place]


def shared(first: Marks, second: Marks) -> Shared | None:
    """Return what two splits share, None where that is nothing, or cannot be known."""
    if first.origin is not None and second.origin is not None:
        found = _by_index(first.origin, second.origin)
        if found is not None:
            return found
    if first.files is not None and second.files is not None:
        return _by_file(first, second) or _by_file_content(first, second)
    if first.content is not None and second.content is not None:
        return _by_content(first, second)
    return None


def _by_index(first: Origin, second: Origin) -> Shared | None:
    if not first.same_set(second):
        return None
    both = np.intersect1d(first.indices, second.indices)
    rows = tuple(f"index {index}" for index in both[:SHOWN])
    return Shared(len(both), len(second.indices), "index", rows) if len(both) else None


def _by_file(first: Marks, second: Marks) -> Shared | None:
    """Return files that are one: the same path, or links to the same file."""
    known = {id_: place for place, id_ in enumerate(first.ids)}
    pairs = [(known[id_], place) for place, id_ in enumerate(second.ids) if id_ in known]
    return _files(first, second, pairs, len(second.states), "file") if pairs else None


def _by_file_content(first: Marks, second: Marks) -> Shared | None:
    """Return files of equal content; those of one size are compared, in a drawn order of sizes."""
    sizes = sorted(first.by_size.keys() & second.by_size.keys())
    pairs, read, compared = [], 0, len(second.states)
    for index in np.random.default_rng(0).permutation(len(sizes)).tolist():
        ours, theirs = first.by_size[sizes[index]], second.by_size[sizes[index]]
        if read > COMPARED_BYTES:
            compared -= len(theirs)
            continue
        read += sizes[index] * (len(ours) + len(theirs))
        known = {first.digest(place): place for place in reversed(ours)}
        pairs += [(known[d], place) for place in theirs if (d := second.digest(place)) in known]
    if not _too_many(len(pairs), compared):
        return None
    return _files(first, second, sorted(pairs, key=lambda pair: pair[1]), compared, "content")


def _by_content(first: Marks, second: Marks) -> Shared | None:
    known, looked = first.content or {}, second.content or {}
    pairs = [(known[digest], place) for digest, place in looked.items() if digest in known]
    if not _too_many(len(pairs), len(looked)):
        return None
    rows = tuple(
        f"{second.split.name} image {there} is {first.split.name} image {here}"
        for here, there in pairs[:SHOWN]
    )
    return Shared(len(pairs), len(looked), "content", rows)


def _too_many(count: int, of: int) -> bool:
    return count > SHARED_CONTENT * of


def _files(
    first: Marks, second: Marks, pairs: Sequence[tuple[int, int]], of: int, by: str
) -> Shared:
    ours, theirs = first.files, second.files
    assert ours is not None
    assert theirs is not None
    rows = (
        f"{theirs.root.name}/{theirs.files[there]} is {ours.root.name}/{ours.files[here]}"
        for here, there in pairs
    )
    return Shared(len(pairs), of, by, tuple(islice(rows, SHOWN)))


def _digests(rows: NDArray[np.generic]) -> dict[bytes, int]:
    """Return the digest of each row -> its place, of equal ones the first."""
    found: dict[bytes, int] = {}
    shape = repr(rows.shape[1:]).encode()
    for place, row in enumerate(np.ascontiguousarray(rows)):
        found.setdefault(hashlib.sha256(row.tobytes() + shape).digest(), place)
    return found


_WHY = {
    ("train", "val"): "A search would be led by images that the network was trained on",
    ("train", "test"): "The final accuracy would be of images that the network was trained on",
    ("val", "test"): "The final accuracy would be of images that the search has chosen by",
}


def _sentence(name: str, first: str, second: str, found: Shared) -> str:
    looser = second if first == "train" else first
    more = ", ..." if found.count > len(found.first) else ""
    return (
        f"Data set {name!r}: {found.count:,} of the {found.of:,} images of {second!r} are in "
        f"{first!r} too (known by {found.by}): {', '.join(found.first)}{more}. "
        f"{_WHY[first, second]}. Take them out of {looser!r}."
    )
