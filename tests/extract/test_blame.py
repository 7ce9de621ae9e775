"""Which layer an error came from: named with its line, without torch's remarks."""

import logging
import sys
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hwflow.errors import ModelError
from hwflow.extract import extract
from hwflow.extract.blame import place, quiet_failure, reason
from hwflow.extract.exported import export_network
from hwflow.network import Network


class Stubborn(nn.Module):
    """Does what it is told in its forward."""

    def __init__(self, does: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.does = does

    def forward(self, x: Tensor) -> Tensor:
        return self.does(x)


def network(*layers: nn.Module) -> Network:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(*layers), nn.Conv2d(4, 2, 1)).eval()
    return Network("net", module, torch.randn(1, 3, 6, 6))


def branching(x: Tensor) -> Tensor:
    return x if x.mean() > 0 else -x


def looping(x: Tensor) -> Tensor:
    for _ in range(int(x.abs().sum().item()) % 3):
        x = x + 1
    return x


def through_numpy(x: Tensor) -> Tensor:
    return torch.from_numpy(x.detach().numpy())


def failing(x: Tensor) -> Tensor:
    raise KeyError("scale")


def of_batch_one(x: Tensor) -> Tensor:
    return x.view(1, 4, 6, 6)


@pytest.mark.parametrize(
    ("does", "why"),
    [
        (branching, "data-dependent expression"),
        (looping, "data-dependent expression"),
        (through_numpy, "numpy"),
        (failing, "scale"),
        (of_batch_one, "is invalid for input"),
    ],
)
def test_the_layer_that_cannot_be_exported_is_named(
    does: Callable[[Tensor], Tensor], why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError) as caught:
        export_network(network(nn.ReLU(), Stubborn(does)), dynamic_batch=True)
    said = str(caught.value)
    assert said.startswith("Network 'net' cannot be exported: in layer '1.1' (test_blame.py, line")
    assert why in said
    assert "unhinted" not in said
    assert capfd.readouterr() == ("", "")


def test_a_weight_that_is_made_anew_is_named_with_a_remedy() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old = nn.utils.weight_norm(nn.Conv2d(4, 4, 1))
    with pytest.raises(ModelError, match=r"in layer '1\.0': .+\(remove_weight_norm"):
        extract(network(old))


def test_a_fault_of_the_network_itself_is_in_its_forward() -> None:
    net = Stubborn(failing).eval()
    with pytest.raises(ModelError, match=r"in its forward \(test_blame\.py, line \d+\): 'scale'"):
        extract(Network("net", net, torch.randn(1, 3, 6, 6)))


def test_an_error_from_elsewhere_has_no_place() -> None:
    assert place(nn.ReLU(), ValueError("no such file")) == ""


def test_a_reason_is_one_line_without_remarks() -> None:
    said = "\n\nCould not guard on Eq(u0, 1) (unhinted: Eq(u0, 1)).  (Size-like symbols: none)\nat"
    assert reason(RuntimeError(said)) == "Could not guard on Eq(u0, 1)"
    assert reason(RuntimeError("")) == "RuntimeError"


def test_what_succeeds_may_write_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with quiet_failure():
        sys.stderr.write("a remark\n")
    assert capsys.readouterr().err == "a remark\n"
    logger = logging.getLogger("torch.export._trace")
    assert not logger.filters


class Whole(nn.Module):
    """Branches in the forward of the network itself, which calls itself by another name."""

    def forward(net, x: Tensor) -> Tensor:  # noqa: N805
        if x.mean() > 0:
            return x
        return -x


def test_a_fault_in_the_networks_own_forward_has_the_line_of_its_file() -> None:
    with pytest.raises(ModelError, match=r"in its forward \(test_blame\.py, line \d+\)"):
        export_network(Network("net", Whole().eval(), torch.randn(1, 3, 6, 6)))
