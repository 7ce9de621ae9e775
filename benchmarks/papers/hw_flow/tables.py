"""The tables of docs/hw-flow.md, from the JSON files beside this script.

hwflow reproduce hw-flow --data DATA --weights WEIGHTS --out OUT
cp OUT/*.json benchmarks/papers/hw_flow/
python benchmarks/papers/hw_flow/tables.py
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

from hwflow.reproduce.tables import percent, points, table

HERE = Path(__file__).parent


def results(pattern: str) -> list[dict[str, Any]]:
    """Return the results whose file names match: of 12 epochs, of 4, and those of `statistics`.

    There lie the results from before plans were mended by least squares.
    """
    folders = (HERE, HERE / "4-epochs", HERE / "statistics")
    found = [path for folder in folders for path in sorted(folder.glob(pattern))]
    return [
        json.loads(path.read_text())
        | {"mended": "statistics" if path.parent.name == "statistics" else "least squares"}
        for path in found
    ]


def tuned() -> None:
    """Print what fine-tuning gave, against the original fine-tuned as long."""
    rows = []
    for result in results("tune-*.json"):
        case, after, share = result["case"], result["test"]["after"], result["shares"]
        before = result["test"]["before_fine_tuning"]
        rows.append(
            [
                case["machine"], case["point"], case.get("by", "agent"), str(case["seed"]),
                result["mended"], str(result["epochs"]),
                *(f"{1 / share[name]:.2f}x" for name in ("latency_s", "energy_j", "macs")),
                percent(before["edited"]), percent(after["original"]), percent(after["edited"]),
                points(after),
            ]
        )  # fmt: skip
    heads = ["machine", "point", "by", "seed", "mended by", "epochs", "latency", "energy", "MACs",
             "before fine-tuning",
             "original", "pruned", "drop in points, 95 %"]  # fmt: skip
    print(table(heads, rows))


def searched() -> None:
    """Print what each search found before fine-tuning, level by level."""
    rows = []
    for result in results("search-*.json"):
        case, levels, share = result["case"], result["best_by_level"], result["shares"]
        best = [levels.get(level) for level in ("coarse", "mid", "fine")]
        rows.append(
            [
                case["machine"], case["point"], case.get("by", "agent"), str(case["seed"]),
                result["mended"], percent(result["validation"]),
                str(sum(result["evaluations"].values())),
                *("-" if value is None else percent(value) for value in best),
                "; ".join(text for shift in result["shifts"] for text in shift["broken"]) or "none",
                *(percent(share[name]) for name in ("latency_s", "energy_j", "macs")),
                f"{result['evaluation_cpu_s'] / 60:.1f}",
            ]
        )  # fmt: skip
    heads = ["machine", "point", "by", "seed", "mended by", "on 2,000", "evaluations", "Coarse",
             "Mid", "Fine", "limits the level before broke", "latency", "energy", "MACs",
             "CPU-min"]  # fmt: skip
    print(table(heads, rows))


def compared() -> None:
    """Print the best quality below the limits after all evaluations, by contender."""
    for result in results("compare-*.json"):
        print(f"{result['network']} on {result['machine']}, {result['level']} level\n")
        rows = []
        for label, curves in result["best_after_each"].items():
            last = [curve[-1] for curve in curves if curve and curve[-1] is not None]
            worth = [min(last), median(last), max(last)] if last else []
            shown = [percent(value) for value in worth] or ["-", "-", "-"]
            rows.append([label, str(len(curves)), *shown, str(max(map(len, curves)))])
        rows.sort(key=lambda row: row[3], reverse=True)
        print(table(["solver", "seeds", "least", "median", "largest", "evaluations"], rows))


def levels() -> None:
    """Print the best of a search on Coarse against one on Fine at no more latency or energy."""
    rows = []
    for result in results("levels-*.json"):
        for row in result["rows"]:
            coarse, fine = row["coarse"], row["fine"]
            rows.append(
                [
                    result["machine"], str(row["seed"]), percent(coarse["validation"]),
                    percent(fine["validation"]), percent(coarse["shares"]["latency_s"]),
                    percent(fine["shares"]["latency_s"]), percent(coarse["shares"]["macs"]),
                    percent(fine["shares"]["macs"]),
                ]
            )  # fmt: skip
    heads = ["machine", "seed", "accuracy, Coarse", "Fine", "latency, Coarse", "Fine",
             "MACs, Coarse", "Fine"]  # fmt: skip
    print(table(heads, rows))


def reach() -> None:
    """Print the least latency on each machine and what bars less."""
    for result in results("reach.json"):
        for machine, row in result["machines"].items():
            print(f"{machine}: {percent(row['share'])}. {row['message']}\n")


def any_graph() -> None:
    """Print what pruning of any graph found, network by network."""
    rows = [row for result in results("any-graph.json") for row in result["results"]]
    lines = [
        "| network | image | groups | latency | of it left | MACs left | energy left "
        "| filters kept | ONNX Runtime: agrees, largest difference "
        "| search, build, export (CPU s) | memory |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join([*lines, *map(line, rows)]), end="\n\n")


def line(row: dict[str, Any]) -> str:
    """Return one network's line."""
    if "fault" in row:
        return f"| {row['network']} | {row['fault']} |" + " |" * 9
    before, after, onnx, spent = row["before"], row["after"], row["onnx"], row["seconds"]
    left = {key: f"{100 * after[key] / before[key]:.1f} %" for key in before}
    mark = "" if row["half_reached"] else " (least)"
    cpu = ", ".join(f"{spent[key]['cpu']:.0f}" for key in ("search", "build", "export"))
    return (
        f"| {row['network']} | {row['input'][1]} | {row['groups']} "
        f"| {1e3 * before['latency_s']:.3g} → {1e3 * after['latency_s']:.3g} ms "
        f"| {left['latency_s']}{mark} | {left['macs']} | {left['energy_j']} "
        f"| {100 * row['filters_kept']:.0f} % "
        f"| {100 * onnx['agreement']:.4g} %, {onnx['relative_difference']:.1g} "
        f"| {cpu} | {row['peak_mib'] / 1024:.1f} GiB |"
    )


def shown(entry: dict[str, Any]) -> str:
    """Return one result as a line of Markdown."""
    less, before, after = entry["times_less"], entry["before"], entry["after"]
    parts = ", ".join(f"{k} {v:.0%}" for k, v in entry["latency_bound_by"]["after"].items())
    return (
        f"| {entry['network']} | {entry['machine']} "
        f"| {1e3 * before['latency_s']:.4g} → {1e3 * after['latency_s']:.4g} ms "
        f"({less['latency_s']:.2f}x) "
        f"| {1e3 * before['energy_j']:.4g} → {1e3 * after['energy_j']:.4g} mJ "
        f"({less['energy_j']:.2f}x) | {less['dram_bytes']:.2f}x | {less['macs']:.2f}x | {parts} |"
    )


def hardware_side() -> None:
    """Print the plans below half of latency and energy."""
    print("| network | machine | latency | energy | DRAM | MACs | latency bound by, after |")
    print("|---|---|---|---|---|---|---|")
    rows = [row for result in results("hardware-side.json") for row in result["results"]]
    print("\n".join(map(shown, rows)), end="\n\n")


if __name__ == "__main__":
    for show in (tuned, searched, compared, levels, reach, any_graph, hardware_side):
        print(f"## {show.__name__}\n")
        show()
