"""Quantisers and calibrations side by side: the same grids before training, other parameters."""

import pickle

import pytest
import torch
from random_nets import network
from torch import nn

from hwflow.edits.fuse import Fuse
from hwflow.edits.methods import Method
from hwflow.edits.quantize import Quantize, quantize
from hwflow.edits.quantizers import QUANTIZERS
from hwflow.errors import HwflowError
from hwflow.export.plain import plain
from hwflow.extract import extract
from hwflow.extract.constants import constant
from hwflow.learned_grids import learned_grids
from hwflow.network import Network
from hwflow.testing import check_edit

IMAGES = torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(9))
QUANTIZERS_KNOWN = ("calibrated", "lsq", "pact", "dorefa")


@pytest.fixture(scope="module")
def net():
    return network("residual", "concat").calibrated(IMAGES)


def made(net, bits, **method):
    space = quantize(net, (bits,), **method)
    return space.apply(space.default)


def output(net):
    with torch.no_grad():
        return net.module(IMAGES)


@pytest.mark.parametrize("quantizer", QUANTIZERS_KNOWN)
def test_paper_and_network_agree_with_every_quantizer(net, quantizer):
    mend = "statistics" if quantizer == "lsq" else "none"
    check_edit(quantize(net, (1, 3), quantizer=quantizer, mend=mend), net, plans=1)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_before_training_learned_scales_are_the_calibrated_ones(net, bits):
    wanted = output(made(net, bits))
    assert torch.equal(output(made(net, bits, quantizer="lsq")), wanted)
    # PACT's level is a product, the step a quotient of it
    assert torch.allclose(output(made(net, bits, quantizer="pact")), wanted, atol=1e-5)


def test_lsq_learns_a_scale_per_channel_and_one_per_tensor(net):
    module = made(net, 4, quantizer="lsq").module
    holder = module.get_submodule(QUANTIZERS)
    learned = dict(holder.named_parameters())
    assert len(learned) == len(list(holder.children()))
    assert learned["stem_weight.scale"].shape == (8,)
    assert learned["x.scale"].numel() == 1
    assert not dict(made(net, 4).module.get_submodule(QUANTIZERS).named_parameters())


def test_pact_learns_where_half_waves_are_clipped_and_nothing_else(net):
    grids = learned_grids(made(net, 4, quantizer="pact").module)
    assert grids
    assert {found.name for found in grids} == {"clip"}
    assert all(int(found.zero_point) == 0 for found in grids)
    assert len(grids) < len(extract(net).scale_groups)  # images have both signs


def test_lsq_counts_the_values_of_a_scale(net):
    nodes = made(net, 4, quantizer="lsq").module.graph.nodes
    counts = {str(n.args[1].target): n.args[6] for n in nodes if "lsq" in str(n.target)}
    assert counts[f"{QUANTIZERS}.stem_weight.scale"] == 3 * 3 * 3  # weights of one channel
    assert counts[f"{QUANTIZERS}.x.scale"] == 3 * 8 * 8  # features of one image


def test_every_gradient_arrives_and_scales_have_theirs(net):
    module = made(net, 3, quantizer="lsq").module.train()
    module(IMAGES).square().mean().backward()
    assert all(found.value.grad is not None for found in learned_grids(module))
    assert sum(float(found.value.grad.abs().sum()) for found in learned_grids(module)) > 0


@pytest.mark.parametrize(("bits", "faithful"), [(1, False), (2, False), (4, True)])
def test_dorefa_puts_weights_on_two_to_the_bits_levels(net, bits, faithful):
    module = made(net, bits, quantizer="dorefa", faithful=faithful).module
    name = "blocks_0_first_conv_weight"
    node = next(
        n for n in module.graph.nodes
        if "dorefa" in str(n.target) and name in str(n.args[1].target)
    )  # fmt: skip
    weight = module.get_parameter("blocks.0.first.conv.weight")
    holder = module.get_submodule(f"{QUANTIZERS}.{name}")
    values = node.target(weight, holder.scale, holder.zero_point, *node.args[3:]).detach()
    assert len(torch.unique((values[0] * 1e5).round())) <= 2**bits
    assert node.args[3] == bits
    if faithful:
        assert float(values.abs().max()) == 1


def test_dorefa_as_published_clips_activations_to_one(net):
    module = made(net, 4, quantizer="dorefa", faithful=True).module
    holder = module.get_submodule(QUANTIZERS)
    tops = {
        name: float(grid.scale) * 15
        for name, grid in holder.named_children() if not name.endswith("weight")
    }  # fmt: skip
    assert tops.pop("x") != pytest.approx(1)  # images are none of its activations
    assert sum(top == pytest.approx(1) for top in tops.values()) >= len(tops) - 1  # last: 8 bits


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"quantizer": "lsk"}, "quantizer 'lsk'. Did you mean 'lsq'"),
        ({"calibration": "max"}, "Did you mean 'minmax'"),
        ({"mend": "statistic"}, "Did you mean 'statistics'"),
        ({"quantizer": "lsq", "faithful": True}, "faithful"),
    ],
)
def test_names_nobody_knows_are_refused(net, options, words):
    with pytest.raises(HwflowError, match=words):
        quantize(net, (4,), **options)


def test_an_edit_with_a_method_is_a_value():
    one, other = (Quantize({"a": 2}, method=Method(name)) for name in ("lsq", "pact"))
    assert one == pickle.loads(pickle.dumps(one))  # noqa: S301  (worker processes get edits so)
    assert hash(one) == hash(Quantize({"a": 2}, method=Method("lsq")))
    assert one != other


def test_old_studies_keep_their_digest_and_methods_have_their_own(net):
    assert quantize(net, (4,)).parts[-1].digest is None
    found = {
        quantize(net, (4,), **given).parts[-1].digest()
        for given in ({"quantizer": "lsq"}, {"calibration": "kl"}, {"mend": "statistics"})
    }
    assert len(found) == 3


def test_one_quantizer_takes_the_place_of_another():
    net = Fuse().in_network(network("plain").calibrated(IMAGES))
    bits = {"stem": 4}, {"x": 4, "blocks.0.conv": 4}
    once = Quantize(*bits, method=Method("lsq")).in_network(net)
    again = Quantize(*bits).in_network(once)
    targets = [str(n.target) for n in again.module.graph.nodes if "hwflow." in str(n.target)]
    assert set(targets) == {"hwflow.fake_quantize.default"}
    assert torch.equal(output(again), output(Quantize(*bits).in_network(net)))


def moments(net, name):
    """Return mean and variance of the channels of a convolution's output."""
    graph = net.module.graph
    node = next(n for n in graph.nodes if n.name == name)
    seen = {}

    class Watch(torch.fx.Interpreter):
        def run_node(self, n):
            value = super().run_node(n)
            if n.name == node.name:
                seen["y"] = value
            return value

    with torch.no_grad():
        Watch(net.module).run(IMAGES)
    return seen["y"].mean((0, 2, 3)), seen["y"].var((0, 2, 3), correction=0)


def levels(net, name):
    """Return the integers of a layer's weight, as it is exported."""
    module = plain(net.module)
    label = f"{name.replace('.', '_')}_weight"
    node = next(
        n for n in module.graph.nodes
        if "fake_quantize" in str(n.target) and label in f"{n.args[1].target} {n.args[2].target}"
    )  # fmt: skip
    weight, step = constant(module, node), constant(module, node.args[1])
    return (weight / step.reshape([-1] + [1] * (weight.dim() - 1))).round()


def test_matched_statistics_are_those_of_the_network_before():
    net = network("plain").calibrated(IMAGES)
    stale, mended = (made(net, 3, mend=mend) for mend in ("none", "statistics"))
    before = made(net, 16, first_last=None)  # the exported graph, as good as floats
    for node in ("conv2d", "conv2d_1"):
        for i in range(2):
            wanted = moments(before, node)[i]
            off = float((moments(stale, node)[i] - wanted).abs().max())
            assert float((moments(mended, node)[i] - wanted).abs().max()) < 0.1 * off + 1e-3


@pytest.mark.parametrize("quantizer", ["lsq", "dorefa"])
def test_matching_statistics_leaves_the_integers_of_weights(quantizer):
    net = network("plain").calibrated(IMAGES)
    stale, mended = (
        made(net, 3, quantizer=quantizer, mend=mend) for mend in ("none", "statistics")
    )
    assert not torch.equal(output(stale), output(mended))
    for name in ("stem", "blocks.0.conv", "head.2"):
        before, after = (levels(found, name) for found in (stale, mended))
        assert torch.equal(before, after)


def test_normalisations_that_cannot_be_folded_are_re_estimated():
    net = network("pre-activation").calibrated(IMAGES)
    mended = made(net, 4, mend="statistics").module.state_dict()
    stale = made(net, 4).module.state_dict()
    name = next(n for n in stale if n.endswith("running_mean"))
    assert not torch.allclose(stale[name], mended[name])


def test_statistics_need_calibration_inputs():
    net = Network("bare", nn.Conv2d(3, 4, 3).eval(), IMAGES[:1])
    with pytest.raises(HwflowError, match="no calibration inputs"):
        Quantize({"conv": 4}, method=Method(mend="statistics")).in_network(net)
