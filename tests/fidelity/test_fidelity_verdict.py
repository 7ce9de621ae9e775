from __future__ import annotations

from dataclasses import replace

import pytest
from fidelity_spaces import GOOD, compared, made_up

from hwflow.fidelity import Row, summary, verdicts
from hwflow.fidelity.compare import TARGETS
from hwflow.fidelity.statistics import Spread
from hwflow.fidelity.verdict import best_coarse, passes, percent

BOTH, MID, NONE = ("coarse", "mid"), ("mid",), ()


def all_targets(*levels: str) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(TARGETS, levels)


@pytest.mark.parametrize(
    ("passing", "enough"), [(BOTH, "coarse"), (MID, "mid"), (NONE, "fine"), (("coarse",), "coarse")]
)
def test_the_cheapest_level_that_passes_is_enough(passing: tuple[str, ...], enough: str) -> None:
    found = made_up(all_targets(*passing))
    assert [v.enough for v in verdicts(found)] == [enough] * 3


def test_each_metric_has_its_own_verdict() -> None:
    found = made_up({"latency_s": NONE, "energy_j": MID, "dram_bytes": BOTH})
    assert [(v.target, v.enough) for v in verdicts(found)] == [
        ("latency", "fine"), ("energy", "mid"), ("dram", "coarse"),
    ]  # fmt: skip
    assert summary(found).endswith("the fine level is needed, for latency.")


def test_a_verdict_gives_the_numbers_behind_it() -> None:
    words = verdicts(made_up(all_targets("mid")))[0].words
    assert words.startswith("Mid is enough for latency: its own figure has rank correlation 0.99")
    assert "keeps 9 of 10 plans of the front" in words
    assert "on average it is 0.1 % worse" in words
    assert "1.0 % more than Fine's" in words
    assert "Coarse is not:" in words
    assert "0.50" in words


@pytest.mark.parametrize(
    "worse", [{"rank": 0.94}, {"rank": None}, {"excess": 0.011}, {"regret": 0.06}]
)
def test_every_bar_must_be_met(worse: dict[str, object]) -> None:
    row = Row("latency_s", "mid", "latency_s", spread=Spread(1, 9), **GOOD)  # type: ignore[arg-type]
    assert passes(row)
    assert not passes(replace(row, **worse))


def test_coarse_is_given_its_best_stand_in() -> None:
    found = made_up(all_targets("mid"))
    rows = [
        replace(row, rank=0.97) if (row.level, row.stand_in) == ("coarse", "bit_ops") else row
        for row in found.rows
    ]
    assert best_coarse(replace(found, rows=tuple(rows)), "latency_s").stand_in == "bit_ops"


def test_a_metric_that_does_not_differ_asks_for_no_level() -> None:
    found = made_up(all_targets(), varies=1.001)
    assert {v.enough for v in verdicts(found)} == {"any"}
    assert "any level will do" in verdicts(found)[0].words
    assert "hardly differs" in summary(found)


@pytest.mark.parametrize(
    ("passing", "words"),
    [(BOTH, "the coarse level is enough."), (MID, "the mid level is enough;"),
     (NONE, "the fine level is needed, for latency, energy and DRAM traffic.")],
)  # fmt: skip
def test_summary_names_place_and_level(passing: tuple[str, ...], words: str) -> None:
    text = summary(made_up(all_targets(*passing)))
    assert text.startswith("40 plans of toy on eyeriss:")
    assert words in text


def test_real_comparisons_have_a_verdict_for_every_metric() -> None:
    found = verdicts(compared())
    assert [v.target for v in found] == ["latency", "energy", "dram"]
    assert all(v.words and v.to_json()["enough"] == v.enough for v in found)


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0.0 %"), (0.042, "4.2 %"), (0.0999, "10 %"), (1.5, "150 %")]
)
def test_shares_are_written_in_percent(share: float, text: str) -> None:
    assert percent(share) == text
