"""The rules of cost once more, slowly and plainly, and the whole mapspace by brute force.

Nothing here uses the package's own rates, kernels or scores: figures come from the machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product
from math import ceil, inf, prod

from hwflow.costs.fine.rates import OperandBits
from hwflow.costs.fine.shape import Shape
from hwflow.machine import Accelerator

DIMS = "NKCPQRSG"
INDEX = {"W": "KCRSG", "I": "NCPQRSG", "O": "NKPQG"}
KINDS = {"W": "weights", "I": "inputs", "O": "outputs"}
GROUPS = ("NPQ", "K", "CRS")
HOME = {"weight-stationary": "W", "input-stationary": "I", "output-stationary": "O"}
PE_LOOPS = {
    "row-stationary": "SCK", "weight-stationary": "SRCK", "systolic-ck": "SRCK",
    "no-local-reuse": "",
}  # fmt: skip
ORDERS = tuple("G" + "".join(order) for order in permutations(GROUPS))
SHORT = ("GKCRSNPQ", "GNPQCRSK", "GNPQKCRS")
"""One order per stationary tensor."""

Sizes = dict[str, int]


def aligned(bits: int, word: int, packing: str) -> float:
    if packing == "dense" or bits > word:
        return bits if packing == "dense" else ceil(bits / word) * word
    return word / (word // bits)


@dataclass
class Oracle:
    """All rules for one layer on one machine at given bits."""

    machine: Accelerator
    shape: Shape
    bits: OperandBits
    full: bool = True

    def __post_init__(self) -> None:
        m, b = self.machine, self.bits
        self.size = dict(zip(DIMS, self.shape.dims, strict=True))
        depth = prod(self.size[d] for d in "CRS")
        wide = {
            "W": int(m.width(b.weights)),
            "I": int(m.width(b.inputs)),
            "F": int(m.width(b.outputs)),
        }
        wide["O"] = max(wide["F"], int(m.psum_bits(b.weights, b.inputs, depth)))
        self.wide = wide
        self.dram = m.memory[0]
        self.buffer = m.memory[1] if len(m.memory) > 1 else None
        held = self.buffer.holds if self.buffer else ()
        self.held = {t: KINDS[t] in held for t in "WIO"}
        pads = m.scratchpads if m.dataflow != "no-local-reuse" else None
        self.pad = dict.fromkeys("WIO")
        self.shared = pads is not None and pads.kind == "shared"
        if pads is not None:
            for t in "WIO":
                if self.shared:
                    self.pad[t] = pads if KINDS[t] in pads.holds else None
                else:
                    self.pad[t] = getattr(pads, KINDS[t])
        self.bare = not any(self.pad.values())
        self.registers = m.scratchpads is None and m.dataflow != "no-local-reuse"
        home = HOME.get(m.dataflow)
        may = m.dataflow != "no-local-reuse"
        self.stays = {
            t: may and (self.pad[t] is not None or m.scratchpads is None) and home in (None, t)
            for t in "WIO"
        }
        self.lanes = getattr(m.engine, "lanes", None)
        self.lanes = self.lanes.value if self.lanes else 1

    def stored(self, tensor: str, store: object) -> float:
        return aligned(self.wide[tensor], store.word.value, self.machine.packing)

    def span(self, axis: int, p: int, r: int) -> int:
        first = self.shape.stride[axis] * (p - 1)
        return first + self.shape.dilation[axis] * (r - 1) + 1

    def window(self, axis: int, out_tiles: int, tap_tiles: int) -> int:
        """Sum the spans of tiles whose sizes are spread evenly."""
        outs, taps = self.size["PQ"[axis]], self.size["RS"[axis]]
        return sum(
            self.span(axis, p, r) for p in even(outs, out_tiles) for r in even(taps, tap_tiles)
        )

    # -- what fits ---------------------------------------------------------------------------

    def fits_pe(self, a: Sizes) -> bool:
        if self.bare:
            return all(n == 1 for n in a.values())
        need = {
            "W": a["K"] * a["C"] * a["R"] * a["S"],
            "I": a["N"] * a["C"] * self.span(0, a["P"], a["R"]) * self.span(1, a["Q"], a["S"]),
            "O": a["N"] * a["K"] * a["P"] * a["Q"],
        }
        used = {t: need[t] * self.stored(t, self.pad[t]) for t in "WIO" if self.pad[t]}
        if self.shared:
            return sum(used.values()) <= self.machine.scratchpads.bits
        return all(used[t] <= self.pad[t].bits for t in used)

    def fits_buffer(self, b: Sizes) -> bool:
        if self.buffer is None:
            return True
        rows, columns = self.span(0, b["P"], b["R"]), self.span(1, b["Q"], b["S"])
        need = {
            "W": b["G"] * b["K"] * b["C"] * b["R"] * b["S"],
            "I": b["G"] * b["N"] * b["C"] * rows * columns,
            "O": b["G"] * b["N"] * b["K"] * b["P"] * b["Q"],
        }
        used = sum(need[t] * self.stored(t, self.buffer) for t in "WIO" if self.held[t])
        return used <= self.buffer.bits / (2 if self.buffer.double_buffered else 1)

    # -- the mapspace ------------------------------------------------------------------------

    def spreads(self) -> list[Sizes]:
        array, found = self.machine.array, set()
        axes = []
        for loops, most in (
            (array.unroll_rows, array.rows.value),
            (array.unroll_cols, array.cols.value),
        ):
            factors = [range(1, most + 1) if d in loops else (1,) for d in DIMS]
            axes.append([f for f in product(*factors) if prod(f) <= most])
        for rows, cols in product(*axes):
            pes = [min(r * c, self.size[d]) for d, r, c in zip(DIMS, rows, cols, strict=True)]
            steps = [ceil(self.size[d] / s) for d, s in zip(DIMS, pes, strict=True)]
            found.add(tuple(ceil(self.size[d] / n) for d, n in zip(DIMS, steps, strict=True)))
        return [dict(zip(DIMS, pes, strict=True)) for pes in sorted(found)]

    def pe_tiles(self, spread: Sizes) -> Iterator[Sizes]:
        loops = PE_LOOPS.get(self.machine.dataflow, "SRNQPCK")
        yield from self.grown(dict.fromkeys(DIMS, 1), loops, spread)

    def grown(self, a: Sizes, loops: str, spread: Sizes) -> Iterator[Sizes]:
        if not loops:
            yield dict(a)
            return
        d = loops[0]
        steps = ceil(self.size[d] / spread[d])
        fitting = [n for n in range(1, steps + 1) if self.fits_pe({**a, d: n})]
        if self.machine.dataflow == "row-stationary" and d == "S" and steps in fitting:
            fitting = [steps]
        elif not self.full:
            distinct = [n for n in fitting if n == 1 or ceil(steps / n) < ceil(steps / (n - 1))]
            fitting = [n for n in distinct if steps % n == 0 or n in distinct[-2:]]
        for n in fitting:
            yield from self.grown({**a, d: n}, loops[1:], spread)

    def buffer_tiles(self, tile: Sizes) -> Iterator[Sizes]:
        choices = []
        for d in DIMS:
            if d in "RS":
                choices.append([self.size[d]])
            elif d == "G":
                choices.append([tile[d]])
            else:
                times = range(1, ceil(self.size[d] / tile[d]) + 1)
                choices.append(sorted({min(j * tile[d], self.size[d]) for j in times}))
        for sizes in product(*choices):
            b = dict(zip(DIMS, sizes, strict=True))
            if self.fits_buffer(b):
                yield b

    def mappings(self) -> Iterator[tuple[Sizes, Sizes, Sizes]]:
        for spread in self.spreads():
            for a in self.pe_tiles(spread):
                tile = {d: min(a[d] * spread[d], self.size[d]) for d in DIMS}
                for b in self.buffer_tiles(tile):
                    yield spread, a, b

    # -- the cost ----------------------------------------------------------------------------

    def times(self, tensor: str, nest: list[tuple[int, str]], n2: Sizes, t: Sizes) -> float:
        """Walk a nest from outside: trips of loops before the last that indexes the tensor."""

        def trips(level: int, d: str) -> int:
            return n2[d] if level == 0 else ceil(t[d] / n2[d])

        last = max(
            (i for i, (level, d) in enumerate(nest) if d in INDEX[tensor] and trips(level, d) > 1),
            default=-1,
        )
        outside = {(level, d) for level, d in nest[: max(last, 0)] if d not in INDEX[tensor]}
        found = 1
        for d in DIMS:
            if (1, d) in outside:
                found *= t[d]
            elif (0, d) in outside:
                found *= n2[d]
        return found

    def cost(
        self, spread: Sizes, a: Sizes, b: Sizes, outer: str, inner: str
    ) -> tuple[float, float]:
        """Return (joules, cycles) of one mapping."""
        size, m = self.size, self.machine
        steps = {d: ceil(size[d] / spread[d]) for d in DIMS}
        t = {d: ceil(steps[d] / a[d]) for d in DIMS}
        n2 = {d: ceil(size[d] / b[d]) for d in DIMS}
        depth = ceil(steps["C"] * steps["R"] * steps["S"] / self.lanes)
        theta = float(m.macs_per_cycle(self.bits.weights, self.bits.inputs))
        compute = prod(steps[d] for d in "NKPQG") * depth * self.lanes / theta
        full = [(0, d) for d in outer] + [(1, d) for d in inner]
        energy = prod(size.values()) * float(m.mac_energy_j(self.bits.weights, self.bits.inputs))
        moved = {"dram_r": 0.0, "dram_w": 0.0, "port_r": 0.0, "port_w": 0.0}
        ends = {"dram": 0.0, "port_r": 0.0, "port_w": 0.0}
        for tensor in "WIO":
            pad = self.pad[tensor]
            if pad:
                each = pad.read_j_per_bit + (pad.write_j_per_bit if tensor == "O" else 0)
                energy += prod(size.values()) * self.wide[tensor] * each
            streams = not pad and not self.registers
            trips = steps if streams else t
            if tensor == "O" and streams:
                visits = float(depth)
            elif streams or not self.stays[tensor]:
                visits = prod(trips[d] for d in DIMS if d not in INDEX[tensor])
            else:
                visits = self.times(tensor, full, n2, t)
            reloads = self.times(tensor, [(0, d) for d in outer], n2, n2)
            energy += self.move(tensor, visits, reloads, trips, spread, n2, moved)
            self.end(tensor, spread, a, ends)
        cycles = self.total(compute, moved, ends)
        clock = m.clock_hz
        energy += moved["dram_r"] * self.dram.read_j_per_bit
        energy += moved["dram_w"] * self.dram.write_j_per_bit
        if self.buffer:
            energy += moved["port_r"] * self.buffer.read_j_per_bit
            energy += moved["port_w"] * self.buffer.write_j_per_bit
        return energy + m.idle_w * cycles / clock, cycles

    def total(self, compute: float, moved: dict[str, float], ends: dict[str, float]) -> float:
        clock = self.machine.clock_hz
        dram_rate = self.dram.bytes_per_s(clock) * 8 / clock
        transfer = (moved["dram_r"] + moved["dram_w"]) / dram_rate
        read_rate = self.buffer.bytes_per_s(clock) * 8 / clock if self.buffer else inf
        own = self.buffer.write_bandwidth if self.buffer else None
        write_rate = read_rate
        if own is not None:
            write_rate = own.value * 8 / (clock if own.unit == "B/s" else 1)
            port = max(moved["port_r"] / read_rate, moved["port_w"] / write_rate)
        else:
            port = (moved["port_r"] + moved["port_w"]) / read_rate
        if self.buffer and not self.buffer.double_buffered:
            return max(compute, port) + transfer
        edge = ends["dram"] / dram_rate + ends["port_r"] / read_rate + ends["port_w"] / write_rate
        return max(compute, port, transfer) + edge

    def move(
        self, tensor: str, visits: float, reloads: float, trips: Sizes, spread: Sizes, n2: Sizes,
        moved: dict[str, float],
    ) -> float:  # fmt: skip
        """Add a tensor's bits at both memories; return the joules spent in the array."""
        size, held = self.size, self.held[tensor]
        hop = self.machine.array.transfer_j_per_bit * self.wide[tensor]
        near = self.stored(tensor, self.buffer) if held else 0.0
        far = self.stored(tensor, self.dram)
        if tensor == "O":
            count = prod(size[d] for d in INDEX["O"])
            packing = self.machine.packing
            last_far = aligned(self.wide["F"], self.dram.word.value, packing)
            again = (reloads if held else visits) - 1
            moved["dram_r"] += again * count * far
            moved["dram_w"] += again * count * far + count * last_far
            if held:
                last = aligned(self.wide["F"], self.buffer.word.value, packing)
                moved["port_r"] += (visits - 1 + reloads - 1) * count * near + count * last
                moved["port_w"] += (visits - 1 + reloads - 1) * count * near + count * last
            return visits * count * hop * spread["C"] * spread["R"] * spread["S"]
        if tensor == "W":
            count = once = prod(size[d] for d in INDEX["W"])
            fan = float(spread["N"] * spread["P"] * spread["Q"])
        else:
            planes = size["G"] * size["N"] * size["C"]
            count, once, fan = planes, planes, float(spread["K"])
            for axis in (0, 1):
                p, r = "PQ"[axis], "RS"[axis]
                whole = self.window(axis, trips[p], trips[r])
                parts = self.window(
                    axis, min(trips[p] * spread[p], size[p]), min(trips[r] * spread[r], size[r])
                )
                count *= whole
                fan *= max(1.0, parts / whole)
                rows = self.window(axis, n2[p], 1) - self.shape.padding[axis]
                once *= max(self.shape.touched[axis], rows)
        if held:
            moved["dram_r"] += reloads * once * far
            moved["port_w"] += reloads * once * near
            moved["port_r"] += visits * count * near
        else:
            moved["dram_r"] += visits * count * far
        return visits * count * fan * hop

    def end(self, tensor: str, spread: Sizes, a: Sizes, ends: dict[str, float]) -> None:
        own = {d: min(spread[d] * (a[d] if self.pad[tensor] else 1), self.size[d]) for d in DIMS}
        if tensor == "I":
            count = own["G"] * own["N"] * own["C"]
            count *= self.span(0, own["P"], own["R"]) * self.span(1, own["Q"], own["S"])
        else:
            count = prod(own[d] for d in INDEX[tensor])
        kind = "F" if tensor == "O" else tensor
        ends["dram"] += count * self.stored(kind, self.dram)
        if self.held[tensor]:
            side = "port_w" if tensor == "O" else "port_r"
            ends[side] += count * self.stored(kind, self.buffer)

    def best(self, objective: str, orders: tuple[str, ...] = SHORT) -> tuple[float, float, int]:
        """Return the least keys over the whole mapspace, and how many mappings were scored."""
        best, count = (inf, inf), 0
        for spread, a, b in self.mappings():
            for outer, inner in product(orders, orders):
                count += 1
                best = smaller(best, keys(objective, *self.cost(spread, a, b, outer, inner)))
        return (*best, count)


def even(whole: int, parts: int) -> list[int]:
    """Split a loop into so many parts as evenly as can be."""
    return [whole // parts + (index < whole % parts) for index in range(parts)]


def keys(objective: str, energy: float, cycles: float) -> tuple[float, float]:
    if objective == "latency":
        return cycles, energy
    return (energy, cycles) if objective == "energy" else (energy * cycles, cycles)


def smaller(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    """Return the lesser pair; first entries equal but for rounding let the second decide."""
    if abs(first[0] - second[0]) <= 1e-11 * abs(first[0]) or first[0] == second[0]:
        return first if first[1] <= second[1] else second
    return first if first[0] < second[0] else second
