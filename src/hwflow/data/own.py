"""Data of a user's own function: a dict of splits, each a loader, a data set, or two arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset

from hwflow.data.arrays import image_array
from hwflow.data.intake import Intake
from hwflow.data.sources import ArraySource, TensorSource, labels
from hwflow.data.split import (
    BATCH,
    CACHE_BYTES,
    SPLITS,
    AnySplit,
    Batch,
    Data,
    Origin,
    Split,
    Stream,
)  # fmt: skip
from hwflow.errors import DataError
from hwflow.factory import find_factory


def own_data(spec: str, intake: Intake) -> Data:
    """Call the function named by "package.module:function" and take its splits.

    It returns a Data, or a dict with some of "train", "val", "test"; each is (x, y) with x uint8
    images (N, H, W, C) or preprocessed float32 (N, C, H, W), a torch Dataset of (input, target), or
    a loader of batches. Validation and test loaders are read once and kept if they are small.
    """
    function = find_factory(spec, DataError)
    try:
        found = function()
    except Exception as error:  # whatever the user's function raises
        raise DataError(f"{spec} failed: {type(error).__name__}: {error}") from error
    if isinstance(found, Data):
        return found
    if not isinstance(found, Mapping) or not set(found) <= set(SPLITS) or not found:
        raise DataError(
            f"{spec} must return a dict with some of the keys {', '.join(SPLITS)}, not "
            f"{sorted(map(str, found)) if isinstance(found, Mapping) else type(found).__name__}."
        )
    makers: dict[str, Callable[[], AnySplit]] = {
        name: partial(own_split, name, value, intake) for name, value in found.items()
    }
    return Data(spec, makers)


def own_split(name: str, value: Any, intake: Intake) -> AnySplit:
    """Return a split made of a user's arrays, Dataset or loader."""
    if isinstance(value, Split | Stream):
        return value
    if isinstance(value, tuple) and len(value) == 2:
        return _from_arrays(name, value[0], value[1], intake)
    if isinstance(value, Dataset) and not isinstance(value, IterableDataset):
        value = DataLoader(value, batch_size=BATCH)
    if not isinstance(value, Iterable):
        raise DataError(
            f"The split {name!r} is {type(value).__name__}. Give (x, y), a torch Dataset, or a "
            "loader of (inputs, targets)."
        )
    stream = Stream(name, value, partial(_checked, intake=intake), _origin(value))
    return stream if name == "train" else _kept(stream)


def _origin(loader: Iterable[Any]) -> Origin | None:
    """Return which items of which set a loader reads, None where it does not say."""
    found = getattr(loader, "dataset", None)
    if not isinstance(found, Dataset) or isinstance(found, IterableDataset):
        return None
    chosen = getattr(getattr(loader, "sampler", None), "indices", None)  # SubsetRandomSampler
    indices = np.arange(len(found)) if chosen is None else np.asarray(chosen)  # type: ignore[arg-type]
    while isinstance(found, Subset):
        indices = np.asarray(found.indices)[indices]
        found = found.dataset
    return Origin(found, indices.astype(np.int64))


def _from_arrays(name: str, x: Any, y: Any, intake: Intake) -> Split:
    x, y = np.asarray(x), np.asarray(y)
    if len(x) != len(y):
        raise DataError(f"The split {name!r}: x has {len(x)} images, y has {len(y)} labels.")
    if x.dtype == np.uint8:
        pixels, targets = image_array(x, intake, name), labels(y, name)
        intake.check_targets(targets, name)
        return Split(name, ArraySource(pixels, targets, intake))
    pair = tuple(torch.from_numpy(np.require(array, requirements="W")) for array in (x, y))
    inputs, targets = _checked(pair, name, intake)
    return Split(name, TensorSource(inputs, targets))


def _checked(batch: Any, name: str, intake: Intake) -> Batch:
    """Return (inputs, targets) of a user's batch; DataError when it is anything else."""
    where = f"The split {name!r}"
    pair = tuple(batch) if isinstance(batch, list | tuple) else ()
    if len(pair) != 2 or not all(isinstance(part, Tensor) for part in pair):
        raise DataError(f"{where} must yield (inputs, targets), two tensors.")
    inputs, targets = pair
    if not inputs.is_floating_point() or inputs.dim() != 4 or len(inputs) != len(targets):
        raise DataError(
            f"{where} must yield preprocessed floating-point inputs (n, C, H, W) and n targets, "
            f"not {inputs.dtype} of shape {tuple(inputs.shape)} and {len(targets)} targets."
        )
    if tuple(inputs.shape[1:]) != intake.shape:
        raise DataError(
            f"{where}: the inputs have shape {tuple(inputs.shape[1:])}, "
            f"the network takes {intake.shape} (channels, height, width)."
        )
    intake.check_targets(targets, where)
    return inputs.float(), targets if targets.is_floating_point() else targets.long()


def _kept(stream: Stream) -> AnySplit:
    """Return the stream as a split in memory if it is small, else as it is."""
    batches, size = [], 0
    for batch in stream:
        batches.append(batch)
        size += batch[0].nelement() * 4
        if size > CACHE_BYTES:
            return stream
    inputs = torch.cat([inputs for inputs, _ in batches])
    targets = torch.cat([targets for _, targets in batches])
    kept = inputs.contiguous(memory_format=torch.channels_last)
    return Split(stream.name, TensorSource(kept, targets), stream.origin)
