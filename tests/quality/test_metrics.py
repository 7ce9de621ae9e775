"""Figures of merit, each against its definition written out."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import jaccard_score
from torch import Tensor

from hwflow.errors import HwflowError
from hwflow.quality import Metric
from hwflow.quality.metrics import LogLikelihood, MeanIoU, PerImage, TopK, as_metric


def whole(metric: Metric, outputs: Tensor, targets: Tensor) -> float:
    return metric.result(metric.add(outputs, targets), len(targets))


@given(st.integers(1, 30), st.integers(2, 6), st.integers(0, 9))
def test_top_k_counts_images_whose_class_is_among_the_highest(
    images: int, classes: int, seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    outputs = torch.rand(images, classes, generator=draw)
    targets = torch.randint(0, classes, (images,), generator=draw)
    for k in range(1, classes + 1):
        ranks = (outputs > outputs.gather(1, targets[:, None])).sum(1)
        assert whole(TopK(k), outputs, targets) == pytest.approx(float((ranks < k).double().mean()))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(0, 9))
def test_batches_add_up(sizes: list[int], seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    outputs = torch.rand(sum(sizes), 3, 2, 2, generator=draw)
    targets = torch.randint(0, 3, (sum(sizes), 2, 2), generator=draw)
    metric = MeanIoU(3)
    pairs = zip(outputs.split(sizes), targets.split(sizes), strict=True)
    parts = [metric.add(out, true) for out, true in pairs]
    total = torch.stack(parts).sum(0)
    assert metric.result(total, sum(sizes)) == pytest.approx(whole(metric, outputs, targets))


@given(st.integers(1, 6), st.integers(0, 99))
def test_intersection_over_union_is_scikit_learns(images: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    outputs = torch.rand(images, 4, 3, 3, generator=draw)
    targets = torch.randint(0, 4, (images, 3, 3), generator=draw)
    found, true = outputs.argmax(1).flatten().numpy(), targets.flatten().numpy()
    seen = sorted({*found.tolist(), *true.tolist()})
    wanted = jaccard_score(true, found, labels=seen, average="macro")
    assert whole(MeanIoU(4), outputs, targets) == pytest.approx(wanted)


def test_pixels_of_no_class_do_not_count() -> None:
    outputs = torch.zeros(1, 2, 1, 4)
    outputs[0, 1] = torch.tensor([1.0, 1, -1, -1])
    targets = torch.tensor([[[1, 255, 0, 255]]])
    assert whole(MeanIoU(2), outputs, targets) == 1
    assert whole(MeanIoU(2, ignored=7), outputs, torch.tensor([[[1, 1, 0, 1]]])) < 1


def test_a_function_gives_one_score_per_image() -> None:
    def closeness(outputs: Tensor, targets: Tensor) -> Tensor:
        return -(outputs[:, 0] - targets).abs()

    metric = as_metric(closeness)
    assert isinstance(metric, PerImage)
    assert metric.name == "closeness"
    assert whole(metric, torch.tensor([[1.0], [4.0]]), torch.tensor([0, 0])) == -2.5


def test_a_function_with_another_shape_is_refused() -> None:
    metric = as_metric(lambda outputs, targets: outputs.mean())
    with pytest.raises(HwflowError, match=r"shape \(4,\), not \(\)"):
        metric.add(torch.zeros(4, 2), torch.zeros(4))


@pytest.mark.parametrize("metric", [TopK(), TopK(5), MeanIoU(3)])
def test_metrics_are_taken_as_they_are(metric: Metric) -> None:
    assert as_metric(metric) is metric
    assert isinstance(metric, Metric)


def test_names() -> None:
    assert [TopK().name, TopK(5).name, MeanIoU(2).name] == ["accuracy", "top5", "miou"]


@pytest.mark.parametrize("shape", [(4,), (4, 3)])
def test_top_five_needs_five_classes(shape: tuple[int, ...]) -> None:
    with pytest.raises(HwflowError, match="5 classes or more, not"):
        TopK(5).add(torch.zeros(shape), torch.zeros(4).long())


def test_log_likelihood_is_the_cross_entropy_with_its_sign_turned() -> None:
    outputs, targets = torch.randn(10, 4), torch.randint(4, (10,))
    figure = LogLikelihood()
    total = figure.add(outputs[:3], targets[:3]) + figure.add(outputs[3:], targets[3:])
    wanted = -torch.nn.functional.cross_entropy(outputs, targets)
    assert figure.result(total, 10) == pytest.approx(float(wanted), abs=1e-6)
    assert figure.result(total, 10) <= 0
