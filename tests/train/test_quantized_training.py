"""Quantisation-aware training: learned scales train, stay legal, and runs go on after a kill."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import hwflow as hf
from hwflow.build import Tuning, build, check_agreement
from hwflow.costs.coarse import Coarse
from hwflow.data import Data, load_data
from hwflow.edits.quantize import quantize
from hwflow.errors import HwflowError
from hwflow.front import Trial
from hwflow.learned_grids import learned_grids
from hwflow.network import Network
from hwflow.problem import Problem
from hwflow.quality.accuracy import evaluate
from hwflow.train import Progress, finetune, train


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data("digits", hf.load("cifar:resnet8", num_classes=10, input_shape=(1, 8, 8)))


@pytest.fixture(scope="module")
def teacher(data: Data) -> Network:
    start = hf.load("cifar:resnet8", num_classes=10, input_shape=(1, 8, 8))
    net = train(start, data.train, epochs=6, lr=0.1, batch_size=64, seed=0)
    return net.calibrated(data.calibration(64))


def made(net: Network, quantizer: str, bits: int) -> Network:
    space = quantize(net, (bits,), quantizer=quantizer)  # type: ignore[arg-type]
    return space.apply(space.default)


def values(net: Network) -> list[torch.Tensor]:
    return [grid.value.detach().clone() for grid in learned_grids(net.module)]


@pytest.mark.parametrize("quantizer", ["calibrated", "lsq", "pact", "dorefa"])
def test_a_short_training_lifts_two_bits(quantizer: str, data: Data, teacher: Network) -> None:
    coarse = made(teacher, quantizer, 2)
    tuned = finetune(coarse, data.train, teacher, steps=40, lr=0.02, batch_size=64)
    before, after = evaluate(coarse, data.val), evaluate(tuned, data.val)
    assert after > before + 0.1
    assert after > 0.85
    moved = zip(values(coarse), values(tuned), strict=True)
    still = [torch.equal(a, b) for a, b in moved]
    assert sum(still) <= 1  # PACT's level of the images, which none of them exceeds
    assert all(bool((found > 0).all()) for found in values(tuned))


def test_a_rate_that_is_far_too_large_leaves_the_grids_legal(data: Data, teacher: Network) -> None:
    coarse = made(teacher, "lsq", 2)
    try:
        tuned = train(coarse, data.train, steps=6, lr=2.0, batch_size=32, warmup=0.0)
    except HwflowError:  # it may diverge, and says so
        return
    for grid in learned_grids(tuned.module):
        assert bool((grid.value >= grid.floor).all())


class KilledError(Exception):
    pass


def test_a_killed_training_of_scales_goes_on_with_the_same_result(
    data: Data, teacher: Network, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("qat") / "run.safetensors"
    settings = {"steps": 6, "lr": 0.02, "batch_size": 32, "ema": 0.9}

    def kill(progress: Progress) -> None:
        if progress.step == 3:
            raise KilledError

    whole = finetune(made(teacher, "lsq", 3), data.train, teacher, **settings)  # type: ignore[arg-type]
    with pytest.raises(KilledError):
        train(
            made(teacher, "lsq", 3), data.train, schedule="cosine", teacher=teacher,
            checkpoint=path, checkpoint_seconds=0.0, on_step=kill, **settings,  # type: ignore[arg-type]
        )  # fmt: skip
    again = finetune(
        made(teacher, "lsq", 3),
        data.train,
        teacher,
        checkpoint=path,
        **settings,  # type: ignore[arg-type]
    )
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, again.module.state_dict()[name]), name


def test_the_decay_of_clips_pulls_them_in(data: Data, teacher: Network) -> None:
    coarse = made(teacher, "pact", 4)
    free, pulled = (
        train(coarse, data.train, steps=3, lr=0.01, batch_size=32, clip_decay=decay)
        for decay in (0.0, 5.0)
    )
    pairs = zip(values(free), values(pulled), strict=True)
    assert all(bool((b < a).all()) for a, b in pairs)
    with pytest.raises(HwflowError, match="clip_decay"):
        train(coarse, data.train, steps=1, clip_decay=-1.0)


def test_a_clipped_gradient_moves_the_weights_by_its_length_at_most(
    data: Data, teacher: Network
) -> None:
    coarse = made(teacher, "lsq", 2)
    options = {"steps": 1, "lr": 0.5, "batch_size": 32, "momentum": 0.0, "weight_decay": 0.0}
    before = [p.detach().clone() for p in coarse.module.parameters()]

    def moved(clip_norm: float | None) -> float:
        after = train(coarse, data.train, clip_norm=clip_norm, **options)  # type: ignore[arg-type]
        pairs = zip(after.module.parameters(), before, strict=True)
        return sum(float(((a.detach() - b) ** 2).sum()) for a, b in pairs) ** 0.5

    for length in (0.02, 0.1):
        assert moved(length) == pytest.approx(0.5 * length, rel=1e-3)  # the rate times the length
    assert moved(1e6) == pytest.approx(moved(None))
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(HwflowError, match="clip_norm is the largest length"):
            train(coarse, data.train, steps=1, clip_norm=wrong)


def test_a_checkpoint_of_another_clip_is_refused(
    data: Data, teacher: Network, tmp_path: Path
) -> None:
    coarse, path = made(teacher, "lsq", 3), tmp_path / "run.safetensors"
    options = {"steps": 1, "lr": 0.01, "batch_size": 32, "checkpoint": path}
    train(coarse, data.train, clip_norm=0.3, **options)  # type: ignore[arg-type]
    with pytest.raises(HwflowError, match="another"):
        train(coarse, data.train, **options)  # type: ignore[arg-type]


def test_statistics_after_training_are_those_of_the_data(data: Data) -> None:
    net = hf.load("cifar:resnet8", num_classes=10, input_shape=(1, 8, 8))
    options = {"steps": 1, "lr": 1e-6, "batch_size": 32}
    stale, restated = (
        finetune(net, data.train, net, statistics=images, **options)  # type: ignore[arg-type]
        for images in (0, 256)
    )
    assert norm_means(stale) != norm_means(restated)


def norm_means(net: Network) -> list[float]:
    return list(_means(net))


def _means(net: Network) -> Iterator[float]:
    for name, value in net.module.state_dict().items():
        if name.endswith("running_mean"):
            yield float(value.sum())


def test_a_search_trial_with_learned_scales_is_built_and_tuned(
    data: Data, teacher: Network
) -> None:
    space = quantize(teacher, (2, 8), quantizer="lsq")
    trial = Trial(0, space.plan(dict.fromkeys((c.name for c in space.choices), 2)), {}, 0.5,
                  space=space)  # fmt: skip
    problem = Problem(space, "eyeriss", Coarse())  # type: ignore[arg-type]
    start = build(problem, trial)
    tuned = build(problem, trial, Tuning(1), data.train)
    moved = [not torch.equal(a, b) for a, b in zip(values(start), values(tuned), strict=True)]
    assert all(moved)
    assert evaluate(tuned, data.val) > evaluate(start, data.val)
    check_agreement(problem, trial, tuned)
