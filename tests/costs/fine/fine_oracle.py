"""The rules of cost once more, slowly and plainly, and the whole mapspace by brute force.

Nothing here uses the package's own rates, kernels or scores: figures come from the machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, permutations, product
from math import ceil, inf, prod

from oracle_keys import keys, smaller

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


def products_of_a_sum(engine: object, weight: int, read: int) -> int:
    """Count the products that a PE adds up: its lanes, or the engines that its bricks fuse to."""
    if getattr(engine, "sums", "") == "of-unit":
        bricks = [next(n for n in (1, 2, 4, 8) if 2 * n >= min(b, 16)) for b in (weight, read)]
        return max(1, 16 // (bricks[0] * bricks[1]))
    lanes = getattr(engine, "lanes", None)
    return lanes.value if lanes else 1


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
        named = {"W": b.weights, "I": b.inputs, "F": b.outputs}
        wide = {tensor: int(m.width(bits)) for tensor, bits in named.items()}
        wide["O"] = max(wide["F"], int(m.psum_bits(b.weights, b.inputs, depth)))
        self.wide = wide
        names = [level.name for level in m.memory]
        first_inside = names.index(m.array.between[0]) + 1
        self.levels = m.memory[:first_inside]
        self.homes = {
            t: [i for i, level in enumerate(self.levels) if KINDS[t] in level.holds] for t in "WIO"
        }
        in_pe = m.memory[first_inside] if first_inside < len(names) else None
        self.has_pads = m.scratchpads is not None or in_pe is not None
        pads = m.scratchpads or in_pe
        if m.dataflow == "no-local-reuse":
            pads = None
        self.pad = dict.fromkeys("WIO")
        self.shared = pads is not None and getattr(pads, "kind", "shared") == "shared"
        self.shared_bits = 0.0
        if self.shared:
            half = in_pe is not None and in_pe.double_buffered
            self.shared_bits = pads.bits / (2 if half else 1)
        if pads is not None:
            for t in "WIO":
                if self.shared:
                    self.pad[t] = pads if KINDS[t] in pads.holds else None
                else:
                    self.pad[t] = getattr(pads, KINDS[t])
        self.bare = not any(self.pad.values())
        self.registers = not self.has_pads and m.dataflow != "no-local-reuse"
        home = HOME.get(m.dataflow)
        may = m.dataflow != "no-local-reuse"
        self.stays = {
            t: may and (self.pad[t] is not None or not self.has_pads) and home in (None, t)
            for t in "WIO"
        }
        self.lanes = products_of_a_sum(m.engine, self.wide["W"], self.wide["I"])

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
            return sum(used.values()) <= self.shared_bits
        return all(used[t] <= self.pad[t].bits for t in used)

    def fits_buffer(self, b: Sizes, level: int = 1) -> bool:
        if len(self.levels) == 1:
            return True
        buffer = self.levels[level]
        rows, columns = self.span(0, b["P"], b["R"]), self.span(1, b["Q"], b["S"])
        need = {
            "W": b["G"] * b["K"] * b["C"] * b["R"] * b["S"],
            "I": b["G"] * b["N"] * b["C"] * rows * columns,
            "O": b["G"] * b["N"] * b["K"] * b["P"] * b["Q"],
        }
        used = sum(need[t] * self.stored(t, buffer) for t in "WIO" if level in self.homes[t])
        return used <= buffer.bits / (2 if buffer.double_buffered else 1)

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

    def buffer_tiles(self, tile: Sizes, level: int = 1) -> Iterator[Sizes]:
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
            if self.fits_buffer(b, level):
                yield b

    def chains(self, tile: Sizes, level: int) -> Iterator[tuple[Sizes, ...]]:
        """Yield tiles of the buffers from the outermost to `level`, each of whole inner tiles."""
        for b in self.buffer_tiles(tile, level):
            if level == 1:
                yield (b,)
                continue
            for outer in self.chains(b, level - 1):
                yield (*outer, b)

    def nests(self) -> Iterator[tuple[Sizes, Sizes, tuple[Sizes, ...]]]:
        """Yield unrolling, scratchpad tile, and tiles of all buffers, outermost first."""
        for spread in self.spreads():
            for a in self.pe_tiles(spread):
                tile = {d: min(a[d] * spread[d], self.size[d]) for d in DIMS}
                for blocks in self.chains(tile, max(1, len(self.levels) - 1)):
                    yield spread, a, blocks

    def mappings(self) -> Iterator[tuple[Sizes, Sizes, Sizes]]:
        """Yield the nests of a machine of at most one buffer."""
        yield from ((spread, a, blocks[0]) for spread, a, blocks in self.nests())

    # -- the cost ----------------------------------------------------------------------------

    def times(self, tensor: str, orders: tuple[str, ...], cuts: list[Sizes]) -> float:
        """Walk a nest from outside: trips of loops before the last that indexes the tensor."""
        nest = [(level, d) for level, order in enumerate(orders) for d in order]

        def trips(level: int, d: str) -> int:
            return ceil(cuts[level][d] / (cuts[level - 1][d] if level else 1))

        last = max(
            (i for i, (level, d) in enumerate(nest) if d in INDEX[tensor] and trips(level, d) > 1),
            default=-1,
        )
        outside = [(level, d) for level, d in nest[: max(last, 0)] if d not in INDEX[tensor]]
        found = 1
        for d in DIMS:
            deepest = max((level for level, other in outside if other == d), default=None)
            found *= 1 if deepest is None else cuts[deepest][d]
        return found

    def cost(
        self, spread: Sizes, a: Sizes, b: Sizes, outer: str, inner: str
    ) -> tuple[float, float]:
        """Return (joules, cycles) of one mapping on a machine of at most one buffer."""
        return self.price(spread, a, (b,), (outer, inner))

    def price(
        self, spread: Sizes, a: Sizes, blocks: tuple[Sizes, ...], orders: tuple[str, ...]
    ) -> tuple[float, float]:
        """Return (joules, cycles) of one mapping; orders of DRAM's loops, then each buffer's."""
        size, m = self.size, self.machine
        steps = {d: ceil(size[d] / spread[d]) for d in DIMS}
        t = {d: ceil(steps[d] / a[d]) for d in DIMS}
        cuts = [{d: ceil(size[d] / b[d]) for d in DIMS} for b in blocks] + [t]
        depth = ceil(steps["C"] * steps["R"] * steps["S"] / self.lanes)
        theta = float(m.macs_per_cycle(self.bits.weights, self.bits.inputs))
        compute = prod(steps[d] for d in "NKPQG") * depth * self.lanes / theta
        energy = prod(size.values()) * float(m.mac_energy_j(self.bits.weights, self.bits.inputs))
        moved: list[tuple[int, int, str, float]] = []  # source, target, r or w, bits at the source
        taken = [{"r": 0.0, "w": 0.0} for _ in self.levels]
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
                visits = self.times(tensor, orders, cuts)
            count, fan = self.in_array(tensor, trips, spread)
            hop = m.array.transfer_j_per_bit * self.wide[tensor]
            energy += visits * count * fan * hop
            homes = self.homes[tensor]
            for place, source in enumerate(homes):
                if place + 1 < len(homes):
                    target = homes[place + 1]
                    arrivals = self.times(tensor, orders[:target], cuts[:target])
                    arrivals *= self.once(tensor, cuts[target - 1])
                    self.take(tensor, self.levels[target], arrivals, taken[target])
                else:
                    target, arrivals = len(self.levels), visits * count
                self.give(tensor, source, target, arrivals, moved)
        for place, level in enumerate(self.levels):
            given = {w: sum(b for s, _, side, b in moved if (s, side) == (place, w)) for w in "rw"}
            energy += (taken[place]["r"] + given["r"]) * level.read_j_per_bit
            energy += (taken[place]["w"] + given["w"]) * level.write_j_per_bit
        cycles = self.total(compute, moved, taken, self.ends(spread, a))
        return energy + m.idle_w * cycles / m.clock_hz, cycles

    def take(self, tensor: str, level: object, arrivals: float, side: dict[str, float]) -> None:
        """Add what a buffer writes on arrivals and reads to send sums out."""
        bits = self.stored(tensor, level)
        if tensor != "O":
            side["w"] += arrivals * bits
            return
        count = prod(self.size[d] for d in INDEX["O"])
        side["w"] += (arrivals - count) * bits
        side["r"] += (arrivals - count) * bits + count * self.stored("F", level)

    def give(
        self, tensor: str, source: int, target: int, arrivals: float,
        moved: list[tuple[int, int, str, float]],
    ) -> None:  # fmt: skip
        """Add what the memory outside reads to send inward and writes of sums that return."""
        level = self.levels[source]
        bits = self.stored(tensor, level)
        if tensor != "O":
            moved.append((source, target, "r", arrivals * bits))
            return
        count = prod(self.size[d] for d in INDEX["O"])
        moved.append((source, target, "r", (arrivals - count) * bits))
        final = count * self.stored("F", level)
        moved.append((source, target, "w", (arrivals - count) * bits + final))

    def port(self, place: int, reads: float, writes: float) -> float:
        """Return the cycles of so many bits at a memory's port."""
        level, clock = self.levels[place], self.machine.clock_hz
        rate = level.bytes_per_s(clock) * 8 / clock
        own = level.write_bandwidth if place else None
        if own is None:
            return (reads + writes) / rate
        return max(reads / rate, writes / (own.value * 8 / (clock if own.unit == "B/s" else 1)))

    def total(
        self, compute: float, moved: list[tuple[int, int, str, float]],
        taken: list[dict[str, float]], ends: float,
    ) -> float:  # fmt: skip
        """Return cycles: from inside outward, a port overlaps and a fill does not."""

        def bits(place: int, side: str, beyond: int = 0) -> float:
            return sum(b for s, t, w, b in moved if s == place and w == side and t >= beyond)

        def whole(place: int) -> float:
            reads = bits(place, "r") + taken[place]["r"]
            return self.port(place, reads, bits(place, "w") + taken[place]["w"])

        time = compute
        for place in range(len(self.levels) - 1, 0, -1):
            time = max(time, whole(place))
            if not self.levels[place].double_buffered:
                time += max(
                    self.port(outer, bits(outer, "r", place), bits(outer, "w", place))
                    for outer in range(place)
                )
        return max(time, whole(0)) + ends

    def in_array(self, tensor: str, trips: Sizes, spread: Sizes) -> tuple[float, float]:
        """Return a tensor's elements, halos of array tiles included, and the PEs each meets."""
        size = self.size
        if tensor == "O":
            return prod(size[d] for d in INDEX["O"]), spread["C"] * spread["R"] * spread["S"]
        if tensor == "W":
            return prod(size[d] for d in INDEX["W"]), spread["N"] * spread["P"] * spread["Q"]
        count, fan = size["G"] * size["N"] * size["C"], float(spread["K"])
        for axis in (0, 1):
            p, r = "PQ"[axis], "RS"[axis]
            whole = self.window(axis, trips[p], trips[r])
            parts = self.window(
                axis, min(trips[p] * spread[p], size[p]), min(trips[r] * spread[r], size[r])
            )
            count *= whole
            fan *= max(1.0, parts / whole)
        return count, fan

    def once(self, tensor: str, tiles: Sizes) -> float:
        """Return the elements of a tensor that come into a buffer when each tile comes once."""
        size = self.size
        if tensor != "I":
            return prod(size[d] for d in INDEX[tensor])
        count = size["G"] * size["N"] * size["C"]
        for axis in (0, 1):
            rows = self.window(axis, tiles["PQ"[axis]], 1) - self.shape.padding[axis]
            count *= max(self.shape.touched[axis], rows)
        return count

    def ends(self, spread: Sizes, a: Sizes) -> float:
        """Return the cycles of one array tile in and out, where transfers overlap."""
        cycles, last = 0.0, len(self.levels) - 1
        for tensor in "WIO":
            own = {
                d: min(spread[d] * (a[d] if self.pad[tensor] else 1), self.size[d]) for d in DIMS
            }
            count = prod(own[d] for d in INDEX[tensor])
            if tensor == "I":
                count = own["G"] * own["N"] * own["C"]
                count *= self.span(0, own["P"], own["R"]) * self.span(1, own["Q"], own["S"])
            homes = [*self.homes[tensor], last + 1]
            for source, target in pairwise(homes):
                passed = range(source + 1, target + 1) if source < last else [source]
                levels = [self.levels[i] for i in passed if 0 < i <= last]
                if all(level.double_buffered for level in levels):
                    kind = "F" if tensor == "O" else tensor
                    bits = count * self.stored(kind, self.levels[source])
                    sides = (0.0, bits) if tensor == "O" else (bits, 0.0)
                    cycles += self.port(source, *sides)
        return cycles

    def best(self, objective: str, orders: tuple[str, ...] = SHORT) -> tuple[float, float, int]:
        """Return the least keys over the whole mapspace, and how many mappings were scored."""
        best, count, clock = (inf, inf), 0, self.machine.clock.value
        levels = max(2, len(self.levels))
        for spread, a, blocks in self.nests():
            for nest in product(orders, repeat=levels):
                count += 1
                best = smaller(best, keys(objective, *self.price(spread, a, blocks, nest), clock))
        return (*best, count)


def even(whole: int, parts: int) -> list[int]:
    """Split a loop into so many parts as evenly as can be."""
    return [whole // parts + (index < whole % parts) for index in range(parts)]
