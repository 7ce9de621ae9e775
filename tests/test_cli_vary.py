"""The machine's figures on the command line: tables of variants, searches and refusals."""

import json
import tomllib
from pathlib import Path

import pytest
from command_line import run

SMALL = ["cifar:resnet8", "--input", "1x8x8", "--classes", "10"]
VARY = ["--vary", "array.rows=4:16:x2", "--vary", "GLB.size=4KiB,128KiB"]


def test_variants_are_a_table_by_area(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "cost", *SMALL, "--on", "bitfusion", *VARY, "--json")
    rows = json.loads(out)["variants"]
    assert code == 0
    assert len(rows) == 6
    assert [row["area_um2"] for row in rows] == sorted(row["area_um2"] for row in rows)
    assert rows[0]["choices"] == {"array.rows": 4, "GLB.size": "4 KiB"}
    assert rows[0]["unbeaten"]
    whole = json.loads(run(capsys, "cost", *SMALL, "--on", "bitfusion", "--json")[1])
    own = next(r for r in rows if r["choices"] == {"array.rows": 16, "GLB.size": "128 KiB"})
    assert own["latency_s"] == whole["total"]["latency_s"]
    assert "array.rows" in run(capsys, "cost", *SMALL, "--on", "bitfusion", *VARY)[1]


def test_variants_are_costed_in_the_view_that_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("cost", *SMALL, "--on", "systolic-8x8", "--level", "fine", "--view", "gemm", "--json")
    whole = json.loads(run(capsys, *words)[1])["total"]
    (row,) = json.loads(run(capsys, *words, "--vary", "array.rows=8")[1])["variants"]
    assert row["latency_s"] == whole["latency_s"]
    assert row["energy_j"] == whole["energy_j"]


def test_narrow_screens_keep_the_star(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    vary = ["--vary", "engine.lanes=32,64", "--vary", "engine.rows_buffer=512,1024,4096"]
    code, out, _ = run(capsys, "cost", *SMALL, "--on", "bismo", *vary)
    assert code == 0
    assert any(line.startswith("│ * │") for line in out.splitlines())
    assert max(map(len, out.splitlines())) <= 80


def test_variants_name_no_figure_that_their_engine_lacks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("cost", *SMALL, "--on", "bitfusion", "--vary", "engine=simd-16")
    words = (*words, "--vary", "engine.word=8,16")
    rows = json.loads(run(capsys, *words, "--json")[1])["variants"]
    assert {"engine": "bitfusion"} in [row["choices"] for row in rows]
    assert len(rows) == 3
    assert "bitfusion │           - │" in run(capsys, *words)[1]


def test_a_search_over_bits_and_machine(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = [
        "search", *SMALL, "--data", "digits", "--on", "bitfusion", "--quantize", "--bits", "4,8",
        *VARY, "--below", "area=80%", "--images", "20", "--calibration", "16", "--set",
        "population=4", "--evaluations", "4", "--json",
    ]  # fmt: skip
    code, out, error = run(capsys, *words, "--out", str(tmp_path / "run"))
    assert code == 0, error
    found = json.loads(out)
    settings = tomllib.loads((tmp_path / "run" / "run.toml").read_text())["job"]
    assert settings["vary"] == {"array.rows": [4, 8, 16], "GLB.size": ["4 KiB", "128 KiB"]}
    assert settings["objectives"] == ["accuracy", "energy", "latency", "area"]
    for row in found["front"]:
        assert row["choices"]["machine:array.rows"] in (4, 8, 16)
        assert row["area_um2"] > 0
    repeated = ["search", "--from", str(tmp_path / "run" / "run.toml"), "--json"]
    code, out, error = run(capsys, *repeated, "--out", str(tmp_path / "again"))
    assert code == 0, error
    assert json.loads(out)["front"] == found["front"]


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["--vary", "array.row=8"], "array.rows"),
        (["--vary", "array.rows"], "array.rows=8,16,32"),
        (["--vary", "GLB.size=64"], "no unit"),
        (["--vary", "engine=simt-16"], "simd-16"),
        (["--vary", "engine=eyeriss-isca16,simd-16"], "cannot be added"),
        (["--vary", "array.rows=8", "--why"], "leave --vary"),
        (["--vary", "array.rows=1:64:1", "--vary", "array.cols=1:64:1"], "fewer values"),
    ],
)
def test_refusals_say_what_to_write(
    capsys: pytest.CaptureFixture[str], words: list[str], answer: str
) -> None:
    code, _, error = run(capsys, "cost", *SMALL, "--on", "bitfusion", *words)
    assert code == 2
    assert answer in " ".join(error.split())
