"""Half of the channels out of published networks: square, masked twin, ONNX Runtime."""

import random

import pytest
import torch
import torchvision
from masked_twins import differs, lively, masked_twin, random_kept, relative_error
from torch import Tensor, nn

import hwflow as hf
from hwflow.coupling import channel_groups, couple
from hwflow.design import Design
from hwflow.edits.fuse import read
from hwflow.edits.prune import Prune, prune
from hwflow.errors import HwflowError
from hwflow.extract import extract
from hwflow.machine import load_machine
from hwflow.network import Network
from hwflow.testing import difference

pytestmark = pytest.mark.slow

EYERISS = load_machine("eyeriss")

SIZES = {"googlenet": 96, "inception_v3": 139, "alexnet": 96, "vit_b_16": 224, "maxvit_t": 224}

GROUPS = {
    "resnet18": 12, "resnet50": 37, "mobilenet_v2": 25, "mobilenet_v3_large": 30,
    "efficientnet_b0": 40, "densenet121": 120, "regnet_y_400mf": 38, "shufflenet_v2_x1_0": 31,
    "googlenet": 57, "convnext_tiny": 18, "deeplabv3_resnet50": 44,
    "lraspp_mobilenet_v3_large": 30, "squeezenet1_1": 25, "vgg16_bn": 15, "mnasnet1_0": 25,
    "resnext50_32x4d": 21, "inception_v3": 94, "alexnet": 7, "efficientnet_v2_s": 75,
    "vit_b_16": 12, "fcn_resnet50": 38,
}  # fmt: skip
"""How many decisions there are. Nothing fails; what stays is said in STAY."""

STAY = {
    "convnext_tiny": ("features.0.0", "features.0.1 is a layer norm over the channels"),
    "vit_b_16": ("conv_proj", "concat puts tensors together along another axis"),
    "shufflenet_v2_x1_0": ("stage2.0.branch1.2", "has its channels tied to one another"),
    "deeplabv3_resnet50": ("classifier.4", "leaves the network"),
}
"""A layer whose channels stay, and why: what the user is told."""


def zoo(name: str) -> Network:
    """Return a network of random weights with statistics as of a trained one."""
    torch.manual_seed(0)
    options = {"init_weights": False} if name in {"googlenet", "inception_v3"} else {}
    if name.startswith(("deeplab", "lraspp", "fcn")):
        options["weights_backbone"] = None
    module = torchvision.models.get_model(name, weights=None, **options).eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
    for path, parameter in module.named_parameters():
        if path.endswith("layer_scale"):  # 1e-6 when new: the block would not be seen
            nn.init.uniform_(parameter, 0.5, 1)
        elif not parameter.any():
            nn.init.normal_(parameter, 0, 0.05)
    size = SIZES.get(name, 64)
    return lively(Network(name, module, torch.randn(1, 3, size, size)))


def run(module: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        output = module(images)
    return output if isinstance(output, Tensor) else output["out"]


@pytest.mark.parametrize("name", sorted(GROUPS))
def test_random_channels_out_of_published_networks(name, tmp_path):
    net = zoo(name)
    coupling = couple(read(net).workload)
    assert len(coupling.names) == GROUPS[name]
    edit = Prune(random_kept(coupling, random.Random(0), fewest=0.5))
    pruned = edit.in_network(net)
    found, paper = extract(pruned), edit.on_paper(Design(coupling.workload, EYERISS)).workload
    assert found == paper, difference(found, paper)
    assert found.macs < 0.9 * coupling.workload.macs
    images = torch.randn(2, *net.example.shape[1:])
    expected = run(masked_twin(net, edit.kept), images)
    assert differs(expected) > 1e-3  # else an error would not be seen
    assert relative_error(run(pruned.module, images), expected) < 1e-5
    hf.to_onnx(pruned, tmp_path / "pruned.onnx")  # compares with ONNX Runtime, or raises


@pytest.mark.parametrize("name", sorted(STAY))
def test_what_stays_is_named_with_the_reason(name):
    layer, why = STAY[name]
    assert why in couple(read(zoo(name)).workload).why[layer]


def test_a_network_of_which_every_group_is_excluded_says_what_stays():
    net = zoo("resnet18")
    layers = [layer.name for layer in read(net).workload.mac_layers]
    with pytest.raises(HwflowError, match=r"layer1\.0\.conv1: layer1\.0\.conv1 is excluded"):
        prune(net, exclude=layers)


def test_an_onnx_file_has_the_groups_of_its_network(tmp_path):
    net = hf.load("cifar:resnet20")
    hf.to_onnx(net, tmp_path / "net.onnx")
    ours = [(group.size, group.width) for group in channel_groups(extract(net))]
    read_back = channel_groups(extract(tmp_path / "net.onnx"))
    assert [(group.size, group.width) for group in read_back] == ours


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_published_networks_pruned_and_quantised(name, tmp_path):
    net = zoo(name).calibrated(torch.randn(2, 3, 64, 64))
    space = prune(net) + hf.quantize(net, bits=(2, 8))
    plan = space.sample(random.Random(0))
    made = space.apply(plan)
    paper = space.on_paper(plan, Design(space.workload, EYERISS)).workload
    assert extract(made) == paper, difference(extract(made), paper)
    hf.to_onnx(made, tmp_path / "small.onnx")
