"""The integer program: steps over named arrays of int64, and what runs them. Plain numpy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hwflow.errors import DataError
from hwflow.integer.values import Array, Codes, Grid, Real

BATCH = 16
"""How many images run at once."""


@dataclass(frozen=True, eq=False)
class Step:
    """One operation: the array `name` from the arrays `inputs`."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    compute: Callable[..., Array]
    """Arrays of the inputs -> array of the step."""
    layer: str = ""
    bits: int | None = None
    """Width of the two's-complement accumulator that no input can overflow; None for steps that
    add nothing up."""


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """A quantised network as a program on integers. See :func:`hwflow.integer.integer_network`."""

    name: str
    input: str
    """Name of the quantised input."""
    input_grid: Grid
    shape: tuple[int, ...]
    """Shape of one image."""
    steps: tuple[Step, ...]
    grids: Mapping[str, Grid]
    """Grid of every quantised tensor, by layer or input."""
    outputs: tuple[Codes | Real, ...]
    _last: Mapping[str, int] = field(init=False, repr=False)
    """Array -> index of the last step that reads it."""

    def __post_init__(self) -> None:
        last = {name: i for i, step in enumerate(self.steps) for name in step.inputs}
        object.__setattr__(self, "_last", last)

    @property
    def accumulators(self) -> dict[str, int]:
        """Bits of the accumulator of every layer that adds up, by layer: the weights' worst case.

        No input can overflow them: they follow from the integer weights and the grids.
        """
        found: dict[str, int] = {}
        for step in self.steps:
            if step.bits is not None:
                found[step.layer] = max(step.bits, found.get(step.layer, 0))
        return found

    def run(self, images: ArrayLike) -> tuple[Array, ...]:
        """Return the network's outputs, in the order it gives them, in float64.

        `images` are preprocessed, (N, C, H, W). Where an output is not quantised, it is the
        accumulator times its real factor: the only floating-point numbers besides the input's.
        Raises DataError for images of another shape.
        """
        parts = [self._outputs(chunk) for chunk in self._chunks(images)]
        return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))

    def codes(self, images: ArrayLike) -> dict[str, Array]:
        """Return the integers of every quantised tensor, by layer or input. All are kept at once.

        Raises DataError for images of another shape.
        """
        parts = [self._run(chunk, keep=set(self.grids)) for chunk in self._chunks(images)]
        return {name: np.concatenate([part[name] for part in parts]) for name in self.grids}

    def trace(self, images: ArrayLike) -> tuple[dict[str, Array], tuple[Array, ...]]:
        """Return what :meth:`codes` and :meth:`run` return, computed once."""
        keep = set(self.grids) | {name for output in self.outputs for name in _read(output)}
        parts = [self._run(chunk, keep) for chunk in self._chunks(images)]
        codes = {name: np.concatenate([part[name] for part in parts]) for name in self.grids}
        real = [tuple(_real(output, part) for output in self.outputs) for part in parts]
        return codes, tuple(np.concatenate(arrays) for arrays in zip(*real, strict=True))

    def sums(self, images: ArrayLike) -> dict[str, tuple[int, int]]:
        """Return the smallest and the largest accumulator that occurs, by layer."""
        found: dict[str, tuple[int, int]] = {}
        for chunk in self._chunks(images):
            for step, made in self._walk({self.input: self.input_grid.codes(chunk)}, set()):
                if step.bits is not None:
                    low, high = found.get(step.layer, (0, 0))
                    found[step.layer] = min(low, int(made.min())), max(high, int(made.max()))
        return found

    def _chunks(self, images: ArrayLike) -> Sequence[Array]:
        array = np.asarray(images, dtype=np.float32)
        if array.shape[1:] != self.shape or not len(array):
            raise DataError(
                f"The integer network {self.name!r} takes images of shape (N, "
                f"{', '.join(map(str, self.shape))}) with N >= 1, not {array.shape}."
            )
        return [array[i : i + BATCH] for i in range(0, len(array), BATCH)]

    def _outputs(self, images: Array) -> tuple[Array, ...]:
        keep = {name for output in self.outputs for name in _read(output)}
        arrays = self._run(images, keep)
        return tuple(_real(output, arrays) for output in self.outputs)

    def _run(self, images: Array, keep: set[str]) -> dict[str, Array]:
        arrays = {self.input: self.input_grid.codes(images)}
        for _ in self._walk(arrays, keep):
            pass
        return arrays

    def _walk(self, arrays: dict[str, Array], keep: set[str]) -> Iterator[tuple[Step, Array]]:
        """Yield each step with what it makes of `arrays`, which it is added to.

        What no later step reads is dropped but for `keep`.
        """
        for index, step in enumerate(self.steps):
            arrays[step.name] = step.compute(*(arrays[name] for name in step.inputs))
            yield step, arrays[step.name]
            for name in step.inputs:
                if self._last[name] == index and name not in keep:
                    arrays.pop(name, None)


def _read(output: Codes | Real) -> tuple[str, ...]:
    if isinstance(output, Codes):
        return (output.name,)
    return tuple(term.name for term in output.terms)


def _real(output: Codes | Real, arrays: Mapping[str, Array]) -> Array:
    """Return an output as real numbers."""
    if isinstance(output, Codes):
        return output.grid.real(arrays[output.name])
    total: Any = output.offset
    for term in output.terms:
        total = total + term.factor * arrays[term.name]
    for curve in output.curves:
        total = curve.apply(np.asarray(total))
    return np.asarray(total)
