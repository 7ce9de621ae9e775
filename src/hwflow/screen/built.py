"""A network that was built: before and after, its file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from hwflow.cost import METRICS
from hwflow.screen.base import plain_table
from hwflow.units import show


def built_table(built: Mapping[str, Any]) -> Table:
    """Return what `hwflow build` made: accuracy on the test split and costs, before and after."""
    table = plain_table(f"Trial #{built['trial']}")
    for heading in ("", "original", "built", "change"):
        table.add_column(heading, justify="left" if heading == "" else "right", no_wrap=True)
    test = built["test"]
    gain, error = 0.0 - 100 * test["drop"], 100 * test["standard_error"]
    table.add_row(
        "test accuracy", f"{100 * test['before']:.2f} %", f"{100 * test['after']:.2f} %",
        f"{gain:+.2f} ± {error:.2f} points",
    )  # fmt: skip
    shown = ("latency_s", "energy_j", "dram_bytes", "model_bytes")
    for name in (name for name in shown if name in built["total"]):
        known, before, after = METRICS[name], built["original"][name], built["total"][name]
        change = f"{100 * (after / before - 1):+.0f} %" if before else "-"
        table.add_row(known.short, show(before, known.unit), show(after, known.unit), change)
    return table


def latency_table(latency: Mapping[str, Any]) -> Table:
    """Return a built network's latency: modelled, tabled and measured, before and after."""
    table = plain_table("Latency, side by side")
    for heading in ("", "on", "original", "built", "speed-up"):
        table.add_column(heading, justify="left" if heading in ("", "on") else "right")
    for way in ("modelled", "tabled", "measured"):
        found = latency[way]
        if found is None:
            continue
        before, after = found["before_s"], found["after_s"]
        ratio = f"{before / after:.2f}x" if before and after else "-"
        table.add_row(way, found["on"], show(before, "s"), show(after, "s"), ratio)
    return table


def built_lines(built: Mapping[str, Any]) -> Iterator[str]:
    """Yield what else is to be said of a built network: its test, its file, the runtime."""
    machine = _machine_of(built.get("choices") or {})
    if machine:
        yield f"Its machine: {machine}."
    test = built["test"]
    yield (
        f"Tested on {test['images']:,} images that the search has not seen: right only after "
        f"{test['gained']}, right only before {test['lost']}."
    )
    if built["written"]:
        yield f"Written: {built['written']}"
    measured = (built.get("latency") or {}).get("measured")
    yield from measured["notes"] if measured else ()
    export = built["export"]
    if not export:
        return
    yield from _export_lines(export)


def _machine_of(choices: Mapping[str, Any]) -> str:
    """Return the machine's figures among choices, such as "array.rows = 8"; empty where fixed."""
    own = {k.removeprefix("machine:"): v for k, v in choices.items() if k.startswith("machine:")}
    return ", ".join(f"{path} = {value}" for path, value in own.items())


def _export_lines(export: Mapping[str, Any]) -> Iterator[str]:
    """Yield how a file compares with the torch module, and how it says bits."""
    qonnx = export.get("format") == "qonnx"
    runner = "The file, run node by node," if qonnx else "ONNX Runtime"
    settings = f" (with {_settings(export['settings'])})" if export["settings"] else ""
    if export["agreement"] is not None:
        yield (
            f"{runner}{settings} agrees with torch on {100 * export['agreement']:.2f} % of "
            f"{export['inputs']:,} test images."
        )
    if qonnx:
        yield (
            f"{export['simulated_layers']} layers have their bits in Quant nodes. The file is not "
            "timed: ONNX Runtime has no such nodes."
        )
    elif export["integer_layers"] or export["simulated_layers"]:
        yield (
            f"{export['integer_layers']} layers read 8-bit operands only; "
            f"{export['simulated_layers']} have other bits, which the file simulates."
        )


def _settings(settings: Mapping[str, str]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in settings.items())
