"""Input densities: the file, the workload, and what zero gating makes of them at each level."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sketches import Sketch, resnet_cifar

from hwflow.cost import Cost
from hwflow.costs.coarse import Coarse
from hwflow.costs.densities import Densities, read_densities
from hwflow.costs.fine import Fine
from hwflow.costs.fine.level import loops_on
from hwflow.costs.fine.rates import OperandBits, rates
from hwflow.costs.fine.result import Found
from hwflow.costs.mid import Mid
from hwflow.design import Design
from hwflow.errors import WorkloadError
from hwflow.machine import Accelerator, load_machine
from hwflow.workload import Workload

EYERISS = load_machine("eyeriss")
UNGATED = EYERISS.model_copy(update={"zero_gating": False})
NAMES = ["conv1", "conv2", "fc"]


def written(folder: Path, text: str) -> Path:
    path = folder / "zeros.csv"
    path.write_text(text)
    return path


def net(density: float = 1.0) -> Workload:
    sketch = Sketch((2, 3, 16, 16))
    top = sketch.conv("conv2", sketch.conv("conv1", "x", 24, 3), 32, 3, stride=2)
    sketch.linear("fc", sketch.flat("flat", sketch.pool("pool", "avg_pool", top, 1)), 10)
    return sketch.done("net").with_densities(dict.fromkeys(NAMES, density))


# -- the file ----------------------------------------------------------------------------------


def test_a_file_gives_densities_of_inputs_and_outputs(tmp_path: Path) -> None:
    path = written(tmp_path, "layer, density, output_density, about\nconv1, 0.5, 0.25, x\nfc,1,,\n")
    assert read_densities(path, NAMES) == Densities({"conv1": 0.5, "fc": 1.0}, {"conv1": 0.25})


def test_the_column_may_be_called_input_density(tmp_path: Path) -> None:
    path = written(tmp_path, "\ufeffinput_density,layer\n0,conv2\n")
    assert read_densities(path, NAMES).inputs == {"conv2": 0.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layer,density\nconv1,0.5\nconf2,0.5\n", "line 3: Unknown layer 'conf2'"),
        ("layer,density\nfc,1\nfc,1\n", r"line 3: layer 'fc' occurs a second time. Keep one line"),
        ("layer,density\nfc,1.5\n", r"line 2: density is '1.5'. Write the share .* from 0 to 1"),
        ("layer,density\nfc,-0.1\n", "line 2: density is '-0.1'"),
        ("layer,density\nfc,nan\n", "line 2: density is 'nan'"),
        ("layer,density\nfc,61 %\n", "line 2: density is '61 %'"),
        ("layer,density\nfc\n", "line 2: density is ''"),
        ("layer,density,output_density\nfc,1,2\n", "line 2: output_density is '2'"),
        ("layer,zeros\nfc,0.5\n", "line 1: the column 'density' is missing .*header"),
        ("name,density\nfc,0.5\n", "line 1: the column 'layer' is missing among name, density"),
        ("", "line 1: the column 'layer' is missing among none"),
        ("layer,density\n", "no layer is named. Add lines"),
    ],
)  # fmt: skip
def test_faults_name_file_line_and_remedy(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(WorkloadError, match=r"zeros\.csv.*" + message):
        read_densities(written(tmp_path, text), NAMES)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"There is no file .*none\.csv"):
        read_densities(tmp_path / "none.csv", NAMES)
    (tmp_path / "zeros.csv").write_bytes(b"layer,density\n\xff\xfe,1\n")
    with pytest.raises(WorkloadError, match="not a readable CSV file"):
        read_densities(tmp_path / "zeros.csv", NAMES)


def test_densities_reach_their_layers_alone() -> None:
    changed = Densities({"conv1": 0.5}, {"conv2": 0.25}).on(net())
    assert [la.input_density for la in changed] == [0.5, *[1.0] * (len(changed) - 1)]
    assert changed["conv2"].output_density == 0.25


# -- what it changes ---------------------------------------------------------------------------


def costs(model: Mid | Fine | Coarse, machine: Accelerator, density: float) -> Cost:
    return model.cost(Design(net(density), machine))


@pytest.mark.parametrize("model", [Mid(), Fine(), Fine("energy"), Fine("edp")])
def test_energy_falls_by_what_is_gated_and_nothing_else(model: Mid | Fine) -> None:
    dense, half = costs(model, EYERISS, 1.0), costs(model, EYERISS, 0.5)
    macs = dense.macs
    gated = 2e-12 if isinstance(model, Mid) else 5e-12  # MAC, filter read, psum read and write
    assert dense.energy_j - half.energy_j == pytest.approx(0.5 * macs * gated, rel=1e-9)
    assert half.latency_s == dense.latency_s
    assert half.dram_bytes == dense.dram_bytes


@pytest.mark.parametrize("model", [Mid(), Fine()])
def test_without_gating_a_note_says_that_nothing_changes(model: Mid | Fine) -> None:
    dense, half = costs(model, UNGATED, 1.0), costs(model, UNGATED, 0.5)
    assert half.total == dense.total
    note = next(note for note in half.notes if "zero_gating" in note)
    assert note.startswith("The input densities of 3 layer(s) change nothing: eyeriss does not")
    assert not any("densities" in note for note in dense.notes)
    assert not any("densities" in note for note in costs(model, EYERISS, 0.5).notes)


def test_the_coarse_level_says_that_it_does_not_count_zeros() -> None:
    half = costs(Coarse(), EYERISS, 0.5)
    assert half.total == costs(Coarse(), EYERISS, 1.0).total
    assert any("the coarse level does not count zero gating" in note for note in half.notes)


def test_reports_charge_the_mac_and_the_scratchpads_that_are_gated() -> None:
    dense, quarter = (
        Fine().report(Design(net(density), EYERISS))[0].to_json()["energy_by_part"]
        for density in (1.0, 0.25)
    )
    assert quarter["mac"] == pytest.approx(0.25 * dense["mac"])
    assert quarter["scratchpads"] == pytest.approx((1 + 0.25 * 3) / 4 * dense["scratchpads"])
    for part in ("array", "buffer", "dram", "idle"):
        assert quarter[part] == dense[part]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.floats(0, 1), st.sampled_from(("eyeriss", "eyeriss-isca16", "simd-16", "npu-camera")),
    st.booleans(), st.sampled_from(("latency", "energy", "edp")), st.sampled_from((2, 8, 32)),
)  # fmt: skip
def test_mid_is_never_above_fine_at_any_density(
    density: float, name: str, gating: bool, goal: str, bits: int
) -> None:
    machine = load_machine(name).model_copy(update={"zero_gating": gating})
    workload = net(density)
    tensors = dict.fromkeys((*NAMES, "x"), bits)
    design = Design(workload.with_bits(dict.fromkeys(NAMES, bits), tensors), machine)
    fine, mid = Fine(goal).cost(design), Mid().cost(design)
    for metric in ("dram_bytes", "latency_s", "energy_j"):
        assert fine.total[metric] >= mid.total[metric] * (1 - 1e-9)


@pytest.mark.parametrize("goal", ["latency", "energy", "edp"])
def test_the_mapping_found_is_the_best_at_that_density(goal: str) -> None:
    """What the shared search is corrected by equals a search with the gated energies."""
    from hwflow.costs.fine.search import best_mapping

    layer = net(0.3)["conv2"]
    shape, bits = loops_on(EYERISS, layer), OperandBits(16, 16, 16)
    assert shape.density == 0.3
    fine = Fine(goal)
    found, direct = (
        fine.best(EYERISS, shape, bits),
        best_mapping(EYERISS, shape, bits, fine.settings),
    )
    for value in ("energy_j", "cycles", "key", "bound"):
        assert getattr(found, value) == pytest.approx(getattr(direct, value), rel=1e-9)
    assert found.mapping == direct.mapping
    assert found.gap == pytest.approx(0)


def test_densities_share_one_search_where_it_does_not_depend_on_them() -> None:
    shape, bits = loops_on(EYERISS, net(0.3)["conv2"]), OperandBits(16, 16, 16)
    for goal, searches in (("latency", 1), ("energy", 1), ("edp", 3)):
        fine = Fine(goal)
        found: list[Found] = [
            fine.best(EYERISS, replace(shape, density=d), bits) for d in (1.0, 0.5, 0.1)
        ]
        assert len(fine.cache) == searches
        assert found[0].energy_j > found[1].energy_j > found[2].energy_j


def test_a_machine_without_gating_sees_no_density() -> None:
    layer, bits = net(0.3)["conv2"], OperandBits(16, 16, 16)
    assert loops_on(UNGATED, layer).density == 1.0
    sparse = replace(loops_on(UNGATED, layer), density=0.3)
    assert (
        rates(UNGATED, sparse, bits).mac_j == rates(UNGATED, loops_on(UNGATED, layer), bits).mac_j
    )


def test_many_bits_at_once_keep_the_densities() -> None:
    from sketches import random_bits

    workload = resnet_cifar(1)
    sparse = workload.with_densities({la.name: 0.5 for la in workload.mac_layers})
    bits = random_bits(workload, 3, choices=(4, 8))
    dense_table = Mid().over_bits(Design(workload, EYERISS), bits)
    table = Mid().over_bits(Design(sparse, EYERISS), bits)
    saved = dense_table.total["energy_j"] - table.total["energy_j"]
    assert saved == pytest.approx(0.5 * workload.macs * 2e-12)
