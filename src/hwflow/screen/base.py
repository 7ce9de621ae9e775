"""The two consoles, and how tables look."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

out = Console()
err = Console(stderr=True)


def plain_table(title: str) -> Table:
    """Return an empty table under its title."""
    return Table(title=title, title_justify="left", header_style="bold", box=box.SIMPLE_HEAD)
