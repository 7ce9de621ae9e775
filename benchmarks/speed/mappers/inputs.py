"""The layers of the comparison, and one machine written as each tool wants it.

The machine is `systolic-16x16`: input channels C down the rows, output channels K along the
columns, weights held in the PEs, 8-bit operands. Every figure is read from the preset. What a tool
cannot say is left at its own rule; `RULES` names what differs.
"""

from __future__ import annotations

import configparser
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import yaml

from hwflow.costs.fine.rates import OperandBits
from hwflow.costs.fine.shape import Shape, shape_of
from hwflow.machine import Accelerator
from hwflow.workload import Layer

BITS = OperandBits(8, 8, 8)
SIDE = 16

RULES = """\
- zigzag: tiles are products of prime factors (its 6 largest), levels hold any order of loops, a
  tensor may skip reloading what the last tile left, an access moves a whole word of the port, a
  weight is read from its register only when it changes, and the loads of the first tile are those
  of every level. C on the rows and K on the columns, or G on both, are given; hwflow chooses among
  all that the array allows.
- scalesim: simulates one order (weights stay; C, R and S flattened down the rows) cycle by cycle;
  nothing is searched. Buffers are three separate ones of together the same size; bandwidth is not
  limited; filling and draining the array costs 46 cycles per fold; partial sums leave the chip.
- hwflow: sizes need not divide; every MAC reads its weight from the scratchpad; ports, first load
  and last store limit; filling and draining the array are not charged."""


@dataclass(frozen=True)
class Case:
    """One layer: square maps and kernels, batch 1."""

    name: str
    outs: int
    ins: int
    size: int
    kernel: int
    stride: int = 1
    groups: int = 1

    @property
    def out(self) -> int:
        """Rows and columns of the output."""
        return (self.size + 2 * self.pad - self.kernel) // self.stride + 1

    @property
    def pad(self) -> int:
        """Zero rows and columns on each side."""
        return self.kernel // 2

    @property
    def shape(self) -> Shape:
        """The loops, as hwflow counts them."""
        source, target = (1, self.ins, self.size, self.size), (1, self.outs, self.out, self.out)
        layer = Layer(
            self.name, "conv", ("x",), (source,), target, out_channels=self.outs,
            in_channels=self.ins, out_size=(self.out, self.out), kernel=(self.kernel,) * 2,
            stride=(self.stride,) * 2, padding=(self.pad,) * 4, groups=self.groups,
            input_bits=(8,),
        )  # fmt: skip
        return shape_of(layer)

    @property
    def spread(self) -> dict[str, tuple[str, int]]:
        """Loops on rows and columns of the array: C and K, or G of a depthwise layer."""
        if self.groups > 1:
            return {"D1": ("G", SIDE), "D2": ("G", -(-self.groups // SIDE))}
        return {"D1": ("C", min(SIDE, self.ins)), "D2": ("K", min(SIDE, self.outs))}


CASES = (
    Case("ResNet-50 first, 7 x 7 / 2", 64, 3, 224, 7, 2),
    Case("ResNet-50 3 x 3, 64 at 56", 64, 64, 56, 3),
    Case("ResNet-50 1 x 1, 512 to 128 at 28", 128, 512, 28, 1),
    Case("ResNet-50 3 x 3, 256 at 14", 256, 256, 14, 3),
    Case("ResNet-50 3 x 3, 512 at 7", 512, 512, 7, 3),
    Case("ResNet-50 last, 2048 to 1000", 1000, 2048, 1, 1),
    Case("MobileNetV2 depthwise 3 x 3, 144 at 56", 144, 144, 56, 3, 1, 144),
)


def zigzag(folder: Path, case: Case, machine: Accelerator) -> None:
    """Write workload.yaml, accelerator.yaml and mapping.yaml."""
    psum = int(machine.psum_bits(8, 8, case.shape.depth))
    files = {
        "workload": [zigzag_layer(case, psum)],
        "accelerator": zigzag_machine(machine, psum),
        "mapping": [zigzag_mapping(case)],
    }
    for name, plain in files.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))


def zigzag_layer(case: Case, psum: int) -> dict[str, Any]:
    """Return the layer as loops and an equation."""
    n, k, c, p, q, r, s, g = case.shape.dims
    return {
        "id": 0,
        "name": "layer",
        "operator_type": "Conv",
        "equation": "O[b][g][k][oy][ox]+=W[g][k][c][fy][fx]*I[b][g][c][iy][ix]",
        "dimension_relations": [f"i{x}={case.stride}*o{x}+1*f{x}" for x in "xy"],
        "loop_dims": ["B", "K", "G", "OX", "OY", "C", "FX", "FY"],
        "loop_sizes": [n, k, g, q, p, c, s, r],
        "operand_precision": {"W": 8, "I": 8, "O": psum, "O_final": 8},
        "operand_source": {"I": 0, "W": 0},
        "pr_loop_dims": ["IX", "IY"],
        "pr_loop_sizes": [case.size, case.size],
        "padding": [[case.pad, case.pad]] * 2,
    }


def zigzag_mapping(case: Case) -> dict[str, Any]:
    """Return what is spread over the array; the order of loops is zigzag's to find."""
    spread = {axis: [f"{loop}, {size}"] for axis, (loop, size) in case.spread.items()}
    links = {"O": "O", "W": "I2", "I": "I1"}
    return {"name": "default", "spatial_mapping": spread, "memory_operand_links": links}


def zigzag_machine(machine: Accelerator, psum: int) -> dict[str, Any]:
    """Return DRAM, buffer, two scratchpads and the array; energies in pJ per access of a port."""
    dram, buffer = machine.memory
    pads = machine.scratchpads.pads
    clock = machine.clock_hz
    wide = [int(level.bytes_per_s(clock) * 8 / clock) for level in (buffer, dram)]
    return {
        "name": machine.name.replace("-", "_"),
        "memories": {
            "weights": memory(pads["weights"], ["I2"], 8, []),
            "sums": memory(pads["outputs"], ["O"], psum, []),
            "buffer": memory(buffer, ["I1", "I2", "O"], wide[0], ["D1", "D2"], shared=True)
            | {"force_double_buffering": buffer.double_buffered},
            "dram": memory(dram, ["I1", "I2", "O"], wide[1], ["D1", "D2"], shared=True),
        },
        "operational_array": {
            "unit_energy": float(machine.mac_energy_j(8, 8)) * 1e12,
            "unit_area": 1,
            "dimensions": ["D1", "D2"],
            "sizes": [machine.array.rows.value, machine.array.cols.value],
        },
    }


def memory(
    store: Any, tensors: list[str], width: int, serves: list[str], shared: bool = False
) -> dict[str, Any]:
    """Return one memory: one port for all when shared, else one for each direction."""
    size = 10**11 if store.size == "unlimited" else int(store.bits)
    return {
        "size": size,
        "r_cost": store.read_j_per_bit * width * 1e12,
        "w_cost": store.write_j_per_bit * width * 1e12,
        "area": 0,
        "latency": 1,
        "operands": tensors,
        "ports": ports(tensors, width, shared),
        "served_dimensions": serves,
    }


def ports(tensors: list[str], width: int, shared: bool) -> list[dict[str, Any]]:
    """Return ports and the directions they serve: from and to the higher and the lower memory."""
    moves = {t: ("fh", "tl", "fl", "th") if t == "O" else ("fh", "tl") for t in tensors}
    if shared:
        both = [f"{t}, {move}" for t, list_ in moves.items() for move in list_]
        return [port("rw_port_1", "read_write", 8, width, both)]
    found = []
    for kind, directions in (("read", ("tl", "th")), ("write", ("fh", "fl"))):
        used = [f"{t}, {move}" for t in tensors for move in directions if move in moves[t]]
        found += [
            port(f"{kind[0]}_port_{number}", kind, width, width, [move])
            for number, move in enumerate(used, 1)
        ]
    return found


def port(name: str, kind: str, least: int, most: int, moves: list[str]) -> dict[str, Any]:
    """Return one port."""
    return {
        "name": name, "type": kind, "bandwidth_min": least, "bandwidth_max": most,
        "allocation": moves,
    }  # fmt: skip


SCALESIM_HEAD = (
    "Layer name,IFMAP Height,IFMAP Width,Filter Height,Filter Width,Channels,Num Filter,Strides"
)


def scalesim(folder: Path, case: Case, machine: Accelerator) -> None:
    """Write machine.cfg, layer.csv and layout.csv.

    The map ends with the last kernel: scalesim rounds the size of the output up, not down.
    """
    with (folder / "machine.cfg").open("w") as file:
        scalesim_machine(machine).write(file)
    padded = (case.out - 1) * case.stride + case.kernel
    kind = "DP" if case.groups > 1 else "layer"
    outs = 1 if case.groups > 1 else case.outs
    row = (kind, padded, padded, case.kernel, case.kernel, case.ins, outs, case.stride)
    (folder / "layer.csv").write_text(f"{SCALESIM_HEAD},\n{','.join(map(str, row))},\n")
    (folder / "layout.csv").write_text("Layer name,\n")


def scalesim_machine(machine: Accelerator) -> configparser.ConfigParser:
    """Return the array, the buffer in three parts of 3:3:2, and no limit of bandwidth."""
    eighth = int(machine.memory[1].bits) // 8 // 1024 // 8
    custom = {
        f"{tensor}{key}": value
        for tensor in ("Ifmap", "Filter")
        for key, value in (("CustomLayout", "False"), ("SRAMBankBandwidth", 10),
                           ("SRAMBankNum", 10), ("SRAMBankPort", 2))
    }  # fmt: skip
    plain = {
        "general": {"run_name": "layer"},
        "architecture_presets": {
            "ArrayHeight": machine.array.rows.value, "ArrayWidth": machine.array.cols.value,
            "IfmapSramSzkB": 3 * eighth, "FilterSramSzkB": 3 * eighth, "OfmapSramSzkB": 2 * eighth,
            "IfmapOffset": 0, "FilterOffset": 10**7, "OfmapOffset": 2 * 10**7, "Dataflow": "ws",
            "Bandwidth": 16, "ReadRequestBuffer": 32, "WriteRequestBuffer": 32,
        },
        "layout": custom,
        "sparsity": {"SparsitySupport": "false", "SparseRep": "ellpack_block",
                     "OptimizedMapping": "false", "BlockSize": 8,
                     "RandomNumberGeneratorSeed": 40},
        "run_presets": {"InterfaceBandwidth": "CALC", "UseRamulatorTrace": "False"},
    }  # fmt: skip
    parser = configparser.ConfigParser()
    parser.read_dict(plain)
    return parser


def folds(case: Case) -> tuple[int, int]:
    """Return scalesim's folds of a layer and the columns of each: ⌈CRS/16⌉ ⌈K/16⌉ and P Q."""
    _, k, c, p, q, r, s, g = case.shape.dims
    return g * -(-c * r * s // SIDE) * -(-k // SIDE), p * q


def without_filling(case: Case, cycles: float) -> float:
    """Return scalesim's cycles less those that fill and drain the array: 46 per fold.

    It counts from 0, so a layer (each group of a depthwise one) has one cycle more than reported.
    """
    return cycles + case.groups - folds(case)[0] * (3 * SIDE - 2)


def plain_steps(case: Case) -> int:
    """Return the steps of the layer with the case's spread: ⌈C/16⌉ ⌈K/16⌉ P Q R S."""
    sizes = dict(zip("NKCPQRSG", case.shape.dims, strict=True))
    for loop in {loop for loop, _ in case.spread.values()}:
        used = prod(size for name, size in case.spread.values() if name == loop)
        sizes[loop] = -(-sizes[loop] // used)
    return prod(sizes.values())


def compulsory_bytes(case: Case) -> int:
    """Return bytes of the layer's tensors at 8 bits, every element once; what a kernel skips too.

    Rows and columns that no kernel touches do not count.
    """
    shape = case.shape
    rows, columns = shape.touched
    return shape.weights + shape.outputs + case.ins * rows * columns
