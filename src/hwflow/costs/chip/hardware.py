"""The chip: sizes and energies that are published, and three constants that are fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hwflow.errors import MachineError
from hwflow.machine import Accelerator
from hwflow.machine.hardware import SeparatePads, Store

FILTER_STORE_BYTES = 8 * 1024
"""Part of the 108 KiB buffer that neither ifmaps nor psums use: METHODS has about 100 KiB left."""

MANY = 2.0**40
"""Bits that stand for an unlimited scratchpad."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """The only constants that were fitted, all on the five measured AlexNet layers (JSSC 2017).

    They are the rounded values of METHODS, section 3; ``benchmarks/papers/eyeriss_silicon.py`` fits
    them anew, and once more with each layer left out.
    """

    load_cycles: float = 0.30
    """Cycles a pass spends on each filter word it loads, p t q r R S of them."""
    pass_cycles: float = 450.0
    """Cycles a pass spends besides: configuring, filling and draining the array."""
    base_w: float = 0.195
    """Power that is drawn as long as the layer takes: clock, control, leakage, array network."""


@dataclass(frozen=True, slots=True)
class Chip:
    """A row-stationary chip. The defaults are Eyeriss, JSSC 2017; energies are per word."""

    rows: int = 12
    cols: int = 14
    filter_pad: int = 224
    """Words of each PE's filter scratchpad."""
    ifmap_pad: int = 12
    psum_pad: int = 24
    buffer_bytes: int = 100 * 1024
    """Global buffer for ifmaps and psums."""
    bank_bytes: int = 4096
    """The buffer is given to ifmaps and psums in banks of this size. An assumption: banks of 4 KiB
    explain why the chip takes q r = 6 and not 8 on conv3 to conv5, and e = 7, not 8, on conv1."""
    port_bytes: float = 16.0
    """Bytes per cycle through the buffer's port."""
    word_bytes: float = 2.0
    clock_hz: float = 200e6
    mac_j: float = 2e-12
    pads_j: float = 4e-12
    """Scratchpads, for one MAC: filter and ifmap word read, psum read and written, 1 pJ each."""
    buffer_j: float = 15e-12
    dram_j: float = 460e-12
    dram_bytes_per_s: float = 1.37e9
    """Off-chip rate at which the array waits; only for the total time, where none is measured."""
    zero_gating: bool = True
    """Whether zero activations switch a MAC off."""
    fitted: Fitted = Fitted()

    @classmethod
    def of(cls, machine: Accelerator) -> Chip:
        """Read the chip from a machine with PE scratchpads for each tensor below one buffer.

        Raises MachineError where the machine has other parts than the Eyeriss chip.
        """
        pads, buffer = _parts(machine)
        word = machine.native_bits
        words = {name: int(min(pad.bits, MANY) // word) for name, pad in pads.items()}
        return cls(
            rows=machine.array.rows.value,
            cols=machine.array.cols.value,
            filter_pad=words["weights"],
            ifmap_pad=words["inputs"],
            psum_pad=words["outputs"],
            buffer_bytes=_buffer_bytes(machine, buffer),
            port_bytes=buffer.bytes_per_s(machine.clock_hz) / machine.clock_hz,
            word_bytes=word / 8,
            clock_hz=machine.clock_hz,
            mac_j=float(machine.mac_energy_j(word, word)),
            pads_j=word * _pads_j_per_bit(pads),
            buffer_j=word * buffer.read_j_per_bit,
            dram_j=word * machine.dram_j_per_bit,
            dram_bytes_per_s=machine.dram_bytes_per_s,
            zero_gating=machine.zero_gating,
        )

    @property
    def pes(self) -> int:
        """Number of PEs."""
        return self.rows * self.cols

    @property
    def banks(self) -> int:
        """Whole banks of the buffer."""
        return self.buffer_bytes // self.bank_bytes

    def sets(self, kernel_rows: int, outputs: int) -> int:
        """Return how many PE sets of `kernel_rows` x `outputs` PEs fit into the array.

        A set wider than the array is cut into segments of its full width and a rest, which lie
        above one another; rests share a band of rows where they fit (JSSC 2017: conv2's 5 x 27
        set lies there as 5 x 14 and 5 x 13).
        """
        bands = self.rows // kernel_rows
        whole, rest = divmod(outputs, self.cols)
        if not rest:
            return bands // whole
        abreast = self.cols // rest
        # k sets take k whole + ceil(k / abreast) bands; `abreast` of them share one more
        full, left = divmod(bands, whole * abreast + 1)
        return full * abreast + (max(0, left - 1) // whole if whole else 0)


EYERISS = Chip()
"""The Eyeriss chip of JSSC 2017."""


def _parts(machine: Accelerator) -> tuple[Mapping[str, Store], Store]:
    """Return the scratchpads by tensor and the buffer."""
    pads = machine.scratchpads
    if (
        machine.dataflow != "row-stationary"
        or len(machine.memory) != 2
        or not isinstance(pads, SeparatePads)
        or len(pads.pads) != 3
    ):
        raise MachineError(
            f"Machine {machine.name!r} is no row-stationary chip of the Eyeriss kind: it needs "
            "that dataflow, two memory levels (DRAM and a buffer) and separate scratchpads for "
            "weights, inputs and outputs."
        )
    return pads.pads, machine.memory[1]


def _pads_j_per_bit(pads: Mapping[str, Store]) -> float:
    """Return the scratchpad energy of one MAC, by bit of the word."""
    reads = sum(pad.read_j_per_bit for pad in pads.values())
    return reads + pads["outputs"].write_j_per_bit


def _buffer_bytes(machine: Accelerator, buffer: Store) -> int:
    if buffer.bits / 8 <= FILTER_STORE_BYTES:
        raise MachineError(
            f"Machine {machine.name!r}: its buffer of {buffer.bits / 8:.0f} B is no larger than "
            f"the {FILTER_STORE_BYTES} B kept for filters. Give it more."
        )
    if buffer.bits == float("inf"):
        raise MachineError(f"Machine {machine.name!r}: its buffer is unlimited. Give it a size.")
    return int(buffer.bits // 8) - FILTER_STORE_BYTES
