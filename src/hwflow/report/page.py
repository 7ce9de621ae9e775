"""The page of a search: which networks were found, what each costs, and where its costs go."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from hwflow.front import Trial
from hwflow.report import latencies, tables, words
from hwflow.report.data import ReportData
from hwflow.report.document import document, write_page
from hwflow.report.headline import headline, highlight
from hwflow.report.series import charts, plain

SCRIPTS = ("figures.js", "anatomy.js", "parts.js", "bits.js", "page.js")


def render(data: ReportData) -> str:
    """Return the report as one HTML document; the same data give the same text.

    Raises HwflowError when details are given for trials that are not on the front.
    """
    tables.check(data)
    selected = highlight(data)
    return document(
        "run.html.j2",
        SCRIPTS,
        page_data(data, selected),
        data=data,
        machine=data.machine,
        headline=headline(data),
        objectives=words.joined([data.quality, *(words.NAMES[n] for n in data.cost_objectives)]),
        selected=selected,
        rows=tables.totals(data, selected) if selected else [],
        cards=["quality", *data.cost_objectives],
        command=tables.command(data, selected) if selected else "",
        shortcuts=tables.shortcuts(data),
        front_columns=tables.front_columns(data),
        front_rows=list(tables.front_rows(data)),
        reasons=tables.reasons(data),
        latency_rows=list(latencies.rows(data.latencies)),
        latency_notes=list(latencies.notes(data.latencies)),
        machine_summary=tables.machine_summary(data.machine),
        machine_figures=tables.machine_figures(data.machine),
        provenance=tables.provenance(data.machine, data.provenance),
        standings=words.STANDINGS,
        workload=data.workload_before,
        bits_vary=bits_vary(data),
    )


def write_report(data: ReportData, path: str | Path) -> None:
    """Write the report to `path`, whole or not at all.

    Raises HwflowError when the file cannot be written.
    """
    write_page(render(data), path)


def bits_vary(data: ReportData) -> bool:
    """Return whether the networks of the front differ in bits of up to 16."""
    rows = {
        tuple((layer.weight_bits, *layer.input_bits) for layer in workload if layer.is_mac)
        for workload, _ in data.details.values()
    }
    return len(rows) > 1 and any(bits <= 16 for row in rows for layer in row for bits in layer)


def page_data(data: ReportData, selected: Trial | None) -> dict[str, Any]:
    """Return what the page's scripts read: the charts, and the texts of each network."""
    networks = {
        trial.number: {
            "rows": [asdict(row) for row in tables.totals(data, trial)],
            "command": tables.command(data, trial),
            "plan": list(trial.plan),
        }
        for trial in data.front
    }
    found = {
        **charts(data),
        "title": data.title,
        "model": data.model,
        "machine": data.machine.name,
        "level": data.level,
        "selected": selected.number if selected else None,
        "networks": networks,
        "choices": tables.choices(data),
    }
    return dict(plain(found))
