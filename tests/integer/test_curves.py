import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hwflow.integer.curves import function, staircase, table
from hwflow.integer.values import Curve, Grid, Term

CURVES = {
    "silu": (F.silu, (-1.2784645427610738,)),
    "hardswish": (F.hardswish, (-1.5,)),
    "gelu": (F.gelu, (-0.7517915,)),
    "mish": (F.mish, (-1.1924312,)),
    "sigmoid": (torch.sigmoid, ()),
    "neg of tanh": (lambda x: -torch.tanh(x), ()),
    "abs": (torch.abs, (0.0,)),
}


def made(name):
    torch_function, turns = CURVES[name]
    curve = Curve(name, lambda x: torch_function(torch.from_numpy(x.copy())).numpy(), None, turns)
    return curve, turns


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("bits", [1, 3, 8])
def test_a_staircase_is_its_function_at_every_accumulator(name, bits):
    curve, turns = made(name)
    factor = np.array([0.002, -0.0007, 0.03, 0.0, 1e-5]).reshape(1, 5, 1, 1)
    offset = np.array([0.3, -1.0, 0.0, -2.0, -1.5]).reshape(1, 5, 1, 1)
    term = Term("acc", factor, -3000, 3000)
    goal = Grid(np.array(4.0 / 2**bits), np.array(min(2, 2**bits - 1)), bits, False, 0, 2**bits - 1)
    codes = function(term, offset, [curve], goal)
    every = np.broadcast_to(np.arange(-3000, 3001).reshape(1, 1, -1, 1), (1, 5, 6001, 1))
    found = staircase(term, offset, codes, turns)(every)
    assert np.array_equal(found, codes(every.astype(np.int64)))


def test_a_table_is_its_function_at_every_code():
    curve = Curve("sin", lambda x: np.sin(3 * x))
    term = Term("x", np.array(0.1), -20, 30)
    goal = Grid(np.array(0.1), np.array(8), 4, False, 0, 15)
    codes = function(term, np.zeros(()), [curve], goal)
    every = np.arange(-20, 31).reshape(3, 17)
    found = table(term, codes)
    assert np.array_equal(found(every), codes(every))
    assert len(found.entries) == 51
