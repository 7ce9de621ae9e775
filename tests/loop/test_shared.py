"""Searches that share qualities: nothing is scored twice, and nothing is mixed up."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
from toy import ToyQuality, toy_problem

from hwflow.cost import Limits
from hwflow.errors import StudyError
from hwflow.loop import search
from hwflow.solvers.random import Random


class Counting(ToyQuality):
    """Counts how often a plan is scored."""

    calls: ClassVar[list[tuple[int, ...]]] = []
    repeatable: ClassVar[bool] = True

    def score(self, plan, build):
        Counting.calls.append(plan)
        return super().score(plan, build)


class BySeed(Counting):
    repeatable: ClassVar[bool] = False


@pytest.fixture(autouse=True)
def _none_yet():
    Counting.calls.clear()


def test_another_solver_or_limit_takes_what_is_known(tmp_path: Path) -> None:
    shared = tmp_path / "qualities.db"
    problem = toy_problem(length=2)
    first = search(problem, Counting(), Random(seed=1), evaluations=20, qualities=shared)
    assert len(Counting.calls) == 20
    limited = toy_problem(Limits(latency_s=1.0), length=2)
    second = search(limited, Counting(), Random(seed=1), evaluations=20, qualities=shared)
    assert len(Counting.calls) == 20
    assert [(t.plan, t.quality) for t in second.trials] == [(t.plan, t.quality) for t in first]


def test_what_is_known_counts_in_the_budget(tmp_path: Path) -> None:
    shared = tmp_path / "qualities.db"
    problem = toy_problem(length=2)
    search(problem, Counting(), Random(seed=1), tmp_path / "a", evaluations=10, qualities=shared)
    search(problem, Counting(), Random(seed=1), tmp_path / "b", evaluations=14, qualities=shared)
    assert len(Counting.calls) == 14


def test_a_score_that_depends_on_the_seed_is_not_shared_between_seeds(tmp_path: Path) -> None:
    shared = tmp_path / "qualities.db"
    problem = toy_problem(length=2)
    search(problem, BySeed(), Random(seed=1), evaluations=5, qualities=shared)
    search(problem, BySeed(), Random(seed=1), evaluations=5, qualities=shared, seed=7)
    assert len(Counting.calls) == 10


def test_another_network_or_space_shares_nothing(tmp_path: Path) -> None:
    shared = tmp_path / "qualities.db"
    search(toy_problem(length=2), Counting(), Random(seed=1), evaluations=5, qualities=shared)
    search(toy_problem(length=3), Counting(), Random(seed=1), evaluations=5, qualities=shared)
    assert len(Counting.calls) == 10


def test_a_file_that_is_something_else_is_named(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    other.write_text("no database, but text " * 100)
    with pytest.raises(StudyError, match=r"other\.db cannot keep shared qualities"):
        search(toy_problem(length=2), Counting(), Random(seed=1), evaluations=5, qualities=other)
