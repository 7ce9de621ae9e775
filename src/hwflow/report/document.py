"""A page as one file that loads nothing: its template, its scripts and its security policy.

A content security policy in the file admits only the scripts written here, by their hashes, and
no request at all; names from networks and machines are escaped wherever they are shown.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hwflow.errors import HwflowError
from hwflow.files import whole


def document(
    template: str, scripts: Sequence[str], embedded: Mapping[str, Any], **shown: Any
) -> str:
    """Return a page: a template filled with `shown`, its scripts, and the data that they read.

    `scripts` are files of this package, run in this order after Plotly; `embedded` is plain JSON.
    """
    texts = [_plotly(), *(asset(name) for name in scripts)]
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup(asset("style.css")),
            scripts=[Markup(text) for text in texts],
            policy=policy(texts),
            embedded=embed(embedded),
            **shown,
        )
    )


def write_page(text: str, path: str | Path) -> None:
    """Write a page to `path`, whole or not at all.

    Raises HwflowError when the file cannot be written.
    """
    target = Path(path)
    try:
        with whole(target) as part:
            part.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise HwflowError(
            f"Cannot write the report {target}: {error.strerror or error}. "
            "Give a path in a folder that exists and may be written to."
        ) from error


def embed(value: Any) -> Markup:
    """Return JSON that may stand inside a script element: no "<", ">" or "&" in it."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)  # plain JSON: nothing left in it that could end the element


def policy(scripts: Sequence[str]) -> str:
    """Return the content security policy: these scripts by their hashes, and no network."""
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
    )


def asset(name: str) -> str:
    """Return the text of a file of this package."""
    return files("hwflow.report").joinpath(name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("hwflow.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
