"""The tables of docs/hw-flowq.md and docs/codesign.md, from the JSON files beside this script.

hwflow reproduce hw-flowq --data DATA --weights WEIGHTS --out OUT
cp OUT/*.json benchmarks/papers/hw_flowq/
python benchmarks/papers/hw_flowq/tables.py
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

from hwflow.reproduce.tables import percent, points, results, table

HERE = Path(__file__).parent
ACCURACIES = (0.80, 0.85, 0.88)
PRICES = ("latency_s", "energy_j")

SEARCHED = ("coarse", "mid", "fine", "refined")
"""How the level question was searched."""


def least(front: list[dict[str, Any]], accuracy: float, metric: str) -> float | None:
    """Return the least share of a metric at an accuracy or more."""
    return min((p["shares"][metric] for p in front if p["quality"] >= accuracy), default=None)


def spread(values: list[float | None]) -> str:
    """Write the median of a share over seeds, and what it lies between."""
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return "not reached" if not known else f"{percent(max(known))} ({len(known)} seeds)"
    ends = f" ({percent(min(known))} to {percent(max(known))})" if len(known) > 1 else ""
    return percent(median(known)) + ends


def searched() -> None:
    """Print what each contender reached: hypervolume, and least cost at some accuracies."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for result in results(HERE, "search-*.json"):
        case = result["case"]
        groups[case["network"], case["machine"], case["contender"]].append(result)
    rows = []
    for (network, machine, contender), found in groups.items():
        volumes = [result["hypervolume"] for result in found]
        costs = [
            spread([least(result["front"], accuracy, metric) for result in found])
            for metric in PRICES
            for accuracy in ACCURACIES
        ]
        rows.append(
            [network, machine, contender, str(len(found)), str(found[0]["evaluations"]),
             f"{median(volumes):.4f}", *costs]
        )  # fmt: skip
    heads = ["network", "machine", "solver", "seeds", "evaluations", "hypervolume"]
    heads += [f"latency at {percent(accuracy)}" for accuracy in ACCURACIES]
    heads += [f"energy at {percent(accuracy)}" for accuracy in ACCURACIES]
    print(table(heads, rows))


def budget_of(case: dict[str, Any]) -> tuple[Any, ...]:
    """Return what searches below one budget have in common."""
    return tuple(case[name] for name in ("network", "machine", "share", "seed"))


def agents() -> None:
    """Print the answers of HAQ's agent, and what NSGA-II has at that accuracy."""
    fronts = {tuple(r["case"].values()): r["front"] for r in results(HERE, "search-*.json")}
    same = {
        budget_of(r["case"]): r
        for r in results(HERE, "within-*.json") if "infeasible" not in r
    }  # fmt: skip
    rows = []
    for result in results(HERE, "haq-*.json"):
        case = result["case"]
        budgeted = same.get(budget_of(case))
        head = [case["network"], case["machine"], f"latency {percent(case['share'])}",
                case["repair"], str(case["seed"])]  # fmt: skip
        if "infeasible" in result:
            rows.append([*head, "out of reach", *8 * [""]])
            continue
        answer = result["answer"]
        ours = []
        for contender in ("nsga2", "seeded"):
            key = case["network"], case["machine"], contender, case["seed"]
            front = fronts.get(key, [])
            ours += [least(front, answer["quality"], name) for name in PRICES]
        rows.append(
            [*head, percent(answer["quality"]), percent(result["validation"]),
             percent(answer["shares"]["latency_s"]), percent(answer["shares"]["energy_j"]),
             *map(percent, ours), "-" if budgeted is None else percent(budgeted["validation"])]
        )  # fmt: skip
    heads = ["network", "machine", "budget", "repair", "seed", "accuracy", "on 2,000 images",
             "latency", "energy", "NSGA-II: latency", "energy", "seeded: latency", "energy",
             "programs below the same budget, on 2,000"]  # fmt: skip
    print(table(heads, rows))


def figures() -> None:
    """Print what other figures of HAQ's agent bring, by evaluations."""
    for result in results(HERE, "haq-tuning.json"):
        rows = [
            [row["figures"], str(row["seed"]),
             *(percent(row["best"][min(n, len(row["best"])) - 1]) for n in (40, 80, 160))]
            for row in result["rows"]
        ]  # fmt: skip
        heads = ["figures", "seed", "best after 40", "after 80", "after 160"]
        print(table(heads, rows))


def trained() -> None:
    """Print a ladder of ours beside HAQ's answer, after equally long training."""
    rows = []
    for result in results(HERE, "tune-*.json"):
        case = result["case"]
        if "ladder" not in result:
            continue
        haq = result["haq"]
        head = [case["machine"], f"latency {percent(case['share'])}", case["repair"],
                str(case["seed"])]  # fmt: skip
        rows.append(
            [*head, "HAQ", *(percent(haq["shares"][n]) for n in PRICES), percent(haq["quality"]),
             percent(result["ladder"][0]["test"]["haq"]), "", "", ""]
        )  # fmt: skip
        for one in result["ladder"]:
            test, saved = one["test"], one["saved"]
            rows.append(
                [*head, "ours", *(percent(one["shares"][n]) for n in PRICES),
                 percent(one["quality"]), percent(test["ours"]), points(test, sign=-1),
                 *(percent(saved[n]) for n in PRICES)]
            )  # fmt: skip
    heads = ["machine", "budget", "repair", "seed", "whose", "latency", "energy",
             "accuracy before training", "after, on the test images", "difference in points",
             "latency saved", "energy saved"]  # fmt: skip
    print(table(heads, rows))


def levels() -> None:
    """Print what a search on each level is worth when its plans are costed on Fine."""
    rows = []
    for result in results(HERE, "levels-*.json"):
        columns: dict[str, list[float]] = {key: [] for key in SEARCHED}
        for row in result["rows"]:
            moved = [f"{s['survived']} of {s['plans']}" for s in row["shifts"]]
            for key, found in columns.items():
                found.append(row[key]["hypervolume"])
            cells = [f"{found[-1]:.4f}" for found in columns.values()]
            networks = str(row["refined"]["networks"])
            rows.append([result["machine"], str(row["seed"]), *cells, networks, *moved])
        middle = {key: median(found) for key, found in columns.items()}
        lost = [f"{value:.4f} ({100 * (value / middle['fine'] - 1):+.1f} %)"
                for value in middle.values()]  # fmt: skip
        rows.append([result["machine"], "median", *lost, "", "", ""])
    heads = ["machine", "seed", "Coarse", "Mid", "Fine", "refined", "networks in it",
             "Coarse to Mid", "Mid to Fine"]  # fmt: skip
    print(table(heads, rows))


def work() -> None:
    """Print the forward work of the seeded search to plain NSGA-II's final hypervolume."""
    for result in results(HERE, "seeded.json"):
        rows = [
            [row["machine"], str(row["seed"]), f"{row['plain']:.4f}", f"{row['seeded']:.4f}",
             str(row["seeded_evaluations"] or "not reached"), percent(row["share"]),
             percent(row["share_of_search"])]
            for row in result["rows"]
        ]  # fmt: skip
        heads = ["machine", "seed", "plain", "seeded", "evaluations to plain's",
                 "share of its work, sensitivities included", "without them"]  # fmt: skip
        print(table(heads, rows))
        print(f"Median of the share: {percent(result['median_share'])}\n")


def ranks() -> None:
    """Print how well sums of single changes rank the networks that searches have evaluated."""
    for result in results(HERE, "surrogate.json"):
        names = list(result["rows"][0]["rank_correlation"])
        rows = [
            [row["machine"], row["contender"], str(row["networks"]),
             *(f"{row['rank_correlation'][name]:.2f}" for name in names)]
            for row in result["rows"]
        ]  # fmt: skip
        print(table(["machine", "search", "networks", *names], rows))


def lite() -> None:
    """Print EfficientNet-Lite0's networks on the held-out images."""
    for result in results(HERE, "lite-*.json"):
        rows = []
        for row in result["tested"]:
            shares, test = row["shares"], row["test"]
            against = row["against"].get("8 bits")
            rows.append(
                [row["network"], percent(shares["latency_s"]), percent(shares["energy_j"]),
                 percent(shares["model_bytes"]), percent(test["edited"]), points(test, 1),
                 "-" if against is None else points(against, 1)]
            )  # fmt: skip
        heads = ["network", "latency", "energy", "size", "accuracy", "drop from floats, 95 %",
                 "drop from 8 bits, 95 %"]  # fmt: skip
        print(table(heads, rows))


def codesigned() -> None:
    """Print co-design mode by mode, with the evaluations to what `sequential` ends with."""
    found = [r for r in results(HERE, "codesign-*.json") if "mode" in r]
    bars = {(r["network"], r["seed"]): r["hypervolumes"][-1]
            for r in found if r["mode"] == "sequential"}  # fmt: skip
    rows = []
    for result in found:
        curve, bar = result["hypervolumes"], bars[result["network"], result["seed"]]
        first = next((n for n, volume in enumerate(curve, 1) if volume >= bar), None)
        best = max(result["front"], key=lambda row: (row["accuracy"], -row["latency_s"]))
        rows.append(
            [result["network"], result["mode"], str(result["evaluations"]), str(result["refused"]),
             f"{result['costed']:,}", f"{result['search_cpu_s']:.0f} s",
             f"{result['quality_cpu_s']:.0f} s", f"{curve[-1]:.4f}",
             "not reached" if first is None else str(first),
             f"{percent(best['accuracy'])} at {1e6 * best['latency_s']:.0f} µs, "
             f"{best['area_um2'] / 1e6:.2f} mm²"]
        )  # fmt: skip
    heads = ["network", "mode", "networks scored", "refused before", "pairs costed", "CPU time",
             "of which accuracy", "hypervolume", "networks to `sequential`'s",
             "most accurate"]  # fmt: skip
    print(table(heads, rows))


def beside_presets() -> None:
    """Print the machines found, and each preset's own variants, against the presets."""
    for result in results(HERE, "codesign-*-presets.json"):
        rows = [
            [f"`{row['preset']}`", f"{row['area_um2'] / 1e6:.2f} mm²", *_held(row),
             *_held(row["own_platform"])]
            for row in result["presets"] if "fault" not in row
        ]  # fmt: skip
        heads = ["preset", "area", "beaten by the machines found", "latency ratio",
                 "beaten by its own variants", "latency ratio"]  # fmt: skip
        print(f"{result['network']}, {result['networks']} networks\n")
        print(table(heads, rows))


def _held(row: dict[str, Any]) -> list[str]:
    ratio = row["median_latency_ratio"]
    beaten = f"{row['beaten']} of {row['points']}"
    return [beaten, "no machine so small" if ratio is None else f"{ratio:.2f}"]


if __name__ == "__main__":
    for show in (
        searched,
        agents,
        figures,
        trained,
        levels,
        work,
        ranks,
        lite,
        codesigned,
        beside_presets,
    ):
        print(f"## {show.__name__}\n")
        show()
