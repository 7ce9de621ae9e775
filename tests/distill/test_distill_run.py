"""Distillation as a run of independent jobs: resumable, the same alone, among others and beside."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_distill import HOW, OPTIONS, blocks, distilled, images, network

from hwflow.distill import Distilled, Progress, distill
from hwflow.edits.operations import teacher_of
from hwflow.edits.operations.plain import ConvNormAct
from hwflow.errors import HwflowError, StudyError

HERE = Path(__file__).parent
NAMES = [option.name for option in OPTIONS]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run without any interruption."""
    return distilled(tmp_path_factory.mktemp("whole") / "run")


def without_time(results) -> list[Distilled]:
    return [replace(found, seconds=0.0) for found in results]


def test_every_option_is_trained_at_every_site(whole):
    assert [(f.site, f.option) for f in whole.results] == [
        (site, name) for site in ("one", "two") for name in NAMES
    ]
    assert all(found.failed is None for found in whole.results)


def test_the_teacher_errs_by_nothing_and_skipping_needs_no_training(whole):
    keep, skip = whole.of("one", "keep"), whole.of("one", "skip")
    assert keep.error < 1e-5  # rounded to 16 bits on the way
    assert (keep.steps, skip.steps) == (0, 0)
    assert skip.error > 1e-3


def test_weights_are_those_that_were_measured(whole, tmp_path):
    net = network()
    found = whole.of("two", "conv_bn_act_k3_g1")
    file = whole.weights / "two" / "conv_bn_act_k3_g1.safetensors"
    site = blocks(net)[1]
    module = ConvNormAct(3, 1).module(site).eval()
    module.load_state_dict(load_file(file))
    inputs = torch.cat([x for x, _ in images()])
    with torch.no_grad():
        before = net.module.one(torch.relu(net.module.stem(inputs)))
        wanted = teacher_of(net, site)(before)
        missed = float((module(before) - wanted).square().mean())
    spread = float((wanted - wanted.mean((0, 2, 3), keepdim=True)).square().mean())
    assert missed / spread == pytest.approx(found.error, rel=0.2)
    assert found.params == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    "settings",
    [{"together": 1}, {"together": 8}, pytest.param({"workers": 2}, marks=pytest.mark.slow)],
)
def test_results_do_not_hang_on_how_jobs_are_shared_out(whole, tmp_path, settings):
    found = distilled(tmp_path / "run", **settings)
    assert without_time(found.results) == without_time(whole.results)


def test_an_option_alone_becomes_what_it_becomes_among_others(whole, tmp_path):
    found = distilled(tmp_path / "run", options=OPTIONS[3:4])
    for site in ("one", "two"):
        alone, among = found.of(site, NAMES[3]), whole.of(site, NAMES[3])
        assert replace(alone, seconds=0.0) == replace(among, seconds=0.0)
        name = f"{site}/{NAMES[3]}.safetensors"
        mine, other = load_file(found.weights / name), load_file(whole.weights / name)
        assert all(torch.equal(mine[key], other[key]) for key in other)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_at_any_option_nothing_finished_is_lost(whole, tmp_path, workers):
    out = tmp_path / "run"
    command = [sys.executable, str(HERE / "tiny_distill.py"), str(out), "4", str(workers)]
    died = subprocess.run(command, check=False, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    before = {path: path.stat().st_mtime_ns for path in out.glob("weights/*/*.safetensors")}
    heard: list[Progress] = []
    found = distilled(out, on_progress=heard.append)
    options = [progress for progress in heard if progress.stage == "options"]
    assert [progress.done for progress in options] == list(range(5, 11))
    assert without_time(found.results) == without_time(whole.results)
    kept = {path for path, time in before.items() if path.stat().st_mtime_ns == time}
    finished = {(p.last.site, p.last.option) for p in options if p.last}
    assert {(p.parent.name, p.stem) for p in kept}.isdisjoint(finished)
    assert not list(out.rglob("*.part"))


def test_a_finished_run_does_nothing_again_and_takes_more_options(whole, tmp_path):
    out = tmp_path / "run"
    distilled(out, options=OPTIONS[:3])
    heard: list[Progress] = []
    found = distilled(out, on_progress=heard.append)
    assert [p.last.option for p in heard if p.last] == [*NAMES[3:]] * 2
    assert without_time(found.results) == without_time(whole.results)
    distilled(out, on_progress=heard.append)
    assert len([p for p in heard if p.last]) == 4


def test_only_chosen_options_are_trained(tmp_path):
    found = distilled(tmp_path / "run", chosen={"two": ("skip", "keep")})
    assert [(f.site, f.option) for f in found.results] == [("two", "keep"), ("two", "skip")]


def test_progress_tells_how_much_is_left(tmp_path):
    heard: list[Progress] = []
    distilled(tmp_path / "run", options=OPTIONS[2:4], on_progress=heard.append)
    assert [p.done for p in heard if p.stage == "activations"][-1] == 96
    left = [p.seconds_left for p in heard if p.stage == "options"]
    assert left[-1] == pytest.approx(0, abs=1e-6)
    assert all(seconds is not None and seconds >= 0 for seconds in left)


def test_an_option_that_cannot_be_made_leaves_the_others(tmp_path, monkeypatch):
    def fails(self, site, teacher=None):
        raise HwflowError("no such thing")

    with monkeypatch.context() as patch:
        patch.setattr(type(OPTIONS[1]), "module", fails)
        found = distilled(tmp_path / "run")
    assert found.of("one", "skip").failed == "no such thing"
    assert found.of("one", "skip").error == float("inf")
    assert found.of("one", NAMES[2]).failed is None
    assert distilled(tmp_path / "run").of("one", "skip").failed is None  # tried again


@pytest.mark.parametrize("change", [{"images": 63}, {"how": replace(HOW, lr=0.5)}, {"held": 16}])
def test_other_settings_are_refused(tmp_path, change):
    distilled(tmp_path / "run", options=OPTIONS[:2])
    with pytest.raises(StudyError, match="other settings"):
        distilled(tmp_path / "run", **change)


def test_another_teacher_is_refused(tmp_path):
    distilled(tmp_path / "run", options=OPTIONS[:2])
    net = network()
    with torch.no_grad():
        net.module.stem.weight += 1
    with pytest.raises(StudyError, match="network"):
        distilled(tmp_path / "run", net)


def test_bad_input_is_said(tmp_path):
    with pytest.raises(HwflowError, match="workers must be 1 or more"):
        distilled(tmp_path / "run", workers=0)
    with pytest.raises(HwflowError, match="two options called 'skip'"):
        distilled(tmp_path / "run", options=(OPTIONS[1], OPTIONS[1]))
    with pytest.raises(HwflowError, match="Did you mean 'one'"):
        distilled(tmp_path / "run", chosen={"onee": ("skip",)})
    with pytest.raises(HwflowError, match="Did you mean 'skip'"):
        distilled(tmp_path / "run", chosen={"one": ("skipp",)})
    with pytest.raises(HwflowError, match="No option fits"):
        distilled(tmp_path / "run", options=())
    with pytest.raises(HwflowError, match="There are 96 images"):
        distilled(tmp_path / "run", images=96)


def test_distill_takes_any_sequence_of_sites(tmp_path):
    net = network()
    found = distill(
        net, blocks(net)[:1], OPTIONS[:1], images(), tmp_path / "run", images=64, held=16, how=HOW
    )
    assert [f.site for f in found.results] == ["one"]
