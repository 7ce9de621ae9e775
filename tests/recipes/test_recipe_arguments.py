"""What recipes are asked for is checked at the door, before a network is looked at."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hwflow.errors import DataError, HwflowError, InfeasibleError
from hwflow.recipes.amc import amc
from hwflow.recipes.haq import haq
from hwflow.recipes.hw_flow import hw_flow
from hwflow.recipes.hw_flowq import hw_flowq
from hwflow.recipes.levels import Asked, check_limits, tightest_share

SHARES = {"coarse": 0.3, "mid": 0.2, "fine": 0.5}

OVER_LEVELS = (hw_flow, hw_flowq)


def amc_on(net: Any, data: Any, on: str, out: Path, **settings: Any) -> Any:
    return amc(net, data, out, **settings)


@pytest.mark.parametrize("recipe", [hw_flow, hw_flowq, haq, amc_on])
@pytest.mark.parametrize(
    ("below", "words"),
    [
        ("latency=50%", "below is a list of limits"),
        (("latency=abc%",), "'abc' is not a quantity"),
        (("latency50%",), "is no limit"),
        (("latenzy=50%",), "metric 'latenzy'.*'latency'"),
        (("latency=0%",), "must be above zero"),
    ],
)
def test_limits_that_cannot_be_read_are_refused(recipe, below, words, tmp_path):
    with pytest.raises(HwflowError, match=words):
        recipe(None, None, "eyeriss", tmp_path / "run", below=below)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("recipe", OVER_LEVELS)
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"levels": ("corse", "fine")}, "Unknown level 'corse'. Did you mean 'coarse'"),
        ({"levels": ()}, "one or more of coarse, mid, fine"),
        ({"levels": ("fine", "coarse")}, "in this order"),
        ({"levels": ("mid", "mid")}, "each once"),
        ({"levels": "mid"}, "Unknown level 'm'"),
        ({"evaluations": 0}, "evaluations=6 or more, not 0"),
        ({"evaluations": -5}, "evaluations=6 or more, not -5"),
        ({"evaluations": 3, "levels": ("mid", "fine")}, "evaluations=4 or more, not 3"),
        ({"seed": -1}, "seed is a whole number from 0"),
        ({"seed": 2**32}, "seed is a whole number from 0"),
    ],
)
def test_levels_evaluations_and_seeds_that_are_none_are_refused(recipe, settings, words, tmp_path):
    with pytest.raises(HwflowError, match=words):
        recipe(None, None, "eyeriss", tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_a_level_of_haq_that_is_none_is_refused(tmp_path):
    with pytest.raises(HwflowError, match=r"Unknown level 'fien'\. Did you mean 'fine'"):
        haq(None, None, "eyeriss", tmp_path, level="fien")


@pytest.mark.parametrize("recipe", [hw_flow, hw_flowq, haq, amc_on])
def test_splits_that_share_images_are_refused(recipe, net, overlapping, tmp_path):
    with pytest.raises(DataError, match="'val' are in 'train' too"):
        recipe(net, overlapping, "eyeriss", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_limits_are_read_as_everywhere_else():
    check_limits(("latency < 50 %", "energy<=1 mJ"))
    assert tightest_share(("latency<50%", "energy <= 60 %", "dram=1MB")) == 0.5
    assert tightest_share(("latency=4ms",)) is None


@pytest.mark.parametrize(
    ("recipe", "metric"), [(partial(hw_flow, keep=(0.5, 1.0)), "macs"), (hw_flowq, "bit_ops")]
)
def test_out_of_reach_at_coarse_it_is_said_what_the_limit_stands_for(
    recipe: Callable[..., Any], metric, net, data, tmp_path
):
    with pytest.raises(InfeasibleError, match=f"limit on {metric} stands for .*latency=1%"):
        recipe(net, data, "simd-16", tmp_path, below=("latency=1%",), calibration=16)


def asked(evaluations: int = 12, seed: int = 0, levels: tuple[str, ...] = ("mid", "fine")) -> Asked:
    return Asked(evaluations, levels, seed, SHARES)


def test_a_folder_without_a_search_may_be_asked_for_anything(tmp_path):
    asked().keep(tmp_path)
    asked(evaluations=20).check(tmp_path)
    asked(evaluations=20).check(tmp_path / "none")


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(HwflowError, match="Cannot write to"):
        asked().keep(tmp_path / "file")
