"""The tables of docs/hant.md, from the JSON files beside this script.

hwflow reproduce hant --data DATA --weights WEIGHTS --out OUT
cp OUT/*.json benchmarks/papers/hant/
python benchmarks/papers/hant/tables.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hwflow.reproduce.tables import percent, points, results, table

HERE = Path(__file__).parent


def transformed() -> None:
    """Print the best answers before fine-tuning."""
    rows = []
    for result in results(HERE, "transform-*.json"):
        case, share = result["case"], result["shares"]
        families = sorted(result["families"].items(), key=lambda pair: -pair[1])
        ranks = result["rank_correlation"]["divergence"]
        rows.append(
            [
                case["network"], case["machine"], asked(case), percent(result["teacher"]),
                percent(result["validation"]),
                *(percent(share[name]) for name in ("latency_s", "macs", "params")),
                ", ".join(f"{name} {count}" for name, count in families),
                str(len(result["answers"])), "-" if ranks is None else f"{ranks:.2f}",
            ]
        )  # fmt: skip
    heads = ["network", "machine", "asked", "teacher, 256 images", "best answer", "latency", "MACs",
             "parameters", "what stands at the sites", "answers", "rank correlation"]  # fmt: skip
    print(table(heads, rows))


def tuned() -> None:
    """Print what fine-tuning gave, against the original fine-tuned as long."""
    rows = []
    files = ("tune-*.json", "12-epochs/tune-*.json", "untrained-*.json", "as-*.json")
    for result in [result for pattern in files for result in results(HERE, pattern)]:
        test = result["test"].get("after", result["test"])
        rows.append(
            [
                about(result),
                str(result.get("epochs", "")),
                percent(test["original"]), percent(test["edited"]),
                drop(test), speed(result.get("measured")),
                drop(result["test"].get("after_in_eight_bits")),
                speed(result.get("measured_in_eight_bits")),
            ]
        )  # fmt: skip
        alone = result.get("measured_original_in_eight_bits")
        if alone:
            in_bits = result["test"].get("original_in_eight_bits")
            rows.append(["the original in 8 bits", *5 * ["-"], drop(in_bits), speed(alone)])
    heads = ["case", "epochs", "original", "transformed", "drop in points, 95 %",
             "measured speed-up", "drop with 8 bits", "speed-up with 8 bits"]  # fmt: skip
    print(table(heads, rows))


def about(result: dict[str, Any]) -> str:
    """Write what was transformed, and to what."""
    if "as" in result:
        return f"resnet56, cpu, latency of {result['as']}"
    case = result["case"]
    return f"{case['network']}, {case['machine']}, {asked(case)}"


def asked(case: dict[str, Any]) -> str:
    """Write the share of the latency that was asked for."""
    return case["share"] + (
        " of the original in 8 bits, all in 8 bits" if case.get("eight") else ""
    )


def drop(test: dict[str, Any] | None) -> str:
    """Write a paired drop in points with its interval."""
    return "-" if test is None else points(test)


def speed(measured: dict[str, Any] | None) -> str:
    """Write a measured speed-up with its interval."""
    if measured is None:
        return "-"
    found = measured["speedup"]
    return f"{found['value']:.2f}x ({found['low']:.2f} to {found['high']:.2f})"


if __name__ == "__main__":
    for show in (transformed, tuned):
        print(f"## {show.__name__}\n")
        show()
