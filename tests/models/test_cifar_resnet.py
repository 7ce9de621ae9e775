"""The CIFAR ResNets: sizes of the paper, names of the weights in use, the plain shortcut."""

import pytest
import torch

from hwflow.models.cifar_resnet import DEPTHS, Block, cifar_resnet


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("depth", "count"),
    [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018), (110, 1_727_962)],
)
def test_parameters_are_those_of_the_published_networks(depth: int, count: int) -> None:
    assert parameters(cifar_resnet(depth)) == count


@pytest.mark.parametrize("depth", DEPTHS)
def test_depth_counts_convolutions_and_the_linear_layer(depth: int) -> None:
    module = cifar_resnet(depth)
    kinds = (torch.nn.Conv2d, torch.nn.Linear)
    assert sum(isinstance(part, kinds) for part in module.modules()) == depth


def test_parameter_names() -> None:
    names = set(dict(cifar_resnet(20).named_parameters()))
    assert {"conv1.weight", "bn1.weight", "bn1.bias", "linear.weight", "linear.bias"} <= names
    for stage in (1, 2, 3):
        for block in range(3):
            for part in ("conv1", "bn1", "conv2", "bn2"):
                assert f"layer{stage}.{block}.{part}.weight" in names
    assert not any("shortcut" in name or "downsample" in name for name in names)


@pytest.mark.parametrize(
    ("channels", "classes", "size"), [(3, 10, 32), (1, 10, 8), (3, 100, 32), (2, 7, 20)]
)
def test_channels_classes_and_size_can_be_chosen(channels: int, classes: int, size: int) -> None:
    module = cifar_resnet(8, classes, channels).eval()
    assert module(torch.zeros(2, channels, size, size)).shape == (2, classes)


def test_stages_halve_the_image_and_double_the_channels() -> None:
    module = cifar_resnet(20).eval()
    x = module.conv1(torch.zeros(1, 3, 32, 32))
    shapes = []
    for stage in (module.layer1, module.layer2, module.layer3):
        x = stage(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]


def test_shortcut_is_every_other_pixel_between_zero_channels() -> None:
    x = torch.randn(2, 16, 8, 8)
    out = Block(16, 32, stride=2).shortcut(x)
    assert out.shape == (2, 32, 4, 4)
    assert torch.equal(out[:, 8:24], x[:, :, ::2, ::2])
    assert not out[:, :8].any()
    assert not out[:, 24:].any()


def test_shortcut_with_an_odd_number_of_new_channels_keeps_them_all() -> None:
    out = Block(3, 8, stride=1).shortcut(torch.ones(1, 3, 2, 2))
    assert out.sum(dim=(0, 2, 3)).tolist() == [0, 0, 4, 4, 4, 0, 0, 0]


def test_shortcut_of_an_unchanged_shape_is_the_input_itself() -> None:
    x = torch.randn(1, 16, 8, 8)
    assert Block(16, 16, stride=1).shortcut(x) is x
