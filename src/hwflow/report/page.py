"""The page: data into one HTML file that loads nothing from anywhere.

A content security policy in the file admits only the scripts written here, by their hashes, and
no request at all; names from networks and machines are escaped wherever they are shown.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from hwflow.errors import HwflowError
from hwflow.front import Trial
from hwflow.report import tables, words
from hwflow.report.data import ReportData
from hwflow.report.headline import headline, highlight
from hwflow.report.series import charts, plain

SCRIPTS = ("figures.js", "page.js")


def render(data: ReportData) -> str:
    """Return the report as one HTML document; the same data give the same text.

    Raises HwflowError when details are given for trials that are not on the front.
    """
    tables.check(data)
    selected = highlight(data)
    scripts = [_plotly(), *(_asset(name) for name in SCRIPTS)]
    return _template().render(
        data=data,
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
        machine_summary=tables.machine_summary(data),
        machine_figures=tables.machine_figures(data),
        provenance=tables.provenance(data),
        standings=words.STANDINGS,
        unknown=data.workload_before.unknown,
        style=Markup(_asset("style.css")),
        scripts=[Markup(script) for script in scripts],
        policy=policy(scripts),
        embedded=embed(page_data(data, selected)),
    )


def write_report(data: ReportData, path: str | Path) -> None:
    """Write the report to `path`, whole or not at all.

    Raises HwflowError when the file cannot be written.
    """
    target = Path(path)
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    text = render(data)
    try:
        draft.write_text(text, encoding="utf-8", newline="\n")
        draft.replace(target)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise HwflowError(
            f"Cannot write the report {target}: {error.strerror or error}. "
            "Give a path in a folder that exists and may be written to."
        ) from error


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


def embed(value: Any) -> Markup:
    """Return JSON that may stand inside a script element: no "<", ">" or "&" in it."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)  # plain JSON: nothing left in it that could end the element


def policy(scripts: list[str]) -> str:
    """Return the content security policy: these scripts by their hashes, and no network."""
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _asset(name: str) -> str:
    return files("hwflow.report").joinpath(name).read_text(encoding="utf-8")


def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("hwflow.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("template.html.j2")
