from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sample_data import sample

from hwflow.front import Front, Trial
from hwflow.report import ReportData
from hwflow.report.headline import headline, highlight, savers

BEFORE = {"energy_j": 1e-3, "latency_s": 4e-3}


def trial(number: int, quality: float, energy: float, latency: float) -> Trial:
    total = {"energy_j": energy * 1e-3, "latency_s": latency * 4e-3}
    return Trial(number, (number,), total, quality)


def report(
    *trials: Trial,
    original: float | None = 0.9,
    objectives: tuple[str, ...] = ("accuracy", "energy_j", "latency_s"),
    before: Mapping[str, float] = BEFORE,
) -> ReportData:
    """A report whose original takes 1 mJ and 4 ms; trials give shares of that."""
    data = sample()
    baseline = None if original is None else Trial(-1, (), before, original)
    return replace(
        data, trials=trials, front=Front.of(trials, objectives), baseline=baseline, details={},
        cost_before=replace(data.cost_before, total=before),
    )  # fmt: skip


def said(data: ReportData) -> str:
    return headline(data).replace("\N{NO-BREAK SPACE}", " ")


def test_most_saving_network_among_the_equally_accurate_makes_the_headline() -> None:
    data = report(trial(1, 0.9, 0.8, 0.9), trial(2, 0.898, 0.59, 0.72), trial(3, 0.5, 0.1, 0.1))
    found = highlight(data)
    assert found is not None
    assert found.number == 2
    assert said(data) == (
        "3 networks on the front; at 0.2 points less validation accuracy than the original: "
        "41 % less energy and 28 % less latency."
    )


def test_most_accurate_saver_is_taken_when_none_comes_close() -> None:
    data = report(trial(1, 0.8, 0.5, 0.5), trial(2, 0.7, 0.2, 0.2))
    assert "at 10.0 points less validation accuracy than the original: 50 % less energy" in said(
        data
    )


def test_equal_and_higher_accuracy_are_said_so() -> None:
    assert "at the same validation accuracy as the original" in said(
        report(trial(1, 0.9, 0.5, 0.5))
    )
    assert "at 1.0 point more validation accuracy than" in said(report(trial(1, 0.91, 0.5, 0.5)))


def test_one_network_is_singular() -> None:
    assert said(report(trial(1, 0.9, 0.5, 0.5))).startswith("1 network on the front;")


def test_nothing_gained_is_admitted() -> None:
    data = report(trial(1, 0.9, 0.5, 1.0), trial(2, 0.91, 1.2, 0.9))
    assert savers(data) == []
    assert said(data) == (
        "2 networks on the front, but none of them needs less energy and latency than the "
        "original at once."
    )


def test_single_objective_is_not_called_at_once() -> None:
    data = report(trial(1, 0.9, 1.5, 1.0), objectives=("accuracy", "energy_j"))
    assert said(data) == (
        "1 network on the front, but none of them needs less energy than the original."
    )


def test_unknown_original_quality_gives_the_knee_and_its_quality() -> None:
    data = report(trial(1, 0.9, 0.9, 0.9), trial(2, 0.88, 0.3, 0.3), original=None)
    found = highlight(data)
    assert found is not None
    assert found.number == data.front.knee().number
    assert f"at {found.quality:.1%} validation accuracy".replace("%", " %") in said(data)
    assert "% less energy" in said(data)


def test_quality_that_is_no_share_is_given_as_it_is() -> None:
    data = report(trial(1, -2.6, 0.5, 0.5), original=-2.5)
    assert not data.is_share
    assert "at 0.1 less validation accuracy than the original" in said(data)


def test_counts_are_fewer_and_costs_are_less() -> None:
    before = {"energy_j": 1.0, "latency_s": 1.0, "bit_ops": 100.0}
    one = Trial(1, (1,), {"energy_j": 0.5, "latency_s": 1.0, "bit_ops": 25.0}, 0.9)
    data = report(one, objectives=("accuracy", "energy_j", "bit_ops"), before=before)
    assert said(data).endswith("50 % less energy and 75 % fewer bit operations.")


def test_search_for_accuracy_alone_names_the_best() -> None:
    data = report(trial(1, 0.9, 1, 1), trial(2, 0.95, 2, 2), objectives=("accuracy",))
    assert said(data) == "1 network on the front; the best has accuracy 95.00 %."


def test_infinite_and_absent_costs_are_no_savings() -> None:
    lost = Trial(1, (1,), {"energy_j": float("inf"), "latency_s": 1e-3}, 0.9)
    assert savers(report(lost)) == []
    worst = {"energy_j": float("inf"), "latency_s": 4e-3}
    assert savers(report(trial(1, 0.9, 0.5, 0.5), before=worst)) == []
    assert report(lost).relative_change(lost, "macs") is None


def test_infeasible_and_empty_searches_are_told_apart() -> None:
    broken = replace(trial(1, 0.9, 1, 1), quality=None, infeasible=("energy is 2 J, allowed 1 J",))
    assert said(report()) == "Nothing has been evaluated yet."
    assert said(report(broken)) == ("The only network tried breaks a limit, so none was evaluated.")
    assert highlight(report(broken)) is None


def test_front_without_a_number_for_quality_is_told() -> None:
    data = report(trial(1, 0.9, 1, 1))
    empty = replace(data, front=Front.of([], data.front.objectives))
    assert "no quality that was measured is a number" in said(empty)
