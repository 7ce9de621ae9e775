import pytest
import torch
from torch import nn

from hwflow.errors import DataError
from hwflow.network import Network


def network():
    return Network("net", nn.Conv2d(1, 2, 3), torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize("shape", [(5, 1, 9, 8), (5, 3, 8, 8), (1, 8, 8), (5, 64), ()])
def test_calibration_inputs_of_another_shape_are_refused_with_both_shapes(shape):
    net = network()
    with pytest.raises(DataError) as caught:
        net.calibrated(torch.zeros(shape))
    assert str(shape) in str(caught.value)
    assert "(N, 1, 8, 8)" in str(caught.value)
    assert "load_data" in str(caught.value)
    with pytest.raises(DataError, match="do not fit 'net'"):
        Network("net", net.module, net.example, calibration=torch.zeros(shape))


def test_any_number_of_calibration_inputs_is_taken():
    inputs = torch.zeros(5, 1, 8, 8)
    net = network().calibrated(inputs)
    assert net.calibration is inputs
    assert net.with_module(nn.Identity()).calibration is inputs
