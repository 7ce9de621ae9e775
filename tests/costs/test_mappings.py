"""Files of mappings: what is read from them, what is refused, and that writing keeps everything."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from sketches import Sketch

from hwflow.costs.chip import Passes
from hwflow.costs.fine import Fine
from hwflow.costs.fine.level import loops_on
from hwflow.costs.fine.shape import DIMS, Shape
from hwflow.costs.mappings import (
    GivenMapping,
    GivenPasses,
    MappingFile,
    MappingFileError,
    read_mappings,
    write_mappings,
)
from hwflow.design import Design
from hwflow.machine import load_machine, machine_names
from hwflow.workload import Workload

SHAPE = Shape((1, 64, 32, 14, 14, 3, 3, 1), padding=(2, 2), touched=(14, 14))


def read(folder: Path, text: str) -> MappingFile:
    path = folder / "given.yaml"
    path.write_text(dedent(text))
    return read_mappings(path)


def entry(folder: Path, text: str) -> GivenMapping | GivenPasses:
    """Read a file of one layer, called conv."""
    found = read(folder, f"layers:\n  conv: {text}\n").of("conv")
    assert found is not None
    return found


def loops(**sizes: int) -> tuple[int, ...]:
    return tuple(sizes.get(d, 1) for d in DIMS)


@pytest.mark.parametrize(
    "text",
    [
        "{m: 96, n: 1, e: 7, p: 16, q: 1, r: 1, t: 2}",
        '"96,1,7,16,1,1,2"',
        "[96, 1, 7, 16, 1, 1, 2]",
        "{passes: [96, 1, 7, 16, 1, 1, 2]}",
        '{passes: "96, 1, 7, 16, 1, 1, 2"}',
    ],
)
def test_row_stationary_parameters_have_many_forms(tmp_path: Path, text: str) -> None:
    assert entry(tmp_path, text) == GivenPasses(Passes(96, 1, 7, 16, 1, 1, 2))


def test_a_measured_time_goes_with_parameters(tmp_path: Path) -> None:
    plain = "{m: 96, n: 1, e: 7, p: 16, q: 1, r: 1, t: 2, total_ms: 20.9}"
    assert entry(tmp_path, plain) == GivenPasses(Passes(96, 1, 7, 16, 1, 1, 2), 0.0209)
    nested = '{passes: "96,1,7,16,1,1,2", total_ms: 20.9}'
    assert entry(tmp_path, nested) == entry(tmp_path, plain)


def test_loops_that_are_left_out_are_1_in_the_array_and_whole_in_the_buffer(tmp_path: Path) -> None:
    given = entry(
        tmp_path,
        "{pe: {S: 3, K: 4}, rows: {R: 3, C: 4}, cols: {P: 14}, buffer: {K: 16}, "
        "stays: [outputs, weights]}",
    )
    assert isinstance(given, GivenMapping)
    plan = given.on(SHAPE)
    assert plan.pe == loops(K=4, S=3)
    assert (plan.rows, plan.cols) == (loops(R=3, C=4), loops(P=14))
    assert plan.spread == loops(R=3, C=4, P=14)
    assert plan.tiles == ((1, 16, 32, 14, 14, 3, 3, 1),)
    assert plan.stays == ("outputs", "weights")


def test_pes_that_would_idle_in_the_last_pass_only_are_spread_evenly(tmp_path: Path) -> None:
    given = entry(tmp_path, "{cols: {P: 9, K: 100}}")
    assert isinstance(given, GivenMapping)
    assert given.on(SHAPE).spread == loops(P=7, K=64)
    assert given.on(SHAPE).stays == (None, None)


def test_several_buffers_have_a_list_of_tiles(tmp_path: Path) -> None:
    given = entry(tmp_path, "{tiles: [{K: 32}, {K: 8, C: 4}], stays: [weights, outputs, null]}")
    assert isinstance(given, GivenMapping)
    assert [tile[1] for tile in given.on(SHAPE).tiles] == [32, 8]
    assert given.on(SHAPE).stays == ("weights", "outputs", None)


def test_an_exact_name_goes_before_a_pattern(tmp_path: Path) -> None:
    found = read(tmp_path, '''
        machine: eyeriss
        layers:
          layer1.*: "1,1,1,1,1,1,1"
          "*": "2,1,1,1,1,1,1"
          layer1.0: "3,1,1,1,1,1,1"
          a[0]?: "4,1,1,1,1,1,1"
    ''')  # fmt: skip
    filters = {
        name: found.of(name).passes.m for name in ("layer1.0", "layer1.1", "fc", "a[0]?", "a0b")
    }
    assert filters == {"layer1.0": 3, "layer1.1": 1, "fc": 2, "a[0]?": 4, "a0b": 2}
    assert found.row_stationary
    assert read(tmp_path, "layers: {a: '1,1,1,1,1,1,1'}").of("b") is None


def test_names_of_no_layer_are_refused_with_the_nearest(tmp_path: Path) -> None:
    found = read(tmp_path, "layers: {conv1: '1,1,1,1,1,1,1', 'fc*': '1,1,1,1,1,1,1'}")
    found.check_names(["conv1", "fc6"])
    with pytest.raises(MappingFileError, match=r"given\.yaml: Unknown layer 'fc\*'"):
        found.check_names(["conv1", "conv2"])
    with pytest.raises(MappingFileError, match=r"Unknown layer 'conv1'\. Did you mean 'conv2'"):
        found.check_names(["conv2", "fc6"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{m: 96, n: 1, e: 7, p: 16, q: 1, r: 1}", r"'conv': .*missing or unknown: t"),
        ('"96,1,7,16,1,1"', r"'conv': .*has 6 numbers: write the seven of m,n,e,p,q,r,t"),
        ('"96,1,7,16,1,1,0"', "parameter t is 0"),
        ("{m: 96, n: 1, e: 7, p: 16, q: 1, r: 1, t: 2, z: 1}", "missing or unknown: z"),
        ("{m: 1, n: 1, e: 1, p: 1, q: 1, r: 1, t: 2, total_ms: 0}", "total_ms is 0: .* above 0"),
        ("{m: 1, n: 1, e: 1, p: 1, q: 1, r: 1, t: 2, total_ms: fast}", "total_ms is 'fast'"),
        ("7", r"give loops \(pe, rows, cols, buffer, stays\) or m, n, e, p, q, r, t"),
        ("{pe: {X: 1}}", "Unknown loop in 'pe' 'X'"),
        ("{pe: {K: 0}}", "'pe' has K = 0: sizes are whole numbers from 1"),
        ("{pe: {K: 2.5}}", "'pe' has K = 2.5"),
        ("{rows: 3}", r"'rows' is 3: write loops and sizes"),
        ("{pe: {K: 2}, row: {R: 3}}", "Unknown key 'row'. Did you mean 'rows'"),
        ("{buffer: {K: 2}, tiles: [{K: 2}]}", "has both 'buffer' and 'tiles'. Keep one"),
        ("{tiles: {K: 2}}", "'tiles' must be a list"),
        ("{buffer: {}, stays: [weights]}", "'stays' has 1 entries: 2 are needed, DRAM's first"),
        ("{buffer: {}, stays: [weights, psums]}", "'stays' is .*list weights, inputs, outputs"),
    ],
)
def test_faults_name_file_layer_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(MappingFileError, match=r"given\.yaml: layer 'conv': "):
        entry(tmp_path, text)
    with pytest.raises(MappingFileError, match=message):
        entry(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "lacks the key 'layers'"),
        ("layers: []", "lacks the key 'layers'"),
        ("layers: {}", "'layers' is empty"),
        ("layer: {}\nlayers: {a: '1,1,1,1,1,1,1'}", "Unknown key 'layer'"),
        ("layers: {a: [", "not a readable YAML file"),
    ],
)
def test_a_file_without_layers_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(MappingFileError, match=rf"given\.yaml.*{message}"):
        read(tmp_path, text)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(MappingFileError, match=r"There is no file .*none\.yaml"):
        read_mappings(tmp_path / "none.yaml")


def net() -> Workload:
    sketch = Sketch((1, 3, 17, 17))
    top = sketch.conv("conv", sketch.conv("first", "x", 20, 5, stride=2), 20, 3, groups=20)
    sketch.linear("fc", sketch.flat("flat", sketch.pool("pool", "avg_pool", top, 1)), 7)
    return sketch.done("net")


@pytest.mark.parametrize("name", [n for n in machine_names() if n in (
    "eyeriss", "simd-16", "bismo", "systolic-16x16", "eyeriss-isca16", "npu-camera")])  # fmt: skip
def test_written_mappings_are_read_back_as_they_were(tmp_path: Path, name: str) -> None:
    design, fine = Design(net(), load_machine(name)), Fine()
    path, reports = tmp_path / "found.yaml", fine.report(design)
    write_mappings(path, reports, "net", name)
    found = read_mappings(path)
    assert len(found.layers) == 3
    for report in reports:
        given = found.of(report.name)
        assert isinstance(given, GivenMapping)
        assert given.on(loops_on(design.machine, design.workload[report.name])) == report.plan


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(MappingFileError, match="Cannot write mappings to"):
        write_mappings(tmp_path / "none" / "found.yaml", [], "net", "eyeriss")
