"""HANT's reproduction: its stages, and the options that it trains."""

from __future__ import annotations

from hwflow.edits.operations import find
from hwflow.reproduce import stages_of
from hwflow.reproduce.hant import MACHINES, OPTIONS, SHARES, TUNED, Case


def test_every_machine_and_share_has_a_stage_and_some_are_tuned():
    names = [stage.name for stage in stages_of("hant")]
    assert len(set(names)) == len(names)
    for machine in MACHINES:
        for share in SHARES[machine]:
            assert f"transform-{Case('resnet56', machine, share).key}" in names
        tuned = {f"tune-{Case('resnet56', machine, share).key}" for share in TUNED[machine]}
        assert tuned <= set(names)
    assert "tune-resnet56-cpu-90-in-8-bits" in names


def test_what_gets_8_bits_as_a_whole_gets_none_at_single_sites():
    plain, eight = (Case("resnet56", "cpu", "85%", eight=eight) for eight in (False, True))
    assert {*plain.options} - {*eight.options} == {"quantized_w8_a8"}
    assert plain.key != eight.key


def test_the_quick_reproduction_has_one_transform_of_each_machine():
    quick = [s.name for s in stages_of("hant") if s.quick and s.name.startswith("transform")]
    assert len(quick) == len(MACHINES)


def test_the_options_that_are_trained_are_known():
    assert {option.name for option in find(OPTIONS)} == {*OPTIONS, "keep"}
