"""Jobs whose solver starts from sensitivities."""

from pathlib import Path

import pytest

from hwflow.errors import HwflowError
from hwflow.job import Job, Parts
from hwflow.loop import search
from hwflow.quality.accuracy import Accuracy
from hwflow.quality.sensitivity_table import Sensitivity, Spent

JOB = {
    "model": "cifar:resnet8", "data": "digits", "on": "eyeriss", "input": (1, 8, 8),
    "classes": 10, "bits": (2, 4, 8),
}  # fmt: skip


def parts(**more: object) -> Parts:
    return Parts(Job.check(JOB | more, "here"), calibrated=False)


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """Every choice loses the less the more bits it has, later ones less than earlier ones."""
    space = parts().space
    rows = tuple((4.0 / (i + 1), 1.0 / (i + 1), 0.0) for i in range(len(space)))
    path = tmp_path_factory.mktemp("table") / "found.json"
    found = Sensitivity(
        space.default,
        tuple(c.name for c in space.choices),
        tuple(c.options for c in space.choices),
        rows,
        rows,
        rows,
        0.5,
        0.9,
        100,
        Spent(1, 1, 1, 1, 1),
    )
    found.write(path)
    assert Sensitivity.read(path) == found
    return path


def test_the_solver_starts_with_plans_within_the_limits(table: Path) -> None:
    made = parts(seeded=str(table), below=("energy=70%",), set={"population": "12"})
    first = made.solver.first
    assert 1 < len(first) <= 6
    totals = made.problem.totals(first)
    assert all(totals["energy_j"] <= made.problem.below.energy_j)
    assert made.solver.settings()["first"] == [list(plan) for plan in first]


def test_sensitivities_are_measured_where_a_number_of_images_is_given(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    made = Parts(Job.check(JOB | {"seeded": "6"}, "here"), folder=folder)
    first = made.solver.first
    found = Sensitivity.read(tmp_path / "new-sensitivity.json")
    assert found.images == 6
    assert len(first) > 1
    assert Parts(made.job, folder=folder).solver.first == first


def test_an_integer_program_takes_all_losses_and_probes_nothing(table: Path) -> None:
    made = parts(seeded=str(table), solver="milp", below=("energy=70%",))
    losses = made.solver.losses
    assert list(losses) == [choice.name for choice in made.space.choices]
    assert list(losses.values()) == list(Sensitivity.read(table).table())


def test_half_of_a_small_population_is_seeded_down_to_the_cheap_end(table: Path) -> None:
    made = parts(seeded=str(table), set={"population": "6"}, objectives=("accuracy", "energy"))
    first = made.solver.first
    assert len(first) == 3
    energy = made.problem.totals([*first, *made.space.uniform()])["energy_j"]
    assert energy[: len(first)].min() == pytest.approx(energy.min())


def test_an_agent_that_repairs_by_the_ratio_takes_the_table_and_any_other_first_plans(
    table: Path,
) -> None:
    made = parts(seeded=str(table), solver="ddpg", below=("energy=70%",), set={"repair": "ratio"})
    assert made.solver.losses == Sensitivity.read(table).table()
    assert made.solver.settings()["losses"] == [list(row) for row in made.solver.losses]
    assert made.solver.first == ()
    other = parts(seeded=str(table), solver="ddpg", below=("energy=70%",)).solver
    assert other.losses == ()
    assert 1 < len(other.first) <= 20


def test_an_agent_searches_with_the_ratio_by_measured_losses(tmp_path: Path) -> None:
    asked = {"solver": "ddpg", "seeded": "6", "below": ("energy=70%",), "edits": ("quantize",)}
    settings = {"repair": "ratio", "warmup": "0", "batch": "8"}
    made = Parts(Job.check(JOB | asked | {"set": settings}, "here"), folder=tmp_path / "new")
    front = search(made.problem, Accuracy(made.data.val, limit=20), made.solver, evaluations=4)
    assert all(trial.total["energy_j"] <= made.problem.below.energy_j for trial in front)


def test_a_file_of_the_network_alone_seeds_a_search_that_varies_the_machine(
    table: Path,
) -> None:
    made = parts(
        seeded=str(table), on="bitfusion", vary={"array.rows": (4, 8, 16)},
        objectives=("accuracy", "energy", "area"), set={"population": "8"},
    )  # fmt: skip
    assert len(made.solver.first) > 1
    assert all(made.space.canonical(plan) == plan for plan in made.solver.first)
    program = parts(
        seeded=str(table), on="bitfusion", vary={"array.rows": (8, 16)}, solver="milp"
    ).solver
    assert program.losses["machine:array.rows"] == (0.0, 0.0)


def test_without_sensitivities_nothing_changes() -> None:
    made = parts()
    assert made.solver.first == ()
    assert "seeded" not in made.job.plain()
    assert "first" not in made.solver.settings()


def test_a_table_of_other_bits_and_a_solver_that_takes_no_plans_are_refused(table: Path) -> None:
    with pytest.raises(HwflowError, match="other choices than the space"):
        _ = parts(seeded=str(table), bits=(2, 8)).solver
    with pytest.raises(HwflowError, match="'random' does not begin with sensitivities"):
        _ = parts(seeded=str(table), solver="random").solver
    with pytest.raises(HwflowError, match="1 or more, not 0"):
        _ = parts(seeded="0").solver
