"""Bad machines: each fault is told with the file, the key and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import everywhere
import pytest
import yaml

from hwflow.costs.fine.rates import OperandBits
from hwflow.costs.fine.search import best_mapping
from hwflow.costs.fine.shape import Shape
from hwflow.errors import MachineError, WorkloadError
from hwflow.machine import Accelerator, load_machine
from hwflow.machine import file as machine_file

PRESET = Path(machine_file.__file__).parents[1] / "machines" / "eyeriss.yaml"
Change = Callable[[Any], Any]


def figure(value: object) -> dict[str, object]:
    return {"value": value, "source": "test"}


def written(folder: Path, change: Change) -> Path:
    """Write the Eyeriss preset after `change` has edited its plain data."""
    plain = yaml.safe_load(PRESET.read_text(encoding="utf-8"))
    change(plain)
    path = folder / "chip.yaml"
    path.write_text(yaml.safe_dump(plain), encoding="utf-8")
    return path


def fault(path: Path) -> str:
    with pytest.raises(MachineError) as caught:
        load_machine(path)
    return str(caught.value)


def put(value: object, *keys: str | int) -> Change:
    """Return a change that puts a figure's value at a place of the file."""

    def change(plain: Any) -> None:
        for key in keys[:-1]:
            plain = plain[key]
        plain[keys[-1]] = figure(value)

    return change


def level(plain: Any, **changes: Any) -> None:
    plain["memory"].append({**plain["memory"][1], **changes})


def inner_first(plain: Any) -> None:
    plain["memory"].reverse()
    plain["memory"][0].pop("bandwidth")


FAULTS: list[tuple[Change, str, str]] = [
    (put("0 B/s", "memory", 0, "bandwidth"), "memory.DRAM.bandwidth", "Leave the key out for"),
    (put("0 B/cycle", "memory", 1, "bandwidth"), "memory.GLB.bandwidth", "it must be above zero"),
    (put("0 KiB", "memory", 1, "size"), "memory.GLB.size", "Leave the memory out"),
    (put("0 word", "scratchpads", "inputs", "size"), "scratchpads.inputs.size", "above zero"),
    (put("1 B", "memory", 1, "size"), "memory.GLB", "less than one word of 16 bits. Enlarge size"),
    (put("-1 pJ/16b", "memory", 1, "read"), "memory.GLB.read", "it must be zero or more"),
    (put("-2 pJ", "mac_energy", "energy"), "mac_energy.energy", "it must be zero or more"),
    (put("-4 pJ/16b", "array", "transfer"), "array.transfer", "it must be zero or more"),
    (put("-30 mW", "idle_power"), "idle_power", "it must be zero or more"),
    (put("0 MHz", "clock"), "clock", "it must be above zero"),
    (put("1e400 Hz", "clock"), "clock", "and finite"),
    (put("inf Hz", "clock"), "clock", "is not a quantity. Write a number and a unit"),
    (put("nan Hz", "clock"), "clock", "is not a quantity. Write a number and a unit"),
    (put(float("inf"), "clock"), "clock", "'inf' has no unit. Write a quantity such as '200 MHz'"),
    (put(float("nan"), "array", "rows"), "array.rows", "it must be a whole number of at least 1"),
    (put(float("inf"), "native_bits"), "native_bits", "it must be a whole number of bits"),
    (put(1.37e9, "memory", 0, "bandwidth"), "memory.DRAM.bandwidth", "has no unit. Write"),
    (put("16 pJ", "memory", 0, "bandwidth"), "memory.DRAM.bandwidth", "is in J, expected a"),
    (put("1 KiB/s", "memory", 1, "size"), "memory.GLB.size", "Write a quantity such as '108 KiB'"),
    (put("-3 mm2", "pe_area"), "pe_area", "it must be above zero"),
    (put("3 mm", "memory", 1, "area"), "memory.GLB.area", "Write a quantity such as '120 um2'"),
    (put(100_000, "array", "cols"), "array.cols", "1,200,000 PEs, at most 1,048,576 are allowed"),
    (lambda m: m["array"].update(unroll_rows=[]), "array.unroll_rows",
     "No loop may be spread over the 12 rows, so 11 of them would stay idle. Name some of N K C P"),
    (lambda m: m["array"].update(unroll_cols=[]), "array.unroll_cols", "or set array.cols to 1"),
    (lambda m: m["array"].update(unroll_cols=["K", "K"]), "array.unroll_cols", "once; got K, K"),
    (lambda m: m["array"].update(unroll_cols=["K", "M"]), "array.unroll_cols.1",
     "'P', 'Q', 'R', 'S' or 'G' (got 'M')"),
    (lambda m: level(m), "memory", "The level name 'GLB' is taken"),
    (lambda m: level(m, name="PE"), "memory", "The level name 'PE' is taken"),
    (lambda m: level(m, name=""), "memory.2.name", "at least 1 character"),
    (lambda m: level(m, name="L1", holds=["weights", "psums"]), "memory.L1.holds.1",
     "'weights', 'inputs' or 'outputs' (got 'psums')"),
    (lambda m: level(m, name="L1"), "chip.yaml",
     "array.between is GLB, scratchpads: name two neighbours of DRAM, GLB, L1, scratchpads."),
    (inner_first, "memory", "The first level, GLB, needs a bandwidth"),
    (lambda m: m["array"].update(between=["scratchpads", "GLB"]), "chip.yaml",
     "name two neighbours of DRAM, GLB, scratchpads"),
    (lambda m: m["array"].update(between=["GLB"]), "array.between.1", "missing"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "key", "message"), FAULTS)
def test_a_fault_names_file_key_and_remedy(
    tmp_path: Path, change: Change, key: str, message: str
) -> None:
    path = written(tmp_path, change)
    found = fault(path)
    assert found.startswith(str(path) if key == "chip.yaml" else f"{path}: {key}: ")
    assert message in found


def test_files_that_extend_each_other_are_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("extends: sub/../a.yaml\n")
    (tmp_path / "sub").mkdir()
    found = fault(tmp_path / "a.yaml")
    assert "extends: the files extend each other in a circle." in found
    assert "extend a preset" in found


def test_a_key_written_twice_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "chip.yaml"
    path.write_text("extends: eyeriss\npacking: word\nzero_gating: true\npacking: dense\n")
    found = fault(path)
    assert f"{path}, line 4, is not valid YAML: the key 'packing' is written twice" in found


def test_anchors_may_still_be_merged_over(tmp_path: Path) -> None:
    path = tmp_path / "chip.yaml"
    path.write_text(
        "extends: eyeriss\n"
        "clock: &base {value: 100 MHz, source: test}\n"
        "idle_power: {<<: *base, value: 1 mW}\n"
    )
    assert load_machine(path).idle_w == pytest.approx(1e-3)


def test_two_levels_of_one_name_are_not_taken_for_one(tmp_path: Path) -> None:
    path = tmp_path / "chip.yaml"
    plain = yaml.safe_load(PRESET.read_text(encoding="utf-8"))
    glb = plain["memory"][1]
    path.write_text(yaml.safe_dump({"extends": "eyeriss", "memory": [glb, glb]}))
    assert "memory: The level name 'GLB' is taken" in fault(path)


def test_a_level_too_small_for_one_tile_is_told_with_the_bytes_missing(tmp_path: Path) -> None:
    chip = load_machine(written(tmp_path, put("32 B", "memory", 1, "size")))
    layer = Shape((1, 8, 8, 8, 8, 3, 3, 1))
    with pytest.raises(WorkloadError) as caught:
        best_mapping(chip, layer, OperandBits(16, 16, 16))
    # a 3 x 3 kernel, the inputs it covers and one sum: 19 words of 2 bytes, 6 bytes too many
    assert "chip: GLB lacks 6 bytes" in str(caught.value)


def test_a_scratchpad_too_small_for_one_element_is_told() -> None:
    plain = load_machine("systolic-8x8").model_dump(mode="json", by_alias=True)
    weights = {**plain["scratchpads"]["weights"], "size": figure("1 B"), "word": figure(8)}
    pads = {**plain["scratchpads"], "weights": weights}
    chip = Accelerator.model_validate({**plain, "scratchpads": pads})
    with pytest.raises(WorkloadError, match="weights scratchpad lacks 1 bytes"):
        best_mapping(chip, Shape((1, 8, 8, 8, 8, 3, 3, 1)), OperandBits(16, 8, 8))


@pytest.mark.parametrize(
    "odd", [None, "", -1, [], {}, float("inf"), 2**70, [[1]], {"value": None}, {"kind": "none"}]
)
def test_whatever_stands_in_a_place_is_taken_or_told(odd: object) -> None:
    preset = {"name": "chip", **yaml.safe_load(PRESET.read_text(encoding="utf-8"))}
    told = []
    for place in everywhere.places(preset):
        try:
            machine_file.checked("chip.yaml", everywhere.put(preset, place, odd), Accelerator)
        except MachineError as error:
            told.append(str(error))
    assert len(told) > 50
    assert all(message.startswith("chip.yaml: ") for message in told)
