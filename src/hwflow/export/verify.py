"""Running an exported file on ONNX Runtime beside the torch module it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from torch.utils import _pytree

from hwflow.errors import DataError, ModelError
from hwflow.network import Network

ENOUGH = 0.995
"""Share of equal predictions below which another setting of the runtime is tried."""

PRECISE = {"session.x64quantprecision": "1"}
"""Makes ONNX Runtime multiply u8 by u8 on x86. On AVX2 without VNNI its u8s8 kernels add pairs of
products in 16 bits, which saturates; with VNNI both settings give the same numbers and the default
is faster."""

CHUNK = 50


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how it compares with the torch module on the same inputs."""

    path: Path
    size_bytes: int
    opset: int
    integer_layers: int
    """Multiplying layers that read 8-bit operands only: the runtime may use integer kernels."""
    simulated_layers: int
    """Multiplying layers with an operand on a grid that the file only simulates."""
    float_layers: int
    """The other multiplying layers."""
    inputs: int = 0
    """How many inputs were compared."""
    agreement: float | None = None
    """Share of predictions (argmax over axis 1 of the first output) that are the same; None where
    that output has no such axis."""
    max_difference: float = 0.0
    """Largest absolute difference of an output."""
    runtime: str = ""
    """Runtime, version and device."""
    settings: Mapping[str, str] | None = None
    """Session settings of the runtime that the figures hold for; empty for its defaults."""

    @property
    def agrees(self) -> bool:
        """Whether at least 99.5 % of the predictions are the same."""
        return self.agreement is None or self.agreement >= ENOUGH


@dataclass(frozen=True)
class Comparison:
    """Outputs of the file against those of the module."""

    inputs: int
    agreement: float | None
    max_difference: float
    settings: Mapping[str, str]


def inputs_for(network: Network, given: Tensor | None) -> Tensor:
    """Return what a file is compared on: what is given, else calibration inputs or the example."""
    if given is not None:
        return given
    return network.example if network.calibration is None else network.calibration


def report(
    path: Path, opset: int, layers: tuple[int, int, int], compared: Comparison
) -> ExportReport:
    """Return what was written; `layers` counts those in integers, simulated and in floats."""
    return ExportReport(
        path, path.stat().st_size, opset, *layers, compared.inputs, compared.agreement,
        compared.max_difference, runtime_name(), compared.settings,
    )  # fmt: skip


def compare(path: Path, module: nn.Module, inputs: Tensor) -> Comparison:
    """Run both on `inputs` (N, ...) and compare; the runtime's defaults unless they disagree.

    Raises DataError for no inputs, ModelError when the runtime refuses the file or a number is not
    finite.
    """
    if len(inputs) == 0:
        raise DataError("There are no inputs to check the exported file on. Give at least one.")
    with torch.no_grad():
        expected = [_arrays(module(chunk)) for chunk in torch.split(inputs, CHUNK)]
    found = _compare(path, expected, inputs, {})
    if found.agreement is not None and found.agreement < ENOUGH:
        precise = _compare(path, expected, inputs, PRECISE)
        if (precise.agreement or 0.0) > found.agreement:
            return precise
    return found


def runtime_name() -> str:
    """Return the runtime, its version and its device."""
    return f"ONNX Runtime {onnxruntime.__version__}, CPU"


def _compare(
    path: Path, expected: list[list[np.ndarray]], inputs: Tensor, settings: Mapping[str, str]
) -> Comparison:
    same = of = 0
    differences = [0.0]
    for theirs, ours in zip(_run(path, inputs, settings), expected, strict=True):
        for a, b in zip(theirs, ours, strict=True):
            differences.append(float(np.abs(a - b).max(initial=0.0)))
        if ours[0].ndim > 1:
            equal = theirs[0].argmax(axis=1) == ours[0].argmax(axis=1)
            same, of = same + int(equal.sum()), of + equal.size
    if not np.isfinite(differences).all():
        raise ModelError(
            "The network gives numbers that are not finite. Check its weights and the inputs."
        )
    return Comparison(len(inputs), same / of if of else None, max(differences), settings)


def _run(path: Path, inputs: Tensor, settings: Mapping[str, str]) -> Iterator[list[np.ndarray]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # what fails is raised
    for key, value in settings.items():
        options.add_session_config_entry(key, value)
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        for chunk in torch.split(inputs, CHUNK):
            yield session.run(None, {name: chunk.numpy()})
    except Exception as error:  # the runtime's errors have no base class of their own
        raise ModelError(f"ONNX Runtime cannot run the exported file: {error}") from error


def _arrays(outputs: Any) -> list[np.ndarray]:
    leaves = _pytree.tree_leaves(outputs)
    return [leaf.numpy() for leaf in leaves if isinstance(leaf, Tensor)]
