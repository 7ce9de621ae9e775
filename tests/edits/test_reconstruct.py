"""Weights fitted by least squares to what a layer gave before it was pruned."""

import random

import pytest
import torch
from masked_twins import relative_error
from random_nets import network
from torch import nn

from hwflow.design import Design
from hwflow.edits import reconstruct
from hwflow.edits.prune import prune
from hwflow.edits.prune_edit import Prune, prunable
from hwflow.edits.reconstruct import fitted
from hwflow.errors import HwflowError
from hwflow.extract import extract
from hwflow.machine import load_machine
from hwflow.network import Network
from hwflow.testing import check_edit
from hwflow.train import restate

EYERISS = load_machine("eyeriss")
KEPT = (0, 1, 2)


def dependent(second: nn.Module, norm: bool = False) -> Network:
    """Return a network whose channels 3 to 5 are multiples of the channels 0 to 2."""
    times = torch.tensor([4.0, 0.2, 2.0])
    torch.manual_seed(0)
    first = nn.Conv2d(3, 6, 3)
    with torch.no_grad():
        first.weight[3:] = times[:, None, None, None] * first.weight[:3]
        first.bias[3:] = times * first.bias[:3]
    after = [nn.BatchNorm2d(5)] if norm else []
    head = [nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4)]
    module = nn.Sequential(first, nn.ReLU(), second, *after, *head).eval()
    restate(module, torch.randn(200, 3, 12, 12))
    net = Network("dependent", module, torch.randn(1, 3, 12, 12))
    return net.calibrated(torch.randn(80, 3, 12, 12))


def mended(net: Network, mend: str, kept=KEPT) -> nn.Module:
    return Prune({"0": kept}, mend=mend).in_network(net).module


@pytest.mark.parametrize(
    "second",
    [
        nn.Conv2d(6, 5, 3), nn.Conv2d(6, 5, 1, bias=False), nn.Conv2d(6, 5, (3, 1), (2, 3), (2, 1)),
        nn.Conv2d(6, 5, 3, padding=2, dilation=2),
    ],
    ids=["plain", "without bias", "strided, padded", "dilated"],
)  # fmt: skip
def test_what_was_a_combination_of_other_channels_is_not_missed(second, monkeypatch):
    monkeypatch.setattr(reconstruct, "RIDGE", 1e-6)
    torch.manual_seed(0)
    second.reset_parameters()  # made when the tests were collected, from whatever seed
    net, fresh = dependent(second), torch.randn(9, 3, 12, 12)
    with torch.no_grad():
        expected = net.module(fresh)
        assert relative_error(mended(net, "none")(fresh), expected) > 0.05
        assert relative_error(mended(net, "least_squares")(fresh), expected) < 2e-3


def test_a_linear_layer_is_fitted_as_well(monkeypatch):
    monkeypatch.setattr(reconstruct, "RIDGE", 1e-6)
    torch.manual_seed(1)
    first, second = nn.Linear(4, 6), nn.Linear(6, 3)
    with torch.no_grad():
        first.weight[3:], first.bias[3:] = first.weight[:3], first.bias[:3]
    for shape in ((300, 4), (60, 7, 4)):
        module = nn.Sequential(first, nn.ReLU(), second).eval()
        net = Network("linear", module, torch.randn(1, *shape[1:])).calibrated(torch.randn(shape))
        fresh = torch.randn(9, *shape[1:])
        with torch.no_grad():
            found = mended(net, "least_squares")(fresh)
            assert relative_error(found, module(fresh)) < 2e-3


def test_the_error_falls_where_channels_are_correlated():
    net = dependent(nn.Conv2d(6, 5, 3), norm=True)
    with torch.no_grad():
        net.module[0].weight += 0.02 * torch.randn_like(net.module[0].weight)
        fresh = torch.randn(20, 3, 12, 12)
        error = {
            mend: relative_error(mended(net, mend)(fresh), net.module(fresh))
            for mend in ("none", "statistics", "least_squares")
        }
    assert error["least_squares"] < error["statistics"] / 2
    assert error["least_squares"] < error["none"] / 2


def test_statistics_are_those_of_the_fitted_network():
    net = dependent(nn.Conv2d(6, 5, 3), norm=True)
    done = mended(net, "least_squares")
    first, act, second = net.module[0], net.module[1], net.module[2]
    with torch.no_grad():
        kept = act(first(net.calibration))[:, list(KEPT)]
        made = torch.conv2d(kept, done.get_parameter("2.weight"), done.get_parameter("2.bias"))
    assert not torch.equal(done.get_parameter("2.weight"), second.weight[:, list(KEPT)])
    torch.testing.assert_close(done.get_buffer("3.running_mean"), made.mean((0, 2, 3)))
    torch.testing.assert_close(
        done.get_buffer("3.running_var"), made.transpose(0, 1).flatten(1).var(1)
    )


def test_only_layers_that_lost_inputs_are_fitted():
    net = dependent(nn.Conv2d(6, 5, 3))
    plain, done = mended(net, "none"), mended(net, "least_squares")
    changed = {
        name for name, value in plain.named_parameters()
        if not torch.equal(value, done.get_parameter(name))
    }  # fmt: skip
    assert changed == {"2.weight", "2.bias"}


@pytest.mark.parametrize("block", ["depthwise", "grouped", "up and down", "twice"])
def test_what_is_grouped_transposed_or_shared_stays_as_it_is(block):
    net = network(block)
    edit = {"stem": (0, 2)}
    plain = Prune(edit).in_network(net).module
    done = Prune(edit, mend="least_squares").in_network(net).module
    for name, value in plain.named_parameters():
        if "blocks" in name and "norm" not in name:
            assert torch.equal(value, done.get_parameter(name))


def test_networks_too_large_for_all_images_at_once_take_fewer(monkeypatch):
    net = dependent(nn.Conv2d(6, 5, 3), norm=True)
    net.module[-1] = nn.Linear(5, 500)  # a weight larger than any tensor does not count
    whole = mended(net, "least_squares")
    monkeypatch.setattr(reconstruct, "_MOST", 30 * 6 * 10 * 10)
    images = reconstruct.images_of(prunable(net).survey(frozenset()), net.calibration)
    assert len(images) == 30
    few = mended(net.calibrated(net.calibration.clone()), "least_squares")
    assert not torch.equal(few.get_parameter("2.weight"), whole.get_parameter("2.weight"))
    with torch.no_grad():
        kept = torch.relu(net.module[0](net.calibration))[:, list(KEPT)]
        made = torch.conv2d(kept, few.get_parameter("2.weight"), few.get_parameter("2.bias"))
    torch.testing.assert_close(few.get_buffer("3.running_mean"), made.mean((0, 2, 3)))


def test_both_faces_agree_and_the_same_plan_gives_the_same_network():
    net = network("residual", "depthwise", "concat")
    space = prune(net, (0.5,), mend="least_squares", branches=True)
    check_edit(space, net, EYERISS, plans=1)
    plan = space.sample(random.Random(1))
    assert (
        extract(space.apply(plan)) == space.on_paper(plan, Design(space.workload, EYERISS)).workload
    )


def test_needs_calibration_inputs_and_sound_weights():
    net = dependent(nn.Conv2d(6, 5, 3))
    bare = Network(net.name, net.module, net.example)
    with pytest.raises(HwflowError, match=r"no calibration inputs.*network\.calibrated"):
        prune(bare, mend="least_squares")
    with pytest.raises(HwflowError, match="no calibration inputs"):
        Prune({"0": KEPT}, mend="least_squares").in_network(bare)
    with torch.no_grad():
        net.module[0].weight[0] = torch.nan
    with pytest.raises(HwflowError, match="'2' gives numbers that are not finite"):
        Prune({"0": KEPT}, mend="least_squares").in_network(net)


class TestFit:
    def setup_method(self):
        torch.manual_seed(0)
        self.x, self.y, self.w = torch.randn(200, 5), torch.randn(200, 3), torch.randn(3, 5)

    def test_is_the_least_squares_solution(self):
        weight, shift = fitted(self.x, self.y, self.w, shifts=True, ridge=1e-8)
        ones = torch.cat([self.x, torch.ones(200, 1)], 1)
        expected = torch.linalg.lstsq(ones, self.y).solution
        torch.testing.assert_close(weight, expected[:5].T, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(shift, expected[5], rtol=1e-3, atol=1e-4)

    def test_without_a_shift_goes_through_the_origin(self):
        weight, shift = fitted(self.x, self.y + 3, self.w, shifts=False, ridge=1e-8)
        expected = torch.linalg.lstsq(self.x, self.y + 3).solution
        torch.testing.assert_close(weight, expected.T, rtol=1e-3, atol=1e-4)
        assert not shift.any()

    def test_the_ridge_holds_it_near_the_given_weight(self):
        weight, _ = fitted(self.x, self.y, self.w, shifts=True, ridge=1e9)
        torch.testing.assert_close(weight, self.w, rtol=1e-4, atol=1e-4)

    def test_inputs_that_say_nothing_leave_the_weight(self):
        weight, _ = fitted(torch.ones(200, 5), self.y, self.w, shifts=True, ridge=0.1)
        torch.testing.assert_close(weight, self.w)
