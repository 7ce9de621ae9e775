"""The tables of docs/speed.md on the fine level, from the rows that the scripts wrote.

    python benchmarks/speed/tables.py results.jsonl others.jsonl [--write docs/speed.md]

Without `--write` they go to the screen; with it they take the place of what stands between the
marks `<!-- begin fine -->` and `<!-- end fine -->`, and the same for `others`. Rows measured with
older sources of the fine level are said to be so.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from mappers.inputs import CASES, RULES
from measured import Row, read, sources
from other_mappers import verdicts

DEEPLAB = "DeepLabv3-ResNet50, 513 x 513"


def grouped(rows: Iterable[Row], *keys: str) -> dict[tuple[Any, ...], list[Row]]:
    """Return rows by the values of some fields of what they measured."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row["what"][key] for key in keys), []).append(row)
    return found


def table(head: str, rows: Iterable[Iterable[object]]) -> str:
    """Return a table in Markdown; `head` has the titles between bars."""
    titles = [title.strip() for title in head.split("|")]
    lines = [titles, ["---"] * len(titles), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def short(value: float) -> str:
    """Return a number with three figures, none after the point from 100 up."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def median(values: Iterable[float]) -> str:
    """Return the median, shortened."""
    return short(statistics.median(values))


def worst(values: Iterable[float]) -> str:
    """Return the largest, shortened."""
    return short(max(values))


def of(rows: list[Row], key: str) -> list[float]:
    """Return one field of all rows."""
    return [row[key] for row in rows]


def shapes(rows: list[Row], every: list[Row]) -> str:
    """Show new layers at one pair of bits and at sixteen, by machine, objective and mapspace."""
    sixteen = grouped((r for r in every if r["what"]["part"] == "pairs"),
                      "machine", "objective", "mapspace")  # fmt: skip
    lines = []
    for group, found in grouped(rows, "machine", "objective", "mapspace").items():
        many = sixteen.get(group, [])
        lines.append([
            *group, len(found), median(of(found, "ms")), worst(of(found, "ms")),
            median(of(many, "ms")) if many else "-", worst(of(many, "ms")) if many else "-",
            short(max(of(found, "gap") + of(many, "gap"))),
        ])  # fmt: skip
    head = (
        "machine | objective | mapspace | layers | median ms | worst ms | 16 pairs, median ms | "
        "16 pairs, worst ms | worst gap"
    )
    return table(head, lines)


def sizes(rows: list[Row], every: list[Row]) -> str:
    """Show how many mappings the mapspaces hold, and how few tiles were looked at."""
    lines = []
    for (machine, mapspace), found in grouped(rows, "machine", "mapspace").items():
        held = of(found, "mapspace_size")
        lines.append([
            machine, mapspace, f"{statistics.median(held):.1e}", f"{max(held):.1e}",
            median(of(found, "leaves")), worst(of(found, "leaves")),
            median(of(found, "visits")), worst(of(found, "visits")),
        ])  # fmt: skip
    head = (
        "machine | mapspace | mappings, median | most | leaves, median | most | "
        "visits, median | most"
    )
    return table(head, lines)


def loss(rows: list[Row], every: list[Row]) -> str:
    """Show what the default mapspace loses against the full one."""
    lines = []
    for (machine, objective), found in grouped(rows, "machine", "objective").items():
        pairs = [by for by in by_layer(found).values() if len(by) == 2]
        losses = [by["default"]["key"] / by["full"]["key"] - 1 for by in pairs]
        if losses:
            lines.append([
                machine, objective, len(losses), sum(value > 1e-9 for value in losses),
                f"{statistics.fmean(losses):.2%}", f"{max(losses):.1%}",
            ])  # fmt: skip
    return table("machine | objective | layers | that lose | mean loss | worst loss", lines)


def by_layer(rows: list[Row]) -> dict[str, dict[str, Row]]:
    """Return the two mapspaces' rows of every layer."""
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        what = dict(row["what"])
        found.setdefault(str(what | {"mapspace": ""}), {})[what["mapspace"]] = row
    return found


def networks(rows: list[Row], every: list[Row]) -> str:
    """Show whole networks from an empty cache and from a warm one."""
    lines = [
        [
            row["what"]["network"], *(row["what"][key] for key in ("machine", "objective")),
            row["what"]["mapspace"], row["shapes"], f"{row['ms'] / 1e3:.3f}",
            short(row["warm_us_per_layer"]), short(row["worst_gap"]),
        ]
        for row in rows
    ]  # fmt: skip
    head = (
        "network | machine | objective | mapspace | distinct layers | CPU-s, empty cache | "
        "cached, µs per layer | worst gap"
    )
    return table(head, lines)


def genomes(rows: list[Row], every: list[Row]) -> str:
    """Show batches of bit assignments."""
    lines = [
        [row["what"]["machine"], row["what"]["objective"], f"{row['what']['rows']:,}",
         f"{row['first_s']:.2f}", f"{row['s']:.3f}", f"{row['per_s']:,.0f}"]
        for row in rows
    ]  # fmt: skip
    return table("machine | objective | genomes | first CPU-s | again CPU-s | genomes/s", lines)


def memory(rows: list[Row], every: list[Row]) -> str:
    """Show peak memory."""
    lines = [[row["what"]["machine"], row["what"]["network"], f"{row['mib']:.0f}"] for row in rows]
    return table("machine | network, full mapspace, EDP | peak MiB", lines)


def targets(rows: list[Row], every: list[Row]) -> str:
    """Show the aims beside each machine's figures, those of its worst objective; missed: bold."""
    machines = [name for (name,) in grouped(rows, "machine")]
    lines = []
    for what, unit, aim, measured in AIMS:
        found = [measured([r for r in every if r["what"]["machine"] == name]) for name in machines]
        cells = ["-" if value is None else beside(value, aim) for value in found]
        lines.append([f"{what}, {unit}" if unit else what, *cells, f"{aim:,}"])
    return table(f"what | {' | '.join(machines)} | at most", lines)


def beside(value: float, aim: float) -> str:
    """Return a figure, in bold when it lies above its aim."""
    return short(value) if value <= aim else f"**{short(value)}**"


def worst_objective(
    part: str,
    mapspace: str | None,
    key: str,
    of_them: Callable[[list[float]], float] = max,
    **only: str,
) -> Callable[[list[Row]], float | None]:
    """Return a figure of the rows of a part: for each objective, then the largest of these."""
    asked = {"part": part, **({"mapspace": mapspace} if mapspace else {}), **only}

    def figure(rows: list[Row]) -> float | None:
        found = [row for row in rows if asked.items() <= row["what"].items()]
        each = [of_them(of(group, key)) for group in grouped(found, "objective").values()]
        return max(each, default=None)

    return figure


AIMS: list[tuple[str, str, float, Callable[[list[Row]], float | None]]] = [
    ("new layer, median", "ms", 5, worst_objective("shapes", "default", "ms", statistics.median)),
    ("new layer, worst", "ms", 100, worst_objective("shapes", "default", "ms")),
    ("16 bit pairs of a layer, median", "ms", 40,
     worst_objective("pairs", "default", "ms", statistics.median)),
    ("new layer, full mapspace, median", "ms", 15,
     worst_objective("shapes", "full", "ms", statistics.median)),
    ("new layer, full mapspace, worst", "ms", 1000, worst_objective("shapes", "full", "ms")),
    ("ResNet-50, empty cache", "ms", 300,
     worst_objective("networks", "default", "ms", network="ResNet-50")),
    ("ResNet-50, empty cache, full mapspace", "ms", 1500,
     worst_objective("networks", "full", "ms", network="ResNet-50")),
    ("DeepLabv3, empty cache", "ms", 800,
     worst_objective("networks", "default", "ms", network=DEEPLAB)),
    ("DeepLabv3, empty cache, full mapspace", "ms", 5000,
     worst_objective("networks", "full", "ms", network=DEEPLAB)),
    ("network already cached, per layer", "µs", 50,
     worst_objective("networks", None, "warm_us_per_layer")),
    ("gap of every layer, both mapspaces", "", 0, worst_objective("shapes", None, "gap")),
    ("peak memory", "MiB", 1024, worst_objective("memory", "full", "mib")),
]  # fmt: skip

PARTS: dict[str, list[tuple[str, Callable[[list[Row], list[Row]], str]]]] = {
    "shapes": [
        ("Aims, and the figures of each machine's worst objective (bold: above)", targets),
        ("New layer at 8 bits, and sixteen pairs of 2, 4, 6 and 8 bits", shapes),
        ("Mappings in the mapspace before pruning, fitting or not", sizes),
        ("What the default mapspace loses against the full one", loss),
    ],
    "networks": [("Whole networks", networks)],
    "genomes": [("Bits of every tensor of ResNet-56, 2, 4, 6 or 8, costed together", genomes)],
    "memory": [("Memory of a process that maps one network", memory)],
}


def fine(rows: list[Row]) -> str:
    """Return every table of the fine level's own rows."""
    found = grouped(rows, "part")
    pieces = [standing(rows)]
    for part, tables in PARTS.items():
        for title, made in tables:
            own = found.get((part,), [])
            text = made(own, rows) if own else ""
            if text:
                pieces.append(f"**{title}**\n\n{text}")
    return "\n\n".join(pieces)


def standing(rows: list[Row]) -> str:
    """Say on which processor rows were measured, and whether the sources are the present ones."""
    processors = ", ".join(sorted({row["processor"] for row in rows}))
    old = sum(row["code"] != sources() for row in rows)
    words = f"{processors}, one thread, CPU time."
    return words + (f" {old} of {len(rows)} rows are of other sources." if old else "")


COLUMNS = ("cpu_ms", "steps", "cycles", "energy_pj", "dram_bytes")


def others(rows: list[Row]) -> str:
    """Return one table for all layers and tools."""
    lines = []
    for case in CASES:
        own = [row for row in rows if row["what"].get("layer") == case.name]
        lines += [line for row in own if (line := other_line(row))]
    head = "layer | tool | CPU ms | steps | cycles | µJ | DRAM kB"
    failed = [f"{r['what']['tool']}, {r['what']['layer']}: {r['error']}" for r in rows
              if "error" in r]  # fmt: skip
    pieces = [standing([row for row in rows if row["what"]["tool"] == "hwflow"]),
              table(head, lines), *failed, agreed(rows), RULES]  # fmt: skip
    return "\n\n".join(pieces)


def agreed(rows: list[Row]) -> str:
    """Say how many of the numbers that must agree do, and name those that do not."""
    held = {(layer, check): holds for layer, of_layer in verdicts(rows).items()
            for check, holds in of_layer.items()}  # fmt: skip
    broken = [f"{layer}: {check}" for (layer, check), holds in held.items() if not holds]
    words = f"Numbers that must agree whatever the rules: {len(held) - len(broken)} of {len(held)}."
    return "\n".join([words, *broken])


def other_line(row: Row) -> list[str]:
    """Return one line; the default mapspace stands for hwflow."""
    what = row["what"]
    if "error" in row or what.get("mapspace") == "full":
        return []
    tool = what["tool"] + (f", {what['objective']}" if what.get("objective") else "")
    figures = [
        short(row[key] / scale) if key in row else "-"
        for key, scale in (("cpu_ms", 1), ("steps", 1), ("cycles", 1), ("energy_pj", 1e6),
                           ("dram_bytes", 1e3))
    ]  # fmt: skip
    return [what["layer"], tool, *figures]


def written(text: str, mark: str, made: str) -> str:
    """Return a document with `made` between two marks."""
    begin, end = f"<!-- begin {mark} -->", f"<!-- end {mark} -->"
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"The document has no {begin} ... {end}: add them where the tables go.")
    return f"{before}{begin}\n{made}\n{end}{after}"


def main() -> None:
    """Print or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    rows = [row for path in asked.results for row in read(path)]
    split = {
        "fine": (fine, [row for row in rows if "part" in row["what"]]),
        "others": (others, [row for row in rows if "tool" in row["what"]]),
    }
    for mark, (made, own) in split.items():
        if own and asked.write:
            asked.write.write_text(written(asked.write.read_text(), mark, made(own)))
        elif own:
            print(made(own), end="\n\n")


if __name__ == "__main__":
    main()
