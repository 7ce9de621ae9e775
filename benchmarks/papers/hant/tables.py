"""The tables of docs/hant.md, from the JSON files beside this script.

hwflow reproduce hant --data DATA --weights WEIGHTS --out OUT
cp OUT/*.json benchmarks/papers/hant/
python benchmarks/papers/hant/tables.py
"""

from __future__ import annotations

from pathlib import Path

from hwflow.reproduce.tables import percent, results, table

HERE = Path(__file__).parent


def transformed() -> None:
    """Print the best answers before fine-tuning."""
    rows = []
    for result in results(HERE, "transform-*.json"):
        case, share = result["case"], result["shares"]
        families = sorted(result["families"].items(), key=lambda pair: -pair[1])
        ranks = result["rank_correlation"]
        rows.append(
            [
                case["machine"], case["share"], percent(result["teacher"]),
                percent(result["validation"]),
                *(percent(share[name]) for name in ("latency_s", "macs", "params")),
                ", ".join(f"{name} {count}" for name, count in families),
                str(len(result["answers"])), "-" if ranks is None else f"{ranks:.2f}",
            ]
        )  # fmt: skip
    heads = ["machine", "asked", "teacher", "best answer", "latency", "MACs", "parameters",
             "what stands at the sites", "answers", "rank correlation"]  # fmt: skip
    print(table(heads, rows))


def tuned() -> None:
    """Print what fine-tuning gave, against the original fine-tuned as long."""
    rows = []
    for result in [*results(HERE, "tune-*.json"), *results(HERE, "as-*.json")]:
        test = result["test"].get("after", result["test"])
        speed = result.get("measured", {}).get("speedup")
        rows.append(
            [
                result.get("as") or f"{result['case']['machine']}, {result['case']['share']}",
                percent(test["original"]), percent(test["edited"]),
                f"{100 * test['drop']:+.2f} ± {100 * test['half_width_95']:.2f}",
                f"{speed['value']:.2f}x ({speed['low']:.2f} to {speed['high']:.2f})"
                if speed else "-",
            ]
        )  # fmt: skip
    heads = ["case", "original", "transformed", "drop in points, 95 %", "measured speed-up"]
    print(table(heads, rows))


if __name__ == "__main__":
    for show in (transformed, tuned):
        print(f"## {show.__name__}\n")
        show()
