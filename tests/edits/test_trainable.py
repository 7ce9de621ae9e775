import copy

import pytest
import torch
from torch import nn

from hwflow.edits.trainable import TrainableGraph, trainable


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.statless = nn.BatchNorm2d(4, track_running_stats=False)
        self.drop, self.drop2d = nn.Dropout(0.5), nn.Dropout2d(0.3)

    def forward(self, x):
        return self.drop2d(self.drop(self.statless(self.norm(self.conv(x)))))


@pytest.fixture
def module():
    torch.manual_seed(0)
    net = Net().eval()
    net.norm.running_mean.normal_()
    return net


@pytest.fixture
def graph(module):
    x = torch.randn(2, 3, 6, 6)
    dims = ({0: torch.export.Dim("batch")},)
    return trainable(torch.export.export(module, (x,), dynamic_shapes=dims).module()).eval()


X = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def test_it_computes_what_the_module_does_for_any_batch(module, graph):
    for x in (X, X[:1]):
        assert torch.equal(graph(x), module(x))


def test_in_training_it_drops_out_and_normalises_by_the_batch(module, graph):
    assert graph.train() is graph
    assert graph.training
    module.train()
    torch.manual_seed(5)
    expected = module(X)
    torch.manual_seed(5)
    assert torch.allclose(graph(X), expected)
    assert torch.allclose(graph.norm.running_mean, module.norm.running_mean)


def test_back_in_evaluation_it_computes_what_it_did(graph):
    before = graph(X)
    graph.train()
    graph.eval()
    assert not graph.training
    assert torch.equal(graph(X), before)


def test_a_flag_set_by_hand_switches_too(graph):
    before = graph(X)
    graph.training = True
    assert not torch.equal(graph(X), before)
    graph.training = False
    nodes = graph.graph.find_nodes(op="call_function", target=torch.ops.aten.dropout.default)
    assert [node.args[2] for node in nodes] == [False]


def test_norms_without_statistics_normalise_by_the_batch_in_both_modes(graph):
    modes = {}
    for mode in (True, False):
        graph.train(mode)
        nodes = graph.graph.find_nodes(op="call_function", target=torch.ops.aten.batch_norm.default)
        modes[mode] = [node.args[5] for node in nodes]
    assert modes == {True: [True, True], False: [False, True]}


def test_a_copy_is_trainable_and_shares_nothing(graph):
    twin = copy.deepcopy(graph)
    assert isinstance(twin, TrainableGraph)
    assert not twin.training
    twin.train()
    assert not graph.training
    held = {p.data_ptr() for p in graph.parameters()}
    assert not held & {p.data_ptr() for p in twin.parameters()}


def test_names_of_parameters_and_buffers_are_those_of_the_module(module, graph):
    assert graph.state_dict().keys() == module.state_dict().keys()


def test_the_program_it_came_from_stays_as_it_was(module):
    program = torch.export.export(module, (X,)).module()
    before = [str(node) for node in program.graph.nodes]
    trainable(program).train()
    assert [str(node) for node in program.graph.nodes] == before
    assert torch.equal(program(X), module(X))


def test_gradients_reach_every_parameter_in_training(graph):
    graph.train()
    graph(X).square().sum().backward()
    assert all(p.grad is not None for p in graph.parameters())
