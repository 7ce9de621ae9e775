"""Settings given as text: read as the types of a dataclass's fields."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from toy import toy_problem

from hwflow.distill.run import distill
from hwflow.errors import HwflowError
from hwflow.fidelity import levels
from hwflow.plugins import load
from hwflow.quality.fitting import Fitting
from hwflow.settings import check_seed, pairs, typed
from hwflow.space import Plan


@dataclass(frozen=True)
class Solver:
    seed: int = 0
    agent: str = "ddpg"
    warmup: int = 100
    sigma: float = 0.5
    hardware: bool = True
    hidden: tuple[int, ...] = (300, 300)
    mutation: float | None = None
    widths: list[int] = field(default_factory=list)
    keep: Path | str | None = None
    losses: tuple[tuple[float, ...], ...] = ()
    by_choice: Mapping[str, Sequence[float]] | None = None
    first: tuple[Plan, ...] = ()


def test_pairs_are_read() -> None:
    assert pairs(["agent=td3", " warmup = 20"], "--set") == {"agent": "td3", "warmup": "20"}
    assert pairs(["exponent=-0.07"], "--set") == {"exponent": "-0.07"}


@pytest.mark.parametrize("text", ["agent", "agent=", "=td3"])
def test_what_is_no_pair_is_refused(text: str) -> None:
    with pytest.raises(HwflowError, match="Write --set warmup=20"):
        pairs([text], "--set")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("agent", "td3", "td3"),
        ("warmup", "20", 20),
        ("sigma", "1e-1", 0.1),
        ("sigma", "1", 1.0),
        ("hardware", "false", False),
        ("hardware", "On", True),
        ("hidden", "64,32", (64, 32)),
        ("hidden", "64", (64,)),
        ("mutation", "0.25", 0.25),
        ("mutation", "none", None),
        ("widths", "8,16", (8, 16)),
        ("keep", "agent.safetensors", "agent.safetensors"),
    ],
)
def test_text_becomes_what_the_field_is(name: str, text: str, value: object) -> None:
    found = typed(Solver, {name: text})[name]
    assert found == value
    assert type(found) is type(value)


def test_values_that_are_typed_already_stay() -> None:
    given = {"warmup": 20, "sigma": 1.5, "hardware": False, "hidden": [8, 8]}
    assert typed(Solver, given) == given | {"hidden": (8, 8)}


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("warmup", "2.5", "a whole number, not '2.5'"),
        ("sigma", "wide", "a number, not 'wide'"),
        ("hardware", "maybe", "true or false, not 'maybe'"),
        ("hidden", "8,x", "a whole number, or several with commas, not '8,x'"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(name: str, text: str, wanted: str) -> None:
    with pytest.raises(HwflowError, match=f"setting {name} of Solver is {wanted}"):
        typed(Solver, {name: text})


def test_unknown_settings_are_answered_with_the_known_ones() -> None:
    with pytest.raises(HwflowError) as caught:
        typed(Solver, {"warmups": "3"}, taken=("seed",))
    assert str(caught.value) == (
        "Solver has no setting 'warmups'. Did you mean 'warmup'? "
        "It has agent, warmup, sigma, hardware, hidden, mutation, widths, keep."
    )


@pytest.mark.parametrize("name", ["losses", "by_choice", "first"])
def test_tables_and_plans_are_no_settings(name: str) -> None:
    with pytest.raises(HwflowError, match=f"{name} of Solver is a table or a list of plans"):
        typed(Solver, {name: "1,2"})


@pytest.mark.parametrize(("solver", "name"), [
    ("ddpg", "losses"), ("ddpg", "first"), ("milp", "losses"), ("nsga2", "first"),
])  # fmt: skip
def test_tables_and_plans_of_solvers_are_no_settings(solver: str, name: str) -> None:
    with pytest.raises(HwflowError, match=f"{name} of {solver} is a table or a list of plans"):
        typed(load("solvers", solver), {name: "1,2"}, taken=("seed",))


def test_paths_and_lists_of_numbers_of_solvers_are_settings() -> None:
    given = {"start": "a.safetensors", "hidden": "64,64", "reward": "points", "repair": "ratio"}
    assert typed(load("solvers", "ddpg"), given) == given | {"hidden": (64, 64)}
    assert typed(load("solvers", "nsga2"), {"mutation": "0.1"}) == {"mutation": 0.1}


def test_what_is_set_elsewhere_is_no_setting() -> None:
    with pytest.raises(HwflowError, match="no setting 'seed'"):
        typed(Solver, {"seed": "3"}, taken=("seed",))


def test_a_part_without_fields_has_no_settings() -> None:
    with pytest.raises(HwflowError, match="object has no settings: leave a out"):
        typed(object, {"a": "1"})


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_that_generators_do_not_take_are_refused_everywhere(seed):
    space = toy_problem().space
    for refused in (
        check_seed,
        lambda seed: levels(space, None, seed=seed),
        lambda seed: distill(None, (), (), None, "", images=1, held=1, how=Fitting(seed=seed)),
    ):
        with pytest.raises(HwflowError, match=f"A seed is a whole number from 0 .* not {seed}"):
            refused(seed)
    check_seed(0)
    check_seed(2**32 - 1)
