"""Layer lists written into a file and read."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

from hwflow.extract.layer_list import read_layers
from hwflow.workload import Workload


def read(folder: Path, text: str) -> Workload:
    path = folder / "net.yaml"
    path.write_text(dedent(text))
    return read_layers(path)


def layers(folder: Path, *entries: str, shape: str = "[1, 4, 8, 8]") -> Workload:
    """Read a list of these entries over an input of `shape`."""
    lines = "\n".join(f"  - {{{entry}}}" for entry in entries)
    return read(folder, f"input: {shape}\nlayers:\n{indent(lines, '')}\n")
