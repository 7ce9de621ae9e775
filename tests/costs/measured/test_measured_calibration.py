from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwflow.costs.measured.calibration import Calibration, Parts, fit, kind_of
from hwflow.errors import HwflowError
from hwflow.workload import Layer

LAUNCH = 3e-6


def made_parts(count: int, seed: int = 0) -> list[Parts]:
    rng = np.random.default_rng(seed)
    return [
        Parts({"conv": rng.uniform(1e-3, 5e-3), "add": rng.uniform(1e-4, 1e-3)},
              int(rng.integers(20, 120)), LAUNCH)
        for _ in range(count)
    ]  # fmt: skip


def test_known_coefficients_are_found_again():
    parts = made_parts(40)
    true = Calibration({"conv": 0.9, "add": 0.3}, 2e-6, 5e-5)
    found = fit(parts, [true.predict(p) for p in parts])
    assert found.slopes["conv"] == pytest.approx(0.9, rel=0.04)
    assert found.slopes["add"] == pytest.approx(0.3, abs=0.2)
    assert found.median_error < 0.02
    assert found.within_10 == 1.0


def test_the_error_is_that_on_networks_not_fitted():
    parts = made_parts(8)
    noise = np.random.default_rng(1).uniform(0.5, 2.0, 8)
    found = fit(parts, [p.plain_s * n for p, n in zip(parts, noise, strict=True)])
    assert found.median_error > 0.1


def test_kinds_that_the_networks_do_not_show_keep_a_slope_of_one():
    parts = made_parts(10)
    found = fit(parts, [p.plain_s for p in parts])
    layer = Layer("l", "linear", ("x",), ((1, 4),), (1, 4), 1, 4, 4, input_bits=(32,))
    assert kind_of(layer) not in found.slopes
    assert found.layer_s(layer, 1e-3 + LAUNCH, LAUNCH) == pytest.approx(1e-3, abs=5e-6)


def test_layers_of_bytes_are_kinds_of_their_own():
    floats = Layer("a", "add", ("x", "y"), ((1, 4),) * 2, (1, 4), input_bits=(32, 32))
    bytes_ = replace(floats, input_bits=(8, 8), output_bits=8)
    assert kind_of(replace(bytes_, output_bits=32)) == kind_of(floats) == "add"
    assert kind_of(bytes_) == "add-int8"


def test_no_layer_takes_less_than_nothing():
    found = Calibration({}, -1e-3, 0.0)
    layer = Layer("l", "linear", ("x",), ((1, 4),), (1, 4), 1, 4, 4, input_bits=(32,))
    assert found.layer_s(layer, 1e-6, LAUNCH) == 0.0


def test_a_calibration_comes_back_from_json():
    found = fit(made_parts(6), [1e-3] * 6)
    assert Calibration.from_json(found.to_json()) == found


def test_too_few_networks_are_refused():
    with pytest.raises(HwflowError, match="at least 4"):
        fit(made_parts(3), [1e-3] * 3)
