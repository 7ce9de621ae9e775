"""The teacher's own activations on disk: what layer-wise distillation reads again and again.

One pass of the exported network writes what some of its tensors hold on a set of images, one
memory-mapped .npy file a tensor, (images, ...) in 16 or 32 bits. A file has its name once it is
whole; `features.json` beside the files tells which network and images they are of.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from hwflow.errors import HwflowError, unknown_name
from hwflow.files import whole
from hwflow.running import fast_format
from hwflow.units import show

HEAD = "features.json"
CHUNK = 125
"""Images that run through the teacher at once."""

MOST_BYTES = 8 * 2**30
"""What the files of one folder may take together where nothing else is said."""

Kind = Literal["float16", "float32"]
_BYTES = {"float16": 2, "float32": 4}

Nodes = Mapping[str, fx.Node]
"""Name of a tensor -> the node of the teacher's graph that holds it."""


@dataclass(frozen=True, eq=False)
class Features:
    """Activations of a teacher on `images` images, by the name of the tensor."""

    folder: Path
    images: int
    names: tuple[str, ...]
    key: str
    """SHA-256 of the teacher, the images and the number format."""
    _open: dict[str, NDArray[Any]] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Leave open files out of copies for other processes."""
        return {**self.__dict__, "_open": {}}

    def read(self, name: str, images: Sequence[int] | slice) -> Tensor:
        """Return what the tensor holds on some images, float32 (n, ...); maps channels last."""
        values = torch.from_numpy(self._array(name)[images].astype(np.float32))
        return fast_format(values)

    def _array(self, name: str) -> NDArray[Any]:
        if name not in self._open:
            if name not in self.names:
                raise HwflowError(unknown_name("tensor", name, self.names))
            path = self.folder / file_name(name)
            self._open[name] = np.load(path, mmap_mode="r", allow_pickle=False)
        return self._open[name]

    def variance(self, name: str, images: slice, step: int = CHUNK) -> float:
        """Return the mean squared distance from the channel means: what predicting these errs by.

        Computed in double precision; axis 1 is the channel. At least 1e-12, so that it may divide.
        """
        total, squares, count = None, 0.0, 0
        for start in range(images.start, images.stop, step):
            part = self.read(name, slice(start, min(start + step, images.stop))).double()
            rows = part.flatten(2).transpose(1, 2).flatten(0, 1) if part.dim() > 2 else part
            total = rows.sum(0) if total is None else total + rows.sum(0)
            squares += float(rows.square().sum())
            count += len(rows)
        if total is None:
            raise HwflowError("A variance needs one image at least.")
        return max((squares - float(total.square().sum()) / count) / (count * len(total)), 1e-12)

    @cached_property
    def bytes(self) -> int:
        """Size of the files."""
        return sum((self.folder / file_name(name)).stat().st_size for name in self.names)


def file_name(tensor: str) -> str:
    """Return the name of a tensor's file: its own where that is plain, with a check sum else."""
    plain = "".join(c if c.isalnum() or c in "._-" else "_" for c in tensor)
    mark = "" if plain == tensor else f"-{hashlib.sha256(tensor.encode()).hexdigest()[:8]}"
    return f"{plain}{mark}.npy"


def planned_bytes(nodes: Nodes, images: int, kind: Kind = "float16") -> int:
    """Return the size that the files of these tensors would have, beforehand."""
    return sum(images * elements(node) * _BYTES[kind] for node in nodes.values())


def elements(node: fx.Node) -> int:
    """Return the elements that one image has of a node's tensor."""
    found = 1
    for size in node.meta["val"].shape[1:]:
        found *= int(size)
    return found


def record(
    graph: fx.GraphModule,
    nodes: Nodes,
    inputs: Callable[[], Iterable[Tensor]],
    images: int,
    folder: Path,
    *,
    key: str,
    kind: Kind = "float16",
    most_bytes: int = MOST_BYTES,
    on_images: Callable[[int], None] | None = None,
) -> Features:
    """Write what `nodes` hold on the first `images` of `inputs()`, or take what is there already.

    `graph` takes any batch and runs as it is, in evaluation mode; `key` identifies it and the
    images. Files of the same key are kept and only missing tensors are written, in one pass;
    `on_images` hears how many images are done. Raises HwflowError where the files would take more
    than `most_bytes` or the disk has, for a folder of another key, for too few images, and for
    values that do not fit `kind`.
    """
    digest = hashlib.sha256(f"{key} {images} {kind}".encode()).hexdigest()
    known = _known(folder, digest)
    missing = {name: node for name, node in nodes.items() if name not in known}
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        for torn in folder.glob("*.part"):  # of a process that was killed
            torn.unlink()
        _check_size(missing, known, images, folder, kind, most_bytes)
        _write(graph, missing, inputs, images, folder, kind, on_images)
        known = (*known, *missing)
        with whole(folder / HEAD) as part:
            part.write_text(json.dumps({"key": digest, "images": images, "names": known}))
    return Features(folder, images, known, digest)


def _known(folder: Path, key: str) -> tuple[str, ...]:
    head = folder / HEAD
    if not head.exists():
        return ()
    try:
        found = json.loads(head.read_text())
        same, names = found["key"] == key, tuple(found["names"])
    except (ValueError, KeyError, TypeError) as error:
        raise HwflowError(
            f"{head} cannot be read: {error}. Delete the folder, it is made again."
        ) from error
    if not same:
        raise HwflowError(
            f"{folder} holds the activations of another network, other images, another number of "
            "them or another number format. Name another folder, or delete this one."
        )
    return tuple(name for name in names if (folder / file_name(name)).exists())


def _check_size(
    missing: Nodes, known: Sequence[str], images: int, folder: Path, kind: Kind, most: int
) -> None:
    new = planned_bytes(missing, images, kind)
    held = sum((folder / file_name(name)).stat().st_size for name in known)
    free = shutil.disk_usage(folder).free
    text = f"The activations of {len(missing)} tensors on {images} images take {show(new, 'B')}"
    advice = "Take fewer images or fewer sites"
    if new + held > most:
        raise HwflowError(
            f"{text}, with what is there {show(new + held, 'B')}; allowed are {show(most, 'B')}. "
            f"{advice}, or allow more (most_bytes)."
        )
    if new > free:
        raise HwflowError(f"{text}, but {folder} has {show(free, 'B')} free. {advice}.")


def _write(
    graph: fx.GraphModule,
    nodes: Nodes,
    inputs: Callable[[], Iterable[Tensor]],
    images: int,
    folder: Path,
    kind: Kind,
    on_images: Callable[[int], None] | None,
) -> None:
    writer = _Writer(graph, nodes, images, folder, kind)
    try:
        for some in _chunked(inputs(), images):
            writer.take(some)
            if on_images is not None:
                on_images(writer.done)
        if writer.done < images:
            raise HwflowError(
                f"There are {writer.done} images, not the {images} asked for. Ask for fewer."
            )
        writer.finish()
    finally:
        writer.clean()


def _chunked(batches: Iterable[Tensor], images: int) -> Iterable[Tensor]:
    left = images
    for batch in batches:
        for part in torch.split(batch[:left], CHUNK):
            if len(part):
                yield part
        left -= len(batch)
        if left <= 0:
            return


class _Writer(fx.Interpreter):
    """Runs a graph and writes what some nodes hold, image after image."""

    def __init__(
        self, graph: fx.GraphModule, nodes: Nodes, images: int, folder: Path, kind: Kind
    ) -> None:
        super().__init__(graph)
        self.done = 0
        self._parts = {n: folder / f"{file_name(n)}.{os.getpid()}.part" for n in nodes}
        self._folder = folder
        self._kind = np.dtype(kind)
        self._names: dict[fx.Node, list[str]] = {}
        self._files: dict[str, NDArray[Any]] = {}
        for name, node in nodes.items():
            self._names.setdefault(node, []).append(name)
            shape = (images, *(int(size) for size in node.meta["val"].shape[1:]))
            self._files[name] = np.lib.format.open_memmap(
                self._parts[name], mode="w+", dtype=self._kind, shape=shape
            )

    def take(self, inputs: Tensor) -> None:
        """Write the activations on some images."""
        with torch.no_grad():
            self.run(fast_format(inputs))
        self.done += len(inputs)

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        for name in self._names.get(n, ()):
            self._put(name, value)
        return value

    def _put(self, name: str, value: Tensor) -> None:
        limit = float(np.finfo(self._kind).max)
        top = float(value.abs().max())
        if not top <= limit:
            raise HwflowError(
                f"Tensor {name!r} holds {top:.3g}, more than {self._kind} can ({limit:.3g}). "
                "Use float32, or look at the weights and the inputs."
            )
        self._files[name][self.done : self.done + len(value)] = value.numpy()

    def finish(self) -> None:
        """Put the files on the disk and give them their names."""
        for name, values in self._files.items():
            values.flush()  # type: ignore[attr-defined]  # a memory map
            self._parts[name].replace(self._folder / file_name(name))

    def clean(self) -> None:
        """Remove files that did not become whole."""
        self._files.clear()
        for part in self._parts.values():
            part.unlink(missing_ok=True)
