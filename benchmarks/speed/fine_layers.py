"""CPU time of the fine level, compilation apart: one thread, rows of JSON, tables by tables.py.

    python benchmarks/speed/fine_layers.py results.jsonl [--quick] [--parts shapes networks ...]

Parts, each on every machine, for every objective, in the default and the full mapspace:
shapes    each distinct layer of the networks at 8 bits: CPU time from empty caches, gap, leaves,
          visits, size of the mapspace, and what the default one loses against the full one
pairs     sixteen pairs of bits of each of those layers, one after the other
networks  whole networks from an empty cache, and again from a warm one; every layer's gap
genomes   random bits of all tensors of ResNet-56, costed together (default mapspace)
memory    peak memory of a process that maps DeepLabv3 for EDP in the full mapspace

A run that was stopped goes on where it was; rows of other sources are measured again. `--quick`
takes about a minute: ResNet-50 on eyeriss for latency, one repetition.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import product
from pathlib import Path

import numpy as np
from measured import Row, Rows, cold, cpu_ms, progress
from networks import BIG, network
from sizes import mapspace_size

from hwflow.cost import Bits
from hwflow.costs.fine import Fine
from hwflow.costs.fine.cache import user_file
from hwflow.costs.fine.rates import OperandBits
from hwflow.costs.fine.result import Objective
from hwflow.costs.fine.shape import Shape, shape_of
from hwflow.design import Design
from hwflow.machine import load_machine
from hwflow.workload import Workload

MACHINES = ("eyeriss", "systolic-16x16")
OBJECTIVES: tuple[Objective, ...] = ("latency", "energy")
MAPSPACES = ("default", "full")
PARTS = ("shapes", "pairs", "networks", "genomes", "memory")
PAIRS = [(weight, read) for weight in (2, 4, 6, 8) for read in (2, 4, 6, 8)]
EIGHT = OperandBits(8, 8, 8)
GENOMES, CHOICES = 10_000, (2, 4, 6, 8)
Setting = tuple[str, Objective, str]


class Run:
    """What a run was asked for, with its networks and rows."""

    def __init__(self, asked: argparse.Namespace) -> None:
        """Read networks and known rows."""
        self.rows = Rows(asked.results, asked.fresh)
        self.repeat, self.seed = asked.repeat, asked.seed
        self.folder: Path = asked.folder
        self.networks = {name: network(name, asked.folder) for name in asked.networks}
        self.settings: list[Setting] = list(
            product(asked.machines, asked.objectives, asked.mapspaces)
        )

    def shapes(self) -> dict[Shape, str]:
        """Return the distinct layers and the network that brought each first."""
        found: dict[Shape, str] = {}
        for name, workload in self.networks.items():
            for layer in workload.mac_layers:
                found.setdefault(shape_of(layer), name)
        return found


def fine(setting: Setting) -> Fine:
    """Return a model without a cache file."""
    _, objective, mapspace = setting
    return Fine(objective, full=mapspace == "full")


def named(part: str, setting: Setting) -> Row:
    """Return what a row of a part tells about its setting."""
    return {"part": part, **dict(zip(("machine", "objective", "mapspace"), setting, strict=True))}


def warm_up(settings: list[Setting]) -> None:
    """Load or compile the kernels."""
    for setting in settings:
        fine(setting).best(load_machine(setting[0]), Shape((1, 4, 4, 4, 4, 1, 1, 1)), EIGHT)


def each_layer(run: Run, part: str, measure: Callable[[Setting, Shape], Row]) -> None:
    """Measure every distinct layer in every setting."""
    every = list(product(run.settings, run.shapes().items()))
    for number, (setting, (shape, owner)) in enumerate(every):
        progress(number, len(every), (part, *setting))
        what = {**named(part, setting), **asdict(shape), "network": owner}
        run.rows.measure(what, lambda s=setting, x=shape: measure(s, x))


def shapes(run: Run) -> None:
    """Measure every distinct layer at 8 bits."""
    each_layer(run, "shapes", lambda setting, shape: one_shape(setting, shape, run.repeat))


def pairs(run: Run) -> None:
    """Measure sixteen pairs of bits of every distinct layer."""
    each_layer(run, "pairs", sixteen)


def one_shape(setting: Setting, shape: Shape, repeat: int) -> Row:
    """Map one layer from empty caches."""
    machine = load_machine(setting[0])
    ms, found = cpu_ms(lambda: fine(setting).best(machine, shape, EIGHT), repeat)
    return {
        "ms": ms, "repeat": repeat, "key": found.key, "gap": found.gap, "leaves": found.leaves,
        "visits": found.visits,
        "mapspace_size": mapspace_size(machine, shape, setting[2] == "full"),
    }  # fmt: skip


def sixteen(setting: Setting, shape: Shape) -> Row:
    """Map one layer at sixteen pairs of bits, with one model that starts empty."""
    machine, model, times, gaps = load_machine(setting[0]), fine(setting), [], []
    cold()
    for weight, read in PAIRS:
        bits = OperandBits(weight, read, read)
        ms, found = cpu_ms(lambda b=bits: model.best(machine, shape, b), fresh=False)
        times.append(ms)
        gaps.append(found.gap)
    return {"ms": sum(times), "each": [round(ms, 3) for ms in times], "gap": max(gaps)}


def networks(run: Run) -> None:
    """Measure whole networks, from an empty cache and again."""
    for setting, (name, workload) in product(run.settings, run.networks.items()):
        progress(0, 0, ("networks", name, *setting))
        what = {**named("networks", setting), "network": name}
        run.rows.measure(what, lambda s=setting, w=workload: whole(s, w, run.repeat))


def whole(setting: Setting, workload: Workload, repeat: int) -> Row:
    """Cost one network as it is: operands at the machine's native width."""
    design, models = Design(workload, load_machine(setting[0])), []

    def first() -> None:
        models.append(fine(setting))
        models[-1].cost(design)

    first_ms, _ = cpu_ms(first, repeat)
    warm_ms, _ = cpu_ms(lambda: models[-1].cost(design), 51, fresh=False)
    report = models[-1].report(design)
    return {
        "ms": first_ms, "repeat": repeat, "layers": len(workload), "mac_layers": len(report),
        "shapes": len({shape_of(layer) for layer in workload.mac_layers}),
        "worst_gap": max(entry.found.gap for entry in report),
        "warm_us_per_layer": warm_ms * 1e3 / len(workload),
    }  # fmt: skip


def genomes(run: Run) -> None:
    """Measure many bit assignments at once."""
    workload = network("ResNet-56", run.folder)
    for setting in run.settings:
        if setting[2] == "default":
            progress(0, 0, ("genomes", *setting))
            what = {**named("genomes", setting), "rows": GENOMES, "seed": run.seed}
            run.rows.measure(what, lambda s=setting: many(s, workload, run.seed))


def many(setting: Setting, workload: Workload, seed: int) -> Row:
    """Cost random bits of every tensor, twice: mappings are searched the first time."""
    rng = np.random.default_rng(seed)
    layers, tensors = len(workload), len(workload) + len(workload.inputs)
    bits = Bits(rng.choice(CHOICES, (GENOMES, layers)), rng.choice(CHOICES, (GENOMES, tensors)))
    design, model = Design(workload, load_machine(setting[0])), fine(setting)
    first, _ = cpu_ms(lambda: model.over_bits(design, bits))
    again, _ = cpu_ms(lambda: model.over_bits(design, bits), 3, fresh=False)
    return {"first_s": first / 1e3, "s": again / 1e3, "per_s": GENOMES / (again / 1e3)}


def memory(run: Run) -> None:
    """Measure the peak memory of a process of its own."""
    name = BIG[1]
    for machine in dict.fromkeys(setting[0] for setting in run.settings):
        setting: Setting = (machine, "edp", "full")
        what = {**named("memory", setting), "network": name}
        words = [sys.executable, __file__, "-", "--peak", machine, "--folder", str(run.folder)]
        run.rows.measure(what, lambda w=words: {"mib": float(subprocess.check_output(w))})


def peak(machine: str, folder: Path) -> None:
    """Map DeepLabv3 and print the peak memory of this process in MiB."""
    design = Design(network(BIG[1], folder), load_machine(machine))
    Fine("edp", full=True).cost(design)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def asked_for() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--fresh", action="store_true", help="forget the rows of the file")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--networks", nargs="+", default=BIG, choices=BIG)
    parser.add_argument("--machines", nargs="+", default=MACHINES)
    parser.add_argument("--objectives", nargs="+", default=OBJECTIVES)
    parser.add_argument("--mapspaces", nargs="+", default=MAPSPACES, choices=MAPSPACES)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--folder",
        type=Path,
        default=user_file().parent / "benchmarks",
        help="where extracted networks are kept",
    )
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.quick:
        asked.networks, asked.machines, asked.objectives = BIG[:1], MACHINES[:1], OBJECTIVES[:1]
        asked.repeat = 1
    return asked


def main() -> None:
    """Measure the parts that were asked for."""
    asked = asked_for()
    if asked.peak:
        peak(asked.peak, asked.folder)
        return
    run, start = Run(asked), time.process_time()
    warm_up(run.settings)
    print(f"kernels loaded in {time.process_time() - start:.1f} CPU-s", file=sys.stderr)
    made = {"shapes": shapes, "pairs": pairs, "networks": networks, "genomes": genomes,
            "memory": memory}  # fmt: skip
    for part in PARTS:
        if part in asked.parts:
            made[part](run)
    times = [row["ms"] for row in run.rows.known.values() if row["what"]["part"] == "shapes"]
    if times:
        print(f"\n{len(times)} shapes: median {statistics.median(times):.1f} ms", file=sys.stderr)


if __name__ == "__main__":
    main()
