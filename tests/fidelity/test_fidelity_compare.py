from __future__ import annotations

import json

import numpy as np
import pytest
from fidelity_spaces import compared, space
from scipy.stats import spearmanr

from hwflow.costs.coarse import Coarse
from hwflow.costs.fine import Fine
from hwflow.costs.mid import Mid
from hwflow.fidelity import sampled
from hwflow.fidelity.compare import COUNTS, TARGETS
from hwflow.machine import load_machine
from hwflow.problem import Problem

MACHINES = ["eyeriss", "bitfusion"]


@pytest.mark.parametrize("machine", MACHINES)
def test_rows_say_what_costing_every_plan_by_itself_says(machine: str) -> None:
    found, one = compared(machine), space()
    fine = Problem(one, load_machine(machine), Fine()).costs(list(found.plans))
    mid = Problem(one, load_machine(machine), Mid()).costs(list(found.plans))
    coarse = Problem(one, load_machine(machine), Coarse()).costs(list(found.plans))
    for target in TARGETS:
        true = [c.total[target] for c in fine]
        by_mid = spearmanr([c.total[target] for c in mid], true).statistic
        assert found.of(target, "mid").rank == pytest.approx(by_mid, abs=1e-9)
        by_bits = spearmanr([c.total["bit_ops"] for c in coarse], true).statistic
        assert found.of(target, "coarse", "bit_ops").rank == pytest.approx(by_bits, abs=1e-9)


def test_every_stand_in_is_held_against_every_target() -> None:
    found = compared()
    assert len(found.rows) == len(TARGETS) * (2 + len(COUNTS))
    assert {row.level for row in found.rows} == {"coarse", "mid"}


def test_what_does_not_differ_has_no_rank_and_the_spread_of_all_plans() -> None:
    row = compared().of("latency_s", "coarse", "macs")
    assert row.rank is None
    assert row.spread.plans == len(compared().plans)
    assert row.spread.ratio == pytest.approx(compared().varies["latency_s"])


def test_fracops_rank_as_bitops_do() -> None:
    found = compared()
    for target in TARGETS:
        bits, parts = (found.of(target, "coarse", n) for n in ("bit_ops", "frac_ops"))
        assert bits.rank == pytest.approx(parts.rank)
        assert bits.recall == parts.recall


def test_regret_and_recall_follow_their_definitions() -> None:
    found = compared()
    fine, mid = found.totals["fine"]["latency_s"], found.totals["mid"]["latency_s"]
    allowed = np.flatnonzero(found.change <= np.median(found.change))
    best = min(fine[i] for i in allowed)
    taken = [fine[i] for i in allowed if np.isclose(mid[i], mid[allowed].min(), rtol=1e-12)]
    row = found.of("latency_s", "mid")
    assert row.regret == pytest.approx(np.mean(taken) / best - 1)
    assert 0 <= row.recall.kept <= row.recall.members
    assert found.fronts["mid"].members == found.fronts["coarse"].members > 0


def test_mid_never_exceeds_fine_on_these_plans() -> None:
    for machine in MACHINES:
        totals = compared(machine).totals
        for target in TARGETS:
            assert (totals["mid"][target] <= totals["fine"][target] * (1 + 1e-9)).all()


def test_the_level_of_truth_can_be_another() -> None:
    from hwflow.fidelity import levels

    found = levels(space(), load_machine("eyeriss"), 20, fine=Mid())
    for target in TARGETS:
        row = found.of(target, "mid")
        assert row.rank == pytest.approx(1)
        assert row.recall.share == 1
        assert row.excess == pytest.approx(0, abs=1e-12)
        assert row.regret == pytest.approx(0, abs=1e-12)


def test_json_has_every_figure() -> None:
    plain = json.loads(json.dumps(compared().to_json()))
    assert plain["plans"] == 40
    assert set(plain["seconds"]) == {"coarse", "mid", "fine"}
    row = plain["rows"][0]
    assert set(row) == {
        "target",
        "level",
        "stand_in",
        "rank",
        "spread",
        "recall",
        "excess",
        "regret",
    }
    assert row["recall"]["share"] == pytest.approx(row["recall"]["kept"] / row["recall"]["members"])
    assert plain["fronts"]["mid"]["members"] >= 1


def test_plans_are_the_samples() -> None:
    assert list(compared().plans) == sampled(space(), 40, 0)
