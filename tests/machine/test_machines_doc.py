"""The table of presets in docs/machines.md says what the presets are."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwflow.machine import load_machine, machine_names
from hwflow.units import show

DOC = Path(__file__).parents[2] / "docs" / "machines.md"


def rows() -> dict[str, list[str]]:
    lines = DOC.read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {row[0].strip("` "): row for row in cells if len(row) == 6 and row[0].startswith("`")}


@pytest.mark.skipif(not DOC.exists(), reason="the docs are not part of an installed package")
def test_the_table_lists_every_preset_with_its_figures() -> None:
    table = {name: row for name, row in rows().items() if name in machine_names()}
    assert set(table) == set(machine_names())
    for name, (_, _, pes, peak, area, _) in table.items():
        chip = load_machine(name)
        native = chip.native_bits
        rate = show(float(chip.peak_macs_per_s(native, native)), "MAC/s")
        assert (pes, peak) == (f"{chip.pes:,}", f"{rate} at {native} b")
        assert area == show(chip.area_um2(), "um2", 2)
