"""Networks as exported graphs: what is read, mapped, left alone and refused."""

from __future__ import annotations

import copy

import pytest
import torch
from extract_nets import Apply, Residual, counted_macs, counted_params, extraction, workload
from torch import Tensor, fx, nn

from hwflow.errors import ModelError
from hwflow.extract import extract
from hwflow.extract.call import shape_of
from hwflow.extract.exported import (
    evaluating,
    export_network,
    extract_network,
    is_exported,
    read_graph,
    unfused_attention,
)
from hwflow.network import Network

IMAGE = torch.zeros(1, 3, 8, 8)


@torch.library.custom_op("hwflow_test::grid", mutates_args=())
def grid(x: Tensor, bits: int) -> Tensor:
    return x.clone()


@grid.register_fake
def _(x: Tensor, bits: int) -> Tensor:
    return torch.empty_like(x)


def network(module: nn.Module | None = None, example: Tensor = IMAGE) -> Network:
    return Network("net", module or Residual(), example)


class TestResidual:
    def test_layers(self):
        found = workload(Residual())
        assert [(layer.name, layer.op) for layer in found] == [
            ("conv1", "conv"), ("conv2", "conv"), ("add", "add"), ("pool", "avg_pool"),
            ("reshape", "reshape"), ("fc", "linear"),
        ]  # fmt: skip

    def test_folds(self):
        found = workload(Residual())
        assert (found["conv1"].norm, found["conv1"].act) == ("batch", ("relu",))
        assert (found["conv2"].norm, found["conv2"].act) == ("batch", ())
        assert found["add"].act == ("relu",)

    def test_readers(self):
        found = workload(Residual())
        assert found.readers["conv1"] == ("conv2", "add")
        assert found.mac_readers("conv1") == ("conv2", "fc")
        assert found.outputs == ("fc",)

    def test_counts(self):
        net = Residual()
        found = workload(net, (1, 3, 8, 8))
        assert found.macs == counted_macs(net, IMAGE)
        assert found.params == counted_params(net)
        assert found.loose_params == 0

    def test_everything_is_float(self):
        found = workload(Residual())
        assert {layer.weight_bits for layer in found} == {32}
        assert {layer.output_bits for layer in found} == {32}

    def test_paths_are_modules(self):
        net = Residual()
        for layer in workload(net).mac_layers:
            assert net.get_submodule(layer.path).weight.numel() == layer.weights


class TestMappings:
    def test_every_tensor_has_the_node_of_its_final_value(self):
        found = extraction(Residual())
        values = {name: str(node.target) for name, node in found.values.items()}
        assert values == {
            "x": "x", "conv1": "aten.relu.default", "conv2": "aten.batch_norm.default",
            "add": "aten.relu.default", "pool": "aten.adaptive_avg_pool2d.default",
            "reshape": "aten.flatten.using_ints", "fc": "aten.linear.default",
        }  # fmt: skip

    def test_values_have_the_shape_of_the_layers(self):
        found = extraction(Residual())
        assert all(
            shape_of(found.values[layer.name]) == layer.out_shape for layer in found.workload
        )

    def test_every_weight_has_the_node_that_the_layer_is_passed(self):
        found = extraction(Residual())
        assert {name: node.target for name, node in found.weights.items()} == {
            "conv1": "conv1.weight", "conv2": "conv2.weight", "fc": "fc.weight",
        }  # fmt: skip

    def test_nodes_are_of_the_graph(self):
        found = extraction(Residual())
        nodes = set(found.graph.nodes)
        assert nodes >= set(found.values.values()) | set(found.weights.values())


class TestOtherForms:
    def test_graph_of_any_batch_gives_the_workload_of_one_image(self):
        module = Residual()
        dynamic = read_graph(export_network(network(module), dynamic_batch=True), "net")
        assert dynamic.workload == extract(network(module))

    def test_graph_of_any_batch_takes_any_batch(self):
        module = Residual().eval()
        graph = export_network(network(module), dynamic_batch=True)
        x = torch.randn(5, 3, 8, 8)
        torch.testing.assert_close(graph(x), module(x))

    def test_shape_arithmetic_on_the_batch_is_no_layer(self):
        net = Apply(lambda m, x: m.fc(x.view(x.shape[0], -1)), fc=nn.Linear(192, 4))
        dynamic = read_graph(export_network(network(net), dynamic_batch=True), "net")
        assert [layer.name for layer in dynamic.workload] == ["reshape", "fc"]
        assert dynamic.workload["fc"].in_shapes == ((1, 192),)

    def test_batch_merged_with_windows_is_read_as_one_image(self):
        net = Apply(
            lambda m, x: m.fc(x.view(x.shape[0] * 3, 64)).view(x.shape[0], 3, -1),
            fc=nn.Linear(64, 4),
        )
        dynamic = read_graph(export_network(network(net), dynamic_batch=True), "net")
        assert dynamic.workload == extract(network(net))

    def test_example_of_two_images_gives_a_batch_of_two(self):
        two = extract(network(example=torch.zeros(2, 3, 8, 8)))
        one = extract(network())
        assert two.macs == one.with_batch(2).macs
        assert two["conv1"].batch == 2

    def test_exported_graph_is_read_directly(self):
        module = Residual()
        graph = export_network(network(module))
        assert is_exported(graph)
        found = extract_network(network(graph))
        assert found.graph is graph.graph
        assert found.workload == extract(network(module))

    def test_copy_of_an_exported_graph_reads_the_same(self):
        graph = export_network(network())
        assert extract(network(copy.deepcopy(graph))) == extract(network(graph))

    def test_graph_of_modules_is_exported(self):
        module = Residual()
        traced = fx.symbolic_trace(module.eval())
        assert not is_exported(traced)
        assert extract(network(traced)).macs == extract(network(module)).macs

    def test_network_of_one_view_has_no_macs(self):
        assert workload(nn.Flatten()).macs == 0


class TestNames:
    def test_of_repeated_modules_are_numbered(self):
        net = Apply(lambda m, x: m.pool(m.pool(x)), pool=nn.MaxPool2d(2))
        assert [layer.name for layer in workload(net)] == ["pool", "pool#2"]

    def test_of_nested_modules_are_paths(self):
        net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1), nn.MaxPool2d(2)), nn.Flatten())
        assert [layer.name for layer in workload(net)] == ["0.0", "0.1", "1"]

    def test_of_operators_in_own_modules_carry_the_operator(self):
        net = nn.Sequential(Apply(lambda _, x: x + x.relu()))
        assert [layer.name for layer in workload(net)] == ["0.act", "0.add"]

    def test_do_not_change_when_norms_are_fused(self):
        net = Residual().eval()
        names = [layer.name for layer in workload(net)]
        fused = copy.deepcopy(net)
        for conv, norm in (("conv1", "bn1"), ("conv2", "bn2")):
            merged = torch.nn.utils.fusion.fuse_conv_bn_eval(getattr(net, conv), getattr(net, norm))
            setattr(fused, conv, merged)
            setattr(fused, norm, nn.Identity())
        assert [layer.name for layer in workload(fused)] == names


class TestParameters:
    def test_of_heads_that_do_not_run_are_loose(self):
        net = Apply(lambda m, x: m.conv(x), conv=nn.Conv2d(3, 4, 1), aux=nn.Linear(100, 10))
        found = workload(net)
        assert found.loose_params == 1010
        assert found.params == counted_params(net)

    def test_of_a_tied_bias_count_once(self):
        a, b = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        b.bias = a.bias
        net = nn.Sequential(a, b)
        assert workload(net).params == counted_params(net) == 21


class TestLeavesAlone:
    def test_mode_of_every_module(self):
        module = Residual()
        module.train()
        module.bn1.eval()
        before = [part.training for part in module.modules()]
        extract(network(module))
        assert [part.training for part in module.modules()] == before

    def test_parameters_statistics_and_gradients(self):
        module = Residual()
        before = copy.deepcopy(module.state_dict())
        extract(network(module))
        assert all(torch.equal(module.state_dict()[key], value) for key, value in before.items())
        assert all(parameter.requires_grad for parameter in module.parameters())

    def test_modules_that_override_eval(self):
        class Stubborn(Residual):
            def train(self, mode: bool = True) -> Stubborn:
                raise RuntimeError("not now")

        assert extract(network(Stubborn())).macs > 0

    def test_mode_after_a_failure(self):
        module = nn.Sequential(nn.Conv2d(5, 4, 1)).train()
        with pytest.raises(ModelError):
            extract(network(module))
        assert module.training

    def test_attention_switch(self):
        before = torch.backends.mha.get_fastpath_enabled()
        with unfused_attention():
            assert not torch.backends.mha.get_fastpath_enabled()
        assert torch.backends.mha.get_fastpath_enabled() == before

    def test_flags_only_while_evaluating(self):
        module = Residual().train()
        with evaluating(module):
            assert not any(part.training for part in module.modules())
        assert all(part.training for part in module.modules())


class TestRefuses:
    def test_what_cannot_be_exported_with_torchs_reason(self):
        net = Apply(lambda _, x: x if x.sum() > 0 else -x)
        with pytest.raises(
            ModelError, match=r"Network 'net' cannot be exported: .+ONNX file"
        ) as info:
            extract(network(net))
        assert "(1, 3, 8, 8)" in str(info.value)
        assert "\n" not in str(info.value)

    def test_input_of_the_wrong_shape(self):
        with pytest.raises(ModelError, match=r"expected input.+to have 5 channels"):
            extract(network(nn.Conv2d(5, 4, 1)))

    def test_graph_of_modules(self):
        traced = fx.symbolic_trace(Residual().eval())
        with pytest.raises(ModelError, match=r"Graph 'net' calls 'conv1', expected ATen operators"):
            read_graph(traced, "net")

    def test_batch_that_the_network_fixes(self):
        net = Apply(lambda m, x: x.view(2, 192) * 2)
        with pytest.raises(ModelError, match=r"for any batch \(write x.shape\[0\]"):
            export_network(network(net, torch.zeros(2, 3, 8, 8)), dynamic_batch=True)


class TestQuantisers:
    """Fake-quantise nodes put in by hand, as an edit does."""

    @pytest.fixture
    def module(self) -> nn.Module:
        return Residual()

    def quantised(
        self, module: nn.Module, tensors: dict[str, int], weights: dict[str, int]
    ) -> fx.GraphModule:
        import hwflow.fake_quantize  # noqa: F401  # registers the operator

        graph_module = export_network(network(module), dynamic_batch=True)
        graph_module.register_buffer("scale", torch.ones(1))
        graph_module.register_buffer("zero", torch.zeros(1, dtype=torch.int32))
        found = read_graph(graph_module, "net")
        places = [(found.values[name], bits) for name, bits in tensors.items()]
        places += [(found.weights[name], bits) for name, bits in weights.items()]
        for node, bits in places:
            self.put(graph_module, node, bits)
        graph_module.recompile()
        return graph_module

    def put(self, graph_module: fx.GraphModule, node: fx.Node, bits: int) -> None:
        graph = graph_module.graph
        with graph.inserting_after(node):
            quantizer = graph.call_function(torch.ops.hwflow.fake_quantize.default)
        with graph.inserting_before(quantizer):
            scale, zero = graph.get_attr("scale"), graph.get_attr("zero")
        node.replace_all_uses_with(quantizer)
        quantizer.args = (node, scale, zero, bits, True, -1)

    def test_say_the_bits_and_are_no_layers(self, module: nn.Module):
        graph = self.quantised(
            module, {"x": 8, "conv1": 4, "conv2": 4, "add": 6}, {"conv1": 2, "fc": 8}
        )
        found = extract(network(graph))
        assert found == extract(network(module)).with_bits(
            {"conv1": 2, "fc": 8},
            {"x": 8, "conv1": 4, "conv2": 4, "add": 6, "reshape": 32},
        )

    def test_pass_through_what_only_moves_values(self):
        net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 2))
        found = extract(network(self.quantised(net, {"0": 5}, {})))
        assert found["3"].input_bits == (5,)
        assert found["1"].output_bits == 5

    def test_do_not_hide_weights(self, module: nn.Module):
        graph = self.quantised(module, {}, {"conv1": 3})
        found = read_graph(graph, "net")
        assert found.weights["conv1"].target == "conv1.weight"
        assert found.workload["conv1"].params == 4 * 27 + 8

    def test_do_not_keep_a_norm_from_folding(self, module: nn.Module):
        found = extract(network(self.quantised(module, {}, {"conv1": 3})))
        assert found["conv1"].norm == "batch"

    def test_learned_scales_are_no_parameters_of_the_network(self, module: nn.Module):
        graph = self.quantised(module, {"conv1": 4}, {"conv1": 4})
        del graph.scale
        graph.scale = nn.Parameter(torch.ones(1))
        assert extract(network(graph)).params == counted_params(module)

    def test_of_values_are_the_nodes_before_them(self, module: nn.Module):
        found = read_graph(self.quantised(module, {"conv1": 4}, {}), "net")
        assert str(found.values["conv1"].target) == "aten.relu.default"

    def test_other_custom_operators_are_unknown(self):
        net = Apply(lambda m, x: torch.ops.hwflow_test.grid(m.conv(x), 4), conv=nn.Conv2d(3, 4, 1))
        (layer,) = workload(net).unknown
        assert layer.attr("target") == "hwflow_test.grid.default"


class TestSeveralTensors:
    def test_outputs_leave_in_order(self):
        class Two(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 5, 1)

            def forward(self, x: Tensor) -> dict[str, Tensor]:
                return {"b": self.b(x), "a": self.a(x)}

        assert workload(Two()).outputs == ("b", "a")

    def test_output_that_is_read_too_keeps_its_norm_apart(self):
        class Deep(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv, self.bn = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

            def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
                y = self.conv(x)
                return y, self.bn(y)

        assert [layer.op for layer in workload(Deep())] == ["conv", "norm"]
