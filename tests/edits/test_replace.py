from __future__ import annotations

import random
from collections import Counter

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from hwflow import plugins
from hwflow.costs.mid import Mid
from hwflow.design import Design
from hwflow.edits.operations import find, fitting, registry, seed_of, teacher_of
from hwflow.edits.operations.lower import lowered
from hwflow.edits.prune import prune
from hwflow.edits.quantize import quantize
from hwflow.edits.replace import replace
from hwflow.edits.replace_edit import Replace, file_of
from hwflow.edits.sites import Site, sites
from hwflow.errors import HwflowError
from hwflow.extract import extract
from hwflow.extract.exported import export_network, read_graph
from hwflow.machine import load_machine
from hwflow.network import Network
from hwflow.problem import Problem
from hwflow.running import seeded
from hwflow.testing import check_edit
from hwflow.testing.edits import difference

COUNTS = {
    "inverted_residual": 72, "fused_inverted_residual": 24, "bottleneck": 16, "conv_bn_act": 16,
    "basic_residual": 6, "depthwise_separable": 6, "attention": 12, "involution": 4, "pruned": 12,
    "low_rank": 12, "quantized": 16, "skip": 1, "keep": 1,
}  # fmt: skip


def unit(channels: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(channels, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class Block(nn.Module):
    def __init__(self, channels: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = unit(channels, outputs, 3, stride), unit(outputs, outputs, 3, 1)
        self.down = unit(channels, outputs, 1, stride) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        short = x if self.down is None else self.down(x)
        return torch.relu(self.second(torch.relu(self.first(x))) + short)


class Net(nn.Module):
    """A stem, a residual block, a strided one, a separable convolution, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = unit(3, 16, 3, 1)
        self.one, self.two = Block(16, 16, 1), Block(16, 32, 2)
        self.depthwise, self.pointwise = unit(32, 32, 3, 1, 32), unit(32, 16, 1, 1)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.two(self.one(torch.relu(self.stem(x))))
        x = self.pointwise(torch.relu(self.depthwise(x)))
        return self.head(x.mean((2, 3)))


@pytest.fixture(scope="module")
def net() -> Network:
    with seeded(0):
        module, example = Net().eval(), torch.randn(1, 3, 9, 9)
        return Network("net", module, example, calibration=torch.randn(4, 3, 9, 9))


@pytest.fixture(scope="module")
def workload(net: Network):
    return extract(net)


def test_sites_are_the_blocks_and_the_layers_between_them(workload) -> None:
    found = {site.name: site for site in sites(workload)}
    assert list(found) == ["stem.0", "one", "two", "pointwise.0"]
    assert found["two"].in_shape == (16, 9, 9)
    assert found["two"].out_shape == (32, 5, 5)
    assert found["two"].stride == (2, 2)
    assert found["one"].act == "relu"
    assert len(found["pointwise.0"].layers) == 2


def test_sites_never_overlap_and_layer_level_has_every_convolution(workload) -> None:
    for level in ("block", "layer"):
        inside = [name for site in sites(workload, level) for name in site.layers]
        assert len(inside) == len(set(inside))
    convs = {layer.name for layer in workload if layer.op == "conv"}
    assert {site.exit for site in sites(workload, "layer")} == convs


def test_the_registry_has_the_families_and_counts_of_the_method() -> None:
    assert Counter(option.family for option in registry()) == COUNTS
    assert len({option.name for option in registry()}) == len(registry()) >= 197
    assert set(plugins.names("operations")) == COUNTS.keys()


@pytest.mark.parametrize("family", [name for name in COUNTS if name != "keep"])
def test_both_faces_agree_for_every_family(net: Network, workload, family: str) -> None:
    chosen = {}
    rng = random.Random(family)
    for site in sites(workload):
        options = [o for o in fitting(site) if o.family == family]
        if options:
            chosen[site] = rng.choice(options)
    assert chosen
    check_edit(Replace(chosen), net)


@pytest.mark.parametrize("family", [name for name in COUNTS if name != "keep"])
def test_modules_map_the_entry_to_the_exit(net: Network, workload, family: str) -> None:
    rng = random.Random(family)
    for site in sites(workload):
        options = [o for o in fitting(site) if o.family == family]
        for option in rng.sample(options, min(2, len(options))):
            module = option.module(site, teacher_of(net, site)).eval()
            with torch.no_grad():
                made = module(torch.randn(2, *site.in_shape))
            assert made.shape == (2, *site.out_shape)


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**6))
def test_both_faces_agree_for_random_plans(net: Network, seed: int) -> None:
    space = replace(net)
    plan = space.sample(random.Random(seed))
    paper = space.on_paper(plan, Design(space.workload, load_machine("eyeriss"))).workload
    assert difference(extract(space.apply(plan)), paper) == ""


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**6))
def test_both_faces_agree_with_bits_chosen_after(net: Network, seed: int) -> None:
    space = replace(net) + quantize(net, bits=(4, 8))
    plan = space.sample(random.Random(seed))
    paper = space.on_paper(plan, Design(space.workload, load_machine("eyeriss"))).workload
    assert difference(extract(space.apply(plan)), paper) == ""


def test_new_layers_take_the_bits_of_the_heaviest_layer_that_is_gone(net: Network) -> None:
    space = replace(net, ["one"], ["bottleneck"]) + quantize(net, bits=(4, 8), first_last=None)
    values = {"operation:one": "bottleneck_k3_r2_g1", "weight_bits:one.first.0": 4}
    plan = space.canonical(space.plan(values))
    paper = space.on_paper(plan, Design(space.workload, load_machine("eyeriss"))).workload
    new = [layer for layer in paper.mac_layers if layer.name.startswith("one.option")]
    assert [layer.weight_bits for layer in new] == [4, 4, 4]
    gone = space.plan({"operation:one": "bottleneck_k3_r2_g1", "weight_bits:one.second.0": 4})
    assert space.values(space.canonical(gone))["weight_bits:one.second.0"] == 8


def test_keeping_everything_computes_what_the_network_computes(net: Network) -> None:
    space = replace(net)
    with torch.no_grad():
        kept = space.apply(space.default).module(net.calibration)
        assert torch.allclose(kept, net.module(net.calibration), atol=1e-5)


def test_low_rank_of_a_low_rank_weight_is_exact(net: Network, workload) -> None:
    site = next(s for s in sites(workload) if s.name == "one")
    teacher = teacher_of(net, site)
    weight = teacher.get_parameter("one.first.0.weight")
    with torch.no_grad():
        weight.copy_((torch.randn(16, 2) @ torch.randn(2, 144)).reshape(weight.shape))
        teacher.get_parameter("one.second.0.weight").copy_(weight)
        x = torch.randn(2, *site.in_shape)
        module = find(["low_rank_svd_0.125"])[1].module(site, teacher)
        assert torch.allclose(module(x), teacher(x), atol=1e-3)


def test_pruning_more_of_the_teacher_leaves_fewer_parameters(net: Network, workload) -> None:
    site = next(s for s in sites(workload) if s.name == "one")
    names = ("pruned_0.5_l1", "pruned_0.875_l1")
    half, most = (find([name])[1].piece(site, workload) for name in names)
    whole = find([])[0].piece(site, workload)
    assert half.params < most.params < whole.params


@pytest.mark.parametrize("family", ["inverted_residual", "attention", "involution", "bottleneck"])
def test_lowered_modules_are_read_as_exported_ones(family: str) -> None:
    site = Site("s", "x", "y", ("y",), (16, 9, 9), (32, 5, 4), "silu")
    option = next(o for o in fitting(site) if o.family == family)
    module, example = option.module(site).eval(), torch.randn(1, *site.in_shape)
    exported = export_network(Network("o", module, example), dynamic_batch=True)
    found = lowered(module, example).eval()
    with torch.no_grad():
        assert torch.allclose(found(example), module(example), atol=1e-5)
    assert difference(read_graph(found, "o").workload, read_graph(exported, "o").workload) == ""


def test_costs_of_sites_add_up(net: Network) -> None:
    space = replace(net, options=["bottleneck", "skip", "quantized"])
    problem = Problem(space, "eyeriss", Mid())
    size = len(space.default)
    single = [tuple(int(i == place) * 3 for i in range(size)) for place in range(size)]
    totals = problem.totals([space.default, *single, (3,) * size])["macs"]
    assert totals[-1] == pytest.approx(totals[0] + sum(totals[1:-1] - totals[0]))


def test_trained_weights_are_taken_and_others_are_fresh(net: Network, workload, tmp_path) -> None:
    site = next(s for s in sites(workload) if s.name == "two")
    option = find(["skip"])[1]
    with seeded(7):
        trained = option.module(site)
    path = file_of(tmp_path, site, option)
    path.parent.mkdir(parents=True)
    save_file(trained.state_dict(), path)
    space = replace(net, ["two"], ["skip"], trained=tmp_path)
    state = space.apply((1,)).module.state_dict()
    assert torch.equal(state["two.option.conv.weight"], trained.conv.weight)
    with seeded(seed_of(site, option)):
        fresh = option.module(site)
    state = replace(net, ["two"], ["skip"]).apply((1,)).module.state_dict()
    assert torch.equal(state["two.option.conv.weight"], fresh.conv.weight)


def test_a_state_of_another_option_is_refused(net: Network) -> None:
    space = replace(net, ["two"], ["skip"], trained={("two", "skip"): {"a": torch.ones(1)}})
    with pytest.raises(HwflowError, match="state of two/skip"):
        space.apply((1,))


def test_a_workload_alone_has_sites_and_plans(workload) -> None:
    space = replace(workload, options=["pruned", "skip", "low_rank"])
    plan = space.sample(random.Random(1))
    paper = space.on_paper(plan, Design(workload, load_machine("eyeriss"))).workload
    assert paper.params != workload.params
    with pytest.raises(HwflowError, match="on paper only"):
        space.apply(plan)


def test_wrong_names_and_overlaps_are_refused(net: Network, workload) -> None:
    with pytest.raises(HwflowError, match="Unknown site"):
        replace(net, ["nowhere"])
    with pytest.raises(HwflowError, match="option or family"):
        replace(net, options=["convolutoin"])
    layer = next(s for s in sites(workload, "layer") if s.exit == "one.first.0")
    block = next(s for s in sites(workload) if s.name == "one")
    with pytest.raises(HwflowError, match="overlap"):
        replace(net, [layer, block])
    big = Site("s", "x", "y", ("y",), (4, 3, 3), (4, 6, 6))
    with pytest.raises(HwflowError, match="cannot stand"):
        Replace({big: find(["skip"])[1]})


@pytest.mark.parametrize("name", ["pruned_0.5_l1", "quantized_w4_a8", "low_rank_svd_0.25"])
def test_options_of_the_teacher_end_in_the_exit_itself(workload, name: str) -> None:
    option = next(o for o in find() if o.name == name)
    chosen = {site: option for site in sites(workload) if option.fits(site)}
    machine = load_machine("eyeriss")
    paper = Replace(chosen).on_paper(Design(workload, machine)).workload
    assert chosen
    assert {site.exit for site in chosen} <= {layer.name for layer in paper}


def test_replacing_and_pruning_are_not_added(workload) -> None:
    with pytest.raises(HwflowError, match="family of options 'pruned'"):
        replace(workload, options=["skip"]) + prune(workload)
