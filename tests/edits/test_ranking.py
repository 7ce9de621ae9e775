import pytest
import torch
from torch import nn

from hwflow.coupling import Coupling, couple
from hwflow.edits.fuse import read
from hwflow.edits.prune import prune
from hwflow.edits.ranking import scores_of, taylor
from hwflow.errors import HwflowError
from hwflow.network import Network

FILTERS = torch.tensor([[3.0, 4.0, 0.0], [5.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])


def small() -> Network:
    """Four filters of known norms, a normalisation of known scales, a head."""
    torch.manual_seed(0)
    first, norm, head = nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)
    with torch.no_grad():
        first.weight.copy_(FILTERS[:, :, None, None])
        norm.weight.copy_(torch.tensor([0.1, -4.0, 2.0, 1.0]))
    module = nn.Sequential(first, norm, nn.ReLU(), head)
    return Network("small", module.eval(), torch.randn(1, 3, 5, 5))


def coupled(net: Network) -> Coupling:
    return couple(read(net).workload)


def classifier() -> Network:
    net = small()
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4))
    module = nn.Sequential(*list(net.module)[:3], head)
    return Network("classifier", module.eval(), net.example)


def score(net: Network, ranking) -> dict[str, list[float]]:
    return scores_of(net, coupled(net), ranking)


@pytest.mark.parametrize(
    ("ranking", "values"),
    [
        ("l1", [7, 5, 3, 0]),
        ("l2", [5, 5, 3**0.5, 0]),
        ("bn_scale", [0.1, 4, 2, 1]),
    ],
)
def test_scores_relative_to_the_mean_of_the_layer(ranking, values):
    mean = sum(values) / 4
    assert score(small(), ranking)["0"] == pytest.approx([value / mean for value in values])


def test_without_a_normalisation_the_scale_is_the_norm_of_the_filters():
    net = small()
    net.module[1] = nn.Identity()
    assert score(net, "bn_scale") == score(net, "l2")


def test_all_layers_of_a_group_count_alike():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = (nn.Conv2d(3, 2, 1, bias=False) for _ in range(2))
            self.head = nn.Conv2d(2, 1, 1)
            with torch.no_grad():
                self.a.weight[0], self.a.weight[1] = 1, 3
                self.b.weight[0], self.b.weight[1] = 300, 100

        def forward(self, x):
            return self.head(torch.relu(self.a(x) + self.b(x)))

    net = Network("two", Two().eval(), torch.randn(1, 3, 2, 2))
    assert score(net, "l1")["a"] == pytest.approx([0.5 + 1.5, 1.5 + 0.5])


def test_filters_of_a_transposed_convolution_are_its_output_channels():
    up = nn.ConvTranspose2d(3, 4, 2, groups=1, bias=False)
    with torch.no_grad():
        for index, size in enumerate((1.0, 4.0, 2.0, 3.0)):
            up.weight[:, index] = size
    module = nn.Sequential(up, nn.ReLU(), nn.Conv2d(4, 2, 1)).eval()
    net = Network("up", module, torch.randn(1, 3, 2, 2))
    assert score(net, "l1")["0"] == pytest.approx([0.4, 1.6, 0.8, 1.2])


class TestTaylor:
    def test_is_the_square_of_what_scale_and_shift_of_the_norm_do_to_the_loss(self):
        net = small()
        images, targets = torch.randn(6, 3, 5, 5), torch.randn(6, 2, 5, 5)
        found = taylor(net, coupled(net), [(images, targets)], nn.functional.mse_loss)
        gates = [net.module[1].weight, net.module[1].bias]
        grads = torch.autograd.grad(nn.functional.mse_loss(net.module(images), targets), gates)
        expected = sum(gate * grad for gate, grad in zip(gates, grads, strict=True)).square()
        assert found["0"] == pytest.approx(expected.tolist(), rel=1e-3, abs=1e-9)

    def test_without_a_norm_is_that_of_filter_and_bias(self):
        net = small()
        net.module[0], net.module[1] = nn.Conv2d(3, 4, 1), nn.Identity()
        with torch.no_grad():
            net.module[0].weight[3], net.module[0].bias[3] = 0, 0
        images, targets = torch.randn(6, 3, 5, 5), torch.randn(6, 2, 5, 5)
        found = taylor(net, coupled(net), [(images, targets)], nn.functional.mse_loss)
        weight, bias = net.module[0].weight, net.module[0].bias
        loss = nn.functional.mse_loss(net.module(images), targets)
        dw, db = torch.autograd.grad(loss, [weight, bias])
        expected = ((weight * dw).sum(dim=(1, 2, 3)) + bias * db).square()
        assert found["0"] == pytest.approx(expected.tolist(), rel=1e-3, abs=1e-9)
        assert found["0"][3] == 0  # a filter of zeros is not missed

    def test_in_first_order_tells_what_the_loss_changes_by(self):
        net = small()
        images, targets = torch.randn(6, 3, 5, 5), torch.randn(6, 2, 5, 5)
        found = taylor(net, coupled(net), [(images, targets)], nn.functional.mse_loss)
        with torch.no_grad():
            before = nn.functional.mse_loss(net.module(images), targets)
            share = 1e-3  # of the way to a channel of zeros
            net.module[1].weight[1] *= 1 - share
            net.module[1].bias[1] *= 1 - share
            change = (nn.functional.mse_loss(net.module(images), targets) - before) / share
        assert found["0"][1] == pytest.approx(float(change) ** 2, rel=0.02)

    def test_leaves_no_gradient_and_sums_batches(self):
        net = small()
        batches = [(torch.randn(2, 3, 5, 5), torch.randn(2, 2, 5, 5)) for _ in range(2)]
        each = [taylor(net, coupled(net), [batch], nn.functional.mse_loss) for batch in batches]
        both = taylor(net, coupled(net), batches, nn.functional.mse_loss)
        summed = [a + b for a, b in zip(each[0]["0"], each[1]["0"], strict=True)]
        assert both["0"] == pytest.approx(summed)
        assert all(p.grad is None or not p.grad.any() for p in net.module.parameters())

    def test_is_a_ranking_of_the_space_with_batches_or_with_own_answers(self):
        net = classifier().calibrated(torch.randn(20, 3, 5, 5))
        with torch.no_grad():
            own = net.module(net.calibration).argmax(dim=1)
        batches = list(zip(net.calibration.split(8), own.split(8), strict=True))
        expected = taylor(net, coupled(net), batches)
        for space in (prune(net, ranking="taylor"), prune(net, ranking="taylor", batches=batches)):
            assert space.parts[0].scores == expected
        other = [(net.calibration, (own + 1) % 4)]
        assert prune(net, ranking="taylor", batches=other).parts[0].scores != expected

    def test_without_batches_and_calibration_inputs_says_what_to_give(self):
        with pytest.raises(HwflowError, match=r"needs gradients.*batches=.*network\.calibrated"):
            prune(classifier(), ranking="taylor")

    def test_decides_what_goes(self):
        net = small()
        with torch.no_grad():  # a channel that is zero for every image
            net.module[1].weight[2], net.module[1].bias[3] = 0, 1
        batch = (torch.randn(2, 3, 5, 5), torch.randn(2, 2, 5, 5))
        scores = taylor(net, coupled(net), [batch], nn.functional.mse_loss)
        space = prune(net, (0.75,), scores=scores)
        assert space.edits((0,))[0].kept["0"] == (0, 1, 3)

    def test_needs_a_batch(self):
        net = small()
        with pytest.raises(HwflowError, match="give at least one batch"):
            taylor(net, coupled(net), [])


def test_an_unknown_ranking_is_refused_with_the_known_ones():
    with pytest.raises(HwflowError, match=r"ranking 'l3'.*l1"):
        score(small(), "l3")
