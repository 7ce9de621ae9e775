"""Jobs whose solver starts from sensitivities."""

from pathlib import Path

import pytest

from hwflow.errors import HwflowError
from hwflow.job import Job, Parts
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


def test_the_solver_starts_with_plans_within_the_limits(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hwflow.job.SEEDS", 6)
    made = parts(seeded=str(table), below=("energy=70%",))
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
