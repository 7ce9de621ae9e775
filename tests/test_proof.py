"""A space that cannot do what it says is found out before a search, by layer."""

import pytest
import torch
from torch import Tensor, fx, nn

import hwflow as hf
from hwflow.edits import prune_graph, survey
from hwflow.errors import HwflowError
from hwflow.network import Network
from hwflow.problem import Problem
from hwflow.proof import prove


class Net(nn.Module):
    """Convolutions, one of them by a weight that is computed in the forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.skip = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.mix = nn.Parameter(torch.randn(8, 8) / 8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = (x + self.skip(x).relu()).mean((2, 3))
        return self.head(x @ torch.tanh(self.mix).t())


def problem(**options: bool) -> Problem:
    torch.manual_seed(0)
    network = Network("net", Net().eval(), torch.randn(1, 3, 6, 6))
    return Problem(hf.prune(network, (0.25, 0.5), **options), "eyeriss", hf.Coarse())


def refusal(found: Problem) -> str:
    with pytest.raises(HwflowError) as caught:
        prove(found)
    return str(caught.value)


@pytest.mark.parametrize("branches", [False, True])
def test_a_network_whose_channels_can_be_removed_passes(branches: bool) -> None:
    prove(problem(branches=branches))


def test_an_edit_that_fails_names_the_layer_and_what_to_exclude(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(left: object, node: fx.Node, twin: fx.Node) -> None:
        if "skip" in str(node.args[1]):
            raise IndexError("list index out of range")

    monkeypatch.setitem(prune_graph.REWRITES, "conv2d", fails)
    assert refusal(problem()) == (
        "Channels cannot be taken out of 'net': layer 'skip' (conv2d): IndexError: list index out "
        "of range. Leave its channels: --exclude skip (in Python, exclude)."
    )


def test_a_network_that_does_not_run_any_more_names_the_layer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forgets(left: object, node: fx.Node, twin: fx.Node) -> None:
        if "skip" in str(node.args[1]):
            prune_graph.set_argument(twin, "padding", [0, 0])

    monkeypatch.setitem(prune_graph.REWRITES, "conv2d", forgets)
    said = refusal(problem())
    assert "layer 'add'" in said
    assert "(add): RuntimeError: The size of tensor a (6) must match" in said
    assert "--exclude add" in said


def test_a_network_that_is_not_what_was_costed_names_the_layer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prune_graph, "_remade", lambda node, copied: None)
    assert refusal(problem()) == (
        "Channels cannot be taken out of 'net': layer 'mix' is not in the network what it is on "
        "paper. Leave its channels: --exclude mix (in Python, exclude)."
    )


def test_spaces_without_pruning_or_on_paper_are_not_tried() -> None:
    network = hf.load("cifar:resnet8", num_classes=10, input_shape=(1, 8, 8))
    prove(Problem(hf.fuse(network), "eyeriss", hf.Coarse()))
    prove(Problem(hf.prune(problem().space.workload), "eyeriss", hf.Coarse()))


def test_what_cannot_be_followed_keeps_its_channels_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    follow = survey._WEIGHTED["conv2d"]

    def confused(found: survey.Survey, node: fx.Node, given: dict[str, object]) -> survey.Cuts:
        if "skip" in str(given["weight"]):
            raise IndexError("list index out of range")
        return follow(found, node, given)

    monkeypatch.setitem(survey._WEIGHTED, "conv2d", confused)
    found = problem()
    (part,) = found.space.parts
    assert "skip" in part.exclude  # type: ignore[attr-defined]
    assert [choice.name for choice in found.space.choices] == ["channels:mix"]
