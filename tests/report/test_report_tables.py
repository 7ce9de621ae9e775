from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from sample_data import sample

from hwflow.front import Front
from hwflow.report import ReportData, tables


@cache
def data() -> ReportData:
    return sample()


def test_totals_compare_every_metric_with_the_original() -> None:
    trial = data().front.trials[0]
    rows = {row.id: row for row in tables.totals(data(), trial)}
    assert list(rows) == ["quality", *data().metrics]
    assert rows["energy_j"].standing == "estimate"
    assert rows["macs"].standing == "exact"
    assert rows["energy_j"].better is True
    assert rows["quality"].better is False
    assert rows["macs"].better is None


def test_dearer_networks_are_marked_worse() -> None:
    trial = data().front.trials[0]
    dear = replace(trial, total={**trial.total, "energy_j": 1.0})
    row = next(r for r in tables.totals(data(), dear) if r.id == "energy_j")
    assert row.better is False
    assert row.change.startswith("+")


def test_missing_metric_is_a_gap() -> None:
    trial = replace(data().front.trials[0], total={"energy_j": 1e-4, "latency_s": 1e-3})
    row = next(r for r in tables.totals(data(), trial) if r.id == "area_um2")
    assert (row.after, row.change, row.better) == (tables.words.NOTHING, tables.words.NOTHING, None)


def test_front_rows_fit_their_headings_and_start_with_the_best() -> None:
    rows = list(tables.front_rows(data()))
    assert all(len(cells) + 1 == len(tables.front_columns(data())) for _, cells in rows)
    qualities = [cells[0].value for _, cells in rows]
    assert qualities == sorted((q for q in qualities if q is not None), reverse=True)


def test_networks_without_a_number_for_quality_come_last() -> None:
    trials = [replace(data().front.trials[0], quality=q, number=n, plan=(n,))
              for n, q in enumerate((float("nan"), 0.5))]  # fmt: skip
    odd = replace(data(), front=Front(tuple(trials), data().front.objectives))
    assert [trial.number for trial, _ in tables.front_rows(odd)] == [1, 0]


def test_shortcuts_name_trials_of_the_front() -> None:
    found = dict(tables.shortcuts(data()))
    front = data().front
    assert list(found) == [
        "in the headline", "knee", "most accurate", "least energy", "least latency",
    ]  # fmt: skip
    assert found["least energy"] == min(front, key=lambda t: t.total["energy_j"]).number
    assert found["most accurate"] == front.pick("most accurate").number
    assert set(found.values()) <= {trial.number for trial in front}


def test_empty_front_has_no_shortcuts() -> None:
    assert tables.shortcuts(replace(data(), front=Front((), data().front.objectives))) == []


def test_commands_pick_the_trial() -> None:
    trial = data().front.trials[0]
    assert tables.command(data(), trial) == (
        f'hwflow build runs/resnet20 --pick "#{trial.number}" --to net.onnx'
    )


def test_reasons_are_counted_without_the_figures_of_single_trials() -> None:
    one, two = (replace(t, quality=None) for t in data().trials[:2])
    trials = [
        replace(one, infeasible=("latency is 5 ms, allowed 4 ms",)),
        replace(two, infeasible=("latency is 6 ms, allowed 4 ms", "the machine is on fire")),
    ]
    found = tables.reasons(replace(data(), trials=trials))
    assert found == [("latency above 4 ms", 2), ("the machine is on fire", 1)]


def test_machine_summary_shows_widths_up_to_the_native_one() -> None:
    found = dict(tables.machine_summary(data().machine))
    assert found["processing elements"] == "168"
    assert found["clock"] == "200 MHz"
    assert found["peak at 16 x 16 bits"] == found["peak at 8 x 8 bits"] == "33.6 GMAC/s"


def test_every_machine_figure_has_a_source() -> None:
    found = tables.machine_figures(data().machine)
    assert len(found) == len(data().machine.figures())
    assert all(source for _, _, source in found)


def test_provenance_is_flattened_and_gaps_are_left_out() -> None:
    values = {"weights_digest": None, "versions": {"torch": "2.9"}, "bits": (2, 4), "seed": 0}
    found = dict(tables.provenance(data().machine, values))
    assert found == {
        "machine digest": data().machine.digest(),
        "versions: torch": "2.9", "bits": "2, 4", "seed": "0",
    }  # fmt: skip


@pytest.mark.parametrize("known", [True, False])
def test_choices_come_from_the_space_when_there_is_one(known: bool) -> None:
    trials = tuple(t if known else replace(t, space=None) for t in data().front)
    found = tables.choices(replace(data(), front=replace(data().front, trials=trials)))
    assert bool(found) is known
