"""Replay of Timeloop's mappings: files beside a file of mappings, and directives written in it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from shutil import copy

import pytest
import yaml
from sketches import Sketch

from hwflow.costs.fine import Fine, LayerReport
from hwflow.costs.mappings import GivenDirectives, MappingFileError, read_mappings
from hwflow.costs.replay import Replay
from hwflow.design import Design
from hwflow.errors import WorkloadError
from hwflow.machine import Accelerator
from hwflow.machine.timeloop import read_timeloop

FILES = Path(__file__).parents[1] / "machine" / "timeloop_files"


@cache
def machine() -> Accelerator:
    return read_timeloop(FILES / "tagged_arch.yaml", FILES / "tagged_ert.yaml").machine


def design() -> Design:
    net = Sketch((1, 3, 224, 224))
    net.conv("first", "x", 32, 3, 2, norm=False)
    return Design(net.done("one").with_bits({"first": 8}, {"x": 8, "first": 8}), machine())


def written(folder: Path, first: object) -> Path:
    path = folder / "mappings.yaml"
    path.write_text(yaml.safe_dump({"layers": {"first": first}}))
    copy(FILES / "mapping.yaml", folder / "first.map.yaml")
    return path


def directives() -> list[dict[str, object]]:
    found: list[dict[str, object]] = yaml.safe_load((FILES / "mapping.yaml").read_text())["mapping"]
    return found


@pytest.mark.parametrize("inline", [False, True])
def test_directives_are_scored_as_they_are(tmp_path: Path, inline: bool) -> None:
    given = read_mappings(
        written(tmp_path, directives() if inline else {"timeloop": "first.map.yaml"})
    )
    assert isinstance(given.of("first"), GivenDirectives)
    model = Replay(given, Fine())
    (report,) = model.report(design())
    assert isinstance(report, LayerReport)
    assert report.score.compute_cycles == 86_016
    assert report.score.active_pes == 126
    assert any("first: psum_pad is no level of" in note for note in model.cost(design()).notes)


def test_a_mapping_that_is_not_timeloops_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, {"timeloop": "first.map.yaml"})
    (tmp_path / "first.map.yaml").write_text("layers: {}\n")
    with pytest.raises(MappingFileError, match=r"layer 'first': first.map.yaml is no mapping"):
        read_mappings(path)


def test_a_mapping_that_does_not_make_up_the_layer_names_it(tmp_path: Path) -> None:
    given = read_mappings(written(tmp_path, directives()[:-1]))
    with pytest.raises(WorkloadError, match=r"'first': .*K 4 of 32"):
        Replay(given, Fine()).cost(design())
