"""Accuracy on held-out data, paired comparison."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from hwflow.data import Data, Split, load_data
from hwflow.data.sources import TensorSource
from hwflow.errors import DataError, HwflowError
from hwflow.network import Network, Preprocess
from hwflow.quality import Quality
from hwflow.quality.accuracy import (
    Accuracy,
    Flips,
    compare,
    evaluate,
    predictions,
)  # fmt: skip
from hwflow.quality.metrics import TopK


class Says(nn.Module):
    """Image i has the pixel value i; the module says the class written down for i."""

    def __init__(self, answers: list[int], classes: int = 3) -> None:
        super().__init__()
        self.answers = torch.tensor(answers)
        self.classes = classes

    def forward(self, x: Tensor) -> Tensor:
        which = self.answers[x.flatten().long()]
        return nn.functional.one_hot(which, self.classes).float()


def numbered(targets: list[int]) -> Split:
    """Return a split whose image i has the pixel value i."""
    inputs = torch.arange(len(targets)).float().view(-1, 1, 1, 1)
    return Split("val", TensorSource(inputs, torch.tensor(targets)))


answers = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)


@given(answers, st.integers(1, 50))
def test_accuracy_is_the_share_of_right_answers(pairs: list[tuple[int, int]], size: int) -> None:
    said, true = map(list, zip(*pairs, strict=True))
    wanted = sum(a == b for a, b in pairs) / len(pairs)
    assert evaluate(Says(said), numbered(true), batch_size=size) == pytest.approx(wanted)


def test_a_network_a_module_a_loader_and_a_list_will_do() -> None:
    module = Says([0, 1, 2, 0])
    split = numbered([0, 1, 2, 1])
    network = Network("says", module, torch.zeros(1, 1, 1, 1))
    loader = DataLoader(TensorDataset(split.inputs, split.targets), batch_size=3)
    pairs = [(split.inputs, split.targets)]
    found = [evaluate(network, split), evaluate(module, loader), evaluate(module, pairs)]
    assert found == [0.75, 0.75, 0.75]


def test_a_limit_stops_a_loader() -> None:
    module = Says([0, 0, 0, 1, 1, 1])
    split = numbered([0] * 6)
    loader = DataLoader(TensorDataset(split.inputs, split.targets), batch_size=2)
    assert evaluate(module, loader, limit=3) == 1.0
    assert evaluate(module, loader, limit=99) == 0.5


def test_another_metric() -> None:
    outputs = [(torch.tensor([[0.3, 0.2, 0.1]]), torch.tensor([1]))]
    assert evaluate(nn.Identity(), outputs) == 0
    assert evaluate(nn.Identity(), outputs, metric=TopK(2)) == 1
    assert evaluate(nn.Identity(), outputs, metric=lambda out, _: out[:, 0] * 10) == pytest.approx(
        3
    )


def test_another_forward_pass() -> None:
    def twice(module: nn.Module, inputs: Tensor) -> Tensor:
        return module(inputs) + module(inputs.flip(-1))

    outputs = [(torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([0]))]
    assert evaluate(nn.Identity(), outputs) == 0
    assert evaluate(nn.Identity(), outputs, forward=twice) == 1


def test_the_module_runs_in_eval_mode_without_gradients_and_goes_back() -> None:
    class Watching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert not self.training
            assert not torch.is_grad_enabled()
            return x.flatten(1).expand(-1, 2)

    module = Watching()
    evaluate(module, numbered([0, 0]))
    assert module.training
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_outputs_that_are_no_numbers_are_an_error(value: float) -> None:
    class Overflows(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.full((len(x), 2), value)

    with pytest.raises(HwflowError, match=r"4 NaN or infinite values of 4: its weights"):
        evaluate(Overflows(), numbered([0, 1]))


def test_inputs_that_are_no_numbers_are_told_apart() -> None:
    bad = [(torch.full((1, 2), float("nan")), torch.tensor([0]))]
    with pytest.raises(HwflowError, match="in its input already"):
        evaluate(nn.Identity(), bad)


def test_nothing_to_evaluate_on_is_an_error() -> None:
    with pytest.raises(DataError, match="no images"):
        evaluate(nn.Identity(), [])
    with pytest.raises(DataError, match="no images"):
        predictions(nn.Identity(), [])


def test_a_plan_is_built_and_scored() -> None:
    networks = {
        (0,): Network("bad", Says([1, 1, 1]), torch.zeros(1, 1, 1, 1)),
        (1,): Network("good", Says([0, 0, 1]), torch.zeros(1, 1, 1, 1)),
    }
    quality: Quality = Accuracy(numbered([0, 0, 0]))
    assert quality.name == "accuracy"
    assert quality.score((0,), lambda plan: networks[tuple(plan)]) == 0
    assert quality.score((1,), lambda plan: networks[tuple(plan)]) == pytest.approx(2 / 3)


def test_a_metric_names_its_quality() -> None:
    def margin(outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.max(1).values

    quality = Accuracy(numbered([0, 1, 2]), metric=margin)
    assert quality.name == "margin"
    assert quality.of(Says([0, 0, 0])) == 1


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"limit": 0}])
def test_settings_that_mean_nothing_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(HwflowError, match="1 or more"):
        Accuracy(numbered([0]), **options)


def test_the_digest_is_that_of_data_and_settings() -> None:
    split = numbered([0, 1, 2])
    same = Accuracy(numbered([0, 1, 2])).digest()
    others = [
        Accuracy(numbered([0, 1, 1])),
        Accuracy(split, limit=2),
        Accuracy(split, metric=TopK(2)),
        Accuracy(split, forward=lambda module, inputs: module(inputs)),
    ]
    digests = {quality.digest() for quality in others}
    assert Accuracy(split).digest() == same
    assert Accuracy(split, batch_size=2).digest() == same
    assert len(digests) == 4
    assert same not in digests


def test_the_digest_of_a_list_is_that_of_its_content() -> None:
    split = numbered([0, 1, 2])
    one = [(split.inputs, split.targets)]
    two = [(split.inputs, split.targets.flip(0))]
    assert Accuracy(one).digest() == Accuracy(list(one)).digest()
    assert Accuracy(one).digest() != Accuracy(two).digest()


def test_a_quality_goes_to_other_processes() -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    digits = Network("linear", linear, torch.zeros(1, 1, 8, 8), Preprocess((0.0,), (1.0,)))
    quality = Accuracy(load_data("digits", digits).val)
    again = pickle.loads(pickle.dumps(quality))  # noqa: S301  (our own bytes)
    assert again.digest() == quality.digest()
    assert again.of(digits) == quality.of(digits)


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40
    )
)
@settings(deadline=None)
def test_flips_count_both_ways(rows: list[tuple[int, int, int]]) -> None:
    first, second, true = map(list, zip(*rows, strict=True))
    found = compare(Says(first), Says(second), numbered(true), batch_size=7)
    assert found.images == len(rows)
    assert found.gained == sum(a != t and b == t for a, b, t in rows)
    assert found.lost == sum(a == t and b != t for a, b, t in rows)
    assert found.before - found.after == pytest.approx(found.drop)
    assert found.before == pytest.approx(sum(a == t for a, _, t in rows) / len(rows))


def test_a_network_compared_with_itself_does_not_flip() -> None:
    module = Says([0, 1, 1, 2])
    found = compare(module, module, numbered([0, 1, 2, 2]))
    assert (found.gained, found.lost, found.drop, found.standard_error) == (0, 0, 0.0, 0.0)
    assert found.p_value == 1.0


def test_the_standard_error_is_that_of_the_paired_differences() -> None:
    flips = Flips(images=1000, before=0.9, after=0.88, gained=10, lost=30)
    differences = np.array([1] * 30 + [-1] * 10 + [0] * 960)
    assert flips.drop == pytest.approx(differences.mean())
    assert flips.standard_error == pytest.approx(differences.std() / np.sqrt(1000))


def test_the_test_is_mcnemars() -> None:
    """2 sum_{k<=2} C(10, k) / 2^10 = 2 (1 + 10 + 45) / 1024."""
    assert Flips(100, 0.9, 0.84, gained=2, lost=8).p_value == pytest.approx(112 / 1024)
    assert Flips(100, 0.9, 0.9, gained=5, lost=5).p_value == pytest.approx(1.0)


def test_predictions_come_with_the_truth() -> None:
    found, true = predictions(Says([2, 1, 0]), numbered([0, 1, 2]), batch_size=2)
    assert found.tolist() == [2, 1, 0]
    assert true.tolist() == [0, 1, 2]


def test_a_data_set_of_the_users_own_can_be_scored() -> None:
    data = Data("mine", {"val": lambda: numbered([0, 1, 2])})
    assert Accuracy(data.val).of(Says([0, 1, 0])) == pytest.approx(2 / 3)
