"""Pruning: two faces, and a network that computes what its masked twin does."""

import random
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from masked_twins import differs, lively, masked_twin, random_kept, relative_error
from random_nets import BLOCKS, HEADS, block_lists, network
from torch import nn
from toy import ToyQuality

import hwflow as hf
from hwflow.coupling import couple
from hwflow.design import Design
from hwflow.edits.fuse import Fuse, read
from hwflow.edits.prune import KEEP, Prune, prune
from hwflow.edits.quantize import Quantize, quantize
from hwflow.errors import HwflowError
from hwflow.extract import extract
from hwflow.loop.fingerprint import run_settings
from hwflow.machine import load_machine
from hwflow.network import Network
from hwflow.testing import check_edit, difference

EYERISS = load_machine("eyeriss")

quick = settings(deadline=None, max_examples=3, suppress_health_check=list(HealthCheck))


@lru_cache
def residual() -> Network:
    return network("residual", "depthwise", head="two linear")


def of(*layers: nn.Module, shape=(1, 3, 8, 8)) -> Network:
    torch.manual_seed(0)
    return Network("small", nn.Sequential(*layers).eval(), torch.randn(shape))


def assert_pruned_right(net: Network, kept, exclude=(), seen=True) -> None:
    """Check the square, and that the pruned network computes what the masked twin does."""
    edit = Prune(kept, frozenset(exclude))
    pruned, workload = edit.in_network(net), read(net).workload
    found, paper = extract(pruned), edit.on_paper(Design(workload, EYERISS)).workload
    assert found == paper, difference(found, paper)
    images = torch.randn(3, *net.example.shape[1:])
    with torch.no_grad():
        expected = masked_twin(net, kept, exclude)(images)
        assert not seen or differs(expected) > 1e-3  # else an error would not be seen
        assert relative_error(pruned.module(images), expected) < 1e-5


@quick
@given(blocks=block_lists(), head=st.sampled_from(HEADS), seed=st.integers(0, 999))
def test_random_channels_out_of_random_networks(blocks, head, seed):
    net = network(*blocks, head=head, calibrate=False)
    assert_pruned_right(
        net, random_kept(couple(read(net).workload), random.Random(seed)), seen=False
    )


@pytest.mark.slow
@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(blocks=block_lists(6), head=st.sampled_from(HEADS), seed=st.integers(0, 999))
def test_many_random_channels_out_of_many_random_networks(blocks, head, seed):
    net = network(*blocks, head=head, calibrate=False)
    kept = random_kept(couple(read(net).workload), random.Random(seed), 0.7)
    assert_pruned_right(net, kept, seen=False)


@pytest.mark.slow
@pytest.mark.parametrize("block", sorted(BLOCKS))
def test_pruning_keeps_its_promises_on_every_block(block):
    net = network(block)
    check_edit(prune(net), net, EYERISS)
    check_edit(prune(net) + quantize(net, (2, 8)), net, EYERISS)


@pytest.mark.slow
def test_all_blocks_together():
    net = lively(network(*(name for name in BLOCKS if name != "statless"), calibrate=False))
    assert_pruned_right(net, random_kept(couple(read(net).workload), random.Random(3), fewest=0.5))


def test_shortcuts_that_pad_channels():
    net = lively(hf.load("cifar:resnet20"))
    kept = random_kept(couple(read(net).workload), random.Random(0), fewest=0.5)
    assert_pruned_right(net, kept)
    # only channels beside the shortcut, then only those that it passes on
    assert_pruned_right(net, {"layer2.0.conv2": (0, 7, 8)})
    assert_pruned_right(net, {"conv1": (1, 2, 5, 11)})


def test_a_pruned_network_can_be_pruned_again():
    net = residual()
    once = Prune({"stem": (0, 1, 3, 4, 6)}).in_network(net)
    twice = Prune({"stem": (0, 2, 3)}).in_network(once)
    directly = Prune({"stem": (0, 3, 4)}).in_network(net)
    assert extract(twice) == extract(directly)
    x = torch.randn(2, 3, 8, 8)
    assert torch.allclose(twice.module(x), directly.module(x), atol=1e-6)


def test_a_trained_pruned_network_leaves_the_original_alone():
    check_edit(Prune({"stem": (0, 1, 5)}), residual(), EYERISS)


def test_a_network_of_which_all_is_kept_computes_the_same():
    net = residual()
    x = torch.randn(2, 3, 8, 8)
    assert torch.allclose(Prune().in_network(net).module(x), net.module(x), atol=1e-6)
    assert extract(Prune().in_network(net)) == extract(net)


def test_an_excluded_layer_keeps_its_channels():
    net = residual()
    name = couple(read(net).workload).names[1]
    assert_pruned_right(net, {name: (0, 2)}, exclude=["stem"])
    assert all("stem" not in choice.name for choice in prune(net, exclude=["stem"]).choices)


def test_edits_are_equal_whatever_the_order_of_groups_and_units():
    one = Prune({"a": (2, 0), "b": (1,)})
    other = Prune({"b": (1,), "a": (0, 2, 2)})
    assert one == other
    assert hash(one) == hash(other)
    assert one != Prune({"a": (0, 2), "b": (1,)}, frozenset({"c"}))


class TestFaults:
    def test_a_quantised_network_is_refused_with_the_way_out(self):
        net = residual()
        quantised = Quantize({"stem": 4}).in_network(Fuse().in_network(net))
        with pytest.raises(HwflowError, match="Prune it first and quantise the result"):
            Prune({"stem": (0,)}).in_network(quantised)

    def test_unknown_groups_and_units_on_both_faces(self):
        net = residual()
        design = Design(extract(net), EYERISS)
        for edit in (Prune({"steam": (0,)}), Prune({"stem": (99,)}), Prune({"stem": ()})):
            with pytest.raises(HwflowError, match=r"steam|has units 0 to 7|1 of 8 units must"):
                edit.on_paper(design)
            with pytest.raises(HwflowError, match=r"steam|has units 0 to 7|1 of 8 units must"):
                edit.in_network(net)

    def test_a_network_without_groups_says_why_layer_by_layer(self):
        net = of(nn.Conv2d(3, 4, 1), nn.Softmax(1), nn.Conv2d(4, 2, 1))
        with pytest.raises(HwflowError) as caught:
            prune(net)
        assert "Network 'small' has no channels that can be removed" in str(caught.value)
        assert "  0: 1 is a softmax over the channels" in str(caught.value)
        assert "  2: 2 leaves the network" in str(caught.value)

    def test_channels_that_the_graph_hides_stay_and_name_what_to_exclude(self):
        net = Network("hidden", _Normed().eval(), torch.randn(1, 3, 4, 4))
        name = couple(read(net).workload).names[0]
        with pytest.raises(HwflowError, match="Exclude these layers:\n  "):
            Prune({name: (0, 1)}).in_network(net)
        space = prune(net)
        assert all(name not in choice.name for choice in space.choices)
        assert len(space) == 1
        check_edit(space, net, EYERISS)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"keep": (0.5, 0.0)}, r"share of channels to keep must be in \(0, 1\], not 0.0"),
            ({"keep": (1.5,)}, "not 1.5"),
            ({"step": 0}, "step must be at least 1, not 0"),
            ({"min_channels": 0}, "min_channels must be at least 1, not 0"),
            ({"step": 64}, "No group of 'random' has enough channels for steps of 64"),
            ({"min_channels": 9999}, r"for 9999 at least.*Take a smaller min_channels"),
            ({"ranking": "luck"}, "Unknown ranking 'luck'"),
            ({"exclude": ["steem"]}, "Unknown layer to exclude 'steem'"),
            ({"scores": {}}, "Unknown group with scores 'stem'"),
        ],
    )
    def test_bad_arguments(self, arguments, message):
        with pytest.raises(HwflowError, match=message):
            prune(residual(), **arguments)

    def test_scores_of_the_wrong_length(self):
        scores = {name: [1.0] for name in couple(read(residual()).workload).names}
        with pytest.raises(HwflowError, match="Group 'stem' has 8 units, but 1 scores"):
            prune(residual(), scores=scores)


class _Normed(nn.Module):
    """A convolution whose weight is normalised when it runs, before a plain one."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 1)
        self.second, self.third = nn.Conv2d(6, 6, 1), nn.Conv2d(6, 2, 1)

    def forward(self, x):
        weight = self.first.weight
        weight = weight / weight.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
        return self.third(torch.relu(self.second(torch.conv2d(x, weight))))


class TestSpace:
    def test_one_choice_for_each_group_that_changes_nothing_by_default(self):
        space = prune(residual())
        coupling = couple(read(residual()).workload)
        assert [c.name for c in space.choices] == [f"channels:{name}" for name in coupling.names]
        assert all(choice.options[choice.default] == 1.0 for choice in space.choices)
        assert space.edits(space.default) == (Prune(mend="statistics"),)
        assert space.choices[0].options == KEEP

    def test_options_are_multiples_of_the_step(self):
        space = prune(residual(), step=4)
        values = space.plan({"channels:stem": 0.5})
        assert len(space.edits(values)[0].kept["stem"]) == 4
        assert space.choices[0].options == (0.5, 1.0)  # 3 of 8 and 5 of 8 are rounded to 4
        with pytest.raises(HwflowError, match=r"no option 0\.25"):
            space.plan({"channels:stem": 0.25})

    def test_so_many_channels_are_kept_at_least(self):
        space = prune(residual(), (0.125, 0.25, 0.5), min_channels=4)
        assert space.choices[0].options == (0.5, 1.0)

    def test_the_largest_norms_are_kept(self):
        net = of(nn.Conv2d(3, 4, 1, bias=False), nn.ReLU(), nn.Conv2d(4, 2, 1))
        with torch.no_grad():
            for index, size in enumerate((1.0, 9.0, 4.0, 2.0)):
                net.module[0].weight[index] = size
        space = prune(net, (0.5, 0.75))
        kept = [space.edits(space.plan({"channels:0": k}))[0].kept["0"] for k in (0.5, 0.75)]
        assert kept == [(1, 2), (1, 2, 3)]

    def test_given_scores_replace_the_ranking(self):
        net = residual()
        scores = {g.name: list(range(g.size)) for g in couple(read(net).workload).groups}
        space = prune(net, (0.25,), scores=scores)
        assert space.edits((0,) * len(space))[0].kept["stem"] == (6, 7)

    def test_more_channels_are_a_superset_of_fewer(self):
        part = prune(residual()).parts[0]
        for options in part.kept.values():
            rows = [set(units) for _, units in sorted(options.items())]
            assert all(a < b for a, b in pairwise(rows))

    def test_a_study_tells_spaces_of_other_rankings_apart(self):
        net = residual()
        digests = {prune(net, ranking=ranking).parts[0].digest() for ranking in ("l2", "bn_scale")}
        assert len(digests) == 2
        assert prune(net).parts[0].digest() in digests
        problem = hf.Problem(prune(net), "eyeriss", hf.Coarse())
        solver = hf.Random()
        settings_of = run_settings(problem, ToyQuality(), solver, 0, 1)
        assert settings_of["edits"] == [f"prune {prune(net).parts[0].digest()}"]

    def test_names_stay_those_of_the_network_that_was_given(self):
        workload = replace(read(residual()).workload, name="another name")
        paper = Prune({"stem": (0,)}).on_paper(Design(workload, EYERISS)).workload
        assert paper.name == "another name"
        with pytest.raises(HwflowError, match="No group of 'another name'"):
            prune(workload, step=64)

    def test_works_on_paper_alone(self):
        workload = extract(residual())
        space = prune(workload, (0.5,))
        design = Design(workload, EYERISS)
        half = space.on_paper((0,) * len(space), design).workload
        assert half.macs < workload.macs / 2
        assert half["stem"].out_channels == 4
        with pytest.raises(HwflowError, match="on paper only"):
            space.apply(space.default)


class TestWithOtherEdits:
    def test_pruned_and_fused_computes_what_pruned_alone_does(self):
        net = residual()
        space = prune(net) + hf.fuse(net)
        plan = space.sample(random.Random(1))
        both, alone = space.apply(plan), prune(net).apply(plan)
        x = torch.randn(2, 3, 8, 8)
        with torch.no_grad():
            assert relative_error(both.module(x), alone.module(x)) < 1e-5
        assert not any(layer.norm for layer in extract(both))

    def test_the_order_of_asking_does_not_matter(self):
        net = residual()
        one = prune(net) + quantize(net, (2, 8))
        other = quantize(net, (2, 8)) + prune(net)
        assert one == other
        assert [part.kind for part in other.parts] == ["prune", "fuse", "quantize"]
        plan = one.sample(random.Random(0))
        x = net.example
        assert torch.equal(one.apply(plan).module(x), other.apply(plan).module(x))

    def test_pruned_and_quantised_keeps_the_promises_of_an_edit(self):
        net = network("residual")
        check_edit(prune(net, (0.5,)) + quantize(net, bits=(2, 8)), net, EYERISS, plans=1)

    def test_bits_stay_with_their_layers(self):
        net = residual()
        space = prune(net, (0.5,)) + quantize(net, bits=(2, 8))
        workload = space.on_paper((0,) * len(space), Design(space.workload, EYERISS)).workload
        quantised = quantize(net, bits=(2, 8))
        plain = quantised.on_paper((0,) * len(quantised), Design(quantised.workload, EYERISS))
        for name in ("blocks.0.first.conv", "blocks.1.conv", "head.2"):
            small, whole = workload[name], plain.workload[name]
            assert (small.weight_bits, small.input_bits) == (whole.weight_bits, whole.input_bits)
            assert small.out_channels * 2 == whole.out_channels


@pytest.mark.slow
def test_a_search_over_channels_and_bits(tmp_path):
    net = hf.load("cifar:resnet8", num_classes=10, input_shape=(1, 8, 8))
    data = hf.load_data("digits", net)
    net = net.calibrated(data.calibration(32))
    space = prune(net, (0.5, 1.0)) + quantize(net, bits=(4, 8))
    problem = hf.Problem(space, on="eyeriss", cost=hf.Mid(), below=hf.Limits(latency_s=1))
    front = hf.search(
        problem, hf.Accuracy(data.val), hf.Random(), out=tmp_path / "run", evaluations=3
    )
    trial = front.pick("most accurate")
    built = trial.build()
    assert extract(built).macs == trial.total["macs"]
    assert trial.total["macs"] < extract(net).macs
