"""The pass model of the Eyeriss chip against the chip: AlexNet, batch 4, 200 MHz (JSSC 2017).

    python benchmarks/papers/eyeriss_silicon.py --csv SHARED/validation/eyeriss_alexnet.csv

Replays the chip's own parameters, fits the three constants anew with each layer left out, searches
the parameters, and writes eyeriss_silicon.json and .svg beside this script and the tables of
docs/eyeriss.md.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from eyeriss_plot import drawing

from hwflow.costs.chip import Chip, ChipCost, Fitted, Passes, replay, search
from hwflow.machine import load_machine
from hwflow.workload import Layer

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DOCS = ROOT / "docs" / "eyeriss.md"
MIB = 2**20

# batch, filters, channels, outputs, kernel, stride, groups, padding, input rows and columns
SIZES = {
    "conv1": (4, 96, 3, 55, 11, 4, 1, 0, 227),
    "conv2": (4, 256, 96, 27, 5, 1, 2, 2, 27),
    "conv3": (4, 384, 256, 13, 3, 1, 1, 1, 13),
    "conv4": (4, 384, 384, 13, 3, 1, 2, 1, 13),
    "conv5": (4, 256, 384, 13, 3, 1, 2, 1, 13),
}
PRINTED = {
    "conv1": Passes(96, 1, 7, 16, 1, 1, 2),
    "conv2": Passes(64, 1, 27, 16, 2, 1, 1),
    "conv3": Passes(64, 4, 13, 16, 4, 1, 4),
    "conv4": Passes(64, 4, 13, 16, 3, 2, 2),
    "conv5": Passes(64, 4, 13, 16, 3, 2, 2),
}
FITTING = {**PRINTED, "conv3": Passes(64, 4, 13, 16, 3, 2, 2)}
"""What is replayed: conv3 with q, r, t as in conv4, which its measured traffic fits."""

ALLOWED = {"processing": (3.0, 10.0), "buffer": (3.0, 5.0), "energy": (6.0, 10.0)}
"""Mean and worst error that are accepted, in percent."""

Row = dict[str, float]


def layer(name: str) -> Layer:
    """Return a convolution of AlexNet as the chip ran it."""
    batch, filters, channels, out, kernel, stride, groups, pad, size = SIZES[name]
    return Layer(
        name, "conv", ("x",), ((batch, channels, size, size),), (batch, filters, out, out),
        batch=batch, out_channels=filters, in_channels=channels, out_size=(out, out),
        kernel=(kernel, kernel), stride=(stride, stride), padding=(pad,) * 4, groups=groups,
    )  # fmt: skip


def measurements(path: Path) -> dict[str, Row]:
    """Read the measured values by layer, in the units of the file's header."""
    with path.open() as lines:
        return {
            row.pop("layer"): {key: float(text) for key, text in row.items()}
            for row in csv.DictReader(lines)
        }


def costs(chip: Chip, measured: dict[str, Row], passes: dict[str, Passes]) -> dict[str, ChipCost]:
    """Replay every layer; where no density of an output is known it is that of the next input."""
    dense = {name: 1 - row["zeros_ifmap_percent"] / 100 for name, row in measured.items()}
    after = [*list(dense.values())[1:], 1.0]
    return {
        name: replay(layer(name), passes[name], chip, density=dense[name], output_density=out)
        for name, out in zip(dense, after, strict=True)
    }


def pair(model: float, real: float) -> dict[str, float]:
    """Return a modelled and a measured value with the error in percent."""
    return {"model": round(model, 3), "measured": real, "error_percent": error(model, real)}


def error(model: float, real: float) -> float:
    """Return the error of a model in percent of what was measured."""
    return round(100 * (model / real - 1), 2)


def compared(cost: ChipCost, row: Row) -> dict[str, Any]:
    """Set a replay beside the measurements; energy at the measured total time."""
    return {
        "passes": str(cost.passes),
        "bound_by": cost.bound_by,
        "active_pes": pair(cost.active_pes, row["active_pes"]),
        "processing": pair(cost.processing_s * 1e3, row["processing_ms"]),
        "buffer": pair(sum(cost.buffer_bytes.values()) / MIB, row["glb_MiB"]),
        "energy": pair(cost.energy_j(row["total_ms"] * 1e-3) * 1e3, millijoules(row)),
        "total": pair(cost.total_s * 1e3, row["total_ms"]),
        "dram": pair(sum(cost.dram_bytes.values()) / MIB, row["dram_MiB"]),
    }


def millijoules(row: Row) -> float:
    """Return the measured chip energy: power times total time."""
    return round(row["power_mW"] * row["total_ms"] * 1e-3, 4)


def fit_cycles(chip: Chip, measured: dict[str, Row]) -> Fitted:
    """Fit the two constants of the cycles: least squares of the relative errors, none below 0."""
    table = []
    for name, row in measured.items():
        real = row["processing_ms"] * 1e-3 * chip.clock_hz
        plain, load, start = (
            cycles(chip, name, Fitted(*pair)) for pair in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
        )
        table.append([(load - plain) / real, (start - plain) / real, 1 - plain / real])
    load_cycles, pass_cycles = nonnegative(np.array(table)[:, :2], np.array(table)[:, 2])
    return replace(chip.fitted, load_cycles=load_cycles, pass_cycles=pass_cycles)


def cycles(chip: Chip, name: str, fitted: Fitted) -> float:
    """Return the cycles of the array with other constants."""
    return replay(layer(name), FITTING[name], replace(chip, fitted=fitted)).array_cycles


def nonnegative(matrix: Any, wanted: Any) -> tuple[float, float]:
    """Solve two-column least squares with both unknowns at least 0."""
    tries = []
    for used in ([0, 1], [0], [1]):
        found = np.zeros(2)
        found[used] = np.linalg.lstsq(matrix[:, used], wanted, rcond=None)[0]
        if (found >= 0).all():
            tries.append((float(((matrix @ found - wanted) ** 2).sum()), found))
    best = min(tries, key=lambda attempt: attempt[0])[1]
    return float(best[0]), float(best[1])


def fit_power(chip: Chip, measured: dict[str, Row]) -> float:
    """Fit the constant power: least squares of the relative errors of the energy."""
    share, rest = [], []
    for name, cost in costs(chip, measured, FITTING).items():
        joules = millijoules(measured[name]) * 1e-3
        share.append(measured[name]["total_ms"] * 1e-3 / joules)
        rest.append(1 - (cost.mac_j + cost.buffer_j) / joules)
    return float(np.dot(share, rest) / np.dot(share, share))


def refitted(chip: Chip, measured: dict[str, Row]) -> Chip:
    """Return the chip with the three constants fitted to these measurements."""
    fitted = replace(fit_cycles(chip, measured), base_w=fit_power(chip, measured))
    return replace(chip, fitted=fitted)


def left_out(chip: Chip, measured: dict[str, Row]) -> dict[str, Any]:
    """Fit without each layer in turn; the errors of all layers with those constants."""
    found = {}
    for name in measured:
        rest = {other: row for other, row in measured.items() if other != name}
        other_chip = refitted(chip, rest)
        replays = costs(other_chip, measured, FITTING)
        errors = {other: compared(replays[other], measured[other]) for other in measured}
        found[name] = {
            "constants": constants(other_chip.fitted),
            "errors": {
                what: {other: errors[other][what]["error_percent"] for other in measured}
                for what in ("processing", "energy")
            },
        }
    return found


def constants(fitted: Fitted) -> dict[str, float]:
    """Return the fitted constants, rounded."""
    return {
        "load_cycles": round(fitted.load_cycles, 3),
        "pass_cycles": round(fitted.pass_cycles, 1),
        "base_mW": round(fitted.base_w * 1e3, 1),
    }


def searched(chip: Chip, measured: dict[str, Row]) -> dict[str, Any]:
    """Search each layer's parameters by each objective; energy at the modelled total time."""
    found: dict[str, Any] = {}
    for name, row in measured.items():
        density = 1 - row["zeros_ifmap_percent"] / 100
        own = replay(layer(name), FITTING[name], chip, density=density)
        found[name] = {"replay": summary(own)}
        for objective in ("chip", "latency", "energy"):
            best = search(layer(name), chip, objective, density=density)
            found[name][objective] = {**summary(best.cost), "compared": best.compared}
    return found


def summary(cost: ChipCost) -> dict[str, Any]:
    """Return what the tables of the search show."""
    return {
        "passes": str(cost.passes),
        "processing_ms": round(cost.processing_s * 1e3, 2),
        "energy_mJ": round(cost.energy_j() * 1e3, 2),
        "active_pes": cost.active_pes,
        "buffer_MiB": round(sum(cost.buffer_bytes.values()) / MIB, 1),
        "dram_MiB": round(sum(cost.dram_bytes.values()) / MIB, 2),
    }


def errors_of(rows: dict[str, Any], what: str) -> dict[str, float]:
    """Return the mean and the worst absolute error in percent."""
    values = [abs(row[what]["error_percent"]) for row in rows.values()]
    return {"mean": round(sum(values) / len(values), 2), "worst": max(values)}


def gains(found: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return totals of the five layers: the chip's own parameters, the best, percent saved."""
    values = {"latency": "processing_ms", "energy": "energy_mJ"}
    saved = {}
    for objective, value in values.items():
        own, best = (
            round(sum(row[key][value] for row in found.values()), 2)
            for key in ("replay", objective)
        )
        saved[objective] = {"replay": own, "best": best, "saved_percent": -error(best, own)}
    return saved


def figures(path: Path) -> dict[str, Any]:
    """Return everything that the JSON file holds."""
    measured, chip = measurements(path), Chip.of(load_machine("eyeriss"))
    replays = costs(chip, measured, FITTING)
    rows = {name: compared(replays[name], measured[name]) for name in measured}
    printed = compared(costs(chip, measured, PRINTED)["conv3"], measured["conv3"])
    found = searched(chip, measured)
    return {
        "constants": {
            "used": constants(chip.fitted),
            "least_squares": constants(refitted(chip, measured).fitted),
        },
        "allowed_percent": ALLOWED,
        "errors_percent": {what: errors_of(rows, what) for what in (*ALLOWED, "total", "dram")},
        "layers": rows,
        "conv3_printed": printed,
        "left_out": left_out(chip, measured),
        "search": found,
        "gains": gains(found),
    }


def grid(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Write a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def tables(data: dict[str, Any]) -> dict[str, str]:
    """Return the tables of the documentation by name."""
    return {
        "silicon": silicon_table(data),
        "left-out": left_out_table(data),
        "search": search_table(data),
        "gains": gains_table(data),
    }


def silicon_table(data: dict[str, Any]) -> str:
    """Compare replay and silicon, layer by layer."""
    rows = {**data["layers"], "conv3 as printed": data["conv3_printed"]}
    parts = ("processing", "buffer", "energy", "total", "dram")
    body = [
        [name, row["passes"], f"{row['active_pes']['model']:g} / {row['active_pes']['measured']:g}"]
        + [
            f"{row[p]['model']:.2f} / {row[p]['measured']:.2f} ({row[p]['error_percent']:+.1f} %)"
            for p in parts
        ]
        for name, row in rows.items()
    ]
    worst = data["errors_percent"]
    body.append(
        ["**mean, worst**", "", "exact"]
        + [f"**{worst[p]['mean']:.1f} %, {worst[p]['worst']:.1f} %**" for p in parts]
    )
    head = ["layer", "m,n,e,p,q,r,t", "active PEs", "processing, ms", "buffer, MiB", "chip, mJ",
            "total, ms", "DRAM, MiB"]  # fmt: skip
    return grid(head, body)


def left_out_table(data: dict[str, Any]) -> str:
    """Show the constants without each layer, and the error of that layer."""
    body = [
        [name, *row["constants"].values()]
        + [f"{row['errors'][what][name]:+.1f} %" for what in ("processing", "energy")]
        for name, row in data["left_out"].items()
    ]
    for kind in ("used", "least_squares"):
        body.append([kind.replace("_", " "), *data["constants"][kind].values(), "", ""])
    head = ["left out", "cycles per filter word", "cycles per pass", "constant power, mW",
            "error of its processing time", "error of its energy"]  # fmt: skip
    return grid(head, body)


def search_table(data: dict[str, Any]) -> str:
    """Show the best parameters of each layer beside the chip's own."""
    words = {"replay": "the chip's own", "chip": "planning rule", "latency": "least latency",
             "energy": "least energy"}  # fmt: skip
    body = [
        [name, words[key], row["passes"], row["processing_ms"], row["energy_mJ"],
         row["active_pes"], row["buffer_MiB"], row["dram_MiB"]]
        for name, found in data["search"].items()
        for key, row in found.items()
    ]  # fmt: skip
    head = ["layer", "parameters", "m,n,e,p,q,r,t", "processing, ms", "chip, mJ", "active PEs",
            "buffer, MiB", "DRAM, MiB"]  # fmt: skip
    return grid(head, body)


def gains_table(data: dict[str, Any]) -> str:
    """Show what the five layers together would gain."""
    words = {"latency": "processing, ms", "energy": "chip, mJ"}
    body = [
        [words[what], row["replay"], row["best"], f"{row['saved_percent']:.1f} %"]
        for what, row in data["gains"].items()
    ]
    return grid(["all five layers", "the chip's own", "best", "saved"], body)


def fill(text: str, parts: dict[str, str]) -> str:
    """Put the tables between their marks in the documentation."""
    for name, part in parts.items():
        start, end = f"<!-- table {name} -->\n", "<!-- end -->"
        before, _, rest = text.partition(start)
        if not rest:
            raise SystemExit(f"docs/eyeriss.md lacks the mark {start.strip()}.")
        text = before + start + part + "\n" + end + rest.partition(end)[2]
    return text


def main() -> None:
    """Compute, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    shared = ROOT.parent / "shared" / "validation" / "eyeriss_alexnet.csv"
    parser.add_argument("--csv", type=Path, default=shared, help="the measurements")
    data = figures(parser.parse_args().csv)
    (HERE / "eyeriss_silicon.json").write_text(json.dumps(data, indent=2) + "\n")
    (HERE / "eyeriss_silicon.svg").write_text(drawing(data))
    DOCS.write_text(fill(DOCS.read_text(), tables(data)))
    print("\n\n".join(tables(data).values()))
    print(f"\nerrors, %: {json.dumps(data['errors_percent'])}")
    print(f"all five layers, replayed and best: {json.dumps(data['gains'])}")


if __name__ == "__main__":
    main()
