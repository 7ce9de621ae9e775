"""Fine-tuning as a choice: nothing on paper, other weights in the network, the same every time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from random_nets import network
from toy import chain

import hwflow as hf
from hwflow.cost import Limits
from hwflow.costs.coarse import Coarse
from hwflow.design import Design
from hwflow.edits.finetune import STEPS, Finetune, FinetunePart, finetune
from hwflow.errors import HwflowError, StudyError
from hwflow.loop import search
from hwflow.machine import load_machine
from hwflow.network import Network
from hwflow.problem import Problem
from hwflow.solvers.ddpg import DDPG
from hwflow.space import Space
from hwflow.testing import check_edit

EYERISS = load_machine("eyeriss")


@pytest.fixture
def net() -> Network:
    """Return a small network with calibration inputs."""
    made = network("residual", "plain")
    return made.calibrated(torch.randn(8, *made.example.shape[1:]))


@pytest.fixture
def batches(net: Network) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return images whose class is which of the first two channels is brighter."""
    draws = torch.Generator().manual_seed(0)
    inputs = torch.randn(4, 16, *net.example.shape[1:], generator=draws)
    brighter = inputs[:, :, 0].mean((2, 3)) > inputs[:, :, 1].mean((2, 3))
    return list(zip(inputs, brighter.long(), strict=True))


def weights(network: Network) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in network.module.parameters()])


def trained(space: Space, steps: int) -> Network:
    return space.apply(space.plan({STEPS: steps}))


def test_the_square_holds_alone_and_after_other_edits(net: Network, batches: Any) -> None:
    check_edit(finetune(net, batches, (0, 2), batch_size=8), net)
    space = hf.prune(net, keep=(0.5, 1.0)) + hf.quantize(net, bits=(4, 8))
    check_edit(space + finetune(net, batches, (0, 2)), net, plans=1)


def test_nothing_changes_on_paper(net: Network, batches: Any) -> None:
    space = finetune(net, batches, (0, 2))
    design = Design(space.workload, EYERISS)
    assert space.on_paper(space.plan({STEPS: 2}), design) == design


def test_it_comes_after_quantising_and_before_the_machine(net: Network, batches: Any) -> None:
    machine = hf.resize(net, "eyeriss", {"array.rows": (8,)})
    space = finetune(net, batches) + machine + hf.quantize(net)
    assert [part.kind for part in space.parts] == ["fuse", "quantize", "finetune", "resize"]


def test_the_default_is_the_least_training(net: Network, batches: Any) -> None:
    space = finetune(net, batches, (200, 0, 50))
    assert space.choices[0].options == (0, 50, 200)
    assert space.values(space.default) == {STEPS: 0}


def test_no_steps_leave_a_copy_as_it_was(net: Network, batches: Any) -> None:
    found = trained(finetune(net, batches), 0)
    assert found.module is not net.module
    assert torch.equal(weights(found), weights(net))


def test_the_same_seed_gives_the_same_weights(net: Network, batches: Any) -> None:
    space = finetune(net, batches, (0, 3))
    torch.manual_seed(1)
    first = weights(trained(space, 3))
    torch.manual_seed(2)
    assert torch.equal(weights(trained(space, 3)), first)
    assert not torch.equal(weights(trained(finetune(net, batches, (0, 2)), 2)), first)


def test_the_seed_decides_the_order_of_the_images() -> None:
    net = hf.load("cifar:resnet8", num_classes=10, input_shape=(1, 8, 8))
    split = hf.load_data("digits", net).train
    found = [weights(trained(finetune(net, split, (1,), seed=seed), 1)) for seed in (0, 0, 1)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_the_network_as_it_was_teaches_the_edited_one(net: Network, batches: Any) -> None:
    keep = hf.prune(net, keep=(0.5, 1.0))
    plan = (*(0 for _ in keep.choices), 1)
    taught = (keep + finetune(net, batches, (0, 20), lr=0.02)).apply(plan)
    alone = (keep + finetune(net, batches, (0, 20), lr=0.02, teacher=False)).apply(plan)
    inputs = torch.cat([images for images, _ in batches])
    with torch.no_grad():
        wanted, *answers = (one.module.eval()(inputs).softmax(1) for one in (net, taught, alone))
    apart = [float((answer - wanted).abs().mean()) for answer in answers]
    assert apart[0] < apart[1]


def test_training_helps(net: Network, batches: Any) -> None:
    space = finetune(net, batches, (0, 60), lr=0.05, teacher=False)
    right = []
    for steps in (0, 60):
        module = trained(space, steps).module.eval()
        with torch.no_grad():
            hits = [(module(images).argmax(1) == labels) for images, labels in batches]
        right.append(float(torch.cat(hits).float().mean()))
    assert right[1] > right[0]


def test_answers_of_the_teacher_are_kept_and_change_nothing(
    net: Network, batches: Any, tmp_path: Path
) -> None:
    plain = weights(trained(finetune(net, batches, (3,)), 3))
    kept = finetune(net, batches, (3,), answers=tmp_path / "answers")
    assert torch.equal(weights(trained(kept, 3)), plain)
    assert len(list((tmp_path / "answers").iterdir())) == 3
    assert torch.equal(weights(trained(kept, 3)), plain)


@pytest.mark.parametrize("steps", [(), (0, -1), (0, 2.5), (True,)])
def test_steps_are_counts(net: Network, batches: Any, steps: Any) -> None:
    with pytest.raises(HwflowError, match="counts of batches"):
        finetune(net, batches, steps)


def test_what_is_known_on_paper_only_has_the_choice_too() -> None:
    space = finetune(chain(), [], (0, 10))
    assert space.size == 2
    with pytest.raises(HwflowError, match="known on paper only"):
        space.apply((1,))


def test_a_study_tells_lessons_apart(net: Network, batches: Any) -> None:
    def digest(**settings: Any) -> str:
        part = finetune(net, batches, (0, 1), **settings).parts[0]
        assert isinstance(part, FinetunePart)
        return part.digest()

    others = [{"lr": 0.1}, {"seed": 1}, {"batch_size": 64}, {"teacher": False}]
    assert len({digest(), *(digest(**other) for other in others)}) == 5
    assert digest(answers="somewhere") == digest()


def test_edits_are_shown_by_their_length(net: Network, batches: Any) -> None:
    edit = finetune(net, batches).parts[0].edit({STEPS: 50})
    assert isinstance(edit, Finetune)
    assert str(edit) == "Finetune(steps=50)"


class Sameness:
    """A quality that builds: how alike the edited network is to the original on its example."""

    name = "sameness"

    def __init__(self, network: Network) -> None:
        self.network = network

    def score(self, plan: Any, build: Any) -> float:
        with torch.no_grad():
            found = build(plan).module.eval()(self.network.example)
            apart = (found - self.network.module.eval()(self.network.example)).abs().mean()
        return float(1 / (1 + apart))

    def digest(self) -> str:
        return "1"


@pytest.mark.filterwarnings("ignore:The agent has learnt nothing")
def test_a_search_over_bits_and_training_goes_on_where_it_stopped(
    net: Network, batches: Any, tmp_path: Path
) -> None:
    space = hf.quantize(net, bits=(2, 8)) + finetune(net, batches, (0, 1, 2))
    solver = DDPG(hidden=(8, 8), warmup=2, batch=4, step_price=0.01)
    problem = Problem(space, "eyeriss", Coarse(), Limits())
    whole = search(problem, Sameness(net), solver, tmp_path / "a", evaluations=7)
    search(problem, Sameness(net), solver, tmp_path / "b", evaluations=3)
    gone_on = search(problem, Sameness(net), solver, tmp_path / "b", evaluations=7)
    assert [(t.plan, t.quality) for t in gone_on] == [(t.plan, t.quality) for t in whole]
    other = hf.quantize(net, bits=(2, 8)) + finetune(net, batches, (0, 1, 2), lr=0.5)
    with pytest.raises(StudyError, match="edits"):
        search(
            Problem(other, "eyeriss", Coarse(), Limits()), Sameness(net), solver, tmp_path / "b",
            evaluations=7,
        )  # fmt: skip
