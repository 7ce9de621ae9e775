"""Students taught a teacher's layer: what they reach, and that they do not hang on each other."""

from math import isfinite
from typing import ClassVar

import pytest
import torch
from torch import nn

from hwflow.errors import HwflowError
from hwflow.quality.features import Features
from hwflow.quality.fitting import Fitting, Task, fit


class InMemory(Features):
    """Activations that need no files."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        super().__init__(None, len(tensors["in"]), tuple(tensors), "key")  # type: ignore[arg-type]
        self._open.update({name: value.numpy() for name, value in tensors.items()})


def conv(seed: int = 0, channels: int = 4, **settings) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Conv2d(4, channels, 3, padding=1, **settings)


@pytest.fixture(scope="module")
def task() -> Task:
    inputs = torch.randn(80, 4, 6, 6, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        outputs = conv(9)(inputs) - 0.2
    return Task(InMemory({"in": inputs, "out": outputs}), "in", "out", 64)


LONG = Fitting(epochs=40, lr=0.05, batch=16)
SHORT = Fitting(epochs=2, batch=16)


def test_a_student_that_can_be_the_teacher_becomes_it(task):
    found = fit({"conv": conv()}, task, LONG)["conv"]
    assert found.error < 1e-3
    assert found.curve[0] > 0.5 > 0.01 > found.curve[-1]
    assert found.steps == 160
    assert found.seconds > 0


def test_a_constant_per_channel_has_the_error_one(task):
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean = task.batch(slice(0, 64))[1].mean((0, 2, 3), keepdim=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.mean.expand(len(x), 4, 6, 6)

    found = fit({"constant": Constant()}, task, SHORT)["constant"]
    assert found.error == pytest.approx(1, abs=0.1)
    assert (found.steps, found.curve) == (0, ())


def test_a_strided_pointwise_stem_on_large_images_does_not_end_the_process():
    class Strided(nn.Conv2d):
        layouts: ClassVar[list[bool]] = []

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.layouts.append(x.is_contiguous())
            return super().forward(x)

    images = torch.rand(36, 3, 224, 224)
    task = Task(InMemory({"in": images, "out": images[:, :, ::2, ::2]}), "in", "out", 32)
    found = fit({"stem": Strided(3, 3, 1, stride=2)}, task, Fitting(epochs=1, batch=32))["stem"]
    assert (found.steps, isfinite(found.error)) == (1, True)
    assert Strided.layouts[0]


def test_a_weaker_student_stays_worse(task):
    found = fit({"full": conv(), "grouped": conv(groups=4)}, task, LONG)
    assert found["grouped"].error > 10 * found["full"].error


def normed() -> nn.Module:
    return nn.Sequential(conv(1), nn.BatchNorm2d(4), nn.ReLU(), conv(2))


def test_results_do_not_hang_on_other_students(task):
    alone, among = normed(), normed()
    one = fit({"it": alone}, task, SHORT)["it"]
    many = fit({"a": conv(3), "it": among, "b": conv(4)}, task, SHORT)["it"]
    assert one.error == many.error
    assert one.curve == many.curve
    for mine, other in zip(alone.state_dict().values(), among.state_dict().values(), strict=True):
        assert torch.equal(mine, other)


def test_batch_norm_statistics_are_those_of_the_final_weights(task):
    student = normed()
    fit({"it": student}, task, SHORT)
    with torch.no_grad():
        seen = student[0](task.batch(slice(0, 64))[0])
    assert torch.allclose(student[1].running_mean, seen.mean((0, 2, 3)), atol=1e-4)
    assert not student.training


def test_a_student_that_diverges_leaves_the_others(task):
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.weight * float("inf")

    found = fit({"broken": Broken(), "conv": conv()}, task, SHORT)
    assert found["broken"].error != found["broken"].error  # NaN
    assert found["broken"].steps == 1
    assert found["conv"].error == fit({"conv": conv()}, task, SHORT)["conv"].error


def test_fixed_students_keep_their_weights(task):
    student = conv()
    before = student.weight.clone()
    found = fit({"it": student}, task, SHORT, fixed=frozenset({"it"}))["it"]
    assert torch.equal(student.weight, before)
    assert found.steps == 0


def test_warm_students_have_their_own_learning_rate(task):
    how = Fitting(epochs=2, batch=16, lr=0.01, warm_lr=1e-9)
    found = fit({"it": conv()}, task, how, warm=frozenset({"it"}))["it"]
    assert found.curve[-1] == pytest.approx(found.curve[0], rel=0.1)


def test_order_of_images_is_the_seeds(task):
    first = [inputs for inputs, _ in task.batches(SHORT)]
    again = [inputs for inputs, _ in task.batches(SHORT)]
    other = [inputs for inputs, _ in task.batches(Fitting(epochs=2, batch=16, seed=1))]
    assert all(map(torch.equal, first, again))
    assert not all(map(torch.equal, first, other))
    assert len(first) == 8


def test_a_part_of_an_epoch_is_allowed(task):
    how = Fitting(epochs=0.5, batch=16)
    assert how.steps(64) == 2 == len(list(task.batches(how)))


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"lr": 0}, {"warm_lr": -1}, {"batch": 0}])
def test_senseless_settings_are_refused(wrong):
    with pytest.raises(HwflowError, match="above 0"):
        Fitting(**wrong)


def test_images_must_be_held_back(task):
    with pytest.raises(HwflowError, match="hold back"):
        Task(task.features, "in", "out", 80)
