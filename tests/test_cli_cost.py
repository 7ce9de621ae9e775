"""`hwflow cost`: densities, given mappings, views, options of the search, the cache."""

from __future__ import annotations

import json
from pathlib import Path

import command_line
import pytest

from hwflow.costs.fine import compiled

LAYERS = """
name: pair
layers:
- {name: conv3, op: conv, N: 4, K: 384, C: 256, P: 13, Q: 13, R: 3, S: 3, padding: 1}
- {name: conv4, op: conv, N: 4, K: 384, C: 384, P: 13, Q: 13, R: 3, S: 3, G: 2, padding: 1}
- {name: fc, op: linear, N: 4, K: 10, C: 64}
"""
GIVEN = """
layers:
  conv3: {m: 64, n: 4, e: 13, p: 16, q: 3, r: 2, t: 2, total_ms: 23.6}
  conv4: "64,4,13,16,3,2,2"
"""


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "net.yaml"
    path.write_text(LAYERS)
    return path


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    return command_line.run(capsys, "cost", *map(str, words))


def costed(capsys: pytest.CaptureFixture[str], *words: str | Path) -> dict:
    code, out, _ = run(capsys, *words, "--json")
    assert code == 0, out
    return json.loads(out)


def layer(found: dict, name: str) -> dict:
    return next(entry for entry in found["layers"] if entry["name"] == name)


def test_row_stationary_parameters_are_replayed(
    capsys: pytest.CaptureFixture[str], net: Path
) -> None:
    given = net.parent / "given.yaml"
    given.write_text(GIVEN)
    found = costed(capsys, net, "--on", "eyeriss", "--level", "fine", "--mapping", given)
    conv3, fc = layer(found, "conv3"), layer(found, "fc")
    assert {
        "cycles", "active_pes", "utilization", "bound_by", "gap", "mapping", "bytes_by_memory",
        "energy_by_part", "passes",
    } <= set(conv3)  # fmt: skip
    assert conv3["active_pes"] == 156
    assert conv3["cycles"] / 200e3 == pytest.approx(21.8, rel=0.01)  # measured, ms
    assert sum(conv3["bytes_by_memory"]["buffer"].values()) / 2**20 == pytest.approx(50.2, rel=0.01)
    assert conv3["energy_by_part"]["idle"] == pytest.approx(0.195 * 0.0236)
    assert fc["gap"] == 0
    assert any("1 layer (fc) not in given.yaml" in note for note in found["notes"])
    assert layer(found, "conv4")["gap"] is None


def test_densities_gate_energy_and_nothing_else(
    capsys: pytest.CaptureFixture[str], net: Path
) -> None:
    zeros = net.parent / "zeros.csv"
    zeros.write_text("layer,density\nconv3,0.5\n")
    for level in ("mid", "fine", "chip"):
        words = (net, "--on", "eyeriss", "--level", level)
        dense = layer(costed(capsys, *words), "conv3")
        sparse = layer(costed(capsys, *words, "--density", zeros), "conv3")
        assert sparse["energy_j"] < dense["energy_j"]
        assert sparse["bound_by"] == dense["bound_by"]
        assert sparse.get("cycles") == dense.get("cycles")


def test_saved_mappings_give_the_same_cost_again(
    capsys: pytest.CaptureFixture[str], net: Path
) -> None:
    path = net.parent / "found.yaml"
    words = (net, "--on", "eyeriss", "--level", "fine", "--objective", "energy")
    searched = costed(capsys, *words, "--save-mappings", path)
    again = costed(capsys, net, "--on", "eyeriss", "--mapping", path)
    assert again["level"] == "fine"
    assert again["total"] == pytest.approx(searched["total"])
    assert "certificate" not in again
    assert "least energy" in searched["certificate"]


def test_the_gemm_view_reads_more(capsys: pytest.CaptureFixture[str], net: Path) -> None:
    words = (net, "--on", "bismo", "--level", "fine")
    plain, unfolded = costed(capsys, *words), costed(capsys, *words, "--view", "gemm")
    assert unfolded["total"]["dram_bytes"] > plain["total"]["dram_bytes"]
    assert unfolded["total"]["macs"] == plain["total"]["macs"]


def test_the_cache_is_where_the_environment_says(
    capsys: pytest.CaptureFixture[str], net: Path
) -> None:
    words = (net, "--on", "eyeriss", "--level", "fine")
    costed(capsys, *words, "--no-cache")
    assert not (net.parent / "cache").exists()
    costed(capsys, *words)
    assert len(list((net.parent / "cache" / "hwflow").glob("*.sqlite"))) == 1


def test_an_unusable_cache_is_a_note(
    capsys: pytest.CaptureFixture[str], net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(net / "below a file"))
    found = costed(capsys, net, "--on", "eyeriss", "--level", "fine")
    assert found["total"]["latency_s"] > 0
    assert "Mappings are not kept" in found["notes"][-1]


def test_the_first_compilation_is_announced_on_standard_error(
    capsys: pytest.CaptureFixture[str], net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = iter([False] + [True] * 9)
    monkeypatch.setattr(compiled, "is_compiled", lambda: next(ready))
    code, out, err = run(capsys, net, "--on", "eyeriss", "--level", "fine", "--json", "--no-cache")
    assert code == 0
    assert err.count("Compiling the mapping search, once for this installation") == 1
    assert json.loads(out)["level"] == "fine"


def test_the_screen_ends_with_what_is_proven(capsys: pytest.CaptureFixture[str], net: Path) -> None:
    code, out, _ = run(capsys, net, "--on", "eyeriss", "--level", "fine")
    words = " ".join(out.split())
    assert code == 0
    assert words.endswith(
        "Mappings of least latency: proven optimal in the default mapspace of eyeriss."
    )
    assert "util. gap" in words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--level", "mid", "--objective", "energy"), "--objective: the mid level knows no"),
        (("--full",), "--full: the mid level"),
        (("--level", "fine", "--objective", "speed"), "Unknown objective 'speed'"),
        (("--level", "chip", "--objective", "edp"), "Unknown objective 'edp'"),
        (("--level", "fine", "--view", "im2col"), "Unknown view 'im2col'"),
        (("--level", "mid", "--save-mappings", "a.yaml"), "the mid level has no mappings"),
        (("--mapping", "none.yaml"), "There is no file 'none.yaml'"),
        (("--density", "none.csv"), "There is no file 'none.csv'"),
    ],
)
def test_faults_are_said_with_exit_code_2(
    capsys: pytest.CaptureFixture[str], net: Path, words: tuple[str, ...], message: str
) -> None:
    code, out, _ = run(capsys, net, "--on", "eyeriss", *words, "--json")
    assert code == 2
    assert message in json.loads(out)["error"]


def test_the_chip_level_needs_a_row_stationary_machine(
    capsys: pytest.CaptureFixture[str], net: Path
) -> None:
    code, _, err = run(capsys, net, "--on", "bismo", "--level", "chip")
    assert code == 2
    assert "'bismo' is no row-stationary chip" in err


def test_a_mapping_that_does_not_fit_names_layer_and_bytes(
    capsys: pytest.CaptureFixture[str], net: Path
) -> None:
    given = net.parent / "given.yaml"
    given.write_text('layers: {conv4: "64,4,13,30,3,2,2"}')
    code, _, err = run(capsys, net, "--on", "eyeriss", "--mapping", given)
    assert code == 2
    assert "Layer 'conv4'" in err
    assert "psum scratchpad needs 60 B, has 48: 12 B missing" in err
