"""Residual branches left out: both faces, and a twin to whose sums the branch adds zero."""

import random
from collections.abc import Collection

import pytest
import torch
import torchvision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from masked_twins import Kept, lively, masked_twin, random_kept, relative_error
from random_nets import HEADS, block_lists, network
from torch import nn

import hwflow as hf
from hwflow.coupling import couple
from hwflow.design import Design
from hwflow.edits.fuse import read
from hwflow.edits.prune import prune
from hwflow.edits.prune_edit import Prune
from hwflow.edits.quantize import quantize
from hwflow.edits.quantizers import prepared
from hwflow.errors import HwflowError
from hwflow.extract import extract
from hwflow.machine import load_machine
from hwflow.network import Network
from hwflow.testing import check_edit, difference

EYERISS = load_machine("eyeriss")
RESIDUAL = ("residual", "linear residual", "plain", "depthwise", "pre-activation", "biased")

quick = settings(deadline=None, max_examples=4, suppress_health_check=list(HealthCheck))


def zoo(name: str, size: int = 64) -> Network:
    torch.manual_seed(0)
    module = torchvision.models.get_model(name, weights=None).eval()
    return lively(Network(name, module, torch.randn(1, 3, size, size)))


def zeroed(net: Network, adds: Collection[str]) -> nn.Module:
    """Return the network with what these additions add to another tensor multiplied by zero."""
    ready = prepared(net)
    found = ready.found
    ends = {b.add: b.end for b in couple(found.workload).branches}
    for node in list(found.graph.nodes):
        add = found.owners.get(node.name)
        if add in adds and node.target is torch.ops.aten.add.Tensor:
            end = next(n for n in node.args if owner(found, n) == ends[add])
            with found.graph.inserting_before(node):
                nothing = found.graph.call_function(torch.ops.aten.mul.Tensor, (end, 0.0))
            node.replace_input_with(end, nothing)
    ready.graph.recompile()
    return ready.graph


def owner(found, node) -> str:
    while node.name not in found.owners:
        node = node.all_input_nodes[0]
    return found.owners[node.name]


def assert_left_out_right(net: Network, adds: Collection[str], kept: Kept | None = None) -> None:
    """Check the square, and the outputs against those of the twin."""
    kept, coupling = kept or {}, couple(read(net).workload)
    carriers = {b.add: b.groups[0] for b in coupling.branches}
    edit = Prune({**kept, **{carriers[add]: () for add in adds}})
    pruned = edit.in_network(net)
    found, paper = extract(pruned), edit.on_paper(Design(coupling.workload, EYERISS)).workload
    assert found == paper, difference(found, paper)
    held = sum(p.numel() for p in pruned.module.parameters())
    assert held == paper.params
    twin = zeroed(net.with_module(masked_twin(net, kept)), adds)
    images = torch.randn(3, *net.example.shape[1:])
    with torch.no_grad():
        expected = twin(images)
        assert relative_error(pruned.module(images), expected) < 1e-5


def some(net: Network, rng: random.Random, share: float = 0.5) -> list[str]:
    branches = couple(read(net).workload).branches
    return [branch.add for branch in branches if rng.random() < share]


@pytest.mark.parametrize(("name", "count"), [("cifar:resnet20", 9), ("torchvision:resnet18", 8)])
def test_basic_blocks(name, count):
    net = lively(hf.load(name))
    assert len(couple(read(net).workload).branches) == count
    assert_left_out_right(net, some(net, random.Random(1)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("resnet50", 16), ("mobilenet_v2", 10), ("efficientnet_b0", 9), ("convnext_tiny", 18),
        ("regnet_y_400mf", 16), ("mobilenet_v3_large", 9), ("vit_b_16", 12), ("swin_t", 12),
        ("densenet121", 0),
    ],
)  # fmt: skip
def test_branches_of_real_networks(name, count):
    net = zoo(name, 224 if name == "vit_b_16" else 64)
    assert len(couple(read(net).workload).branches) == count
    rng = random.Random(0)
    adds = some(net, rng)
    assert_left_out_right(net, adds)
    assert_left_out_right(net, [b.add for b in couple(read(net).workload).branches])


def test_bottlenecks_with_fewer_channels_elsewhere():
    net = bottlenecks()
    coupling = couple(read(net).workload)
    first, second, third = coupling.branches
    kept = {second.groups[0]: (0, 2), "stem": (0, 1, 3, 5)}
    assert_left_out_right(net, [first.add, third.add], kept)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 beside a projection or nothing."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.a, self.b, self.c = (
            nn.Conv2d(inputs, 4, 1), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, outputs, 1)
        )  # fmt: skip
        self.na, self.nb, self.nc = nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.BatchNorm2d(outputs)
        self.projection = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x):
        y = torch.relu(self.na(self.a(x)))
        y = self.nc(self.c(torch.relu(self.nb(self.b(y)))))
        return torch.relu(y + self.projection(x))


class Bottlenecks(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.blocks = nn.Sequential(Bottleneck(6, 12), Bottleneck(12, 12), Bottleneck(12, 12))
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        return self.head(self.blocks(torch.relu(self.stem(x))).mean((2, 3)))


def bottlenecks() -> Network:
    torch.manual_seed(0)
    module = Bottlenecks().eval()
    for norm in (part for part in module.modules() if isinstance(part, nn.BatchNorm2d)):
        nn.init.normal_(norm.bias)
    net = lively(Network("bottlenecks", module, torch.randn(1, 3, 8, 8)))
    return net.calibrated(torch.randn(8, 3, 8, 8))


@quick
@given(
    blocks=st.lists(st.sampled_from(RESIDUAL), min_size=2, max_size=5),
    head=st.sampled_from(HEADS), seed=st.integers(0, 999),
)  # fmt: skip
def test_random_branches_and_channels_out_of_random_networks(blocks, head, seed):
    check_random(network(*blocks, head=head, calibrate=False), seed)


@pytest.mark.slow
@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
@given(blocks=block_lists(7), head=st.sampled_from(HEADS), seed=st.integers(0, 999))
def test_many_random_branches_out_of_many_random_networks(blocks, head, seed):
    check_random(network(*blocks, *blocks, head=head, calibrate=False), seed)


def check_random(net: Network, seed: int) -> None:
    rng = random.Random(seed)
    adds = some(net, rng, 0.6)
    coupling = couple(read(net).workload)
    inside = {name for b in coupling.branches if b.add in adds for name in b.groups}
    kept = random_kept(coupling, rng, 0.5)
    assert_left_out_right(net, adds, {k: v for k, v in kept.items() if k not in inside})


def test_a_branch_left_out_adds_exactly_zero_and_not_its_last_bias():
    net = bottlenecks()
    out = Prune({"blocks.1.a": ()}).in_network(net)
    cut = Prune({"blocks.1.a": (0,), "blocks.1.b": (0,)}).in_network(net)
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        block, stem = net.module.blocks, torch.relu(net.module.stem(x))
        expected = net.module.head(block[2](torch.relu(block[0](stem))).mean((2, 3)))
        assert relative_error(out.module(x), expected) < 1e-5
        assert relative_error(cut.module(x), expected) > 1e-2


class TestWhatCanBeLeftOut:
    def test_a_shortcut_stays_and_so_does_a_branch_without_groups(self):
        coupling = couple(extract(bottlenecks()))
        assert [b.end for b in coupling.branches] == ["blocks.0.c", "blocks.1.c", "blocks.2.c"]
        assert coupling.branches[0].other == "blocks.0.projection"
        single = Network("single", Single().eval(), torch.randn(1, 3, 4, 4))
        assert couple(extract(single)).branches == ()

    def test_what_leaves_the_network_stays(self):
        class Last(nn.Module):
            def __init__(self):
                super().__init__()
                self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1)

            def forward(self, x):
                return x + self.b(torch.relu(self.a(x)))

        assert (
            couple(extract(Network("last", Last().eval(), torch.randn(1, 3, 4, 4)))).branches == ()
        )

    def test_an_excluded_layer_keeps_its_branch(self):
        workload = extract(bottlenecks())
        left = couple(workload, frozenset({"blocks.1.b"})).branches
        assert [b.end for b in left] == ["blocks.0.c", "blocks.2.c"]

    def test_a_group_elsewhere_cannot_be_emptied(self):
        net = bottlenecks()
        design = Design(extract(net), EYERISS)
        for face in (lambda e: e.on_paper(design), lambda e: e.in_network(net)):
            with pytest.raises(HwflowError, match=r"Of group 'stem' at least 1 of 6 units must"):
                face(Prune({"stem": ()}))


class Single(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.head = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 2, 1)

    def forward(self, x):
        return self.head(x + self.a(x))


class TestSpace:
    def test_the_first_group_of_a_branch_may_keep_nothing(self):
        space = prune(bottlenecks(), (0.5,), branches=True)
        first, second = space.choices[1:3]
        assert (first.name, first.options) == ("channels:blocks.0.a", (0.0, 0.5, 1.0))
        assert (second.name, second.options) == ("channels:blocks.0.b", (0.5, 1.0))
        assert second.only_if == ("channels:blocks.0.a", (0.5, 1.0))
        assert space.default == tuple(len(c.options) - 1 for c in space.choices)

    def test_without_asking_nothing_is_left_out(self):
        assert all(0.0 not in choice.options for choice in prune(bottlenecks()).choices)

    def test_choices_inside_a_branch_that_is_left_out_do_not_count(self):
        space = prune(bottlenecks(), (0.5,), branches=True)
        out = {"channels:blocks.1.a": 0.0}
        one, other = (space.plan({**out, "channels:blocks.1.b": v}) for v in (0.5, 1.0))
        assert one != other
        assert space.canonical(one) == space.canonical(other)
        assert space.edits(one) == space.edits(other)

    def test_a_stage_stays_free_when_the_branch_that_names_its_group_is_left_out(self):
        net = hf.load("cifar:resnet20", input_shape=(3, 8, 8))
        space = prune(net, (0.5,), branches=True)
        narrow = {"channels:layer2.0.conv1": 0.0, "channels:layer2.0.conv2": 0.5}
        plan = space.plan(narrow)
        assert space.canonical(plan) == plan
        made, paper = space.apply(plan), space.on_paper(plan, Design(space.workload, EYERISS))
        assert extract(made) == paper.workload, difference(extract(made), paper.workload)
        assert paper.workload["layer2.1.conv2"].out_channels == 16 + 16 // 2

    def test_a_branch_too_narrow_for_the_step_may_still_go(self):
        space = prune(bottlenecks(), (0.5,), step=4, branches=True)
        assert space.plan({"channels:blocks.1.a": 0.0})
        with pytest.raises(HwflowError, match=r"no option 0\.5"):
            space.plan({"channels:blocks.1.a": 0.5})

    def test_works_on_paper_alone(self):
        workload = extract(bottlenecks())
        space = prune(workload, branches=True)
        small = space.on_paper(space.plan({"channels:blocks.1.a": 0.0}), Design(workload, EYERISS))
        assert "blocks.1.add" not in small.workload
        assert small.workload["blocks.0.add"].act == ("relu", "relu")
        assert small.workload["blocks.2.a"].inputs == ("blocks.0.add",)

    def test_keeps_the_promises_of_an_edit(self):
        net = bottlenecks()
        check_edit(prune(net, (0.5,), branches=True), net, EYERISS, plans=2)


class TestWithBits:
    @pytest.mark.parametrize("seed", range(3))
    def test_the_square_holds_and_the_order_of_asking_does_not_matter(self, seed):
        net = bottlenecks()
        pruned, bits = prune(net, (0.5,), branches=True), quantize(net, (2, 4, 8))
        one, other = pruned + bits, bits + pruned
        assert one == other
        plan = one.sample(random.Random(seed))
        made = one.apply(plan)
        paper = one.on_paper(plan, Design(one.workload, EYERISS)).workload
        assert extract(made) == paper, difference(extract(made), paper)
        assert torch.equal(made.module(net.example), other.apply(plan).module(net.example))

    def test_every_weight_and_tensor_that_is_left_is_quantised(self):
        net = bottlenecks()
        space = prune(net, (0.5,), branches=True) + quantize(net, (4, 8))
        for seed in range(8):
            plan = space.sample(random.Random(seed))
            workload = space.on_paper(plan, Design(space.workload, EYERISS)).workload
            for layer in workload.mac_layers:
                assert layer.weight_bits <= 8
                assert layer.input_bits[0] <= 8

    def test_bits_of_layers_that_are_left_out_do_not_count(self):
        net = bottlenecks()
        space = prune(net, (0.5,), branches=True) + quantize(net, (4, 8))
        out = {"channels:blocks.1.a": 0.0}
        inside = {"weight_bits:blocks.1.b": 4, "activation_bits:blocks.1.a": 4}
        assert space.canonical(space.plan(out | inside)) == space.canonical(space.plan(out))
        assert space.canonical(space.plan(inside)) == space.plan(inside)

    def test_the_sum_beside_a_projection_keeps_its_bits(self):
        net = bottlenecks()
        space = prune(net, (0.5,), branches=True) + quantize(net, (4, 8))
        values = {"channels:blocks.0.a": 0.0, "activation_bits:blocks.0.add": 4}
        workload = space.on_paper(space.plan(values), Design(space.workload, EYERISS)).workload
        assert workload["blocks.0.projection"].output_bits == 4
        assert workload["blocks.1.a"].input_bits == (4,)
