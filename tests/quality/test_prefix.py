import copy
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_nets import CHANNELS, block_lists, network
from torch import fx, nn

from hwflow.errors import HwflowError
from hwflow.extract import extract
from hwflow.extract.exported import export_network
from hwflow.quality.prefix import Prefix, Work

SIZES = (3, 2)


@cache
def graph_of(*blocks, size=8):
    return export_network(network(*blocks, size=size, calibrate=False), dynamic_batch=True)


def batches(size=8):
    torch.manual_seed(7)
    made = [torch.randn(n, 3, size, size) for n in SIZES]
    return [batch.contiguous(memory_format=torch.channels_last) for batch in made]


def tensors(module):
    """The places of a graph after which something can be put."""
    return [
        node
        for node in module.graph.nodes
        if node.op == "call_function"
        and isinstance(node.meta.get("val"), torch.Tensor)
        and node.meta["val"].is_floating_point()
    ]


def scaled_after(module, index):
    """A copy in which the value of one node is halved for all who read it."""
    changed = copy.deepcopy(module)
    node = tensors(changed)[index]
    with changed.graph.inserting_after(node):
        half = changed.graph.call_function(torch.ops.aten.mul.Tensor, (node, 0.5))
    for reader in [user for user in node.users if user is not half]:
        reader.replace_input_with(node, half)
    changed.recompile()
    return changed


def plain(module, inputs):
    with torch.no_grad():
        return [module(batch) for batch in inputs]


def agree(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("budget", [0, 40_000, 1 << 30])
def test_a_change_after_any_node_gives_what_the_whole_changed_network_gives(budget):
    module, inputs = graph_of("residual", "concat", "depthwise", "twice"), batches()
    prefix = Prefix(module, inputs, budget)
    for index in range(len(tensors(module))):
        changed = scaled_after(module, index)
        agree(prefix.run(changed), plain(changed, inputs))


@settings(max_examples=5, deadline=None)
@given(block_lists(3), st.data())
def test_random_networks_changed_in_two_places_in_any_order(blocks, data):
    module, inputs = graph_of(*blocks), batches()
    prefix = Prefix(module, inputs, data.draw(st.sampled_from([0, 20_000, 1 << 30])))
    places = st.integers(0, len(tensors(module)) - 1)
    for _ in range(2):
        changed = scaled_after(scaled_after(module, data.draw(places)), data.draw(places))
        agree(prefix.run(changed), plain(changed, inputs))


def test_an_equal_copy_costs_one_pass_and_nothing_more():
    module = graph_of("residual")
    prefix = Prefix(module, batches())
    agree(prefix.run(copy.deepcopy(module)), plain(module, batches()))
    once = prefix.work.macs
    prefix.run(copy.deepcopy(module))
    assert prefix.work.macs == once == prefix.whole.macs


def test_the_work_of_a_whole_evaluation_is_that_of_the_workload():
    net = network("residual", "depthwise", "concat", "up and down", calibrate=False)
    workload = extract(net)
    prefix = Prefix(export_network(net, dynamic_batch=True), batches())
    assert prefix.whole == Work(
        sum(SIZES) * len(workload.mac_layers), sum(SIZES) * sum(x.macs for x in workload)
    )


def test_new_weights_of_the_last_layer_cost_the_last_layer_only():
    module = graph_of("plain", "residual")
    prefix = Prefix(module, batches())
    before = prefix.run(module), Work(prefix.work.image_layers, prefix.work.macs)
    changed = copy.deepcopy(module)
    with torch.no_grad():
        changed.get_parameter("head.2.weight").mul_(2)
    agree(prefix.run(changed), plain(changed, batches()))
    first = prefix.work.macs - before[1].macs
    assert prefix.work.image_layers - before[1].image_layers <= 5 * sum(SIZES)  # to get there
    prefix.run(scaled_after(changed, len(tensors(changed)) - 1))
    assert prefix.work.macs - before[1].macs - first == sum(SIZES) * CHANNELS * 5


def test_changes_in_the_order_of_the_graph_cost_one_pass_for_all_cuts():
    module = graph_of("plain", "plain", "plain", "plain")
    prefix = Prefix(module, batches(), budget=3 * CHANNELS * 4 * 4 * 4 * len(SIZES))
    convs = [node for node in tensors(module) if "conv2d" in str(node.target)]
    for place in convs:
        prefix.run(scaled_after(module, tensors(module).index(place)))
    # five convolutions and a head: cuts need each convolution once; what follows a change is
    # the rest of the network
    after = sum(len(convs) - 1 - index + 1 for index in range(len(convs)))
    assert prefix.work.image_layers == sum(SIZES) * (len(convs) + after)


def test_a_replaced_block_may_read_what_the_original_no_longer_needs():
    module, inputs = graph_of("plain", "plain", "plain"), batches()
    changed = copy.deepcopy(module)
    relus = [node for node in changed.graph.nodes if "relu" in str(node.target)]
    with changed.graph.inserting_after(relus[-1]):
        extra = changed.graph.call_function(torch.ops.aten.add.Tensor, (relus[-1], relus[0]))
    for reader in [user for user in relus[-1].users if user is not extra]:
        reader.replace_input_with(relus[-1], extra)
    changed.recompile()
    prefix = Prefix(module, inputs)
    prefix.run(scaled_after(module, len(tensors(module)) - 2))
    agree(prefix.run(changed), plain(changed, inputs))


class Branch(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.first, self.inner = nn.Conv2d(3, 4, 3), inner

    def forward(self, x):
        return self.inner(self.first(x)).mean((2, 3))


class Own(nn.Module):
    """Has a setting that neither its text nor its state shows."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor


class Leaves(fx.Tracer):
    def is_leaf_module(self, m, qualified_name):
        return isinstance(m, Own) or super().is_leaf_module(m, qualified_name)


def traced(module):
    module.eval()
    return fx.GraphModule(module, Leaves().trace(module))


@pytest.mark.parametrize(
    ("inner", "other"),
    [
        (nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)),
        (nn.LeakyReLU(0.1), nn.LeakyReLU(0.2)),
        (Own(2.0), Own(3.0)),
        (nn.Identity(), nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())),
    ],
)
def test_graphs_of_modules_are_told_apart_by_class_settings_and_state(inner, other):
    first, inputs = Branch(inner), batches()
    second = Branch(other)
    second.first.load_state_dict(first.first.state_dict())
    prefix = Prefix(traced(first), inputs)
    changed = traced(second)
    agree(prefix.run(changed), plain(changed, inputs))
    assert "first" not in prefix.new_values(changed)


def test_only_what_follows_a_change_is_new():
    module = graph_of("residual")
    place = len(tensors(module)) - 1
    assert Prefix(module, []).new_values(scaled_after(module, place))
    assert not Prefix(module, []).new_values(module)


def test_arguments_of_other_types_are_other_values():
    class Net(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def forward(self, x):
            return torch.add(x, x, alpha=self.factor)

    module = fx.symbolic_trace(Net(1))
    assert Prefix(module, []).new_values(fx.symbolic_trace(Net(True)))


def test_two_inputs_are_refused():
    class Two(nn.Module):
        def forward(self, x, y):
            return x + y

    with pytest.raises(HwflowError, match="one input is needed, not of 2"):
        Prefix(fx.symbolic_trace(Two()), [])
