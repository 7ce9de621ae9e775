"""The integer program against brute force: budgets, joint costs, diverse answers, infeasibility."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwflow.errors import HwflowError, InfeasibleError
from hwflow.solvers.program import Effort, Joint, OneOfEach
from hwflow.solvers.program_model import _quiet

Options = tuple[int, ...]


def drawn(
    seed: int, sizes: tuple[int, ...], budgets: int, share: float, pairs: int = 0
) -> OneOfEach:
    """A program of small whole numbers, so that there are ties."""
    rng = np.random.default_rng(seed)
    scores = [rng.integers(0, 10, n).astype(float) for n in sizes]
    names = [f"cost{k}" for k in range(budgets)]
    costs = {name: [rng.integers(1, 12, n).astype(float) for n in sizes] for name in names}
    joint = tuple(
        Joint((i, i + 1), {name: rng.integers(0, 8, sizes[i : i + 2]).astype(float)
                           for name in names})
        for i in range(pairs)
    )  # fmt: skip
    low = {n: sum(t.min() for t in costs[n]) for n in names}
    high = {n: sum(t.max() for t in costs[n]) for n in names}
    limits = {n: low[n] + share * (high[n] - low[n]) + 3.0 * pairs for n in names}
    return OneOfEach(scores, costs, limits, joint)


def every(program: OneOfEach) -> Iterator[Options]:
    """All choices that keep the budgets."""
    for options in product(*(range(len(table)) for table in program.scores)):
        if all(program.cost_of(options, n) <= b for n, b in program.budgets.items()):
            yield options


def shared(one: Options, other: Options) -> int:
    return sum(a == b for a, b in zip(one, other, strict=True))


programs = st.builds(
    drawn,
    st.integers(0, 10**6),
    st.lists(st.integers(1, 5), min_size=2, max_size=4).map(tuple),
    st.integers(0, 2),
    st.floats(0.05, 0.8),
)
joined = st.builds(
    drawn, st.integers(0, 10**6), st.just((3, 4, 2, 3)), st.integers(1, 2), st.floats(0.1, 0.6),
    st.integers(1, 3),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.one_of(programs, joined))
def test_the_answer_is_the_best_of_all_choices(program: OneOfEach) -> None:
    scores = [program.score_of(options) for options in every(program)]
    if not scores:
        with pytest.raises(InfeasibleError):
            program.solve()
        return
    answer = program.solve()
    assert answer.score == pytest.approx(min(scores), abs=1e-9)
    assert answer.score == pytest.approx(program.score_of(answer.options))
    assert answer.status == "optimal"
    assert answer.gap == 0
    for name, limit in program.budgets.items():
        assert answer.costs[name] <= limit


@settings(max_examples=40, deadline=None)
@given(programs, st.sampled_from([0.0, 0.34, 0.5, 0.75]))
def test_diverse_answers_are_the_best_that_differ(program: OneOfEach, overlap: float) -> None:
    choices = list(every(program))
    allowed = int(overlap * len(program.scores) + 1e-9)
    if not choices:
        with pytest.raises(InfeasibleError):
            program.diverse(4, overlap)
        return
    answers = program.diverse(4, overlap)
    for number in range(4):
        before = [answer.options for answer in answers[:number]]
        left = [
            program.score_of(options)
            for options in choices
            if all(shared(options, one) <= allowed for one in before)
        ]
        if number < len(answers):
            options = answers[number].options
            assert all(shared(options, one) <= allowed for one in before)
            assert answers[number].score == pytest.approx(min(left), abs=1e-9)
        elif number == len(answers):
            assert not left


def test_dominated_options_are_needed_once_what_dominates_them_is_taken() -> None:
    program = OneOfEach([[1, 2, 3, 0]], {"c": [[1, 2, 3, 9]]}, {"c": 10})
    assert [k.tolist() for k in program.kept()] == [[0, 3]]
    assert [k.tolist() for k in program.kept([(3,)])] == [[0, 3]]
    assert [k.tolist() for k in program.kept([(0,)])] == [[0, 1, 3]]
    assert [k.tolist() for k in program.kept([(0,), (1,)])] == [[0, 1, 2, 3]]


def test_of_equal_options_the_first_is_needed() -> None:
    program = OneOfEach([[1, 1, 1]], {"c": [[2, 2, 2]]}, {"c": 3})
    assert [k.tolist() for k in program.kept()] == [[0]]
    assert [answer.options for answer in program.diverse(5, 0.0)] == [(0,), (1,), (2,)]


def test_answers_differ_from_those_that_are_known() -> None:
    program = OneOfEach([[0, 1], [0, 1]])
    (answer,) = program.diverse(1, 0.5, known=[(0, 0)])
    assert answer.score == 1
    assert program.diverse(1, 0.0, known=[(0, 0), (1, 1)]) == []


def test_barred_options_are_never_chosen() -> None:
    program = OneOfEach([[np.inf, 5.0], [0.0, 1.0]], {"c": [[1, 1], [np.inf, 1]]}, {"c": 9})
    assert program.solve().options == (1, 1)
    with pytest.raises(HwflowError, match="site 0 is barred"):
        OneOfEach([[np.inf], [1.0]])


def test_a_budget_that_is_met_to_the_last_bit_can_be_used() -> None:
    rng = np.random.default_rng(3)
    costs = [rng.random(6).tolist() for _ in range(12)]
    wanted = rng.integers(0, 6, 12)
    scores = [[float(option != want) for option in range(6)] for want in wanted]
    program = OneOfEach(scores, {"c": costs})
    exact = program.cost_of(wanted.tolist(), "c")
    assert program.within(c=exact).solve().options == tuple(wanted)
    below = program.within(c=exact * (1 - 1e-7)).solve()
    assert below.score > 0
    assert below.costs["c"] <= exact * (1 - 1e-7)


def test_a_budget_alone_out_of_reach_is_told_with_its_sites() -> None:
    program = OneOfEach(
        [[0, 0]] * 3, {"latency_s": [[2, 3], [50, 40], [1, 1]]}, {"latency_s": 41},
        names=("stem", "body", "head"),
    )  # fmt: skip
    with pytest.raises(InfeasibleError, match=r"latency_s <= 41: the least is 43.*body 40, stem 2"):
        program.solve()


def test_a_joint_cost_counts_in_what_is_out_of_reach() -> None:
    joint = Joint((0, 1), {"c": np.array([[4.0, 4.0], [4.0, 6.0]])})
    program = OneOfEach([[0, 0]] * 2, {"c": [[1, 2], [1, 2]]}, {"c": 5}, (joint,))
    with pytest.raises(InfeasibleError, match="the least is 6"):
        program.solve()


def test_budgets_that_clash_are_told_with_what_each_leaves_the_other() -> None:
    program = OneOfEach([[0, 0]], {"a": [[1, 5]], "b": [[7, 2]]}, {"a": 3, "b": 4})
    with pytest.raises(InfeasibleError, match="together") as caught:
        program.solve()
    assert "With the others kept, a is 5 at least." in str(caught.value)
    assert "With the others kept, b is 7 at least." in str(caught.value)


def test_the_least_of_a_cost_is_found_within_the_other_budgets() -> None:
    program = OneOfEach([[0, 0]], {"a": [[1, 5]], "b": [[7, 2]]})
    least = program.least("a", {"b": 4})
    assert least is not None
    assert (least.options, least.score) == ((1,), 5)
    assert program.least("a", {"b": 1}) is None


def test_an_answer_within_an_effort_states_its_bound() -> None:
    program = drawn(5, (40,) * 30, 2, 0.3)
    proven, rough = program.solve(), program.solve(Effort(gap=0.2))
    assert rough.bound <= proven.score <= rough.score
    assert rough.gap <= 0.2 + 1e-9


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"costs": {"c": [[1.0]]}}, "every option that scores"),
        ({"budgets": {"d": 1.0}}, "budget d"),
        ({"costs": {"c": [[1.0, np.nan], [1.0]]}}, "must be numbers"),
        ({"joint": (Joint((0, 0), {}),)}, "different sites"),
        ({"joint": (Joint((0, 1), {"c": np.zeros((1, 2))}),)}, r"of shape \(2, 1\)"),
    ],
)
def test_programs_that_make_no_sense_are_refused(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(HwflowError, match=told):
        OneOfEach([[1.0, 2.0], [3.0]], **wrong)  # type: ignore[arg-type]


def test_nothing_is_printed_while_the_solver_runs(capfd: pytest.CaptureFixture[str]) -> None:
    with _quiet():
        os.write(1, b"printed by a library")
    os.write(1, b"printed afterwards")
    assert capfd.readouterr().out == "printed afterwards"
