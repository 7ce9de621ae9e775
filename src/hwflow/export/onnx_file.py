"""Network -> ONNX file: exported, marked, checked, and only then put in place."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import onnx
import torch
from torch import Tensor, fx

from hwflow.errors import HwflowError, ModelError
from hwflow.export.integers import in_integers
from hwflow.export.kinds import Kinds, kinds
from hwflow.export.operators import DOMAIN, functions, translations
from hwflow.export.plain import plain, runnable
from hwflow.export.verify import ExportReport, compare, inputs_for, report
from hwflow.extract.exported import export_network, is_exported, read_graph
from hwflow.network import Network
from hwflow.running import evaluating
from hwflow.workload import FLOAT_BITS, Workload

OPSET = 18
BITS_KEY = "hwflow.bits"
"""Entry of the file's metadata: {"weights": {layer: bits}, "tensors": {tensor: bits},
"simulated": [layers]} as JSON."""

_KEPT_NOTES = ("pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy")
"""Metadata of nodes that says which module they come from; the rest holds paths of this machine."""

_LARGEST = 2**31 - 1
"""Bytes of the largest single file that ONNX's format allows."""


def to_onnx(
    network: Network, path: str | Path, *, inputs: Tensor | None = None, opset: int = OPSET
) -> ExportReport:
    """Write `network` as one ONNX file for any batch and compare it with the torch module.

    `inputs`, preprocessed images (N, C, H, W), are what both are run on; the calibration inputs or
    the example by default. The file appears under its name when it is complete and checked; one
    that was there before is replaced then. How bits are written: :mod:`hwflow.export.operators`.
    Raises ModelError when the network cannot be exported or the runtime refuses it, HwflowError
    when the file cannot be written.
    """
    path = checked_path(path)
    graph = graph_of(network)
    found = read_graph(graph, network.name)
    how = kinds(runnable(found))
    integers = [found.values[name].name for name in how.tensors if name in found.values]
    with evaluating(graph):
        stored = in_integers(plain(graph), integers)
    model = exported(network, stored, opset, translations(opset))
    _mark(model, found.workload, how, opset)
    with appearing(path) as draft:
        write(model, draft)
        with evaluating(network.module):
            compared = compare(draft, network.module, inputs_for(network, inputs))
    counts = (how.count("integer"), how.count("simulated"), how.count("float"))
    return report(path, opset, counts, compared)


def checked_path(path: str | Path) -> Path:
    """Return where a file is to be written; raise HwflowError for other endings or folders."""
    path = Path(path)
    if path.suffix != ".onnx":
        raise HwflowError(f"Cannot write {path.name!r} as ONNX. Give a name that ends in .onnx.")
    if not path.parent.is_dir():
        raise HwflowError(f"There is no folder {str(path.parent)!r} to write {path.name!r} in.")
    return path


def graph_of(network: Network) -> fx.GraphModule:
    """Return a network's exported graph, its own where it is one."""
    if is_exported(network.module):
        return network.module  # type: ignore[return-value]
    return export_network(network, dynamic_batch=True)


def exported(
    network: Network, graph: fx.GraphModule, opset: int,
    table: Mapping[Callable[..., Any], Callable[..., Any]],
) -> onnx.ModelProto:  # fmt: skip
    """Return the ONNX model of a graph; `table` says what hwflow's operators become.

    Raises ModelError with the exporter's reason.
    """
    example = network.example
    example = torch.cat([example, example]) if len(example) == 1 else example
    try:
        program = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            opset_version=opset,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            custom_translation_table=dict(table),
            verbose=False,
        )
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(f"Network {network.name!r} cannot be exported: {reason[0]}") from error
    if program is None:
        raise ModelError(f"Network {network.name!r} cannot be exported.")
    return program.model_proto


def _mark(model: onnx.ModelProto, workload: Workload, how: Kinds, opset: int) -> None:
    """Write the bits, and what is simulated, into the file."""
    _own_zero_points(model.graph)
    _declare_functions(model, opset)
    simulated = [name for name, kind in how.layers.items() if kind == "simulated"]
    if note(model, workload, simulated):
        model.doc_string = _explanation(len(simulated), len(how.layers))


def note(model: onnx.ModelProto, workload: Workload, simulated: Sequence[str]) -> bool:
    """Write the bits into the file and take places on this machine out; return if there are any."""
    for node in model.graph.node:
        kept = [entry for entry in node.metadata_props if entry.key in _KEPT_NOTES]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    model.producer_name = "hwflow"
    weights, tensors = bits_of(workload)
    if weights or tensors:
        entry = model.metadata_props.add()
        entry.key = BITS_KEY
        text = {"weights": weights, "tensors": tensors, "simulated": list(simulated)}
        entry.value = json.dumps(text)
    return bool(weights or tensors)


def bits_of(workload: Workload) -> tuple[dict[str, int], dict[str, int]]:
    """Return the bits of the weights and of the tensors that are quantised."""
    weights = {x.name: x.weight_bits for x in workload.mac_layers if x.op != "matmul"}
    tensors = {i.name: i.bits for i in workload.inputs}
    tensors |= {layer.name: layer.output_bits for layer in workload}
    return _quantised(weights), _quantised(tensors)


def _quantised(bits: dict[str, int]) -> dict[str, int]:
    return {name: value for name, value in bits.items() if value != FLOAT_BITS}


def _explanation(simulated: int, layers: int) -> str:
    if not simulated:
        return f"Quantised by hwflow; bits in the metadata entry {BITS_KEY}."
    return (
        f"Quantised by hwflow; bits in the metadata entry {BITS_KEY}. {simulated} of {layers} "
        "multiplying layers are SIMULATED: their operands lie on their grids, but the runtime "
        "computes with floats. Do not read speed off this file."
    )


def _own_zero_points(graph: onnx.GraphProto) -> None:
    """Give each stored weight a zero point of its own.

    The exporter shares equal ones, which ONNX Runtime's u8u8 setting fails on.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            own = onnx.TensorProto()
            own.CopyFrom(constants[node.input[2]])
            own.name = f"{node.input[0]}_zero"
            graph.initializer.append(own)
            node.input[2] = own.name
    read = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    if len(kept) < len(graph.initializer):
        del graph.initializer[:]
        graph.initializer.extend(kept)


def _declare_functions(model: onnx.ModelProto, opset: int) -> None:
    """Add the functions that the graph calls."""
    called = {node.op_type for node in model.graph.node if node.domain == DOMAIN}
    known = functions(opset)
    model.functions.extend(known[name] for name in sorted(called))
    for node in model.graph.node:
        if node.domain == DOMAIN:
            bits = next(a.i for a in node.attribute if a.name == "bits")
            node.doc_string = f"simulated: {bits}-bit grid in float arithmetic"
    if not called:
        kept = [entry for entry in model.opset_import if entry.domain != DOMAIN]
        del model.opset_import[:]
        model.opset_import.extend(kept)


def write(model: onnx.ModelProto, path: Path) -> None:
    """Write a model that onnx's checker accepts; raise ModelError for any other."""
    if model.ByteSize() > _LARGEST:
        raise ModelError("The network is too large for one ONNX file (2 GiB). Use a smaller one.")
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"The exported file is not valid ONNX: {error}") from error
    path.write_bytes(model.SerializeToString())


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Give a temporary file that takes the name `path` when all went well, and goes otherwise."""
    try:
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.stem}-", suffix=".onnx",
                                delete=False) as made:  # fmt: skip
            draft = Path(made.name)
    except OSError as error:
        raise HwflowError(f"Cannot write into {str(path.parent)!r}: {error.strerror}.") from error
    try:
        yield draft
        _as_usual(draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _as_usual(path: Path) -> None:
    """Give a temporary file the access rights that a new file has."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)
