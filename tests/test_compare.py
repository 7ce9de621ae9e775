"""Comparing runs: equal terms, honest curves, one box for all hypervolumes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from made_runs import made_comparison, made_run
from toy import ToyCost, ToyQuality, toy_problem

from hwflow import runs
from hwflow.cli import main
from hwflow.compare import Run, compare, notes, split, verdict
from hwflow.compare.gather import identity
from hwflow.cost import Bits, Costs, Limits
from hwflow.design import Design
from hwflow.errors import HwflowError, StudyError
from hwflow.job import Job
from hwflow.loop import search
from hwflow.problem import Problem
from hwflow.solvers import Solver
from hwflow.solvers.greedy import Greedy
from hwflow.solvers.nsga2 import NSGA2
from hwflow.solvers.random import Random

TIGHT = Limits(latency_s=1.2e-2)


def ran(folder: Path, solver: Solver, evaluations: int = 30, limits: Limits = TIGHT) -> Path:
    search(toy_problem(limits), ToyQuality(), solver, folder, evaluations=evaluations)
    return folder


def test_seeds_of_one_solver_are_one_contender(tmp_path: Path) -> None:
    runs = [ran(tmp_path / f"r{seed}", Random(seed=seed)) for seed in (2, 0, 1)]
    runs.append(ran(tmp_path / "n", NSGA2(population=10)))
    found = compare(runs)
    assert [one.name for one in found.contenders] == ["random", "nsga2"]
    assert [run.seed for run in found.contenders[0].runs] == [0, 1, 2]


def test_settings_tell_contenders_of_one_solver_apart(tmp_path: Path) -> None:
    runs = [ran(tmp_path / str(n), NSGA2(population=n)) for n in (8, 10)]
    assert {one.name for one in compare(runs).contenders} == {
        "nsga2 (population 8)", "nsga2 (population 10)",
    }  # fmt: skip


def test_the_curve_is_the_best_feasible_quality_so_far(tmp_path: Path) -> None:
    run = Run.read(ran(tmp_path / "r", Random(seed=0)))
    known = [t.quality for t in run.trials]
    assert run.best.tolist() == [max(known[: n + 1]) for n in range(len(known))]


def test_probes_count_as_evaluations_but_not_as_answers(tmp_path: Path) -> None:
    run = Run.read(ran(tmp_path / "g", Greedy(), 60))
    assert len(run.trials) > 20
    assert np.isnan(run.best[0])
    assert run.best[-1] == max(t.quality for t in run.trials if t.feasible)
    assert run.best[-1] < max(t.quality for t in run.trials)


def test_contenders_are_ranked_at_the_evaluations_that_all_have(tmp_path: Path) -> None:
    runs = [ran(tmp_path / "a", Random(seed=0), 40), ran(tmp_path / "b", NSGA2(population=8), 25)]
    found = compare(runs)
    assert found.evaluations == 25
    medians = [one.quality_at(25)[1] for one in found.ranking()]
    assert medians == sorted(medians, reverse=True)
    assert found.ranking()[0].quality_at(25)[1] == max(
        t.quality for run in runs for t in Run.read(run).trials[:25] if t.feasible
    )


def test_hypervolumes_share_one_box_and_never_fall(tmp_path: Path) -> None:
    runs = [ran(tmp_path / str(seed), Random(seed=seed)) for seed in (0, 1)]
    found = compare(runs)
    for run in found.contenders[0].runs:
        volumes = [value for _, value in found.volumes(run)]
        assert volumes == sorted(volumes)
        assert 0 < volumes[-1] <= 1
    both = compare([runs[0], runs[0]])
    alone = both.contenders[0].runs[0]
    assert both.hypervolume(alone) >= found.hypervolume(Run.read(runs[0])) - 1e-9


def test_plain_data_names_everything_a_plot_needs(tmp_path: Path) -> None:
    plain = compare([ran(tmp_path / "a", Random(seed=4))]).to_json()
    contender = plain["contenders"][0]
    assert contender["seeds"] == [4]
    assert contender["quality"]["least"] == contender["quality"]["largest"]
    assert len(contender["runs"][0]["best"]) == 30


def test_runs_of_different_problems_are_refused_with_the_difference(tmp_path: Path) -> None:
    tight = ran(tmp_path / "a", Random(seed=0))
    loose = ran(tmp_path / "b", Random(seed=0), limits=Limits(latency_s=1.5e-2))
    with pytest.raises(HwflowError, match="differ in their limits"):
        compare([tight, loose])


def test_nothing_to_compare_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HwflowError, match="Name the run folders"):
        compare([])
    with pytest.raises(StudyError, match="no run folder"):
        compare([tmp_path / "missing"])


def test_settings_that_are_the_solvers_own_are_not_in_the_name() -> None:
    usual, small = NSGA2().settings(), NSGA2(population=8).settings()
    runs = [made_run({"name": "nsga2", **settings}, [0.5]) for settings in (usual, small)]
    names = [one.name for one in made_comparison(runs).contenders]
    assert names == ["nsga2", "nsga2 (population 8)"]


def test_names_are_short_where_settings_are_not() -> None:
    starts = ["a" * 64, "b" * 64]
    runs = [made_run({"name": "elsewhere", "start": start}, [0.5]) for start in starts]
    names = [one.name for one in made_comparison(runs).contenders]
    assert names == ["elsewhere (start aaaaaaaaaaaaaaa…)", "elsewhere (start bbbbbbbbbbbbbbb…)"]
    alike = [made_run({"name": "elsewhere", "start": "a" * 60 + end}, [0.5]) for end in "cd"]
    with pytest.raises(HwflowError, match="give all of these runs a label"):
        made_comparison(alike)


def test_a_run_from_before_a_setting_existed_stays_with_its_contender() -> None:
    whole = {"name": "nsga2", **NSGA2().settings()}
    older = {key: value for key, value in whole.items() if key != "population"}
    assert identity(made_run(older, [0.5])) == identity(made_run(whole, [0.5], seed=3))


def test_labels_override_the_grouping(tmp_path: Path) -> None:
    runs = [ran(tmp_path / "n8", NSGA2(population=8)), ran(tmp_path / "n9", NSGA2(population=9))]
    runs.append(ran(tmp_path / "r", Random(seed=0)))
    found = compare([f"small={runs[0]}", f"small={runs[1]}", runs[2]])
    assert {one.name: len(one.runs) for one in found.contenders} == {"small": 2, "random": 1}


def test_a_folder_may_have_the_sign_of_a_label_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "lr=3").mkdir()
    assert split(str(tmp_path / "lr=3")) == (None, tmp_path / "lr=3")
    assert split("ddpg=runs/lr=3") == ("ddpg", Path("runs/lr=3"))
    with pytest.raises(HwflowError, match="no LABEL=FOLDER"):
        split("=runs/a")


def test_two_contenders_of_one_name_are_refused() -> None:
    runs = [made_run("random", [0.5]), made_run({"name": "nsga2", "population": 8}, [0.6])]
    with pytest.raises(HwflowError, match="Two contenders are called random"):
        made_comparison(runs, [None, "random"])


def test_evaluations_can_be_chosen_and_shorter_runs_keep_their_last_value(tmp_path: Path) -> None:
    runs = [ran(tmp_path / "a", Random(seed=0), 30), ran(tmp_path / "b", NSGA2(population=8), 20)]
    found = compare(runs, evaluations=25)
    shorter = next(one for one in found.contenders if one.name == "nsga2")
    assert found.evaluations == 25
    assert shorter.quality_at(25) == shorter.quality_at(20)
    assert notes(found) == ["nsga2 made 20 evaluations only; its last value stands."]
    assert notes(compare(runs)) == []
    with pytest.raises(HwflowError, match="the longest has 30, all have 20"):
        compare(runs, evaluations=31)
    with pytest.raises(HwflowError, match="1 or more, not 0"):
        compare(runs, evaluations=0)


class Doubled(ToyCost):
    """Another level: everything costs twice as much."""

    level = "doubled"

    def over_bits(self, design: Design, bits: Bits) -> Costs:
        made = super().over_bits(design, bits)
        total = {name: 2 * values for name, values in made.total.items()}
        layers = {name: 2 * values for name, values in made.layers.items()}
        return Costs("doubled", made.workload, layers, total, made.standing, made.bound_by, ("-",))

    def digest(self) -> str:
        return "doubled 1"


def doubled(below: Limits, length: int = 6) -> Problem:
    toy = toy_problem(below, length)
    return Problem(toy.space, "eyeriss", Doubled(), below)


def test_searches_at_two_levels_are_costed_again_on_equal_terms(tmp_path: Path) -> None:
    loose = ran(tmp_path / "toy", Random(seed=0), limits=Limits(latency_s=1.5e-2))
    search(doubled(Limits()), ToyQuality(), Random(seed=1), tmp_path / "twice", evaluations=30)
    with pytest.raises(HwflowError, match=r"differ in their limits.*--recost LEVEL"):
        compare([loose, tmp_path / "twice"])
    problem = doubled(Limits(latency_s=2.5e-2))
    found = compare([f"toy={loose}", f"twice={tmp_path / 'twice'}"], recost=problem)
    assert found.level == "doubled"
    assert found.limits == {"latency_s": 2.5e-2}
    assert "costed again at the doubled level" in " ".join(notes(found))
    for one in found.contenders:
        (run,) = one.runs
        plans = [trial.plan for trial in run.trials]
        assert [t.value("latency") for t in run.trials] == pytest.approx(
            problem.totals(plans)["latency_s"]
        )
        within = [t.quality for t in run.trials if t.total["latency_s"] <= 2.5e-2]
        assert 0 < len(within) < len(plans)
        assert run.best[-1] == max(q for q in within if q is not None)


def test_what_was_searched_elsewhere_cannot_be_costed_again(tmp_path: Path) -> None:
    folder = ran(tmp_path / "a", Random(seed=0))
    with pytest.raises(HwflowError, match="in the choices"):
        compare([folder], recost=doubled(TIGHT, length=5))
    other = Problem(toy_problem().space, "systolic-8x8", ToyCost(), TIGHT)
    with pytest.raises(HwflowError, match="in the machine"):
        compare([folder], recost=other)


def test_evaluations_to_the_yardstick_and_cpu_time() -> None:
    runs = [made_run("random", [0.1, 0.3, 0.3, 0.5], seed) for seed in (0, 1)]
    runs += [made_run("random", [0.1, 0.1, 0.1, 0.4], 2)]
    runs += [made_run("greedy", [0.2, 0.6, 0.6, 0.6]), made_run("milp", [0.0, 0.1, 0.2, 0.49])]
    found = made_comparison(runs)
    assert found.target == 0.5
    assert {row.name: row.reached for row in found.rows} == {
        "greedy": 2.0, "random": 4.0, "milp": float("inf"),
    }  # fmt: skip
    assert {row.cpu_seconds for row in found.rows} == {2.0}


@pytest.mark.parametrize("runs", [
    [made_run("greedy", [0.5])],
    [made_run("greedy", [0.5]), made_run("random", [0.4], infeasible=[0])],
])  # fmt: skip
def test_without_a_yardstick_nothing_is_timed_to_it(runs: list[Run]) -> None:
    assert [row.reached for row in made_comparison(runs).rows] == [None] * len(runs)


def words_of(qualities: dict[str, list[float]], **settings: object) -> str:
    """Return the verdict on solvers whose seeds ended with these qualities."""
    runs = [
        made_run({"name": name, **settings}, [value], seed)
        for name, values in qualities.items()
        for seed, value in enumerate(values)
    ]
    return verdict(made_comparison(runs))


def test_the_verdict_names_the_winner_whose_worst_seed_beats_all_others() -> None:
    told = words_of({"random": [0.80, 0.82], "nsga2": [0.85, 0.88, 0.9], "greedy": [0.7, 0.71]})
    assert told == (
        "nsga2 wins in best accuracy after 1 evaluations: its 3 seeds reach 85.00 to 90.00 %, the "
        "best of the others 82.00 % (random)."
    )


def test_the_verdict_says_when_seeds_overlap() -> None:
    told = words_of({"random": [0.80, 0.86], "nsga2": [0.85, 0.88]})
    assert told.startswith("nsga2 and random cannot be told apart")
    assert "85.00 to 88.00 % against 80.00 to 86.00 %" in told
    several = words_of({"random": [0.8, 0.86], "nsga2": [0.85, 0.88], "milp": [0.87, 0.84]})
    assert several.startswith("nsga2, milp and random cannot be told apart")
    assert "both reach 50.00 %" in words_of({"random": [0.5], "nsga2": [0.5]})


def test_the_verdict_does_not_trust_a_single_seed() -> None:
    told = words_of({"random": [0.80], "nsga2": [0.85, 0.88]})
    assert "nsga2 is ahead" in told
    assert "random has one seed only" in told
    unseeded = made_run("greedy", [0.9])
    del unseeded.settings["solver"]["seed"]  # type: ignore[attr-defined]
    runs = [unseeded, *(made_run("random", [0.7], seed) for seed in (0, 1))]
    assert verdict(made_comparison(runs)).startswith("greedy wins")


def test_the_verdict_of_one_contender_and_of_none_within_the_limits() -> None:
    assert "there is nobody beside it" in words_of({"random": [0.8]})
    nothing = [made_run("random", [0.8], infeasible=[0]), made_run("greedy", [0.9], infeasible=[0])]
    assert verdict(made_comparison(nothing)) == (
        "Nobody found a plan within the limits in 1 evaluations."
    )


def test_a_seed_that_found_nothing_counts_as_the_worst() -> None:
    runs = [made_run("random", [0.8], 0, [0]), made_run("random", [0.8], 1)]
    one = made_comparison([*runs, made_run("greedy", [0.7])]).contenders[0]
    low, middle, high = one.quality_at(1)
    assert (low, middle, high) == (float("-inf"), float("-inf"), 0.8)


def test_a_quality_that_is_no_share_is_written_as_it_is() -> None:
    told = words_of({"random": [2.5, 2.4], "greedy": [3.25, 3.2]})
    assert "its 2 seeds reach 3.2 to 3.25, the best of the others 2.5 (random)" in told


def test_curves_are_spread_over_seeds_to_the_end_of_the_longest() -> None:
    runs = [made_run("random", [0.1, 0.5, 0.4], 0, [0]), made_run("random", [0.3, 0.2], 1)]
    curve = made_comparison(runs, evaluations=9).contenders[0].curve(9)
    assert list(curve.evaluations) == [1, 2, 3]
    assert curve.least.tolist() == [float("-inf"), 0.3, 0.3]
    assert curve.largest.tolist() == [0.3, 0.5, 0.5]
    assert curve.median[1:].tolist() == [0.4, 0.4]


def run(*words: str) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert not left.value.code


def test_the_command_shows_contenders_best_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [ran(tmp_path / "n", NSGA2(population=8)), ran(tmp_path / "g", Greedy(), 60)]
    run("compare", *map(str, runs), "--json")
    plain = json.loads(capsys.readouterr().out)
    medians = [one["quality"]["median"] for one in plain["contenders"]]
    assert medians == sorted(medians, reverse=True)
    run("compare", *map(str, runs))
    shown = capsys.readouterr().out
    names = [one["name"] for one in plain["contenders"]]
    assert shown.index(names[0]) < shown.index(names[1])
    assert "After 30 evaluations on eyeriss" in shown


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Run the command line; return its exit code and its error."""
    with pytest.raises(SystemExit) as left:
        main(words)
    return int(left.value.code or 0), " ".join(capsys.readouterr().err.split())


def test_the_command_writes_a_page_and_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [ran(tmp_path / str(seed), Random(seed=seed)) for seed in (0, 1)]
    page, picture = tmp_path / "c.html", tmp_path / "c.svg"
    files = ("--page", str(page), "--svg", str(picture), "--evaluations", "10")
    run("compare", *(f"luck={folder}" for folder in runs), *files)
    shown = " ".join(capsys.readouterr().out.split())
    assert "After 10 evaluations" in shown
    assert "luck reaches" in shown
    assert "luck" in page.read_text(encoding="utf-8")
    assert picture.read_text(encoding="utf-8").startswith("<svg")


def test_the_command_refuses_limits_without_a_level(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(ran(tmp_path / "a", Random(seed=0)))
    code, error = told(capsys, "compare", folder, "--below", "latency=4ms")
    assert code == 2
    assert "--below belongs to --recost" in error


def test_the_command_costs_runs_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def recosting(folders: list[Path], level: str, below: list[str]) -> Problem:
        asked.extend([folders, level, below])
        return doubled(Limits.read(below))

    monkeypatch.setattr(runs, "recosting", recosting)
    folder = ran(tmp_path / "a", Random(seed=0))
    below = "latency=23ms"
    run("compare", f"x={folder}", "--recost", "doubled", "--below", below, "--json")
    plain = json.loads(capsys.readouterr().out)
    assert asked == [[folder], "doubled", [below]]
    assert (plain["level"], plain["recosted"]) == ("doubled", True)
    assert plain["limits"] == {"latency_s": 23e-3}


def test_run_folders_say_what_their_plans_are_costed_on(tmp_path: Path) -> None:
    job = Job(
        model="cifar:resnet8", classes=10, input=(1, 8, 8), data="digits", on="eyeriss",
        below=("latency=2ms",), level="coarse",
    )  # fmt: skip
    job.write(tmp_path / "run.toml", {})
    (tmp_path / "b").mkdir()
    job.model_copy(update={"below": ("latency=3ms",)}).write(tmp_path / "b" / "run.toml", {})
    problem = runs.recosting([tmp_path], "mid", ())
    assert problem.cost.level == "mid"
    assert problem.below == Limits(latency_s=2e-3)
    with pytest.raises(HwflowError, match="--below NAME=VALUE"):
        runs.recosting([tmp_path, tmp_path / "b"], "mid", ())
