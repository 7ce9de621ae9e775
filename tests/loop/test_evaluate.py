"""Evaluating one plan: seeds, threads, and what is no number."""

import random
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from toy import ToyQuality, toy_problem

from hwflow.errors import HwflowError
from hwflow.loop.evaluate import Here, Job, describe, evaluate, limited_threads, seeded
from hwflow.space import Builder, Plan, Space

SPACE = toy_problem().space


def job(number: int = 0, seed: int = 7, plan: Plan = (1,) * 12) -> Job:
    return Job(plan, number, seed, {"macs": 1.0})


class Drawing:
    """A quality that is a random number of each generator, or of one."""

    name = "drawing"

    def score(self, plan: Plan, build: Builder) -> float:
        found = random.random() + np.random.rand()
        torch = sys.modules.get("torch")
        return found + (torch.rand(()).item() if torch else 0.0)

    def digest(self) -> str:
        return ""


def test_an_evaluation_depends_on_its_seed_only() -> None:
    one = evaluate(job(), SPACE, Drawing(), 1)
    random.random()
    np.random.rand()
    assert evaluate(job(), SPACE, Drawing(), 1).quality == one.quality
    assert evaluate(job(seed=8), SPACE, Drawing(), 1).quality != one.quality


def test_seeds_of_torch_are_set_and_put_back() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with seeded(2**63 - 1):
        inside = torch.rand(3)
    with seeded(2**63 - 1):
        assert torch.equal(torch.rand(3), inside)
    assert torch.equal(torch.rand(3), expected)


def test_generators_go_on_as_if_nothing_had_happened() -> None:
    random.seed(3)
    np.random.seed(3)
    expected = [random.random(), np.random.rand()]
    random.seed(3)
    np.random.seed(3)
    evaluate(job(), SPACE, Drawing(), 1)
    assert [random.random(), np.random.rand()] == expected


def test_generators_are_put_back_after_an_error() -> None:
    random.seed(3)
    expected = random.random()
    random.seed(3)
    with pytest.raises(KeyError), seeded(5):
        raise KeyError
    assert random.random() == expected


def test_threads_are_set_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    used = [4]
    monkeypatch.setitem(
        sys.modules,
        "torch",
        SimpleNamespace(get_num_threads=lambda: used[-1], set_num_threads=used.append),
    )
    with limited_threads(2):
        assert used == [4, 2]
    assert used == [4, 2, 4]
    with limited_threads(4):
        pass
    assert used == [4, 2, 4]


def test_the_outcome_tells_the_processor_time() -> None:
    outcome = evaluate(job(), SPACE, ToyQuality(cpu=0.03), 1)
    assert outcome.cpu_seconds >= 0.03
    assert outcome.started > 1.6e9


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused_with_the_plan(value: float) -> None:
    plan = (2, 1, *[2] * 10)
    bad = ToyQuality(bad=plan, bad_value=value)
    with pytest.raises(HwflowError) as caught:
        evaluate(job(5, plan=plan), SPACE, bad, 1)
    said = str(caught.value)
    assert f"'toy accuracy' of trial #5 is {value} (weight_bits:conv1 = 4)" in said
    assert "not recorded" in said


def test_plans_are_described_by_what_differs_from_the_default() -> None:
    assert describe(SPACE, SPACE.default) == "the default plan"
    assert describe(SPACE, (0, *[2] * 11)) == "weight_bits:conv0 = 2"
    assert describe(SPACE, (0,) * 12).endswith("weight_bits:conv3 = 2, 8 more")


class Building(Drawing):
    """A quality that looks at the network it gets."""

    def score(self, plan: Plan, build: Builder) -> float:
        weights, _ = build(plan).module  # type: ignore[misc]
        return float(weights["conv0"])


def test_a_quality_gets_the_edited_network() -> None:
    from hwflow.network import Network

    space = Space(SPACE.workload, SPACE.parts, Network("toy", None, None))  # type: ignore[arg-type]
    assert evaluate(job(plan=(0,) * 12), space, Building(), 1).quality == 2
    assert evaluate(job(plan=(2,) * 12), space, Building(), 1).quality == 8
    with pytest.raises(HwflowError, match="known on paper only"):
        evaluate(job(), SPACE, Building(), 1)


def test_here_takes_a_job_only_when_it_can_begin() -> None:
    taken = []

    def jobs() -> Iterator[Job]:
        for number in range(3):
            taken.append(number)
            yield job(number)

    here = Here(SPACE, ToyQuality(), 1)
    for done, _ in here.run(jobs()):
        assert taken[-1] == done.number
    here.close()
    assert taken == [0, 1, 2]
