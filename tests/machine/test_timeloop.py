"""Architectures of Timeloop and AccelForge, read as machines of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from everywhere import places, put

from hwflow.errors import MachineError
from hwflow.machine import load_machine
from hwflow.machine.timeloop import convert, read_timeloop, tagged
from hwflow.machine.timeloop.tagged import number
from hwflow.machine.timeloop.tree import tensors

FILES = Path(__file__).parent / "timeloop_files"
TAGGED, ERT = FILES / "tagged_arch.yaml", FILES / "tagged_ert.yaml"
NESTED, FORGE = FILES / "nested_arch.yaml", FILES / "accelforge_arch.yaml"


def write(folder: Path, text: str, name: str = "arch.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def fault(*paths: Path, **more: Any) -> str:
    with pytest.raises(MachineError) as caught:
        read_timeloop(*paths, **more)
    return str(caught.value)


def flat(folder: Path, nodes: str) -> Path:
    """Write a flat architecture of a DRAM, what is given, and one 8-bit MAC."""
    dram = "{name: DRAM, class: DRAM, attributes: {width: 64, datawidth: 8}}"
    mac = "{name: mac, class: intmac, attributes: {multiplier_width: 8}}"
    lines = [f"!Component {dram}", *nodes.splitlines(), f"!Component {mac}"]
    listed = "\n".join(f"    - {line}" for line in lines)
    return write(folder, f"architecture:\n  nodes:\n{listed}\n")


def test_the_flat_form_becomes_levels_array_and_scratchpads() -> None:
    chip = read_timeloop(TAGGED, ERT).machine
    assert (chip.array.rows.value, chip.array.cols.value) == (12, 14)
    assert [level.name for level in chip.memory] == ["DRAM", "glb"]
    assert chip.memory[1].bits == 16384 * 64
    assert chip.memory[1].holds == ("inputs", "outputs")
    assert chip.memory[1].bandwidth is not None
    assert chip.memory[1].bandwidth.value == 16
    assert chip.dram_bytes_per_s == pytest.approx(32e9)
    assert chip.scratchpads is not None
    sizes = {name: pad.bits for name, pad in chip.scratchpads.pads.items()}
    assert sizes == {"weights": 192 * 16, "inputs": 12 * 16, "outputs": 16 * 16}
    assert (chip.native_bits, chip.clock_hz) == (8, 1e9)
    assert chip.psum_bits(8, 8, 27) == 16


def test_energies_come_from_the_reference_table() -> None:
    chip = read_timeloop(TAGGED, ERT).machine
    assert chip.mac_energy_j(8, 8) == pytest.approx(0.207692e-12)
    assert chip.dram_j_per_bit == pytest.approx(8e-12)
    assert chip.memory[1].read_j_per_bit == pytest.approx(18.183829e-12 / 64)
    assert chip.memory[1].write_j_per_bit == pytest.approx(14.137929e-12 / 64)
    assert chip.idle_w == pytest.approx(0.005652e-12 * 1e9)
    assert "tagged_ert.yaml: read of top.glb" in str(chip.memory[1].read.source)


def test_loops_that_a_constraint_sets_to_one_are_not_spread() -> None:
    array = read_timeloop(TAGGED, ERT).machine.array
    assert array.unroll_cols == ("K", "P", "Q", "G")
    assert array.unroll_rows == ("K", "C", "S", "G")


def test_what_has_no_equal_is_told() -> None:
    notes = "\n".join(read_timeloop(TAGGED, ERT).notes)
    for said in (
        "noc (XY_NoC): left out",
        "weight_pad: temporal constraints",
        "glb: not costed here: n_banks",
        "psum_pad: not costed here: update_fifo_depth",
        "technology 32nm",
        "glb: transfers overlap computation in Timeloop",
    ):
        assert said in notes


def test_the_nested_form_counts_copies_and_takes_what_is_missing_from_a_preset() -> None:
    found = read_timeloop(NESTED, missing_from="eyeriss")
    chip, base = found.machine, load_machine("eyeriss")
    assert (chip.array.rows.value, chip.array.cols.value, chip.clock_hz) == (3, 4, 200e6)
    assert chip.memory[1].bits == 64 * 8192
    assert chip.memory[1].double_buffered
    assert chip.memory[1].bandwidth is not None
    assert chip.memory[1].write_bandwidth is not None
    assert (chip.memory[1].bandwidth.value, chip.memory[1].write_bandwidth.value) == (16, 8)
    assert chip.dram_j_per_bit == pytest.approx(base.dram_j_per_bit)
    assert chip.dram_bytes_per_s == pytest.approx(base.dram_bytes_per_s)
    assert chip.memory[1].read.source == "preset eyeriss: GLB.read"
    assert chip.scratchpads is not None
    assert chip.scratchpads.pads["shared"].bits == 32 * 16
    assert chip.array.unroll_rows == ("K", "C", "P", "Q", "G")
    assert any("Column: left out: 4 copies for 12 compute units" in note for note in found.notes)
    assert any("Buffer: split" in note for note in found.notes)


def test_figures_that_nobody_gives_are_asked_for() -> None:
    message = fault(NESTED)
    for said in ("the energy of MACC", "the read energy of Buffer", "the bandwidth of MainMemory",
                 "(ERT)", "--missing-from", "eyeriss"):  # fmt: skip
        assert said in message
    assert "the size" not in message


def test_accelforges_form_has_bits_joules_and_seconds() -> None:
    found = read_timeloop(FORGE)
    chip = found.machine
    assert (chip.array.cols.value, chip.array.rows.value) == (32, 16)
    assert chip.dram_j_per_bit == pytest.approx(7e-12)
    assert chip.dram_bytes_per_s == pytest.approx(32e9)
    assert chip.memory[1].bits == 2**20 * 8
    assert chip.memory[1].write_j_per_bit == pytest.approx(72e-12 / 64)
    assert chip.memory[1].bytes_per_s(1e9) == pytest.approx(8e9)
    assert chip.scratchpads is not None
    assert chip.scratchpads.pads["shared"].bits == 64
    assert chip.clock_hz == pytest.approx(1e9)
    assert any("Buffer: keep '~Main' is taken as every tensor" in note for note in found.notes)


def test_the_text_is_a_machine_file_with_the_notes_above(tmp_path: Path) -> None:
    found = read_timeloop(TAGGED, ERT, name="imported")
    path = write(tmp_path, found.text(), "imported.yaml")
    assert load_machine(path) == found.machine
    assert path.read_text().startswith("# ")
    assert "# noc (XY_NoC): left out" in path.read_text()
    assert "&id" not in path.read_text()
    assert all(figure.source for _, figure in load_machine(path).figures())


def test_keys_may_be_merged_from_anchors(tmp_path: Path) -> None:
    text = TAGGED.read_text().replace(
        "    - !Component\n      name: mac\n      class: intmac\n",
        "    - !Component\n      <<<: [{class: intmac, attributes: {adder_width: 24}}]\n"
        "      name: mac\n",
    )
    path = write(tmp_path, text.replace(", adder_width: 16", ""))
    assert read_timeloop(path, ERT).machine.psum_bits(8, 8, 27) == 24


def test_one_compute_unit_has_levels_only(tmp_path: Path) -> None:
    sram = "!Component {name: L1, class: SRAM, attributes: {depth: 64, width: 64, datawidth: 8}}"
    chip = read_timeloop(flat(tmp_path, sram), missing_from="systolic-8x8").machine
    assert (chip.pes, chip.scratchpads) == (1, None)
    assert chip.array.between == ("L1", "PE")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("problem: {}\n", "key 'architecture' (Timeloop) or 'arch' (AccelForge)"),
        ("architecture: {{include('x')}}\n", "is a Jinja template"),
        ("- 1\n", "has no keys such as architecture"),
        ("architecture: [\n", "is not valid YAML"),
        ("architecture: {nodes: [!Component {name: D, class: DRAM}]}\n", "no compute unit"),
        ("architecture: {nodes: [!Component {name: m, class: intmac}]}\n", "no memory of one copy"),
        ("ERT: {version: 0.2}\n", "ERT has no list 'tables'"),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path: Path, text: str, message: str) -> None:
    assert message in fault(write(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert f"Cannot read {tmp_path / 'none.yaml'}" in fault(tmp_path / "none.yaml")


def test_tags_that_run_code_build_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, "architecture: !!python/object/apply:os.getcwd []\n")
    assert "is not valid YAML" in fault(path)


@pytest.mark.parametrize("depth", ["glb_depth", "max(1, 2)", "__import__('os').getcwd()", "1 / 0"])
def test_expressions_of_names_and_calls_are_refused(tmp_path: Path, depth: str) -> None:
    text = TAGGED.read_text().replace("depth: 16 * 1024", f"depth: {depth!r}")
    message = fault(write(tmp_path, text), ERT)
    assert "glb: depth is" in message
    assert "parsed-processed-input.yaml" in message


@pytest.mark.parametrize(
    ("text", "value"),
    [(12, 12), ("16 * 1024", 16384), ("65e-9", 65e-9), ("INF", float("inf")),
     ("(1 + 2) * 4 / 8 - 2 ** 2", -2.5), ("-3", -3)],
)  # fmt: skip
def test_arithmetic_of_numbers_is_computed(text: object, value: float) -> None:
    assert number(text, "here") == pytest.approx(value)


def test_scratchpads_must_hold_one_tensor_each(tmp_path: Path) -> None:
    text = TAGGED.read_text().replace("keep: [Weights]", "keep: [Weights, Inputs]")
    assert "must hold one tensor each" in fault(write(tmp_path, text), ERT)


def test_a_size_that_is_missing_is_asked_for_even_with_a_preset(tmp_path: Path) -> None:
    sram = "!Component {name: L1, class: SRAM, attributes: {width: 64, datawidth: 8}}"
    message = fault(flat(tmp_path, sram), missing_from="systolic-8x8")
    assert "lacks the size of L1 (depth and width)" in message


def test_names_of_tensors_are_known_in_their_spellings() -> None:
    assert tensors(["Weights", "Inputs"]) == ("weights", "inputs")
    assert tensors("input | output") == ("inputs", "outputs")
    assert tensors("All") == ("weights", "inputs", "outputs")
    assert tensors("~Main") is None


def test_the_largest_of_several_energies_of_an_action_is_taken(tmp_path: Path) -> None:
    plain = yaml.safe_load(ERT.read_text())
    for row in plain["ERT"]["tables"]:
        if "glb" in row["name"]:
            row["actions"].append({"name": "read", "arguments": {"data_delta": 1}, "energy": 20.0})
    path = write(tmp_path, yaml.safe_dump(plain), "ert.yaml")
    chip = read_timeloop(TAGGED, path).machine
    assert chip.memory[1].read_j_per_bit == pytest.approx(20e-12 / 64)


@pytest.mark.parametrize("odd", [None, "x", -1, [], float("inf"), float("nan"), [[1]], [None]])
@pytest.mark.parametrize("files", [(TAGGED, ERT), (FORGE,)])
def test_whatever_stands_in_a_place_is_taken_or_told(
    monkeypatch: pytest.MonkeyPatch, odd: object, files: tuple[Path, ...]
) -> None:
    plain = [tagged.read(path) for path in files]
    told = 0
    for place in places(plain):
        if len(place) == 1:
            continue
        changed = put(plain, place, odd)
        monkeypatch.setattr(convert, "read", lambda path, rest=iter(changed): next(rest))
        try:
            read_timeloop(*files)
        except MachineError:
            told += 1
    assert told > 20
