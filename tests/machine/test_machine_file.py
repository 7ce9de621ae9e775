"""Machine files: finding, extending and refusing them with the file and the key."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import yaml

from hwflow.errors import MachineError
from hwflow.machine import file as machine_file
from hwflow.machine import load_machine, machine_names

PRESET = Path(machine_file.__file__).parents[1] / "machines" / "eyeriss.yaml"


def write(folder: Path, text: str, name: str = "chip.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def edited(folder: Path, change: Any) -> Path:
    """Write the Eyeriss preset after `change` has edited its plain data."""
    plain = yaml.safe_load(PRESET.read_text(encoding="utf-8"))
    change(plain)
    return write(folder, yaml.safe_dump(plain))


def fault(path: Path) -> str:
    with pytest.raises(MachineError) as caught:
        load_machine(str(path))
    return str(caught.value)


def test_a_file_is_found_by_its_path(tmp_path: Path) -> None:
    path = edited(tmp_path, lambda plain: None)
    for given in (path, str(path)):
        assert load_machine(given).pes == 168


def test_a_machine_is_named_after_its_file_unless_it_says_otherwise(tmp_path: Path) -> None:
    assert load_machine(edited(tmp_path, lambda plain: None)).name == "chip"
    assert load_machine(edited(tmp_path, lambda plain: plain.update(name="mine"))).name == "mine"


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(MachineError) as caught:
        load_machine("eyeris")
    message = str(caught.value)
    assert "Unknown machine 'eyeris'. Did you mean 'eyeriss'?" in message
    assert f"({len(machine_names())} in all)" in message
    assert "bitfusion" in message
    assert "give the path of a .yaml file" in message.lower()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    assert f"There is no machine file {path}. Known machines: bismo" in fault(path)


def test_a_folder_cannot_be_read_as_a_machine(tmp_path: Path) -> None:
    (tmp_path / "chip.yaml").mkdir()
    assert "Cannot read the machine file" in fault(tmp_path / "chip.yaml")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "chip.yaml"
    path.write_bytes(b"\xff\xfe\x00\x81")
    assert "Cannot read the machine file" in fault(path)


@pytest.mark.parametrize("text", ["", "- 1\n- 2\n", "just text", "42"])
def test_a_file_without_keys_is_no_machine(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    assert f"{path} holds no machine" in fault(path)


def test_a_yaml_error_names_file_and_line(tmp_path: Path) -> None:
    path = write(tmp_path, "clock: {value: 1 Hz, source: x}\nengine: [1, 2\nmemory: 3\n")
    assert f"{path}, line 3, is not valid YAML" in fault(path)


def test_yaml_tags_that_run_code_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "clock: !!python/object/apply:os.getcwd []\n")
    assert "is not valid YAML" in fault(path)


@pytest.mark.parametrize(
    "text", ["architecture: {subtree: []}\n", "arch: {nodes: [!Memory {name: DRAM}]}\n"]
)
def test_an_architecture_of_another_tool_is_told_where_to_go(tmp_path: Path, text: str) -> None:
    assert "hwflow convert FILE --to mine.yaml" in fault(write(tmp_path, text))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("clock"), "clock: This key is missing."),
        (lambda m: m.update(clock="200 MHz"), "clock: '200 MHz' has no source."),
        (lambda m: m["clock"].pop("source"), "clock: The figure '200 MHz' has no source."),
        (lambda m: m["clock"].update(source=""), "clock: The figure '200 MHz' has no source."),
        (lambda m: m["clock"].update(value="200 ms"), "clock: '200 ms' is in s, expected a"),
        (lambda m: m["clock"].update(value=200), "clock: '200' has no unit."),
        (lambda m: m["array"]["rows"].update(value=-3), "array.rows: -3 is not allowed"),
        (lambda m: m["array"]["rows"].update(value="twelve"), "array.rows: 'twelve' is not"),
        (
            lambda m: m["array"].update(colums=m["array"].pop("cols")),
            "array: Unknown key 'colums'. Did you mean 'cols'?",
        ),
        (lambda m: m.update(bogus=1), "chip.yaml: Unknown key 'bogus'."),
        (lambda m: m["memory"][1]["read"].update(value="1 J"), "memory.GLB.read: '1 J' is in J"),
        (lambda m: m["memory"][1].pop("size"), "memory.GLB.size: This key is missing."),
        (
            lambda m: m["engine"].update(kind="bit-paralel"),
            "engine: Unknown kind 'bit-paralel'. Did you mean 'bit-parallel'?",
        ),
        (lambda m: m["engine"].pop("kind"), "engine: The key 'kind' is missing."),
        (lambda m: m["engine"]["word"].update(value=0), "engine.word: 0 is not allowed"),
        (
            lambda m: m["engine"].update(lanes={"value": 3, "source": "x"}),
            "engine: Unknown key 'lanes'.",
        ),
        (
            lambda m: m["mac_energy"]["energy"].update(value="2 parsec"),
            "mac_energy.energy: '2 parsec' has the unknown unit 'parsec'",
        ),
        (
            lambda m: m["scratchpads"]["weights"].pop("read"),
            "scratchpads.weights.read: This key is missing.",
        ),
        (lambda m: m.update(dataflow="rs"), "dataflow: Input should be 'row-stationary'"),
        (lambda m: m.update(zero_gating="perhaps"), "zero_gating: Input should be a valid bool"),
        (
            lambda m: m["array"].update(between=["GLB", "DRAM"]),
            "array.between is GLB, DRAM: name two neighbours of DRAM, GLB, scratchpads.",
        ),
        (lambda m: m["array"].update(unroll_rows=["X"]), "array.unroll_rows.0: Input should be"),
        (lambda m: m["memory"].clear(), "memory: List the memory levels from DRAM inward"),
        (lambda m: m.update(memory="DRAM"), "memory: Input should be a valid tuple"),
    ],
)
def test_a_fault_names_the_file_and_the_key(tmp_path: Path, change: Any, message: str) -> None:
    path = edited(tmp_path, change)
    found = fault(path)
    assert found.startswith(f"{path}: ")
    assert message in found


def test_several_faults_are_told_at_once_but_not_all(tmp_path: Path) -> None:
    def change(plain: Any) -> None:
        for key in ("clock", "engine", "mac_energy", "memory", "array", "dataflow"):
            plain.pop(key)

    lines = fault(edited(tmp_path, change)).splitlines()
    assert len(lines) == 6
    assert lines[-1] == "... and 1 more."


def test_a_file_can_extend_a_preset(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "extends: eyeriss\n"
        "array: {rows: {value: 24, source: 'own choice: twice'}}\n"
        "memory: [{name: GLB, size: {value: 216 KiB, source: 'own choice: twice'}}]\n",
    )
    chip, base = load_machine(path), load_machine("eyeriss")
    assert (chip.name, chip.pes) == ("chip", 2 * 168)
    assert chip.memory[0] == base.memory[0]
    assert chip.memory[1].bits == 2 * base.memory[1].bits
    assert chip.memory[1].read == base.memory[1].read


def test_what_is_of_another_kind_replaces_what_it_extends(tmp_path: Path) -> None:
    path = write(tmp_path, "extends: eyeriss\nengine: {kind: bit-fusion}\n")
    assert load_machine(path).engine.kind == "bit-fusion"


def test_a_new_level_is_added_inside_the_others(tmp_path: Path) -> None:
    level = (
        "{name: L1, size: {value: 1 KiB, source: x}, word: {value: 16, source: x}, "
        "read: {value: 1 pJ/b, source: x}, write: {value: 1 pJ/b, source: x}}"
    )
    path = write(
        tmp_path,
        f"extends: eyeriss\nmemory: [{level}]\narray: {{between: [L1, scratchpads]}}\n",
    )
    assert [level.name for level in load_machine(path).memory] == ["DRAM", "GLB", "L1"]


def test_a_file_can_extend_a_file_beside_it(tmp_path: Path) -> None:
    write(tmp_path, "extends: eyeriss\nzero_gating: false\n", "base.yaml")
    path = write(tmp_path, "extends: base.yaml\npacking: word\n")
    chip = load_machine(path)
    assert (chip.zero_gating, chip.packing) == (False, "word")


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("eyeris", "extends: Unknown machine 'eyeris'. Did you mean 'eyeriss'?"),
        ("none.yaml", "There is no machine file"),
        ("chip.yaml", "extend each other in a circle"),
        ("[1]", "extends: [1] is neither a machine nor a .yaml file"),
    ],
)
def test_what_cannot_be_extended_is_named(tmp_path: Path, base: str, message: str) -> None:
    assert message in fault(write(tmp_path, f"extends: {base}\n"))


def offer(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    point = EntryPoint("my-npu", value, "hwflow.machines")
    monkeypatch.setattr(machine_file, "entry_points", lambda group: [point])


def test_a_plug_in_offers_a_machine_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "extends: eyeriss\nname: my-npu\n", "npu.yaml")
    write(tmp_path, f"NPU_YAML = {str(path)!r}\n", "npu_package.py")
    monkeypatch.syspath_prepend(tmp_path)
    offer(monkeypatch, "npu_package:NPU_YAML")
    assert load_machine("my-npu").name == "my-npu"
    assert "my-npu" in machine_names()


def test_a_plug_in_that_does_not_load_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "no_such_package:NPU_YAML")
    with pytest.raises(MachineError, match="plug-in of machine 'my-npu' does not load"):
        load_machine("my-npu")
