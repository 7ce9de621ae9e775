"""torchvision by name: families, sizes and preprocessing of the published weights, old keys."""

import re
from pathlib import Path

import pytest
import torch
from torchvision import models

from hwflow.errors import ModelError
from hwflow.models import load
from hwflow.models.torchvision_zoo import torchvision_blueprint, torchvision_names


def test_names_are_networks_from_one_image_to_one_output() -> None:
    names = torchvision_names()
    assert {"resnet50", "inception_v3", "swin_t", "fcn_resnet50"} <= set(names)
    odd = re.compile("rcnn|raft|r3d|quantized|ssd|retina|mvit|swin3d|s3d|fcos")
    assert not [name for name in names if odd.search(name)]


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("fasterrcnn_resnet50_fpn", "detection"),
        ("ssd300_vgg16", "detection"),
        ("r3d_18", "video"),
        ("raft_small", "two images"),
        ("quantized_resnet50", "torchvision:resnet50"),
    ],
)
def test_other_families_say_what_they_are(name: str, word: str) -> None:
    with pytest.raises(ModelError, match=word):
        load(f"torchvision:{name}")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnet18", (3, 224, 224)),
        ("inception_v3", (3, 299, 299)),
        ("efficientnet_b1", (3, 240, 240)),
        ("swin_v2_t", (3, 256, 256)),
        ("vit_h_14", (3, 518, 518)),
        ("lraspp_mobilenet_v3_large", (3, 520, 520)),
    ],
)
def test_the_input_is_that_of_the_published_weights(name: str, shape: tuple[int, ...]) -> None:
    assert torchvision_blueprint(name, None, None, pretrained=False).shape == shape


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "swin_t", "mobilenet_v3_small"])
def test_preprocessing_is_the_presets(name: str) -> None:
    found = torchvision_blueprint(name, None, None, pretrained=True).preprocess
    preset = models.get_model_weights(name).DEFAULT.transforms()
    assert found.mean == tuple(preset.mean)
    assert found.std == tuple(preset.std)
    assert found.size == (preset.crop_size[0], preset.crop_size[0])
    assert round(preset.crop_size[0] / found.crop) == preset.resize_size[0]
    assert found.interpolation == preset.interpolation.value


def test_the_newest_weights_may_want_another_preprocessing() -> None:
    first = torchvision_blueprint("resnet50", None, None, pretrained=False).preprocess
    newest = torchvision_blueprint("resnet50", None, None, pretrained=True).preprocess
    assert first.crop == 224 / 256
    assert newest.crop == 224 / 232


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_networks_from_tensorflow_take_their_scale_as_preprocessing(name: str) -> None:
    """torchvision's correction inside the network is the same as mean and deviation of 0.5."""
    plan = torchvision_blueprint(name, None, None, pretrained=False)
    assert plan.preprocess.mean == plan.preprocess.std == (0.5, 0.5, 0.5)
    image = torch.rand(1, 3, 75, 75)
    preset = models.get_model_weights(name).DEFAULT.transforms()
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (preset.mean, preset.std))
    theirs = models.get_model(name, weights=None, init_weights=False, transform_input=True)
    inside = theirs._transform_input((image - mean) / std)
    torch.testing.assert_close(inside, (image - 0.5) / 0.5)
    module = plan.build()
    assert module.transform_input is False


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_heads_for_training_are_there_unless_weights_are_given(name: str) -> None:
    """Untrained, the network has the parameters of torchvision's own."""
    with torch.device("meta"):
        own = models.get_model(name, weights=None, init_weights=False)
        whole = torchvision_blueprint(name, None, None, pretrained=False).build()
        trained = torchvision_blueprint(name, None, None, pretrained=False, heads=False).build()
    assert [p.shape for p in whole.parameters()] == [p.shape for p in own.parameters()]
    assert not any("aux" in key.lower() for key in trained.state_dict())


@pytest.mark.parametrize("name", ["resnet18", "fcn_resnet50", "squeezenet1_0", "mnasnet0_5"])
def test_the_number_of_classes_can_be_chosen(name: str) -> None:
    module = torchvision_blueprint(name, 7, (3, 64, 64), pretrained=False).build().eval()
    with torch.no_grad():
        out = module(torch.zeros(1, 3, 64, 64))
    out = out["out"] if isinstance(out, dict) else out
    assert out.shape[:2] == (1, 7)


def test_segmentation_keeps_its_own_module_and_its_dict() -> None:
    network = load("torchvision:lraspp_mobilenet_v3_large", input_shape=(3, 64, 64))
    assert type(network.module).__name__ == "LRASPP"
    with torch.no_grad():
        assert network.module(network.example)["out"].shape == (1, 21, 64, 64)


def test_a_vision_transformer_is_built_for_the_size_asked() -> None:
    plan = torchvision_blueprint("vit_b_32", None, (3, 64, 64), pretrained=False)
    with torch.device("meta"):
        module = plan.build()
    assert module.image_size == 64
    assert plan.preprocess.size == (64, 64)


@pytest.mark.parametrize(
    ("name", "shape", "word"),
    [
        ("resnet18", (1, 224, 224), "3 channels, not 1"),
        ("inception_v3", (3, 64, 64), "75x75 or more"),
        ("vit_b_32", (3, 70, 70), "cannot be built for input 3x70x70"),
        ("vit_b_32", (3, 64, 32), "square"),
    ],
)
def test_impossible_inputs_are_refused(name: str, shape: tuple[int, int, int], word: str) -> None:
    with pytest.raises(ModelError, match=word):
        load(f"torchvision:{name}", input_shape=shape)


def test_training_heads_in_a_weights_file_are_left_out(tmp_path: Path) -> None:
    full = models.googlenet(weights=None, init_weights=False, aux_logits=True)
    torch.save(full.state_dict(), tmp_path / "googlenet.pth")
    network = load("torchvision:googlenet", weights=tmp_path / "googlenet.pth")
    assert torch.equal(network.module.fc.weight, full.fc.weight)


def test_old_names_of_densenet_are_understood(tmp_path: Path) -> None:
    state = models.densenet121(weights=None).state_dict()
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))(\d\.)", r"\1.\2", k): v for k, v in state.items()
    }
    assert set(old) != set(state)
    torch.save(old, tmp_path / "densenet121.pth")
    network = load("torchvision:densenet121", weights=tmp_path / "densenet121.pth")
    key = "features.denseblock1.denselayer1.norm1.weight"
    assert torch.equal(network.module.state_dict()[key], state[key])


def test_networks_whose_load_asks_for_a_version_load(tmp_path: Path) -> None:
    state = models.mnasnet0_5(weights=None).state_dict()
    torch.save(dict(state), tmp_path / "mnasnet.pth")
    network = load("torchvision:mnasnet0_5", weights=tmp_path / "mnasnet.pth")
    assert torch.equal(network.module.state_dict()["layers.0.weight"], state["layers.0.weight"])


def test_published_weights_come_from_the_cache_when_they_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    entry = models.get_model_weights("squeezenet1_1").DEFAULT
    cached = tmp_path / "checkpoints" / Path(entry.url).name
    cached.parent.mkdir()
    state = models.squeezenet1_1(weights=None).state_dict()
    torch.save(state, cached)
    network = load("torchvision:squeezenet1_1", weights="DEFAULT")
    assert network.weights is not None
    assert torch.equal(network.module.state_dict()["features.0.weight"], state["features.0.weight"])


def test_a_failed_download_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(ModelError, match=r"no route to host.*give its path as weights"):
        load("torchvision:squeezenet1_1", weights="DEFAULT")


def test_nothing_is_fetched_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    for name in ("resnet18", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"):
        assert load(f"torchvision:{name}", input_shape=(3, 64, 64)).weights is None
