"""A copy of a graph that is about to be changed."""

import copy

import torch
from random_nets import network

from hwflow.edits.quantizers import prepared
from hwflow.edits.twin import twin


def copied(net):
    graph = prepared(net).graph
    made = twin(graph, lambda path, value: value.detach().clone())
    made.recompile()
    return graph, made


def test_computes_the_same_and_shares_nothing():
    net = network("residual", "concat", "statless")
    graph, made = copied(net)
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(made(x), graph(x))
    assert {n: x.shape for n, x in made.state_dict().items()} == {
        n: x.shape for n, x in graph.state_dict().items()
    }
    held = {value.data_ptr() for value in graph.state_dict().values()}
    assert not any(value.data_ptr() in held for value in made.state_dict().values())


def test_tensors_are_made_by_their_first_path_and_what_has_several_stays_one():
    net = network("residual")
    net.module.tied = net.module.stem
    seen = []

    def note(path, value):
        seen.append(path)
        return copy.deepcopy(value)

    graph = prepared(net).graph
    made = twin(graph, note)
    assert len(seen) == len(set(seen))
    assert set(seen) <= {*dict(graph.named_parameters()), *dict(graph.named_buffers())}
    assert made.get_parameter("tied.weight") is made.get_parameter("stem.weight")


def test_a_change_of_the_copy_leaves_the_graph_alone():
    net = network("residual")
    graph, made = copied(net)
    code = graph.code
    relu = next(node for node in made.graph.nodes if "relu" in node.name)
    relu.replace_all_uses_with(relu.args[0])
    made.graph.erase_node(relu)
    made.recompile()
    made.train()
    assert graph.code == code
    assert not graph.training
    assert made.code != code
