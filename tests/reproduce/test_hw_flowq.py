"""The stages of HW-FlowQ: one for every figure; searches, agents and questions on a toy scale."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from toy import ToyQuality, toy_problem

import hwflow as hf
from hwflow.errors import HwflowError
from hwflow.front import Trial
from hwflow.reproduce import Settings, stages_of
from hwflow.reproduce.hw_flowq import budgets, searches
from hwflow.reproduce.lite import WIDTHS, lite_stage, one_width
from hwflow.reproduce.quantizing import MACHINES, volume, volume_curve
from hwflow.reproduce.quantizing_answers import costed_on, surrogate_stage
from hwflow.reproduce.quantizing_searches import (
    FIGURES,
    Budget,
    Case,
    haq_stage,
    running,
    search_stage,
    tuning_stage,
    within,
    within_stage,
)
from hwflow.reproduce.quantizing_trained import PRICES, TUNED, climbing, saved, tune_stage


@cache
def net() -> hf.Network:
    return hf.load("cifar:resnet8", num_classes=10, input_shape=(1, 8, 8))


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Settings:
    """Quick settings whose only network is a small one on digits."""
    monkeypatch.setattr(Settings, "network", lambda self, name: net())
    return Settings(tmp_path, tmp_path, "digits", quick=True)


def test_there_is_a_stage_for_every_figure():
    names = [stage.name for stage in stages_of("hw-flowq")]
    assert len(set(names)) == len(names)
    for machine in MACHINES:
        for contender in ("nsga2", "seeded", "random"):
            assert {f"search-resnet20-{machine}-{contender}-{seed}" for seed in (0, 1, 2)} <= {
                *names
            }
        assert f"levels-{machine}" in names
        for share in (0.4, 0.5, 0.6):
            assert f"haq-resnet20-{machine}-{share}-haq-2" in names
            assert f"within-resnet20-{machine}-{share}-program-2" in names
            assert f"tune-resnet20-{machine}-{share}-ratio-0" in names
    assert {
        "lite-bismo",
        "surrogate",
        "seeded",
        "engines",
        "search-resnet56-bismo-seeded-0",
    } <= set(names)


def test_what_draws_nothing_is_run_once_and_every_budget_with_both_repairs():
    assert [c.contender for c in searches("resnet20", 1)].count("uniform") == 0
    assert [c.contender for c in searches("resnet20", 0)].count("uniform") == len(MACHINES)
    cases = budgets("resnet20", 0)
    assert {(c.machine, c.share) for c in cases if c.repair == "haq"} == {
        (c.machine, c.share) for c in cases if c.repair == "ratio"
    }
    assert Budget("resnet20", "bismo", 0.5, "haq", 1).below == ("latency=50%",)
    assert Budget("n", "m", 0.5, "haq", 1).key == "n-m-0.5-haq-1"


def test_a_search_tells_its_front_in_shares_and_its_hypervolume_after_each_evaluation(settings):
    found = search_stage(settings, Case("resnet8", "bismo", "nsga2", 0))
    curve = found["hypervolumes"]
    assert found["evaluations"] == len(curve) == 8
    assert curve == sorted(curve)
    assert found["hypervolume"] == curve[-1]
    assert all(point["shares"]["latency_s"] <= 1 for point in found["front"])
    assert len(found["choices"]) == len(found["front"][0]["plan"])
    again = search_stage(settings, Case("resnet8", "bismo", "nsga2", 0))
    assert again == found


def test_the_agent_answers_within_its_budget_or_says_that_none_can(settings):
    case = Budget("resnet8", "bismo", 0.6, "ratio", 0)
    found = haq_stage(settings, case)
    assert found["answer"]["shares"]["latency_s"] <= 0.6
    assert found["best"] == sorted(found["best"])
    beyond = haq_stage(settings, replace(case, share=0.001))
    assert "No plan meets" in beyond["infeasible"]


def test_a_hypervolume_grows_with_every_better_network_only():
    problem = toy_problem()
    plans = [problem.space.default, (1,) * 12, (1,) * 12, (0,) * 12]
    totals = problem.totals(plans)
    trials = [
        Trial(i, plan, {n: float(v[i]) for n, v in totals.items()}, quality)
        for i, (plan, quality) in enumerate(zip(plans, (0.9, 0.8, 0.7, 0.4), strict=True))
    ]
    curve = volume_curve(problem, trials)
    assert curve[0] == 0  # the default plan costs all there is
    assert curve[1] > curve[0]
    assert curve[1:] == [curve[1]] * 3  # the third is beaten, the fourth below the floor
    share = [float(totals[name][1] / totals[name][0]) for name in ("energy_j", "latency_s")]
    assert curve[1] == pytest.approx((1 - 0.2 / 0.5) * (1 - share[0]) * (1 - share[1]))
    assert volume(np.array([[0.5, 0.5], [0.2, 0.9]])) == pytest.approx(0.25 + 0.3 * 0.1)


def test_plans_are_held_against_each_other_at_another_level():
    problem = toy_problem()
    quality = ToyQuality()
    trials = [
        Trial(i, plan, {}, quality.score(plan, problem.space.apply))
        for i, plan in enumerate([(2,) * 12, (1,) * 12, (1,) * 12])
    ]
    found = costed_on(problem, trials)
    assert found["networks"] == 2
    assert len(found["front"]) == 2


def test_the_programs_keep_an_agents_budget_whatever_its_repair(settings):
    case = Budget("resnet8", "bismo", 0.6, "ratio", 0)
    found = within_stage(settings, replace(case, repair="program"))
    assert found["case"]["repair"] == "program"
    assert found["evaluations"] == 8
    assert all(point["shares"]["latency_s"] <= 0.6 for point in found["front"])
    assert found["answer"]["shares"]["latency_s"] <= 0.6
    assert within(case) == within(replace(case, repair="haq"))
    beyond = within_stage(settings, replace(case, share=0.001))
    assert "No plan meets" in beyond["infeasible"]


def test_sums_of_single_changes_are_ranked_against_what_searches_evaluated(settings):
    found = surrogate_stage(settings, "resnet8")
    assert [(row["machine"], row["contender"]) for row in found["rows"]] == [
        (machine, contender) for machine in MACHINES for contender in ("nsga2", "random")
    ]
    for row in found["rows"]:
        assert row["networks"] == 8
        assert set(row["rank_correlation"]) == {"divergence", "loss", "accuracy"}
        assert all(-1 <= rank <= 1 for rank in row["rank_correlation"].values())


def test_a_front_is_tested_beside_one_width_everywhere(settings):
    found = lite_stage(settings, "bismo", "resnet8")
    rows = {row["network"]: row for row in found["tested"]}
    assert [name for name in rows if name.endswith("bits")] == [f"{b} bits" for b in WIDTHS]
    assert rows["8 bits"]["shares"]["energy_j"] == 1
    assert rows["4 bits"]["shares"]["energy_j"] < 1
    assert "8 bits" not in rows["8 bits"]["against"]
    trials = [row for name, row in rows.items() if name.startswith("trial")]
    on_front = {tuple(point["plan"]) for point in found["front"]}
    assert trials
    assert {tuple(row["plan"]) for row in trials} <= on_front


def test_one_width_takes_the_next_higher_bits_where_its_own_are_missing():
    space = hf.quantize(net(), bits=(2, 4, 8))
    for asked, got in ((8, 8), (6, 8), (4, 4), (3, 4)):
        values = space.values(one_width(space, asked))
        assert set(values.values()) == {got}


def test_the_network_of_imagenet_needs_images_of_its_own(tmp_path):
    settings = Settings(tmp_path, tmp_path, "digits")
    with pytest.raises(HwflowError, match=r"efficientnet_lite0 needs images.*--imagenet"):
        settings.splits(replace(net(), name="efficientnet_lite0"))


def test_the_best_so_far_and_what_is_saved():
    trials = [Trial(i, (i,), {}, q) for i, q in enumerate((0.5, 0.4, 0.7))]
    assert [t.number for t in running(trials)] == [0, 0, 2]
    theirs = {"total": {"latency_s": 4.0, "energy_j": 2.0}}
    ours = Trial(0, (0,), {"latency_s": 1.0, "energy_j": 1.8}, 0.5)
    assert saved(theirs, ours) == pytest.approx({"latency_s": 0.75, "energy_j": 0.1})


def test_ours_are_no_dearer_in_either_price_and_the_more_accurate_the_dearer():
    def made(number, latency, energy, quality):
        return Trial(number, (number,), {"latency_s": latency, "energy_j": energy}, quality)

    trials = [made(0, 2, 2, 0.8), made(1, 1, 1, 0.5), made(2, 3, 1, 0.9), made(3, 2, 1.5, 0.4),
              made(4, 1, 1, 0.6)]  # fmt: skip
    theirs = {"total": dict.fromkeys(PRICES, 2.0), "quality": 0.65}
    assert [t.number for t in climbing(trials, theirs)] == [4, 0]
    poor = [made(0, 2, 2, 0.3), made(1, 1, 1, 0.2)]  # none is near, so these are trained
    assert [t.number for t in climbing(poor, theirs)] == [1, 0]
    assert [t.number for t in climbing([*poor, made(2, 1, 2, 0.56)], theirs)] == [2]


def test_tables_print_what_there_is(tmp_path, monkeypatch, capsys, settings):
    import importlib.util
    import json

    path = Path(__file__).parents[2] / "benchmarks/papers/hw_flowq/tables.py"
    spec = importlib.util.spec_from_file_location("hw_flowq_tables", path)
    assert spec
    assert spec.loader
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    monkeypatch.setattr(tables, "HERE", tmp_path)
    front = [{"quality": 0.86, "shares": {"latency_s": 0.5, "energy_j": 0.7}}]
    case = {"network": "resnet20", "machine": "bismo", "contender": "nsga2", "seed": 0}
    result = {"case": case, "front": front, "hypervolume": 0.1, "evaluations": 160}
    (tmp_path / "search-resnet20-bismo-nsga2-0.json").write_text(json.dumps(result))
    tables.searched()
    tables.agents()
    text = capsys.readouterr().out
    assert "| 50.0 % | not reached |" in text
    assert "| resnet20 | bismo | nsga2 | 1 | 160 | 0.1000 |" in text


def test_a_ladder_of_ours_is_compared_with_the_agents_answer(settings, monkeypatch):
    monkeypatch.setattr("hwflow.reproduce.quantizing_trained.QUICK_TUNED", 2)
    found = tune_stage(settings, Budget("resnet8", "bismo", 0.6, "haq", 0))
    assert 1 <= len(found["ladder"]) <= 2 < TUNED
    theirs = found["haq"]["total"]
    before = [one["quality"] for one in found["ladder"]]
    assert before == sorted(before)
    for one in found["ladder"]:
        assert all(one["total"][name] <= theirs[name] for name in PRICES)
        assert all(0 <= share < 1 for share in one["saved"].values())
        assert 0 < one["test"]["images"] <= 200
        assert one["test"]["haq"] == found["ladder"][0]["test"]["haq"]  # one network


def test_other_figures_of_the_agent_are_tried_on_one_budget(settings):
    found = tuning_stage(settings)
    assert [row["figures"] for row in found["rows"]] == [*FIGURES]
    for row in found["rows"]:
        assert row["best"] == sorted(row["best"])
        assert (row["machine"], row["repair"], row["share"]) == ("bismo", "haq", 0.5)
    folders = {path.name for path in (settings.out / "haq").iterdir()}
    assert folders == {f"resnet20-bismo-0.5-haq-0-{label}" for label in FIGURES}
