from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwflow.integer.requantize import requantizer
from hwflow.integer.values import Grid, signed_bits

INF = float("inf")


def grid(bits=8, scale=1.0, zero=0):
    return Grid(np.array(scale), np.array(zero), bits, False, 0, 2**bits - 1)


def rounded(value: Fraction) -> int:
    """Round half to even, by Python's exact fractions."""
    return round(value)


@given(
    st.integers(2, 46), st.integers(1, 3), st.integers(1, 16), st.floats(-8, 3),
    st.floats(-300, 300), st.integers(0, 2**32),
)  # fmt: skip
def test_it_rounds_as_exact_fractions_of_its_own_integers_do(width, terms, bits, size, b, seed):
    rng = np.random.default_rng(seed)
    bound = 2 ** (width - 1) - 1
    factors = [np.array(rng.uniform(0.1, 1) * 10**size) for _ in range(terms)]
    sums = [rng.integers(-bound, bound, 50, endpoint=True) for _ in range(terms)]
    goal = grid(bits, zero=int(rng.integers(0, 2**bits)))
    rule = requantizer(factors, [(-bound, bound)] * terms, np.array(b), goal, (-INF, INF))
    offset = (int(rule.offset_high) << rule.split) + int(rule.offset_low)
    for index, code in enumerate(rule(sums)):
        products = zip(sums, rule.multipliers, strict=True)
        total = sum(int(s[index]) * int(m) for s, m in products) + offset
        wanted = rounded(Fraction(total, 2 ** int(rule.shift))) + int(goal.zero)
        assert code == min(max(wanted, goal.low), goal.high)


@given(st.integers(0, 2**32), st.sampled_from([(12, 4), (20, 8), (31, 8), (41, 16)]))
def test_its_integers_stand_for_the_real_factors(seed, widths):
    width, bits = widths
    rng = np.random.default_rng(seed)
    bound = 2 ** (width - 1) - 1
    factor, b = 2.0**bits / bound * rng.uniform(0.2, 2), rng.normal() * 2**bits / 4
    sums = rng.integers(-bound, bound, 200)
    rule = requantizer([np.array(factor)], [(-bound, bound)], np.array(b), grid(bits), (-INF, INF))
    exact = [Fraction(factor) * int(s) + Fraction(b) for s in sums]
    near = [abs(x % 1 - Fraction(1, 2)) < Fraction(1, 10**6) for x in exact]
    wanted = np.clip([rounded(x) for x in exact], 0, 2**bits - 1)
    assert np.array_equal(np.where(near, 0, rule([sums])), np.where(near, 0, wanted))


@pytest.mark.parametrize("zero", [0, 1])
def test_ties_go_to_the_even_number_before_the_zero_point(zero):
    rule = requantizer(
        [np.array(0.5)], [(-20, 20)], np.array(0.0), grid(zero=zero, bits=4), (-INF, INF)
    )
    assert rule([np.array([1, 3, 5, 7])]).tolist() == [x + zero for x in (0, 2, 2, 4)]


def test_limits_of_an_activation_are_limits_of_the_code():
    rule = requantizer([np.array(1.0)], [(-99, 99)], np.array(0.0), grid(8, 0.5, 7), (0, 6))
    assert rule([np.array([-50, 0, 2, 50])]).tolist() == [7, 7, 11, 19]


def test_channels_have_multipliers_of_their_own():
    factors = np.array([1e-6, 1.0, 1e3]).reshape(1, 3, 1, 1)
    rule = requantizer([factors], [(-(2**20), 2**20)], np.zeros(()), grid(), (-INF, INF))
    made = rule([np.array([3_400_000 // 4, 77, 1]).reshape(1, 3, 1, 1)])
    assert made.reshape(-1).tolist() == [1, 77, 255]


def test_the_grid_of_two_signs_rounds_by_sign():
    signs = Grid(np.array(1.0), np.array(0), 1, True, -1, 1)
    rule = requantizer([np.array(0.3)], [(-9, 9)], np.array(-0.6), signs, (-INF, INF))
    assert rule([np.array([-9, 1, 3])]).tolist() == [-1, -1, 1]


@pytest.mark.parametrize(
    ("low", "high", "bits"), [(-128, 127, 8), (-129, 0, 9), (0, 255, 9), (0, 0, 1), (-1, 0, 1)]
)
def test_the_width_of_an_accumulator(low, high, bits):
    assert signed_bits(low, high) == bits
