"""Jobs: the settings of a run, read and written."""

from pathlib import Path

import pytest

from hwflow.errors import HwflowError
from hwflow.job import Job, Parts, Pruning

PLAIN = {"model": "cifar:resnet8", "data": "digits", "on": "eyeriss", "input": (1, 8, 8)}


def test_a_job_survives_its_file(tmp_path: Path) -> None:
    job = Job.check(PLAIN | {"below": ("latency=4ms",), "evaluations": 30, "classes": 10}, "here")
    path = tmp_path / "run.toml"
    job.write(path, {"seed": 0, "versions": {"hwflow": "0.1.0"}})
    assert Job.read(path) == job


def test_the_file_says_how_to_repeat_it(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    Job.check(PLAIN, "here").write(path, {})
    assert path.read_text().startswith("# Repeat this run with: hwflow search --from")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"evaluations": 0}, "evaluations"),
        ({"evaluation": 3}, "evaluation"),
        ({"bits": ("four",)}, "bits"),
        ({"model": None}, "model"),
        ({"images": 0}, "images"),
        ({"seed": -1}, "seed: Input should be greater than or equal to 0"),
        ({"seed": 2**32}, "seed: Input should be less than 4294967296"),
        ({"pruning": {"stride": 2}}, "pruning.stride"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(HwflowError, match=f"there: {message}"):
        Job.check(PLAIN | settings, "there")


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(HwflowError, match="there needs data: it was not given"):
        Job.check({"model": "cifar:resnet8", "on": "eyeriss"}, "there")


def test_files_that_are_no_run(tmp_path: Path) -> None:
    with pytest.raises(HwflowError, match="Cannot read"):
        Job.read(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("a = = 1")
    with pytest.raises(HwflowError, match="not valid TOML"):
        Job.read(tmp_path / "bad.toml")
    (tmp_path / "other.toml").write_text("[tool]\nx = 1\n")
    with pytest.raises(HwflowError, match=r"no \[job\] table"):
        Job.read(tmp_path / "other.toml")


def test_the_parts_of_a_job() -> None:
    parts = Parts(Job.check(PLAIN | {"classes": 10, "bits": (4, 8), "calibration": 32}, "here"))
    assert parts.network.calibration is not None
    assert parts.network.calibration.shape == (32, 1, 8, 8)
    assert {option for choice in parts.space.choices for option in choice.options} == {4, 8}
    assert parts.problem.machine.name == "eyeriss"
    assert parts.problem.objectives == ("accuracy", "energy_j", "latency_s")
    assert parts.solver.name == "nsga2"


def test_without_an_edit_there_is_nothing_to_search() -> None:
    with pytest.raises(HwflowError, match="--quantize"):
        _ = Parts(Job.check(PLAIN | {"classes": 10, "edits": ()}, "here")).space


def test_unknown_parts_are_named() -> None:
    with pytest.raises(HwflowError, match="Did you mean 'nsga2'"):
        _ = Parts(Job.check(PLAIN | {"solver": "nsga3"}, "here")).solver


def parts(**settings: object) -> Parts:
    """Return the parts of a small job with these settings, without calibration inputs."""
    job = Job.check(PLAIN | {"classes": 10, "level": "coarse"} | settings, "here")
    return Parts(job, calibrated=False)


def test_pruning_and_settings_of_the_solver_survive_the_file(tmp_path: Path) -> None:
    pruning = {"keep": (0.5, 1.0), "step": "array", "exclude": ("conv1",), "branches": True}
    solver = {"solver": "ddpg", "set": {"agent": "td3", "warmup": 20, "hidden": (64, 64)}}
    job = Job.check(PLAIN | solver | {"edits": ("prune",), "pruning": pruning}, "here")
    job.write(tmp_path / "run.toml", {})
    assert Job.read(tmp_path / "run.toml") == job
    text = (tmp_path / "run.toml").read_text()
    assert "[job.pruning]" in text
    assert '[job.set]\nagent = "td3"\nwarmup = 20\nhidden = [64, 64]\n' in text


def test_settings_of_an_edit_that_is_not_made_are_not_written() -> None:
    assert "pruning" not in Job.check(PLAIN, "here").plain()


def test_prune_and_quantize_make_one_space_in_either_order() -> None:
    one = parts(edits=("prune", "quantize"), bits=(4, 8)).space
    other = parts(edits=("quantize", "prune"), bits=(4, 8)).space
    assert one.choices == other.choices
    assert [part.kind for part in one.parts] == ["prune", "fuse", "quantize"]
    assert {choice.name.partition(":")[0] for choice in one.choices} >= {"channels", "weight_bits"}


def shares(found: Parts) -> set[object]:
    return {option for choice in found.space.choices for option in choice.options}


def test_shares_are_eighths_from_the_least_on_or_those_given() -> None:
    assert shares(parts(edits=("prune",), pruning={"min_keep": 0.5})) == {
        0.5, 0.625, 0.75, 0.875, 1.0
    }  # fmt: skip
    assert min(shares(parts(edits=("prune",)))) == 0.25
    assert shares(parts(edits=("prune",), pruning={"keep": (0.3,)})) == {0.3, 1.0}
    with pytest.raises(HwflowError, match="not both"):
        _ = parts(edits=("prune",), pruning={"keep": (0.3,), "min_keep": 0.2}).space


@pytest.mark.parametrize(("machine", "step"), [("systolic-8x8", 8), ("eyeriss", 1)])
def test_the_step_of_the_array_is_that_of_the_machine(machine: str, step: int) -> None:
    asked = {"on": machine, "edits": ("prune",), "pruning": {"step": "array"}}
    plain = asked | {"pruning": {"step": step}}
    assert parts(**asked).space.choices == parts(**plain).space.choices


def test_the_least_number_of_channels_and_excluded_layers_are_kept() -> None:
    pruning = {"min_channels": 20, "exclude": ("layer3.0.conv1",)}
    names = {choice.name for choice in parts(edits=("prune",), pruning=pruning).space.choices}
    assert "channels:conv1" not in names  # has 16
    assert "channels:layer3.0.conv1" not in names
    assert "channels:layer2.0.conv1" in names


def test_a_wrong_setting_of_pruning_is_named() -> None:
    with pytest.raises(HwflowError, match=r"here: pruning\.min_keep: .+ less than or equal to 1"):
        parts(pruning={"min_keep": 2})
    with pytest.raises(HwflowError, match="Unknown ranking 'l3'"):
        _ = parts(edits=("prune",), pruning={"ranking": "l3"}).space


def test_limits_in_percent_are_of_the_original_network_at_the_same_level() -> None:
    for level in ("coarse", "mid"):
        problem = parts(level=level, below=("latency=50%", "energy=1mJ", "macs < 25 %")).problem
        whole = problem.cost.cost(problem.design).total
        assert problem.below.latency_s == pytest.approx(whole["latency_s"] / 2)
        assert problem.below.macs == pytest.approx(whole["macs"] / 4)
        assert problem.below.energy_j == 1e-3


def test_the_solver_gets_its_settings_and_the_seed() -> None:
    solver = parts(solver="nsga2", set={"population": "12", "mutation": 0.1}, seed=3).solver
    assert (solver.population, solver.mutation, solver.seed) == (12, 0.1, 3)
    with pytest.raises(HwflowError, match="nsga2 has no setting 'seed'"):
        _ = parts(solver="nsga2", set={"seed": 1}).solver


def test_an_evaluation_sees_so_many_validation_images() -> None:
    assert parts().quality.limit is None
    assert parts(images=20).quality.limit == 20


@pytest.mark.parametrize(
    ("pruning", "needed"),
    [({"mend": "least_squares"}, True), ({"mend": "statistics"}, False)],
)
def test_a_space_that_is_made_from_images_gets_them_for_the_report_too(
    pruning: dict[str, str], needed: bool
) -> None:
    found = parts(edits=("prune",), pruning=pruning).network
    assert (found.calibration is not None) == needed


def test_a_ranking_by_gradients_sees_labelled_training_images() -> None:
    def make(source: object, keep: object, **options: object) -> object:
        return options

    found = parts(edits=("prune",), pruning={"ranking": "taylor"}, calibration=40)
    pruning, machine = found.job.pruning, found.machine
    assert "batches" not in Pruning().space(make, None, machine)  # type: ignore[arg-type, operator]
    batches = [("inputs", "targets")]
    options = pruning.space(make, None, machine, batches)  # type: ignore[arg-type]
    assert options["batches"] is batches  # type: ignore[index]
    by_norm = parts(edits=("prune",), calibration=40)
    kept = [space.parts[0].kept for space in (found.space, by_norm.space)]  # type: ignore[attr-defined]
    assert kept[0].keys() == kept[1].keys()
    assert kept[0] != kept[1]


def test_a_quantizer_and_a_calibration_reach_the_edit() -> None:
    from hwflow.edits.methods import Method

    asked = PLAIN | {"classes": 10, "quantizer": "lsq", "calibrate": "kl"}
    part = Parts(Job.check(asked, "here"), calibrated=False).space.parts[-1]
    assert part.edit({}).method == Method("lsq", "kl")  # type: ignore[attr-defined]
    assert Job.check(PLAIN, "here").method == {}
    assert "quantizer" not in Job.check(PLAIN | {"edits": ("prune",)}, "here").plain()


@pytest.mark.parametrize("wrong", [{"quantizer": "lsk"}, {"calibrate": "mze"}])
def test_unknown_ways_to_quantise_are_named(wrong: dict[str, str]) -> None:
    with pytest.raises(HwflowError, match="Did you mean"):
        _ = Parts(Job.check(PLAIN | {"classes": 10} | wrong, "here"), calibrated=False).space
