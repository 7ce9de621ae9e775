"""The chip as a level: convolutions by row-stationary passes, everything else by the fine level."""

from __future__ import annotations

from dataclasses import replace

import pytest
from row_stationary_by_hand import ALEXNET, OWN
from sketches import Sketch

from hwflow.cost import Bits
from hwflow.costs.chip import Chip, MappingError, replay, search
from hwflow.costs.chip.level import ChipLevel, ChipReport, counted_names, replayed
from hwflow.costs.fine import Fine, LayerReport
from hwflow.design import Design
from hwflow.errors import HwflowError, MachineError
from hwflow.machine import load_machine
from hwflow.testing import check_cost_model
from hwflow.workload import Input, Layer, Workload

EYERISS = load_machine("eyeriss")
CHIP = Chip.of(EYERISS)


def alexnet() -> Workload:
    """The five convolutions, each with an input of its own."""
    layers, inputs = [], []
    for name, layer in ALEXNET.items():
        source = Input(f"{name}.in", layer.in_shapes[0])
        inputs.append(source)
        layers.append(replace(layer, name=name, inputs=(source.name,), input_bits=(32,)))
    return Workload("alexnet", tuple(layers), tuple(inputs), tuple(ALEXNET))


def mixed() -> Workload:
    sketch = Sketch((2, 3, 16, 16))
    top = sketch.conv("conv", "x", 12, 3)
    top = sketch.conv("depthwise", top, 12, 3, groups=12)
    sketch.linear("fc", sketch.flat("flat", sketch.pool("pool", "avg_pool", top, 1)), 10)
    return sketch.done("mixed")


def test_the_planning_rule_gives_the_chips_own_parameters() -> None:
    reports = ChipLevel().report(Design(alexnet(), EYERISS))
    assert {r.name: r.cost.passes for r in reports if isinstance(r, ChipReport)} == OWN


@pytest.mark.parametrize("objective", ["chip", "latency", "energy"])
def test_a_layer_costs_what_its_searched_parameters_cost(objective: str) -> None:
    workload = alexnet().with_densities({"conv3": 0.275}, {"conv3": 0.2})
    cost = ChipLevel(objective).cost(Design(workload, EYERISS))
    for layer, row in zip(workload, cost.layers, strict=True):
        found = search(
            layer, CHIP, objective, density=layer.input_density,
            output_density=layer.output_density,
        ).cost  # fmt: skip
        assert row.latency_s == pytest.approx(found.total_s)
        assert row.energy_j == pytest.approx(found.energy_j() + found.dram_j)
        assert row.dram_bytes == pytest.approx(sum(found.dram_bytes.values()))


def test_a_report_has_what_the_fine_levels_has_and_the_passes() -> None:
    layer = replace(ALEXNET["conv4"], name="conv4", input_bits=(32,))
    fine = Fine().reported(EYERISS, layer).to_json()
    plain = replayed(EYERISS, layer, OWN["conv4"]).to_json()
    assert set(plain) >= set(fine)
    assert set(plain["energy_by_part"]) == set(fine["energy_by_part"])
    assert set(plain["bytes_by_memory"]) == set(fine["bytes_by_memory"])
    cost = replay(layer, OWN["conv4"], CHIP)
    assert plain["cycles"] == cost.cycles
    assert plain["processing_s"] == cost.cycles / 200e6
    assert plain["passes"] == {"m": 64, "n": 4, "e": 13, "p": 16, "q": 3, "r": 2, "t": 2}
    assert plain["pass_count"] == cost.pass_count
    assert plain["active_pes"] == 156
    assert sum(plain["bytes_by_memory"]["buffer"].values()) == sum(cost.buffer_bytes.values())
    assert plain["gap"] is None


def test_energy_by_part_is_the_chips_and_that_of_dram() -> None:
    layer = replace(ALEXNET["conv2"], name="conv2", input_density=0.613)
    parts = replayed(EYERISS, layer, OWN["conv2"]).energy_by_part
    cost = replay(layer, OWN["conv2"], CHIP, density=0.613)
    chip = sum(value for part, value in parts.items() if part != "dram")
    assert chip == pytest.approx(cost.energy_j())
    assert parts["dram"] == cost.dram_j
    assert parts["mac"] == pytest.approx(2e-12 * layer.macs * 0.613)
    assert parts["scratchpads"] == pytest.approx(4e-12 * layer.macs * 0.613)


def test_a_measured_time_replaces_the_estimate_in_the_energy_alone() -> None:
    layer = replace(ALEXNET["conv2"], name="conv2")
    free, timed = (replayed(EYERISS, layer, OWN["conv2"], t) for t in (None, 0.0419))
    assert timed.energy_by_part["idle"] == pytest.approx(0.195 * 0.0419)
    assert free.energy_by_part["idle"] == pytest.approx(0.195 * free.cost.total_s)
    assert timed.to_json()["total_s"] == 0.0419
    assert timed.row().latency_s == free.row().latency_s


def test_what_binds_is_named_as_at_the_fine_level() -> None:
    report = replayed(EYERISS, replace(ALEXNET["conv4"], name="c"), OWN["conv4"])
    assert report.bound_by == "compute"
    port = replace(report, cost=replace(report.cost, bound_by="global buffer port"))
    assert port.bound_by == "port"
    dram = replace(report, cost=replace(report.cost, dram_s=1.0))
    assert dram.bound_by == "dram"
    assert dram.row().bound == 2


def test_layers_that_are_no_convolutions_are_left_to_the_fine_level() -> None:
    design = Design(mixed(), EYERISS)
    model = ChipLevel()
    cost, reports = model.cost(design), {r.name: r for r in model.report(design)}
    assert isinstance(reports["conv"], ChipReport)
    assert isinstance(reports["depthwise"], ChipReport)
    assert isinstance(reports["fc"], LayerReport)
    alone = {layer.name: layer for layer in Fine().cost(design).layers}
    costed = {layer.name: layer for layer in cost.layers}
    assert costed["fc"].values == alone["fc"].values
    assert costed["pool"].values == alone["pool"].values
    assert any(note.startswith("1 layer (fc): no convolution") for note in cost.notes)
    assert any("docs/eyeriss.md" in note for note in cost.notes)
    assert not any("no convolution" in n for n in model.cost(Design(alexnet(), EYERISS)).notes)


def test_bits_change_nothing_on_the_chip_but_the_counts() -> None:
    design = Design(mixed(), EYERISS)
    narrow = design.with_workload(design.workload.with_bits({"conv": 4}, {"x": 4, "conv": 4}))
    wide_row, narrow_row = (ChipLevel().cost(d).layers[0] for d in (design, narrow))
    assert narrow_row.latency_s == wide_row.latency_s
    assert narrow_row.energy_j == wide_row.energy_j
    assert narrow_row.bit_ops < wide_row.bit_ops


def test_many_bits_at_once_are_one_search() -> None:
    design = Design(mixed(), EYERISS)
    bits = Bits.of([design.workload, design.workload.with_bits({"fc": 2}, {})])
    costs = ChipLevel().over_bits(design, bits)
    assert costs.layers["latency_s"][0, 0] == costs.layers["latency_s"][1, 0]
    assert costs.total["dram_bytes"][1] < costs.total["dram_bytes"][0]


@pytest.mark.parametrize("name", ["systolic-8x8", "bismo", "simd-16"])
def test_other_machines_are_refused(name: str) -> None:
    with pytest.raises(MachineError, match=rf"{name!r} is no row-stationary chip.*it needs"):
        ChipLevel().cost(Design(mixed(), load_machine(name)))


def test_a_kernel_that_does_not_fit_is_named() -> None:
    sketch = Sketch((1, 3, 32, 32))
    sketch.conv("tall", "x", 8, 13)
    with pytest.raises(MappingError, match=r"'tall'.*PE array needs 13 rows, has 12"):
        ChipLevel().cost(Design(sketch.done("net"), EYERISS))


def test_an_unknown_objective_is_refused() -> None:
    with pytest.raises(HwflowError, match=r"Unknown objective 'edp'.*chip, energy, latency"):
        ChipLevel("edp")  # type: ignore[arg-type]


def test_the_certificate_tells_what_was_compared() -> None:
    design = Design(mixed(), EYERISS)
    for objective, goal in (("chip", "fewest words off chip"), ("energy", "least energy")):
        model = ChipLevel(objective, fine=Fine("energy"))  # type: ignore[arg-type]
        said = model.certificate(EYERISS, model.report(design))
        assert f"Parameters (m,n,e,p,q,r,t) of {goal}: best of all legal ones on eyeriss." in said
        assert said.endswith("proven optimal in the default mapspace of eyeriss.")
    assert model.certificate(EYERISS, []) == ""


def test_settings_are_part_of_the_digest() -> None:
    kinds = [ChipLevel(), ChipLevel("latency"), ChipLevel(fine=Fine("energy")), Fine()]
    assert len({model.digest() for model in kinds}) == 4


def test_equal_layers_are_searched_once_whatever_their_names() -> None:
    from hwflow.costs.chip.search import _search

    layer: Layer = replace(ALEXNET["conv5"], batch=3)
    before = _search.cache_info().misses
    one, other = (search(replace(layer, name=name), CHIP) for name in ("a", "b"))
    assert _search.cache_info().misses == before + 1
    assert (one.cost.layer, other.cost.layer) == ("a", "b")


def test_a_long_list_of_names_is_cut() -> None:
    assert counted_names(["a"]) == "1 layer (a)"
    assert counted_names(list("abcd")) == "4 layers (a, b, c, ...)"


def test_it_is_a_cost_model_like_any_other() -> None:
    check_cost_model(ChipLevel(), EYERISS)


def test_without_gating_zeros_only_compress_what_leaves_the_chip() -> None:
    machine = EYERISS.model_copy(update={"zero_gating": False})
    dense = ChipLevel().cost(Design(alexnet(), machine))
    sparse = ChipLevel().cost(Design(alexnet().with_densities({"conv3": 0.25}), machine))
    assert sparse.dram_bytes < dense.dram_bytes
    assert "input densities of 1 layer(s) only compress" in " ".join(sparse.notes)
    assert "densities" not in " ".join(dense.notes)
