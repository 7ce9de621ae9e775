"""A training run that was killed goes on where it was and ends with the same weights."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from hwflow.data import Split
from hwflow.data.sources import TensorSource
from hwflow.errors import HwflowError
from hwflow.network import Network
from hwflow.train import Distillation, Progress, train


def net(seed: int = 0) -> Network:
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2),
        nn.Flatten(), nn.Linear(4 * 36, 2),
    )  # fmt: skip
    return Network("small", module.eval(), torch.zeros(1, 2, 6, 6))


def images(count: int = 50) -> Split:
    draw = torch.Generator().manual_seed(3)
    targets = torch.arange(count) % 2
    inputs = torch.randn(count, 2, 6, 6, generator=draw) + targets[:, None, None, None]
    return Split("train", TensorSource(inputs, targets))


class KilledError(Exception):
    pass


def killed_at(step: int):
    def on_step(progress: Progress) -> None:
        if progress.step == step:
            raise KilledError

    return on_step


SETTINGS = {
    "epochs": 3, "batch_size": 8, "lr": 0.05, "augment": "crop+flip", "schedule": "cosine",
    "ema": 0.9, "seed": 4,
}  # fmt: skip


@pytest.mark.parametrize("step", [1, 6, 7, 17])
def test_killed_and_started_again_it_gives_the_same_weights(step, tmp_path):
    whole = train(net(), images(), teacher=net(1), **SETTINGS)
    path = tmp_path / "run.safetensors"
    keep = {"checkpoint": path, "checkpoint_seconds": 0.0}
    with pytest.raises(KilledError):
        train(net(), images(), teacher=net(1), on_step=killed_at(step), **keep, **SETTINGS)
    seen: list[int] = []
    again = train(
        net(), images(), teacher=net(1), on_step=lambda p: seen.append(p.step), **keep, **SETTINGS
    )
    assert again.weights == whole.weights
    assert seen[0] == max(1, step)  # the step that was killed before it was written
    assert seen[-1] == 18


def test_a_finished_run_is_read_and_not_trained_again(tmp_path):
    path = tmp_path / "run.safetensors"
    first = train(net(), images(), checkpoint=path, **SETTINGS)
    seen: list[int] = []
    second = train(
        net(), images(), checkpoint=path, on_step=lambda p: seen.append(p.step), **SETTINGS
    )
    assert second.weights == first.weights
    assert not seen


@pytest.mark.parametrize("change", [{"seed": 5}, {"lr": 0.04}, {"epochs": 4}, {"ema": None}])
def test_a_checkpoint_of_another_run_is_refused(change, tmp_path):
    path = tmp_path / "run.safetensors"
    train(net(), images(), checkpoint=path, **SETTINGS)
    with pytest.raises(HwflowError, match=r"of another training run.*delete it to start anew"):
        train(net(), images(), checkpoint=path, **(SETTINGS | change))


def test_a_checkpoint_of_another_network_or_teacher_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    train(net(), images(), teacher=net(1), checkpoint=path, **SETTINGS)
    with pytest.raises(HwflowError, match="of another training run"):
        train(net(2), images(), teacher=net(1), checkpoint=path, **SETTINGS)
    with pytest.raises(HwflowError, match="of another training run"):
        train(net(), images(), teacher=net(2), checkpoint=path, **SETTINGS)


def test_a_file_that_is_no_checkpoint_is_named(tmp_path):
    path = tmp_path / "run.safetensors"
    path.write_bytes(b"no checkpoint")
    with pytest.raises(HwflowError, match=r"run\.safetensors cannot be read.*Delete it"):
        train(net(), images(), checkpoint=path, **SETTINGS)


def test_the_global_random_numbers_are_left_alone(tmp_path):
    network, split = net(), images()
    torch.manual_seed(9)
    before = torch.get_rng_state()
    train(network, split, checkpoint=tmp_path / "run.safetensors", **SETTINGS)
    assert torch.equal(torch.get_rng_state(), before)


def test_teacher_answers_are_kept_and_shared_by_runs_on_the_same_images(tmp_path):
    class Counting(nn.Module):
        def __init__(self, inner: nn.Module):
            super().__init__()
            self.inner, self.calls = inner, 0

        def forward(self, x):
            self.calls += 1
            return self.inner(x)

    plain = train(net(), images(), teacher=net(1), **SETTINGS)
    counting = Counting(net(1).module)
    guide = Distillation(replace(net(1), module=counting), answers=tmp_path / "answers")
    first = train(net(), images(), teacher=guide, **SETTINGS)
    assert counting.calls == 18
    assert first.weights == plain.weights
    other = train(net(2), images(), teacher=guide, **SETTINGS)
    assert counting.calls == 18
    assert other.weights == train(net(2), images(), teacher=net(1), **SETTINGS).weights
    train(net(), images(), teacher=guide, **(SETTINGS | {"seed": 5}))
    assert counting.calls == 36  # other images in another order


SCRIPT = """
import sys, os
sys.path.insert(0, sys.argv[1])
from test_checkpoint import SETTINGS, images, net
from hwflow.train import train
def end(p):
    if p.step == 9: os._exit(9)
train(net(), images(), checkpoint=sys.argv[2], checkpoint_seconds=0.0, on_step=end, **SETTINGS)
"""


def test_a_process_that_dies_loses_one_step_at_most(tmp_path, request):
    path = tmp_path / "run.safetensors"
    command = [sys.executable, "-c", SCRIPT, str(request.path.parent), str(path)]
    assert subprocess.run(command, check=False).returncode == 9
    again = train(net(), images(), checkpoint=path, **SETTINGS)
    assert again.weights == train(net(), images(), **SETTINGS).weights
