"""HANT's recipe: options filtered on a machine, trained site by site, chosen by a program."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwflow.costs.mid import Mid
from hwflow.design import Design
from hwflow.edits.operations import find
from hwflow.edits.replace import replace
from hwflow.errors import HwflowError, InfeasibleError
from hwflow.extract import extract
from hwflow.machine import load_machine
from hwflow.quality.fitting import Fitting
from hwflow.recipes.hant import Transformed, hant, worthwhile

ON = "systolic-8x8"


@pytest.fixture(scope="module")
def options():
    names = [o.name for o in find(["pruned", "conv_bn_act"])][:6]
    return find(["skip", *names])


def run(net, data, options, out: Path, below: str = "latency=70%", on=ON, **more) -> Transformed:
    return hant(
        net, data, on, Mid(), out, below=(below,), options=options, per_site=3, images=64,
        how=Fitting(epochs=1.0), scored=64, validation=64, calibration=16, answers=3, **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(net, data, options, tmp_path_factory) -> Transformed:
    return run(net, data, options, tmp_path_factory.mktemp("hant"))


def test_the_best_keeps_the_limit_and_is_what_was_costed(found, net):
    whole = found.problem.costs([found.problem.space.default])[0].total["latency_s"]
    assert found.best.total["latency_s"] <= 0.7 * whole
    made = extract(found.problem.space.apply(found.best.plan))
    assert made == found.problem.space.on_paper(found.best.plan, found.problem.design).workload


def test_what_it_chose_was_trained_and_scored(found):
    used = found.operations(found.best.plan)
    assert any(option != "keep" for option in used.values())
    for site, option in used.items():
        assert found.scores.of(site, option).site == site
        assert option in (*found.chosen.get(site, ()), "keep")


def test_options_that_save_no_time_are_named_and_were_not_trained(found, net, data, options):
    (wasteful,) = find(["conv_bn_act_k7_g1"])[-1:]
    some = run(net, data, (*options, wasteful), found.answers.parent)
    named = {site for site, names in some.slower.items() if wasteful.name in names}
    assert named
    assert not any(wasteful.name in some.chosen.get(site, ()) for site in named)
    (remark,) = (text for text in some.remarks() if text.startswith(wasteful.name))
    assert f"at {len(named)} of {len(some.slower)} sites on systolic-8x8" in remark


def test_keeping_everything_loses_nothing(found):
    rows = [row for row in found.scores.rows if row.option == "keep"]
    assert rows
    assert all(abs(row.loss) < 1e-5 and row.accuracy == 0 for row in rows)


def test_the_same_call_goes_on_with_the_same_answer(found, net, data, options):
    again = run(net, data, options, found.answers.parent)
    assert again.best.plan == found.best.plan
    assert again.best.quality == found.best.quality


def test_a_limit_out_of_reach_is_refused_with_the_least(found, net, data, options):
    with pytest.raises(InfeasibleError, match="latency"):
        run(net, data, options, found.answers.parent, "latency=0.1%")


def test_operations_of_a_network_of_8_bits(found, net, data, options):
    eight = run(net, data, options, found.answers.parent, "latency=60%", "simd-16", bits=8)
    space, plan = eight.problem.space, eight.best.plan
    whole = eight.problem.costs([space.default])[0].total["latency_s"]
    in_words = Mid().cost(Design(extract(net), load_machine("simd-16"))).total["latency_s"]
    assert whole < 0.6 * in_words
    assert eight.best.total["latency_s"] <= 0.6 * whole
    made = extract(space.apply(plan))
    assert made == space.on_paper(plan, eight.problem.design).workload
    assert {layer.weight_bits for layer in made.mac_layers} == {8}
    floats = extract(eight.in_floats(plan))
    assert {layer.weight_bits for layer in floats.mac_layers} == {32}
    assert floats.macs == made.macs
    assert extract(eight.with_bits(eight.in_floats(plan), plan)) == made
    assert eight.has_bits(space.default)
    assert set(eight.operations(plan)) == set(found.operations(found.best.plan))


def test_bits_of_single_sites_are_left_out_for_fine_tuning_and_set_after_it(
    found, net, data, options
):
    (eight,) = find(["quantized_w8_a8"])[-1:]
    more = (*options, eight)
    some = run(net, data, more, found.answers.parent, "latency=99%", "simd-16")
    space = some.problem.space
    values = {c.name: c.options[c.default] for c in space.choices}
    values |= {"operation:layer2.0": eight.name, "operation:layer1.0": options[1].name}
    plan = space.plan(values)
    assert some.has_bits(plan)
    assert not some.has_bits(space.default)
    floats = some.in_floats(plan)
    assert {layer.weight_bits for layer in extract(floats).mac_layers} == {32}
    assert extract(some.with_bits(floats, plan)) == extract(space.apply(plan))
    assert some.with_bits(floats, space.default) is floats


def test_options_are_worth_training_for_what_they_save_with_their_bits(net):
    space, machine = replace(net, options=find(["quantized_w8_a8"])), load_machine("simd-16")
    chosen = worthwhile(space, machine, Mid(), 3)
    assert all("quantized_w8_a8" in options for options in chosen.values())
    with pytest.raises(HwflowError, match="no option is faster"):
        worthwhile(space, machine, Mid(), 3, 8)


def test_nothing_faster_to_train_is_an_error_that_says_so(net):
    slow = find(["inverted_residual_k11_e6_se1_silu"])
    with pytest.raises(HwflowError, match="no option is faster"):
        worthwhile(replace(net, options=slow), load_machine(ON), Mid(), 3)
