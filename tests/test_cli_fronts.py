"""The command that lays fronts side by side."""

from __future__ import annotations

import json

import pytest
from toy import ToyQuality, toy_problem

from hwflow.cli import main
from hwflow.loop import search
from hwflow.solvers.nsga2 import NSGA2


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "a"
    search(toy_problem(), ToyQuality(), NSGA2(0, population=6), folder, evaluations=12)
    return folder


def test_fronts_are_told_and_drawn(run, tmp_path, capsys):
    page, svg = tmp_path / "fronts.html", tmp_path / "fronts.svg"
    with pytest.raises(SystemExit) as left:
        main(["fronts", f"one={run}", f"two={run}", "--page", str(page), "--svg", str(svg)])
    assert not left.value.code
    text = capsys.readouterr().out
    assert text.count("networks; least latency ") == 2
    assert "one (eyeriss, toy)" in text
    assert "two" in svg.read_text()
    assert page.stat().st_size > 100_000


def test_fronts_as_json_have_shares_and_bits(run, capsys):
    with pytest.raises(SystemExit):
        main(["fronts", str(run), "--json"])
    (found,) = json.loads(capsys.readouterr().out)["fronts"]
    assert max(found["shares"]["latency_s"]) <= 1
    assert set(found["bits"]) == {choice.name for choice in toy_problem().space.choices}


def test_a_folder_that_is_no_run_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        main(["fronts", str(tmp_path)])
    assert left.value.code == 2
    assert "hwflow:" in capsys.readouterr().err
