import json
from dataclasses import replace
from functools import cache

import pytest
import torch
from random_nets import network
from torch.nn import functional as F

from hwflow.data import Split
from hwflow.data.sources import TensorSource
from hwflow.edits.prune import prune
from hwflow.edits.quantize import quantize
from hwflow.edits.resize import resize
from hwflow.errors import DataError, HwflowError
from hwflow.quality.sensitivity import Sensitivity, pair_error, sensitivities
from hwflow.space import Space

IMAGES = 5


@cache
def space():
    return quantize(network("residual", "depthwise"), bits=(2, 4, 8))


@cache
def split(targets=(0, 1, 2, 3, 4, 0, 1)):
    torch.manual_seed(3)
    return Split("val", TensorSource(torch.randn(len(targets), 3, 8, 8), torch.tensor(targets)))


@cache
def measured():
    return sensitivities(space(), split(), images=IMAGES, batch=2)


def loss_of(plan):
    """Loss and accuracy of a plan's network, run as a whole."""
    module = space().apply(plan).module
    inputs, targets = next(split().batches(IMAGES, IMAGES))
    with torch.no_grad():
        found = module(inputs)
    return float(F.cross_entropy(found, targets)), float(
        (found.argmax(1) == targets).float().mean()
    )


def divergence_of(plan):
    """Return the divergence of a plan's answers from those of the default plan."""
    inputs, _ = next(split().batches(IMAGES, IMAGES))
    with torch.no_grad():
        wanted, found = (space().apply(p).module(inputs).softmax(1)
                         for p in (space().default, plan))  # fmt: skip
    return float((wanted * (wanted / found).log()).sum(1).mean())


def swapped(plan, *changes):
    found = list(plan)
    for place, option in changes:
        found[place] = option
    return tuple(found)


def test_every_entry_is_that_of_a_whole_evaluation():
    found, base = measured(), space().default
    loss, accuracy = loss_of(base)
    assert found.base_loss == pytest.approx(loss, abs=1e-5)
    for place, choice in enumerate(space().choices):
        for option in range(len(choice.options)):
            after, right = loss_of(swapped(base, (place, option)))
            assert found.loss[place][option] == pytest.approx(after - loss, abs=2e-5)
            assert found.accuracy[place][option] == pytest.approx(right - accuracy, abs=1e-6)
            apart = divergence_of(swapped(base, (place, option)))
            assert found.divergence[place][option] == pytest.approx(apart, abs=2e-5)


def test_the_base_plans_own_options_change_nothing_and_others_do():
    found = measured()
    assert all(row[o] == 0 for row, o in zip(found.loss, found.base, strict=True))
    assert any(value != 0 for row in found.loss for value in row)


def test_the_table_of_another_base_plan_is_zero_there():
    base = tuple(0 for _ in space().choices)
    found = sensitivities(space(), split(), images=IMAGES, base=base)
    assert found.base == base
    assert all(row[0] == 0 for row in found.loss)
    before, after = loss_of(base)[0], loss_of(swapped(base, (1, 2)))[0]
    assert found.loss[1][2] == pytest.approx(after - before, abs=2e-5)


def test_around_another_base_plan_the_answers_of_the_default_one_are_still_the_target(tmp_path):
    base = tuple(0 for _ in space().choices)
    file = tmp_path / "around.json"
    found = sensitivities(space(), split(), images=IMAGES, base=base, file=file)
    for place, choice in enumerate(space().choices):
        for option in range(len(choice.options)):
            rise = divergence_of(swapped(base, (place, option))) - divergence_of(base)
            assert found.divergence[place][option] == pytest.approx(rise, abs=2e-5)
    assert min(min(row) for row in found.divergence) < 0  # more bits bring the answers back
    assert sensitivities(space(), split(), images=IMAGES, base=base, file=file) == found
    pairs = pair_error(found, space(), split(), pairs=3)
    for both, apart in zip(pairs.pairs, pairs.divergence, strict=True):
        rise = divergence_of(swapped(base, *both)) - divergence_of(base)
        assert apart == pytest.approx(rise, abs=2e-5)


def test_choices_of_the_machine_are_zeros_that_no_file_holds(tmp_path):
    file = tmp_path / "found.json"
    net = network("residual", "depthwise")

    def varied(*rows):
        return space() + resize(net, "bitfusion", {"array.rows": rows})

    found = sensitivities(varied(8, 16), split(), images=IMAGES, batch=2, file=file)
    held = Sensitivity.read(file)
    assert held == replace(measured(), spent=held.spent)
    assert found.divergence == (*held.divergence, (0.0, 0.0))
    assert (found.names[-1], found.options[-1]) == ("machine:array.rows", (8, 16))
    again = sensitivities(varied(4, 8, 16), split(), images=IMAGES, batch=2, file=file)
    assert again.divergence == (*held.divergence, (0.0,) * 3)
    assert again == held.check(varied(4, 8, 16))
    assert found.check(varied(4, 8, 16)) == again
    assert held.check(space()) == held
    assert found.check(varied(8, 16)) == found
    assert pair_error(held, varied(8, 16), split(), pairs=3).mean >= 0


def test_a_table_keeps_the_machine_of_its_base_plan():
    both = space() + resize(network("residual", "depthwise"), "bitfusion", {"array.rows": (8, 16)})
    base = (*(0 for _ in space().choices), 0)
    assert sensitivities(both, split(), images=IMAGES, base=base).base == base


def test_shared_prefixes_save_work_and_parts_give_the_same():
    found = measured()
    assert found.spent.evaluations == 1 + sum(len(c.options) - 1 for c in space().choices)
    assert found.spent.whole_macs == IMAGES * sum(layer.macs for layer in space().workload)
    assert found.spent.whole_evaluations < found.spent.evaluations - 3
    parts = sensitivities(space(), split(), images=IMAGES, batch=2, budget=0)
    assert parts.spent.evaluations == found.spent.evaluations
    for row, other in zip(parts.loss, found.loss, strict=True):
        assert row == pytest.approx(other, abs=1e-5)


def test_a_stopped_measurement_goes_on_and_ends_with_the_same_table(tmp_path):
    file = tmp_path / "found.json"

    def stop(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sensitivities(space(), split(), images=IMAGES, batch=2, file=file, progress=stop)
    assert len(json.loads(file.read_text())["sums"]) == 4
    with pytest.raises(HwflowError, match="no finished sensitivities"):
        Sensitivity.read(file)
    seen = []
    found = sensitivities(
        space(), split(), images=IMAGES, batch=2, file=file, progress=lambda *at: seen.append(at)
    )
    assert (found.loss, found.divergence) == (measured().loss, measured().divergence)
    assert Sensitivity.read(file) == found
    assert seen[-1][0] == seen[-1][1]
    again = sensitivities(space(), split(), images=IMAGES, batch=2, file=file)
    assert again == found


def test_a_file_of_another_measurement_is_refused(tmp_path):
    file = tmp_path / "found.json"
    measured().write(file)
    with pytest.raises(HwflowError, match="of another network"):
        sensitivities(space(), split(), images=IMAGES, batch=2, file=file)
    file.unlink()
    sensitivities(space(), split(), images=IMAGES, batch=2, file=file)
    worst = tuple(0 for _ in space().choices)
    for change, word in [({"images": 4}, "choice of images"), ({"batch": 3}, "batch or budget"),
                         ({"base": worst}, "base plan")]:  # fmt: skip
        wanted = {"images": IMAGES, "batch": 2} | change
        with pytest.raises(HwflowError, match=f"sensitivities of another {word}"):
            sensitivities(space(), split(), file=file, **wanted)
    relabelled = split((0, 1, 2, 3, 4, 0, 2))
    with pytest.raises(HwflowError, match="sensitivities of another choice of images"):
        sensitivities(space(), relabelled, images=IMAGES, batch=2, file=file)


def test_ranking_names_the_worst_option_of_each_choice_the_largest_first():
    ranking = measured().ranking()
    assert [apart for *_, apart in ranking] == sorted((x[2] for x in ranking), reverse=True)
    place = measured().names.index(ranking[0][0])
    assert max(measured().divergence[place]) == ranking[0][2]


def test_what_a_plan_is_expected_to_lose_is_the_sum_over_its_options():
    found = measured()
    plan = swapped(found.base, (0, 0), (2, 1))
    apart = found.divergence[0][0] + found.divergence[2][1]
    assert found.expected(plan) == pytest.approx(apart)
    assert found.expected(plan, "loss") == pytest.approx(found.loss[0][0] + found.loss[2][1])
    fall = -found.accuracy[0][0] - found.accuracy[2][1]
    assert found.expected(plan, "accuracy") == pytest.approx(fall)


def test_pairs_are_measured_together_and_compared_with_the_sum():
    found = measured()
    pairs = pair_error(found, space(), split(), pairs=6, seed=1)
    assert len(set(pairs.pairs)) == 6
    for both, loss, summed in zip(pairs.pairs, pairs.measured, pairs.summed, strict=True):
        (one, _), (other, _) = both
        assert one != other
        after = loss_of(swapped(found.base, *both))[0]
        assert loss == pytest.approx(after - found.base_loss, abs=2e-5)
        assert summed == pytest.approx(sum(found.loss[p][o] for p, o in both))
    for both, apart, summed in zip(
        pairs.pairs, pairs.divergence, pairs.summed_divergence, strict=True
    ):
        assert apart == pytest.approx(divergence_of(swapped(found.base, *both)), abs=2e-5)
        assert summed == pytest.approx(sum(found.divergence[p][o] for p, o in both))
    errors = [abs(a - b) for a, b in zip(pairs.measured, pairs.summed, strict=True)]
    assert pairs.mean == pytest.approx(sum(errors) / 6)
    assert pairs.relative == pytest.approx(sum(errors) / sum(map(abs, pairs.measured)))


def test_networks_that_are_no_graphs_are_run_as_a_whole():
    pruned = prune(network("residual"), (0.5, 1.0))
    found = sensitivities(pruned, split(), images=IMAGES)
    inputs, targets = next(split().batches(IMAGES, IMAGES))
    for place in range(len(pruned)):
        losses = []
        for option in (0, found.base[place]):
            module = pruned.apply(swapped(found.base, (place, option))).module
            with torch.no_grad():
                losses.append(float(F.cross_entropy(module(inputs), targets)))
        assert found.loss[place][0] == pytest.approx(losses[0] - losses[1], abs=2e-5)


def test_a_table_of_another_space_is_refused_with_the_difference():
    other = quantize(network("residual", "depthwise"), bits=(2, 8))
    with pytest.raises(HwflowError, match=r"has \(2, 4, 8\) there and \(2, 8\) here"):
        measured().check(other)


def test_bad_arguments_are_named():
    unlabelled = Split("val", TensorSource(torch.randn(3, 3, 8, 8), torch.zeros(3, 2)))
    with pytest.raises(DataError, match="one class label per image"):
        sensitivities(space(), unlabelled)
    with pytest.raises(HwflowError, match="must be 1 or more"):
        sensitivities(space(), split(), images=0)
    with pytest.raises(HwflowError, match="on paper only"):
        sensitivities(Space(space().workload, space().parts), split())
    with pytest.raises(HwflowError, match="no two choices"):
        pair_error(measured(), space(), split(), pairs=0)


@pytest.mark.parametrize("text", ["", "[]", '{"sensitivity": {"base": []}}', "{}"])
def test_files_that_hold_no_table_are_refused(tmp_path, text):
    file = tmp_path / "found.json"
    file.write_text(text)
    with pytest.raises(HwflowError, match="sensitivities"):
        Sensitivity.read(file)


def test_a_missing_file_is_refused_with_the_command_that_writes_one(tmp_path):
    with pytest.raises(HwflowError, match=r"No such file.*hwflow sensitivity"):
        Sensitivity.read(tmp_path / "none.json")
