"""Read a network, an ONNX file or a list of layers as a workload."""

from __future__ import annotations

from pathlib import Path

from hwflow.errors import ModelError
from hwflow.network import Network
from hwflow.workload import Workload

LAYER_LISTS = (".yaml", ".yml")
"""File name endings of layer lists."""


def extract(source: Network | str | Path) -> Workload:
    """Return the workload of a torch network, an ONNX file (.onnx) or a layer list (.yaml).

    Only a network needs torch. Raises ModelError or WorkloadError when it cannot be read.
    """
    if isinstance(source, Network):
        from hwflow.extract.exported import extract_network

        return extract_network(source).workload
    ending = Path(source).suffix.lower()
    if ending == ".onnx":
        from hwflow.extract.onnx_file import read_onnx

        return read_onnx(source)
    if ending in LAYER_LISTS:
        from hwflow.extract.layer_list import read_layers

        return read_layers(source)
    raise ModelError(
        f"Cannot read a workload from {str(source)!r}: expected a file that ends in .onnx, "
        f"{' or '.join(LAYER_LISTS)}, or a network."
    )
