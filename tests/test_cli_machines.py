"""The command line on machines: their list, and conversion from other tools' files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hwflow.cli import main
from hwflow.machine import device_names, load_machine, machine_names

FILES = Path(__file__).parent / "machine" / "timeloop_files"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(words)
    code = left.value.code
    assert isinstance(code, int)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_the_list_of_machines_shows_every_name_whole(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "list", "machines")
    assert code == 0
    assert all(name in out for name in machine_names())
    assert "mm2" in out


def test_the_list_of_machines_as_json_has_rates_areas_and_fpga_resources(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = run(capsys, "list", "machines", "--json")
    assert code == 0
    found = json.loads(out)
    rows = {row["name"]: row for row in found["details"]}
    assert found["machines"] == [*machine_names(), *device_names()] == list(rows)
    assert rows["bismo"]["fpga"] == {"luts": pytest.approx(15301.12), "brams": 32}
    assert rows["eyeriss"]["fpga"] is None
    assert rows["eyeriss"]["peak_macs_per_s"] == pytest.approx(168 * 200e6)
    parts = rows["eyeriss"]["area_parts"]
    assert rows["eyeriss"]["area_um2"] == pytest.approx(sum(part["um2"] for part in parts))


def test_an_architecture_is_converted_to_a_machine_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    to = tmp_path / "mine.yaml"
    sources = (str(FILES / "tagged_arch.yaml"), str(FILES / "tagged_ert.yaml"))
    code, out, _ = run(capsys, "convert", *sources, "--to", str(to))
    assert code == 0
    assert "Note: noc (XY_NoC): left out" in out
    assert f"hwflow cost cifar:resnet20 --on {to}" in out
    assert load_machine(to).name == "mine"
    assert load_machine(to).pes == 168


def test_a_conversion_as_json_gives_machine_and_notes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    to = tmp_path / "mine.yaml"
    nested = str(FILES / "nested_arch.yaml")
    words = ("convert", nested, "--to", str(to), "--missing-from", "eyeriss", "--json")
    code, out, _ = run(capsys, *words)
    assert code == 0
    found = json.loads(out)
    assert found["machine"]["array"]["rows"]["value"] == 3
    assert any("Column" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--to", "mine.yaml"), "lacks the energy of MACC"),
        (("--to", "mine.txt", "--missing-from", "eyeriss"), "its name must end in .yaml"),
        (("--to", "none/mine.yaml", "--missing-from", "eyeriss"), "Cannot write"),
        (("--to", "mine.yaml", "--missing-from", "eyeris"), "Did you mean 'eyeriss'?"),
    ],
)
def test_what_cannot_be_converted_is_told(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, "convert", str(FILES / "nested_arch.yaml"), *more)
    assert code == 2
    assert message in err
    assert not list(tmp_path.iterdir())
