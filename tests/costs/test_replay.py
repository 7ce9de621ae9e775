"""Replay: given mappings scored without a search, beside layers that are searched."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from row_stationary_by_hand import OWN
from sketches import Sketch, networks, random_bits, resnet_cifar
from test_chip_level import CHIP, EYERISS, alexnet

from hwflow.costs.chip import MappingError, replay
from hwflow.costs.chip.level import ChipLevel, ChipReport
from hwflow.costs.fine import Fine, LayerReport
from hwflow.costs.mappings import (
    GivenMapping,
    MappingFile,
    MappingFileError,
    read_mappings,
    write_mappings,
)
from hwflow.costs.replay import Replay
from hwflow.design import Design
from hwflow.errors import WorkloadError
from hwflow.machine import Accelerator, load_machine
from hwflow.workload import Workload

SILICON = Path(__file__).parents[3] / "shared" / "validation" / "eyeriss_alexnet.csv"


def found_in(folder: Path, layers: object) -> MappingFile:
    path = folder / "given.yaml"
    path.write_text(yaml.safe_dump({"layers": layers}))
    return read_mappings(path)


def own(folder: Path, *names: str) -> MappingFile:
    """Return the chip's parameters of AlexNet's layers, of all or those named."""
    return found_in(folder, {name: str(OWN[name]) for name in names or OWN})


@pytest.mark.parametrize("name", ["eyeriss", "simd-16", "bismo", "systolic-8x8"])
@pytest.mark.parametrize("view", ["convolution", "gemm"])
def test_searched_mappings_replayed_cost_the_same(tmp_path: Path, name: str, view: str) -> None:
    machine = load_machine(name).model_copy(update={"view": view})
    workload = resnet_cifar(1).with_densities({"conv1": 0.5})
    design, fine, path = Design(workload, machine), Fine(), tmp_path / "found.yaml"
    searched, reports = fine.cost(design), fine.report(design)
    write_mappings(path, reports, "net", name)
    again = Replay(read_mappings(path), Fine("energy"))
    assert again.cost(design).total == pytest.approx(searched.total)
    for before, after in zip(reports, again.report(design), strict=True):
        one, two = before.to_json(), after.to_json()
        assert (one.pop("gap"), two.pop("gap")) == (0, None)
        assert one == two


@settings(max_examples=30, deadline=None, suppress_health_check=[
    HealthCheck.too_slow, HealthCheck.function_scoped_fixture])  # fmt: skip
@given(networks(4), st.sampled_from(("eyeriss", "simd-16", "npu-camera")), st.integers(0, 9))
def test_a_round_trip_keeps_every_cost(
    tmp_path: Path, workload: Workload, name: str, seed: int
) -> None:
    if not workload.mac_layers:
        return
    bits = random_bits(workload, 1, seed, (2, 4, 8))
    names = [layer.name for layer in workload]
    weights = dict(zip(names, bits.weights[0].tolist(), strict=True))
    tensors = dict(zip(["x", *names], bits.tensors[0].tolist(), strict=True))
    design = Design(workload.with_bits(weights, tensors), load_machine(name))
    fine = Fine("edp")
    write_mappings(tmp_path / "a.yaml", fine.report(design), "net", name)
    again = Replay(read_mappings(tmp_path / "a.yaml"), fine).cost(design)
    assert again.total == pytest.approx(fine.cost(design).total)


def test_the_chips_parameters_are_replayed_by_its_model(tmp_path: Path) -> None:
    workload = alexnet().with_densities({"conv3": 0.275})
    design = Design(workload, EYERISS)
    model = Replay(own(tmp_path), ChipLevel())
    for report in model.report(design):
        assert isinstance(report, ChipReport)
        density = workload[report.name].input_density
        assert report.cost == replay(workload[report.name], OWN[report.name], CHIP, density=density)
        assert report.gap is None
    notes = model.cost(design).notes
    assert any("chip model (docs/eyeriss.md)" in note for note in notes)
    assert not any("searched" in note for note in notes)


def test_silicon_is_met_as_the_docs_say(tmp_path: Path) -> None:
    if not SILICON.exists():
        pytest.skip("needs ../shared/validation/eyeriss_alexnet.csv")
    with SILICON.open() as lines:
        measured = {row["layer"]: row for row in csv.DictReader(lines)}
    density = {n: 1 - float(row["zeros_ifmap_percent"]) / 100 for n, row in measured.items()}
    given = found_in(tmp_path, {
        n: {**OWN[n].as_dict(), "total_ms": float(row["total_ms"])} for n, row in measured.items()
    })  # fmt: skip
    design = Design(alexnet().with_densities(density), EYERISS)
    errors: dict[str, list[float]] = {"time": [], "buffer": [], "energy": []}
    for report in Replay(given, ChipLevel()).report(design):
        plain, row = report.to_json(), measured[report.name]
        assert plain["active_pes"] == int(row["active_pes"])
        chip = sum(j for part, j in plain["energy_by_part"].items() if part != "dram")
        moved = sum(plain["bytes_by_memory"]["buffer"].values())
        real = float(row["power_mW"]) * 1e-3 * float(row["total_ms"]) * 1e-3
        errors["time"].append(plain["cycles"] / 200e3 / float(row["processing_ms"]) - 1)
        errors["buffer"].append(moved / 2**20 / float(row["glb_MiB"]) - 1)
        errors["energy"].append(chip / real - 1)
    for what, (mean, worst) in {"time": (0.03, 0.1), "buffer": (0.03, 0.05),
                                "energy": (0.06, 0.1)}.items():  # fmt: skip
        sizes = [abs(error) for error in errors[what]]
        assert sum(sizes) / len(sizes) <= mean
        assert max(sizes) <= worst


def test_layers_without_parameters_are_searched_and_named(tmp_path: Path) -> None:
    sketch = Sketch((4, 256, 13, 13))
    top = sketch.conv("conv4", sketch.conv("conv3", "x", 384, 3), 384, 3, groups=2)
    sketch.linear("fc6", sketch.flat("flat", top), 100)
    design = Design(sketch.done("tail"), EYERISS)
    model = Replay(own(tmp_path, "conv4"), ChipLevel("latency"))
    reports = {r.name: r for r in model.report(design)}
    assert (reports["conv3"].gap, reports["conv4"].gap, reports["fc6"].gap) == (0, None, 0)
    assert isinstance(reports["fc6"], LayerReport)
    notes = model.cost(design).notes
    assert "1 layer (conv3) not in given.yaml: searched by the chip model." in notes
    assert "1 layer (fc6) not in given.yaml: searched by the fine level." in notes
    said = model.certificate(EYERISS, list(reports.values()))
    assert "least latency: best of all legal ones" in said


def test_a_linear_layer_with_parameters_is_a_1x1_convolution_and_noted(tmp_path: Path) -> None:
    sketch = Sketch((4, 512))
    sketch.linear("fc", "x", 100)
    given = found_in(tmp_path, {"fc": "50,4,1,16,8,12,14"})
    cost = Replay(given, ChipLevel()).cost(Design(sketch.done("net"), EYERISS))
    assert cost.layers[0].latency_s > 0
    assert any("1 layer (fc): replayed as 1x1 convolutions" in note for note in cost.notes)


def vgg(batch: int = 3) -> Workload:
    """Two 3 x 3 layers of VGG-16 size."""
    sketch = Sketch((batch, 64, 224, 224))
    top = sketch.conv("conv1_2", "x", 64, 3)
    sketch.conv("conv2_1", sketch.pool("pool1", "max_pool", top, 112), 128, 3)
    return sketch.done("vgg")


def test_another_network_is_replayed_and_an_assumed_limit_is_a_note(tmp_path: Path) -> None:
    own = {"conv1_2": "16,1,13,4,1,1,4", "conv2_1": "8,1,28,4,4,1,2"}
    cost = Replay(found_in(tmp_path, own), ChipLevel()).cost(Design(vgg(), EYERISS))
    assert cost.layers[0].latency_s > cost.layers[2].latency_s > 0
    assert not any("missing" in note for note in cost.notes)
    fuller = found_in(tmp_path, {**own, "conv1_2": "16,1,13,4,2,1,4"})
    over = Replay(fuller, ChipLevel()).cost(Design(vgg(), EYERISS))
    note = next(note for note in over.notes if "missing" in note)
    assert "'conv1_2' with (m,n,e,p,q,r,t) = 16,1,13,4,2,1,4: global buffer" in note
    assert "needs 110592 B, has 102400: 8192 B missing" in note
    beyond = found_in(tmp_path, {**own, "conv1_2": "16,1,13,4,3,1,4"})
    with pytest.raises(MappingError, match=r"'conv1_2'.*global buffer needs \d+ B, has 110592"):
        Replay(beyond, ChipLevel()).cost(Design(vgg(), EYERISS))


def test_what_does_not_fit_names_layer_part_and_bytes(tmp_path: Path) -> None:
    given = found_in(tmp_path, {"conv4": "64,4,13,25,3,2,2"})
    with pytest.raises(MappingError, match=r"'conv4'.*psum scratchpad needs 50 B, has 48: 2 B"):
        Replay(given, ChipLevel()).cost(Design(alexnet(), EYERISS))
    given = found_in(tmp_path, {"conv4": {"rows": {"R": 3, "K": 5}, "cols": {"P": 13}}})
    with pytest.raises(WorkloadError, match=r"'conv4': .* takes 15 rows of PEs, the array has 12"):
        Replay(given, Fine()).cost(Design(alexnet(), EYERISS))
    given = found_in(tmp_path, {"conv4": {"rows": {"R": 3}, "pe": {"S": 3}}})
    with pytest.raises(WorkloadError, match=r"'conv4': .*GLB lacks [\d.e+]+ bytes"):
        Replay(given, Fine()).cost(Design(alexnet(), EYERISS))


def test_a_name_of_no_layer_is_refused(tmp_path: Path) -> None:
    given = found_in(tmp_path, {"conv9": str(OWN["conv4"])})
    with pytest.raises(MappingFileError, match=r"given\.yaml: Unknown layer 'conv9'"):
        Replay(given, ChipLevel()).cost(Design(alexnet(), EYERISS))


def test_the_digest_follows_the_file(tmp_path: Path) -> None:
    one = Replay(own(tmp_path), ChipLevel()).digest()
    assert one == Replay(own(tmp_path), ChipLevel()).digest()
    assert one != Replay(own(tmp_path, "conv1"), ChipLevel()).digest()
    assert one != Replay(own(tmp_path), Fine()).digest()


def test_mappings_of_several_buffers_are_replayed_too(tmp_path: Path) -> None:
    plain = EYERISS.model_dump(mode="json", by_alias=True)
    inner = {**plain["memory"][1], "name": "L1", "size": {"value": "16 KiB", "source": "test"}}
    memory = [*plain["memory"], inner]
    machine = Accelerator.model_validate(
        {**plain, "memory": memory, "array": {**plain["array"], "between": ["L1", "scratchpads"]}}
    )
    design, fine, path = Design(resnet_cifar(1), machine), Fine(), tmp_path / "found.yaml"
    write_mappings(path, fine.report(design), "net", "two buffers")
    again = Replay(read_mappings(path), fine).cost(design)
    assert again.total == pytest.approx(fine.cost(design).total)
    entry = read_mappings(path).layers["conv1"]
    assert isinstance(entry, GivenMapping)
    assert len(entry.tiles) == 2
