"""Module paths out of what the exporters of torch leave behind."""

from __future__ import annotations

import pytest
from onnx import helper

from hwflow.extract.onnx_names import Place, parameter_path, places


def place_of(name: str, *others: str) -> Place:
    nodes = [helper.make_node("Relu", ["x"], ["y"], name=n) for n in (name, *others)]
    return places(nodes)[0]


@pytest.mark.parametrize(
    ("names", "path"),
    [
        (["layer1.0.conv1.weight"], "layer1.0.conv1"),
        (["onnx::Conv_12", "layer1.0.conv1.weight"], "layer1.0.conv1"),
        (["attention.in_proj_weight"], "attention.in_proj"),
        (["attention.in_proj_bias"], "attention.in_proj"),
        (["trunk.block1-0.proj.weight"], "trunk.block1-0.proj"),
        (["fc.weight_quantized"], "fc"),
        (["val_12", "onnx::MatMul_3"], ""),
        (["weight"], ""),
        ([], ""),
    ],
)
def test_parameters_give_the_path_of_their_module(names: list[str], path: str):
    assert parameter_path(names) == path


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("/layer1/layer1.0/conv1/Conv", "layer1.0.conv1"),
        ("/features/features.1/block/block.0/block.0.0/Conv", "features.1.block.0.0"),
        ("/encoder/layers/encoder_layer_0/ln_1/LayerNorm", "encoder.layers.encoder_layer_0.ln_1"),
        ("/Add", ""),
        ("node_conv2d_3", ""),
        ("", ""),
    ],
)
def test_classic_names_give_the_path_of_their_module(name: str, path: str):
    assert place_of(name).module == path


def test_module_of_one_node_is_a_leaf():
    assert place_of("/pool/MaxPool", "/conv/Conv").leaf


@pytest.mark.parametrize("other", ["/block/Relu", "/block/conv/Conv"], ids=["two", "parts"])
def test_module_of_more_is_none(other: str):
    assert not place_of("/block/Add", other).leaf


def test_root_is_no_leaf():
    assert not place_of("/Flatten").leaf


def noted(scopes: str, classes: str) -> Place:
    node = helper.make_node("Relu", ["x"], ["y"])
    for key, value in (("name_scopes", scopes), ("class_hierarchy", classes)):
        entry = node.metadata_props.add()
        entry.key, entry.value = f"pkg.torch.onnx.{key}", value
    return places([node])[0]


def test_notes_give_module_and_kind():
    found = noted("['', 'a', 'a.0', 'relu']", "['N', 'B', 'torch.nn.modules.activation.ReLU', 'r']")
    assert found == Place("a.0", True)


def test_notes_of_another_kind_of_module_are_no_leaf():
    assert not noted("['', 'a', 'add']", "['N', 'torchvision.models.resnet.BasicBlock', 'a']").leaf


def test_nodes_without_notes_are_in_the_module_around_their_readers():
    split = helper.make_node("Split", ["x"], ["a", "b"])
    readers = [helper.make_node("Relu", [name], [f"{name}2"]) for name in "ab"]
    for node, scope in zip(
        readers, ("'block', 'block.left', 'relu'", "'block', 'add'"), strict=True
    ):
        entry = node.metadata_props.add()
        entry.key, entry.value = "pkg.torch.onnx.name_scopes", f"['', {scope}]"
    assert places([split, *readers])[0] == Place("block", False)


@pytest.mark.parametrize("text", ["", "no list", "{'a': 1}", "['']", "__import__('os')"])
def test_notes_that_say_nothing_are_passed_over(text: str):
    assert noted(text, "[]") == Place("", False)
