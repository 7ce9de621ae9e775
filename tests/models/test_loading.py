"""Loading networks by name: what comes back, and what is said about a name that means nothing."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import hwflow as hf
from hwflow.errors import ModelError
from hwflow.models import load, model_names

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "weights"
shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data folder is not there")

FACTORIES = """
import torch
from torch import nn
from hwflow.network import Network, Preprocess

def small(num_classes=5):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, num_classes))

def lazy():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(3))

def ready():
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    return Network("mine", module, torch.zeros(1, 3, 2, 2), Preprocess(scale=1.0))

def broken():
    raise OSError("no such disk")

def diverged():
    module = nn.Linear(2, 2)
    module.weight.data[0, 0] = float("nan")
    return module

def text():
    return "a network"

class Net(nn.Module):
    def forward(self, x):
        return x

constant = 3
"""


@pytest.fixture
def factories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's in the current folder."""
    (tmp_path / "their_nets.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "their_nets", raising=False)
    return "their_nets"


@pytest.mark.parametrize(
    ("spec", "shape", "classes"),
    [
        ("cifar:resnet8", (1, 3, 32, 32), 10),
        ("cifar:resnet20", (1, 3, 32, 32), 10),
        ("efficientnet_lite0", (1, 3, 224, 224), 1000),
        ("torchvision:squeezenet1_1", (1, 3, 224, 224), 1000),
    ],
)
def test_a_network_runs_on_its_own_example(spec: str, shape: tuple[int, ...], classes: int) -> None:
    network = load(spec)
    assert network.name == spec
    assert network.example.shape == shape
    assert network.example.dtype == torch.float32
    assert not network.module.training
    with torch.no_grad():
        assert network.module(network.example).shape == (1, classes)


def test_classes_and_input_can_be_chosen() -> None:
    network = load("cifar:resnet8", num_classes=7, input_shape=(1, 8, 8))
    assert network.example.shape == (1, 1, 8, 8)
    assert network.module(network.example).shape == (1, 7)
    assert len(network.preprocess.mean) == 1


def test_random_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    one = load("cifar:resnet8").module.state_dict()
    torch.manual_seed(2)
    two = load("cifar:resnet8").module.state_dict()
    other = load("cifar:resnet8", seed=1).module.state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not torch.equal(one["conv1.weight"], other["conv1.weight"])


def test_loading_leaves_the_random_generator_alone() -> None:
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    load("cifar:resnet8")
    assert torch.equal(torch.rand(4), wanted)


def test_random_weights_have_no_digest() -> None:
    assert load("cifar:resnet8").weights is None


@pytest.mark.shared
@shared
@pytest.mark.parametrize("depth", [20, 32, 44, 56])
def test_published_cifar_weights_load(depth: int) -> None:
    path = SHARED / f"cifar10_resnet{depth}.safetensors"
    network = load(f"cifar:resnet{depth}", weights=path)
    listed = (SHARED / "SHA256SUMS").read_text()
    assert network.weights is not None
    assert f"{network.weights}  {path.name}" in listed.replace(" *", "  ").replace("./", "")


@pytest.mark.shared
@shared
@pytest.mark.parametrize("name", ["cifar10jpeg_resnet20", "cifar10jpeg_resnet56"])
def test_keys_are_those_of_the_full_weights_file(name: str) -> None:
    from safetensors import safe_open

    network = load(f"cifar:{name.rpartition('_')[2]}")
    with safe_open(SHARED / f"{name}.safetensors", "pt") as file:
        assert set(file.keys()) == set(network.module.state_dict())


def test_model_names_can_all_be_asked_for() -> None:
    names = model_names()
    assert len(names) == len(set(names))
    assert {"cifar:resnet8", "cifar:resnet110", "efficientnet_lite0"} <= set(names)
    assert {"torchvision:resnet50", "torchvision:deeplabv3_resnet50"} <= set(names)
    assert len([name for name in names if name.startswith("torchvision:")]) > 80


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("cifar:resnet21", ["'cifar:resnet20'", "cifar:resnet110"]),
        ("cifar:resnet100", ["'cifar:resnet110'"]),
        ("cifar:vgg", ["cifar:resnet20"]),
        ("cifr:resnet20", ["'cifar:resnet20'"]),
        ("torchvision:resnet51", ["'resnet50'"]),
        ("torchvisoin:resnet50", ["'torchvision:resnet50'"]),
        ("resnet50", ["'torchvision:resnet50'"]),
        ("efficientnet_lite1", ["'efficientnet_lite0'"]),
        ("zzzz", ["'zzzz'", "hwflow list models"]),
        ("no/such:thing", ["no/such:thing"]),
        ("", ["Unknown model ''"]),
    ],
)
def test_an_unknown_name_gets_the_nearest(spec: str, words: list[str]) -> None:
    with pytest.raises(ModelError) as error:
        load(spec)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("spec", ["net.onnx", "dir/layers.yaml", "layers.yml"])
def test_a_file_on_paper_can_be_costed_but_not_edited(spec: str) -> None:
    with pytest.raises(ModelError, match=r"can be costed .* but not edited"):
        load(spec)


@pytest.mark.parametrize("spec", ["net.pth", "weights/net.safetensors"])
def test_weights_in_place_of_a_network(spec: str) -> None:
    with pytest.raises(ModelError, match=f"--weights {spec}"):
        load(spec)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_classes": 0}, "num_classes=0"),
        ({"input_shape": (3, 0, 32)}, "channels, height, width"),
        ({"input_shape": (3, 32)}, "channels, height, width"),
    ],
)
def test_impossible_numbers_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        load("cifar:resnet8", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("spec", ["cifar:resnet20", "efficientnet_lite0"])
def test_networks_without_published_weights_say_so(spec: str) -> None:
    with pytest.raises(ModelError, match="no published weights"):
        load(spec, weights="DEFAULT")


def test_a_factory_in_the_current_folder(factories: str) -> None:
    network = load(f"{factories}:small", input_shape=(3, 8, 8))
    assert isinstance(network.module, nn.Sequential)
    assert network.module(network.example).shape == (1, 5)
    assert str(Path.cwd()) not in sys.path


def test_a_factory_gets_the_number_of_classes(factories: str) -> None:
    network = load(f"{factories}:small", num_classes=9, input_shape=(3, 8, 8))
    assert network.module(network.example).shape == (1, 9)


def test_a_factory_may_return_a_network(factories: str) -> None:
    network = load(f"{factories}:ready")
    assert network.name == "mine"
    assert network.preprocess.scale == 1.0
    assert network.weights is not None


def test_weights_of_a_factory_are_identified_by_their_values(factories: str) -> None:
    one = load(f"{factories}:ready", seed=0)
    same = load(f"{factories}:ready", seed=0)
    other = load(f"{factories}:ready", seed=1)
    assert one.weights == same.weights
    assert one.weights != other.weights


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("broken", "OSError: no such disk"),
        ("text", "returned str"),
        ("smal", "Did you mean 'small'"),
        ("constant", "Unknown function"),
        ("diverged", "weight holds 1 NaN"),
        ("lazy", "Run it once"),
    ],
)
def test_what_is_wrong_with_a_factory_is_said(factories: str, function: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        load(f"{factories}:{function}")


def test_a_factory_without_num_classes_says_so(factories: str) -> None:
    with pytest.raises(ModelError, match="num_classes"):
        load(f"{factories}:ready", num_classes=3)


def test_a_network_of_a_factory_keeps_its_own_input(factories: str) -> None:
    with pytest.raises(ModelError, match=r"\(3, 2, 2\)"):
        load(f"{factories}:ready", input_shape=(3, 4, 4))


def test_a_module_that_cannot_be_imported_is_named() -> None:
    with pytest.raises(ModelError, match="No module named 'nowhere_at_all'"):
        load("nowhere_at_all.nets:make")


def test_a_class_is_a_factory_too(factories: str) -> None:
    assert load(f"{factories}:Net", input_shape=(3, 4, 4)).module(torch.ones(1)).item() == 1


def test_load_is_part_of_the_package() -> None:
    assert hf.load is load
