"""Training: it learns, repeats, spares its input, distils, trains quantised graphs, and says no."""

import copy
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn

import hwflow as hf
from hwflow import fake_quantize
from hwflow.data import Split, Stream, load_data
from hwflow.data.sources import TensorSource
from hwflow.errors import HwflowError
from hwflow.network import Network, Preprocess
from hwflow.quality.accuracy import evaluate
from hwflow.running import state_digest
from hwflow.train import (
    Distillation,
    Progress,
    augmented,
    reestimate_batchnorm,
    train,
)  # fmt: skip
from hwflow.train.schedule import share_of_peak


def points(count: int = 120, seed: int = 0) -> Split:
    """Return two clouds of points as 1-pixel images of two channels."""
    draw = torch.Generator().manual_seed(seed)
    targets = torch.arange(count) % 2
    inputs = torch.randn(count, 2, generator=draw) + 3.0 * targets[:, None]
    return Split("train", TensorSource(inputs.view(count, 2, 1, 1), targets))


def line(seed: int = 0, *, norm: bool = False) -> Network:
    """Return a linear classifier of points, perhaps behind a batch normalisation."""
    torch.manual_seed(seed)
    first: nn.Module = nn.BatchNorm2d(2) if norm else nn.Identity()
    module = nn.Sequential(first, nn.Flatten(), nn.Linear(2, 2)).eval()
    return Network("line", module, torch.zeros(1, 2, 1, 1), Preprocess((0.0,) * 2, (1.0,) * 2))


@pytest.fixture(scope="module")
def digits() -> hf.Network:
    return hf.load("cifar:resnet8", num_classes=10, input_shape=(1, 8, 8))


@pytest.fixture(scope="module")
def trained(digits: hf.Network) -> hf.Network:
    data = load_data("digits", digits)
    return train(digits, data.train, epochs=6, lr=0.1, batch_size=64, seed=0)


def test_a_small_resnet_learns_digits(digits: hf.Network, trained: hf.Network) -> None:
    data = load_data("digits", digits)
    assert evaluate(digits, data.val) < 0.4
    assert evaluate(trained, data.val) > 0.95
    assert evaluate(trained, data.test) > 0.95


def test_the_network_given_is_left_as_it_was() -> None:
    network = line(norm=True)
    before = {key: value.clone() for key, value in network.module.state_dict().items()}
    trained = train(network, points(), epochs=2)
    after = network.module.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not network.module.training
    assert not trained.module.training
    assert trained.module is not network.module


def test_the_trained_network_has_the_digest_of_its_new_weights() -> None:
    network = line()
    trained = train(network, points(), epochs=1)
    assert trained.weights == state_digest(trained.module)
    assert trained.weights != state_digest(network.module)
    assert trained.name == network.name


def test_the_same_seed_gives_the_same_weights() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    network = Network("dropping", module, torch.zeros(1, 2, 1, 1))
    digests = []
    for noise, seed in ((1, 0), (2, 0), (3, 1)):
        torch.manual_seed(noise)
        digests.append(train(network, points(), epochs=2, batch_size=16, seed=seed).weights)
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def test_training_leaves_the_random_generator_alone() -> None:
    network = line()
    before = torch.get_rng_state()
    train(network, points(), steps=3, augment="crop+flip")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loader_of_batches_will_do() -> None:
    split = points()
    loader = [(split.inputs[i::4], split.targets[i::4]) for i in range(4)]
    trained = train(line(), loader, epochs=10, lr=0.5)
    assert evaluate(trained, split) > 0.95


def test_an_epoch_of_a_users_loader_is_its_own_length() -> None:
    split = points()
    batches = [(split.inputs[i::4], split.targets[i::4]) for i in range(4)]
    told: list[Progress] = []
    stream = Stream("train", batches, lambda batch, name: batch)
    train(line(), stream, epochs=3, on_step=told.append)
    assert len(told) == told[-1].steps == 12


def test_progress_is_told_step_by_step() -> None:
    told: list[Progress] = []
    train(line(), points(120), epochs=3, batch_size=40, lr=0.2, on_step=told.append)
    assert [progress.step for progress in told] == list(range(1, 10))
    assert {progress.steps for progress in told} == {9}
    assert max(progress.lr for progress in told) == pytest.approx(0.2)
    assert told[-1].loss < told[0].loss


@given(steps=st.integers(1, 300), warmup=st.floats(0, 0.9))
def test_the_learning_rate_rises_to_its_peak_and_falls(steps: int, warmup: float) -> None:
    rates = [share_of_peak(step, steps, warmup) for step in range(steps)]
    peak = rates.index(max(rates))
    assert max(rates) == pytest.approx(1)
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert peak <= max(1, round(warmup * steps))


def test_biases_and_norms_do_not_decay() -> None:
    network = line(norm=True)
    nothing = [(torch.zeros(4, 2, 1, 1), torch.zeros(4).long())]
    done = train(
        network, nothing, steps=20, lr=0.1, weight_decay=1.0, loss=lambda out, _: out.sum() * 0
    ).module
    start, end = (m.get_parameter("2.weight").detach().norm() for m in (network.module, done))
    assert float(end) < 0.7 * float(start)
    assert torch.equal(done.get_parameter("2.bias"), network.module.get_parameter("2.bias"))
    assert torch.equal(done.get_parameter("0.weight"), network.module.get_parameter("0.weight"))


def test_frozen_parameters_stay() -> None:
    network = line()
    network.module.get_parameter("2.bias").requires_grad_(False)
    done = train(network, points(), epochs=2).module
    assert torch.equal(done.get_parameter("2.bias"), network.module.get_parameter("2.bias"))
    assert not torch.equal(done.get_parameter("2.weight"), network.module.get_parameter("2.weight"))


def test_a_teacher_teaches_without_labels() -> None:
    split = points()
    teacher = train(line(1), split, epochs=20, lr=0.5)
    wrong = Split("train", TensorSource(split.inputs, 1 - split.targets))
    pupil = train(
        line(2), wrong, epochs=30, lr=0.5, teacher=Distillation(teacher, share=1.0, temperature=2.0)
    )
    assert evaluate(pupil, split) > 0.95


def test_a_network_as_teacher_counts_half() -> None:
    split = points()
    teacher = train(line(1), split, epochs=20, lr=0.5)
    plain = train(line(2), split, steps=5, teacher=teacher)
    half = train(line(2), split, steps=5, teacher=Distillation(teacher, share=0.5))
    none = train(line(2), split, steps=5, teacher=Distillation(teacher, share=0.0))
    assert plain.weights == half.weights
    assert none.weights == train(line(2), split, steps=5).weights
    assert plain.weights != none.weights


def test_a_teacher_is_left_in_its_mode_and_with_its_statistics() -> None:
    teacher = line(norm=True)
    teacher.module.train()
    before = state_digest(teacher.module)
    train(line(1), points(), steps=3, teacher=teacher)
    assert teacher.module.training
    assert state_digest(teacher.module) == before


def test_a_loss_of_ones_own() -> None:
    seen: list[tuple[int, ...]] = []

    def squared(outputs: Tensor, targets: Tensor) -> Tensor:
        seen.append(tuple(outputs.shape))
        return (outputs[:, 0] - targets).square().mean()

    split = points()
    trained = train(line(), split, epochs=30, lr=0.02, batch_size=30, loss=squared)
    assert set(seen) == {(30, 2)}
    with torch.no_grad():
        guess = (trained.module(split.inputs)[:, 0] > 0.5).long()
    assert float((guess == split.targets).double().mean()) > 0.9


class Painter(nn.Module):
    """A segmentation network in small: a dict of maps, as torchvision's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"out": self.conv(x), "aux": x}


def test_maps_are_learned_and_pixels_of_no_class_left_out() -> None:
    draw = torch.Generator().manual_seed(0)
    maps = torch.randint(0, 2, (40, 4, 4), generator=draw)
    inputs = torch.stack([maps * 2.0 - 1, -maps * 2.0 + 1], 1)
    targets = maps.clone()
    targets[:, 0] = 255
    split = Split("train", TensorSource(inputs, targets))
    network = Network("painter", Painter(), torch.zeros(1, 2, 4, 4))
    trained = train(network, split, epochs=30, lr=0.5, batch_size=20)
    with torch.no_grad():
        assert torch.equal(trained.module(inputs)["out"].argmax(1), maps)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "either epochs or steps"),
        ({"epochs": 1, "steps": 1}, "either epochs or steps"),
        ({"epochs": 0}, "1 or more"),
        ({"steps": 1, "batch_size": 0}, "1 or more"),
        ({"steps": 1, "lr": 0.0}, "above zero, not 0.0"),
        ({"steps": 1, "lr": float("nan")}, "above zero, not nan"),
        ({"steps": 1, "warmup": 1.0}, "share of the steps"),
        ({"steps": 1, "augment": "rotate"}, "crop or crop.flip, not 'rotate'"),
        ({"steps": 30, "lr": 1e30}, r"diverged at step \d+ .* Lower lr"),
    ],
)
def test_what_cannot_be_trained_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(HwflowError, match=words):
        train(line(), points(), **options)  # type: ignore[arg-type]


def test_an_empty_loader_is_refused() -> None:
    with pytest.raises(HwflowError, match="no images to train on"):
        train(line(), [], steps=3)


def test_a_loader_of_unknown_length_needs_steps() -> None:
    class Endless:
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            while True:
                yield torch.zeros(4, 2, 1, 1), torch.zeros(4).long()

    with pytest.raises(HwflowError, match="Give steps instead of epochs"):
        train(line(), Endless(), epochs=1)
    assert train(line(), Endless(), steps=2).weights is not None


def test_a_network_without_parameters_is_refused() -> None:
    network = Network("empty", nn.Flatten(), torch.zeros(1, 2, 1, 1))
    with pytest.raises(HwflowError, match="no parameters"):
        train(network, points(), steps=1)


@given(seed=st.integers(0, 99), height=st.integers(2, 12), width=st.integers(2, 12))
@settings(deadline=None, max_examples=40)
def test_augmented_images_are_shifts_of_the_reflected_image(
    seed: int, height: int, width: int
) -> None:
    x = torch.rand(5, 2, height, width)
    draw = torch.Generator().manual_seed(seed)
    out = augmented(x, "crop+flip", draw)
    assert out.shape == x.shape
    margin = min(4, height - 1, width - 1)
    wide = nn.functional.pad(x, (margin,) * 4, mode="reflect")
    places = wide.unfold(2, height, 1).unfold(3, width, 1)  # n, c, rows, columns, h, w
    for image, crops in zip(out, places, strict=True):
        both = (crops, crops.flip(-1))
        assert any(bool((c == image[:, None, None]).all(-1).all(-1).all(0).any()) for c in both)


def test_without_augmentation_images_are_not_touched() -> None:
    x = torch.rand(2, 1, 4, 4)
    assert augmented(x, "none", torch.Generator()) is x


def test_cropping_does_not_mirror() -> None:
    x = torch.arange(8.0).expand(50, 1, 8, 8)
    draw = torch.Generator().manual_seed(0)
    middle = augmented(x, "crop", draw)[:, 0, 0, 3:5]
    assert bool((middle[:, 1] != middle[:, 0]).any())
    kept = augmented(x, "crop", draw)[:, 0, 4]
    centred = kept[kept[:, 3] == 3]
    assert bool((centred[:, 4] == 4).all())


def test_every_image_is_shifted_its_own_way() -> None:
    x = torch.rand(1, 1, 16, 16).expand(60, 1, 16, 16)
    out = augmented(x, "crop", torch.Generator().manual_seed(0))
    assert len({image.numpy().tobytes() for image in out}) > 20


def quantised(network: Network, bits: int) -> Network:
    """Return the exported network with the weights of its convolutions on a coarse grid."""
    from hwflow.edits.trainable import trainable
    from hwflow.extract.exported import export_network

    graph = trainable(export_network(network, dynamic_batch=True))
    for node in list(graph.graph.nodes):
        if "conv2d" in str(node.target):
            _quantise_weight(graph, node, bits)
    graph.recompile()
    return network.with_module(graph.eval())


def _quantise_weight(module: fx.GraphModule, conv: fx.Node, bits: int) -> None:
    assert fake_quantize.grid(bits, True)
    weight = conv.args[1]
    assert isinstance(weight, fx.Node)
    scale = module.get_parameter(str(weight.target)).detach().abs().amax((1, 2, 3))
    module.register_buffer(f"{conv.name}_scale", scale / (2 ** (bits - 1) - 1))
    module.register_buffer(f"{conv.name}_zero", torch.zeros(len(scale), dtype=torch.int32))
    with module.graph.inserting_before(conv):
        constants = [module.graph.get_attr(f"{conv.name}_{part}") for part in ("scale", "zero")]
        grid = module.graph.call_function(
            torch.ops.hwflow.fake_quantize.default, (weight, *constants, bits, True, 0)
        )
    conv.update_arg(1, grid)


def test_a_quantised_graph_learns_through_its_grid(trained: hf.Network) -> None:
    data = load_data("digits", trained)
    coarse = quantised(trained, bits=2)
    before = state_digest(coarse.module)
    tuned = train(coarse, data.train, epochs=2, lr=0.02, batch_size=64, teacher=trained)
    assert evaluate(tuned, data.val) > evaluate(coarse, data.val) + 0.2
    assert evaluate(tuned, data.val) > 0.9
    assert state_digest(coarse.module) == before
    targets = [str(node.target) for node in tuned.module.graph.nodes]
    assert sum("fake_quantize" in target for target in targets) == 7
    assert not tuned.module.training


def test_statistics_become_the_averages_of_the_data() -> None:
    split = points(400)
    network = line(norm=True)
    done = reestimate_batchnorm(network, split, images=400, batch_size=400).module
    found = done.get_submodule("0")
    torch.testing.assert_close(found.running_mean, split.inputs.mean((0, 2, 3)))
    torch.testing.assert_close(found.running_var, split.inputs.var((0, 2, 3)))
    assert found.momentum == 0.1
    assert not any(part.training for part in done.modules())


def test_statistics_are_the_plain_average_over_batches() -> None:
    network = line(norm=True)
    loader = [(torch.full((2, 2, 1, 1), float(v)), torch.zeros(2)) for v in (1, 2, 6)]
    done = reestimate_batchnorm(network, loader)
    torch.testing.assert_close(done.module.get_submodule("0").running_mean, torch.full((2,), 3.0))


def test_reestimation_changes_no_weights_and_spares_its_input() -> None:
    network = line(norm=True)
    before = state_digest(network.module)
    done = reestimate_batchnorm(network, points())
    assert state_digest(network.module) == before
    for name, value in network.module.named_parameters():
        assert torch.equal(value, done.module.get_parameter(name))
    assert done.weights != before


def test_reestimation_mends_stale_statistics(trained: hf.Network) -> None:
    data = load_data("digits", trained)
    good = evaluate(trained, data.val)
    stale = trained.with_module(copy.deepcopy(trained.module))
    for part in stale.module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.add_(1.0)
    assert evaluate(stale, data.val) < 0.8 * good
    assert evaluate(reestimate_batchnorm(stale, data.train), data.val) > good - 0.03


def test_a_class_sorted_split_is_sampled_throughout() -> None:
    targets = torch.arange(400) // 200
    inputs = targets.view(-1, 1, 1, 1).expand(-1, 2, 1, 1).float() * 10
    split = Split("train", TensorSource(inputs, targets))
    done = reestimate_batchnorm(line(norm=True), split, images=100, batch_size=50)
    mean = done.module.get_submodule("0").running_mean
    assert bool(((mean > 3) & (mean < 7)).all())


def test_a_network_without_norms_comes_back_the_same() -> None:
    network = line()
    assert reestimate_batchnorm(network, points()).weights == state_digest(network.module)


def test_an_exported_graph_gets_the_statistics_of_its_module(trained: hf.Network) -> None:
    from hwflow.edits.trainable import trainable
    from hwflow.extract.exported import export_network

    data = load_data("digits", trained)
    graph = trained.with_module(trainable(export_network(trained, dynamic_batch=True)).eval())
    code = graph.module.code
    options = {"images": 300, "batch_size": 100}
    expected = reestimate_batchnorm(trained, data.train, **options).module
    found = reestimate_batchnorm(graph, data.train, **options).module
    assert found.code == code
    statistics = {name: x for name, x in found.named_buffers() if "num_batches" not in name}
    for name, value in statistics.items():
        torch.testing.assert_close(value, expected.get_buffer(name), rtol=1e-4, atol=1e-5)
        assert not torch.equal(value, trained.module.get_buffer(name))


def test_a_normalisation_called_twice_averages_both_calls() -> None:
    from hwflow.edits.trainable import trainable
    from hwflow.extract.exported import export_network

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(1, affine=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(x) + self.norm(x + 2)

    network = hf.Network("twice", Twice().eval(), torch.zeros(1, 1, 2, 2))
    graph = network.with_module(trainable(export_network(network, dynamic_batch=True)))
    loader = [(torch.full((2, 1, 2, 2), float(v)), torch.zeros(2)) for v in (1, 3)]
    for source in (network, graph):
        done = reestimate_batchnorm(source, loader).module
        torch.testing.assert_close(done.get_buffer("norm.running_mean"), torch.tensor([3.0]))


@pytest.mark.parametrize("options", [{"images": 0}, {"batch_size": 0}])
def test_reestimation_needs_images(options: dict[str, int]) -> None:
    with pytest.raises(HwflowError, match="1 or more"):
        reestimate_batchnorm(line(norm=True), points(), **options)


def test_reestimation_of_an_empty_loader_is_refused() -> None:
    with pytest.raises(HwflowError, match="no images to take statistics from"):
        reestimate_batchnorm(line(norm=True), [])
