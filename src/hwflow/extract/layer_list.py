"""YAML list of layers -> workload, for who has no network. ``examples/layers.yaml`` shows it all.

name: my-net
input: [1, 3, 32, 32]            # or inputs: {image: [1, 3, 32, 32], mask: {shape: ..., bits: 8}}
layers:
- {name: conv1, op: conv, out_channels: 16, kernel: 3, padding: 1, act: relu}
- {op: max_pool, kernel: 2}    # reads the layer before it; inputs: [conv1] says otherwise
- {op: conv, N: 1, K: 96, C: 3, P: 55, Q: 55, R: 11, S: 11, stride: 4}   # stands alone
- {op: conv, out_channels: 16, kernel: 3, density: 0.4}   # share of nonzero input activations
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from hwflow.errors import WorkloadError, unknown_name
from hwflow.extract.layer_entry import Entry
from hwflow.extract.layer_ops import LOOPS, OPERATORS, acts, fields_of, from_loops
from hwflow.workload import FLOAT_BITS, MAC_OPS, PRESERVING_OPS, Input, Layer, Shape, Workload


def read_layers(path: str | Path) -> Workload:
    """Read a list of layers. Raises WorkloadError that names the file, the layer and the key."""
    path = Path(path)
    top = Entry(path, "the file", _load(path))
    entries = top.need("layers")
    if not isinstance(entries, list) or not entries:
        top.wrong("layers", "a list of at least one layer")
    name = str(top.get("name", path.stem))
    reader = _Reader(path, _inputs(top))
    top.finish()
    for index, given in enumerate(entries, 1):
        reader.add(_placed(path, index, given))
    return reader.workload(name)


def _load(path: Path) -> Any:
    try:
        with path.open(encoding="utf-8") as file:
            return yaml.safe_load(file)
    except FileNotFoundError:
        raise WorkloadError(f"There is no file {str(path)!r}.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise WorkloadError(f"{path}: not a readable YAML file: {error}") from error


def _inputs(top: Entry) -> list[Input]:
    if top.has("input") and top.has("inputs"):
        top.fault("has both 'input' and 'inputs'. Keep one.")
    given = top.get("inputs") if top.has("inputs") else {"input": top.get("input")}
    if not top.has("input", "inputs"):
        return []
    if not isinstance(given, Mapping) or not given:
        top.wrong("inputs", "names and shapes, such as {image: [1, 3, 32, 32]}")
    return [_input(top.path, str(name), value) for name, value in given.items()]


def _input(path: Path, name: str, value: Any) -> Input:
    given = value if isinstance(value, Mapping) else {"shape": value}
    entry = Entry(path, f"input {name!r}", given)
    made = Input(name, entry.shape("shape"), entry.bits()["output"])
    entry.finish()
    return made


def _placed(path: Path, index: int, given: Any) -> Entry:
    name = given.get("name") if isinstance(given, Mapping) else None
    return Entry(path, f"layer {name!r}" if name else f"layer {index}", given)


class _Reader:
    """The layers read so far."""

    def __init__(self, path: Path, inputs: list[Input]) -> None:
        self.path = path
        self.inputs = inputs
        self.layers: list[Layer] = []
        self.shapes: dict[str, Shape] = {i.name: i.shape for i in inputs}
        self.bits: dict[str, int] = {i.name: i.bits for i in inputs}
        self.last = inputs[0].name if inputs else ""

    def add(self, entry: Entry) -> None:
        """Read one entry."""
        op = entry.choice("op", OPERATORS)
        name = self._name(entry, op)
        bits = entry.bits()
        alone = entry.has(*LOOPS)
        if alone:
            read, fields = self._alone(entry, op, name, bits["input"])
        else:
            read = self._read(entry)
            fields = fields_of(entry, op, [self.shapes[source] for source in read])
        layer = self._layer(entry, name, read, bits, fields)
        entry.finish()
        self.layers.append(layer)
        self.shapes[name] = layer.out_shape
        self.bits[name] = layer.output_bits
        self.last = self.last if alone else name

    def _name(self, entry: Entry, op: str) -> str:
        name = str(entry.get("name", f"{op}{len(self.layers) + 1}"))
        if name in self.shapes:
            entry.fault(f"has the name {name!r}, which another layer or input has already.")
        return name

    def _read(self, entry: Entry) -> tuple[str, ...]:
        if not self.last and not entry.has("inputs"):
            entry.fault("has nothing to read: give the file an 'input', or the layer its loops.")
        names = entry.names("inputs", (self.last,))
        for source in names:
            if source not in self.shapes:
                entry.fault(unknown_name("input", source, self.shapes))
        return names

    def _alone(
        self, entry: Entry, op: str, name: str, bits: int
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Return a layer given by its loops, with a network input of its own."""
        if op not in {"conv", "linear"} or entry.has("inputs"):
            entry.fault("is given by its loops: it must be a conv or linear without inputs.")
        shape, fields = from_loops(entry, op)
        source = Input(f"{name}.input", shape, bits)
        self.inputs.append(source)
        self.shapes[source.name], self.bits[source.name] = shape, bits
        return (source.name,), fields

    def _layer(
        self, entry: Entry, name: str, read: tuple[str, ...], bits: Mapping[str, int],
        fields: Mapping[str, Any],
    ) -> Layer:  # fmt: skip
        op, act = str(fields["op"]), acts(entry)
        if op == "act" and not act:
            entry.fault("lacks the key 'act', such as act: relu.")
        input_bits = tuple(self.bits[source] for source in read)
        output = bits["output"]
        if op in PRESERVING_OPS and not act and output == FLOAT_BITS:
            output = max(input_bits)
        weight = input_bits[1] if op == "matmul" else bits["weight"]
        shapes = tuple(self.shapes[source] for source in read)
        base: dict[str, Any] = {"in_shapes": shapes}
        if op not in MAC_OPS:
            base["batch"] = shapes[0][0]
        return Layer(
            name=name, inputs=read, input_bits=input_bits, output_bits=output, weight_bits=weight,
            act=act, input_density=entry.share("density", "input_density"),
            output_density=entry.share("output_density"), **(base | dict(fields)),
        )  # fmt: skip

    def workload(self, name: str) -> Workload:
        """Return the finished workload; what nobody reads is an output."""
        read = {source for layer in self.layers for source in layer.inputs}
        outputs = tuple(layer.name for layer in self.layers if layer.name not in read)
        used = tuple(i for i in self.inputs if i.name in read)
        return Workload(name, tuple(self.layers), used, outputs)
