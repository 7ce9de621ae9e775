"""What bars a limit: the costliest layers of the leanest plan, and why their channels stay."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from coupling.paper_nets import Paper, residual

from hwflow.bars import Bars
from hwflow.cost import Bits, Costs, Limits
from hwflow.costs.coarse import Coarse
from hwflow.costs.mid import Mid
from hwflow.design import Design
from hwflow.edits.prune import prune
from hwflow.edits.quantize import quantize
from hwflow.errors import InfeasibleError
from hwflow.problem import Problem
from hwflow.reach import feasible_plan
from hwflow.space import Space
from hwflow.workload import Workload


def deep(blocks: int = 6) -> Workload:
    """Return a chain of equal convolutions of 32 channels with a narrow end."""
    net = Paper(size=8)
    name = net.conv("stem", "x", 32, kernel=3)
    for index in range(blocks):
        name = net.conv(f"block{index}", name, 32, kernel=3)
    net.conv("head", name, 4)
    return net.workload()


def problem(space: Space, **limits: float) -> Problem:
    return Problem(space, "systolic-16x16", Mid(), Limits(**limits))


def refusal(found: Problem) -> list[str]:
    with pytest.raises(InfeasibleError) as caught:
        feasible_plan(found)
    return str(caught.value).split("\n")


def test_the_refusal_gives_reach_bars_and_remedies() -> None:
    head, *bars, advice = refusal(problem(prune(deep(), (0.25, 0.5)), latency_s=1e-7))
    assert head.startswith("No plan meets latency <= 100 ns on systolic-16x16: the fastest of ")
    assert head.endswith("What bars it:")
    assert bars[0].startswith("  block0 and 5 more: ")
    assert bars[0].endswith(" each, 8 of 32 channels from 8 of 32 (the fewest allowed)")
    assert any(
        line.endswith("4 of 4 channels from 8 of 32 (head leaves the network)") for line in bars
    )
    assert advice.startswith("Raise the limit to ")
    assert advice.endswith(
        "% of the original's), allow fewer channels (--min-keep 0.125), or add another edit "
        "(--quantize)."
    )


def test_the_share_that_the_refusal_proposes_can_be_met() -> None:
    space = prune(deep(), (0.25, 0.5))
    advice = refusal(problem(space, latency_s=1e-7))[-1]
    share = advice.split("(")[1].split(" ")[0]
    whole = Mid().cost(problem(space).design).total
    met = Problem(space, "systolic-16x16", Mid(), Limits.read([f"latency={share}"], whole))
    assert met.totals([feasible_plan(met)])["latency_s"][0] <= met.below.latency_s


def test_excluded_layers_are_named_with_the_way_out() -> None:
    space = prune(deep(), (0.25, 0.5), exclude=("stem", "block3"))
    lines = refusal(problem(space, latency_s=1e-7))
    assert any("block3: " in line and "32 of 32 channels from 8 of 32 (block3 is excluded)" in line
               for line in lines)  # fmt: skip
    assert "exclude fewer layers (block3" in lines[-1]


def test_a_group_that_steps_have_rounded_up_says_so() -> None:
    lines = refusal(problem(prune(deep(), (0.25, 0.5), step=16), latency_s=1e-7))
    assert "16 of 32 channels from 16 of 32 (the fewest allowed)" in lines[1]
    assert "--min-keep 0.25" in lines[-1]
    wide_and_narrow = Paper(size=8)
    stem = wide_and_narrow.conv("stem", "x", 64, kernel=3)
    wide_and_narrow.conv("head", wide_and_narrow.conv("narrow", stem, 16, kernel=3), 4)
    space = prune(wide_and_narrow.workload(), (0.125, 0.25, 0.5), step=8)
    assert "a smaller --step or --min-channels" in refusal(problem(space, latency_s=1e-9))[-1]


def test_channels_that_save_nothing_are_not_asked_for() -> None:
    """On an array that a layer cannot fill, fewer channels than the array is wide cost the same."""
    net = Paper(size=8)
    net.conv("head", net.conv("stem", "x", 16, kernel=3), 4)
    found = problem(prune(net.workload(), (0.5,)), latency_s=1e-9)
    bars = Bars.of(found, "latency_s", found.space.default)
    assert bars is not None
    assert any(
        "16 of 16 channels from 3 of 3 (fewer save nothing)" in line for line in bars.lines()
    )
    assert not any("fewer channels" in way for way in bars.remedies())


def test_residual_branches_are_proposed_where_there_are_some() -> None:
    space = prune(residual(), (0.5,))
    assert "let residual branches be dropped (--branches)" in refusal(
        problem(space, latency_s=1e-12)
    )[-1]  # fmt: skip
    dropped = prune(residual(), (0.5,), branches=True)
    assert "--branches" not in refusal(problem(dropped, latency_s=1e-12))[-1]


def test_with_quantisation_no_further_edit_is_named() -> None:
    space = prune(deep(2), (0.5,)) + quantize(deep(2), bits=(4, 8))
    assert refusal(problem(space, energy_j=1e-15))[-1].endswith(", or add another edit.")


def test_metrics_of_the_network_as_a_whole_have_no_layers_to_name() -> None:
    head, advice = refusal(problem(prune(deep(2), (0.5,)), params=10))
    assert head.endswith("the least of 8 plans has 5.26 k.")
    assert advice.startswith("Raise the limit to 5.26 k (")


def test_spaces_that_remove_no_channels_have_no_bars() -> None:
    found = problem(quantize(deep(2), bits=(4, 8)))
    assert Bars.of(found, "latency_s", found.space.default) is None


def test_of_many_layers_only_what_counts_is_named() -> None:
    found = problem(prune(deep(40), (0.5,)))
    bars = Bars.of(found, "latency_s", found.space.uniform()[0])
    assert bars is not None
    assert len(bars.lines()) <= 4
    assert "and 39 more" in bars.lines()[0]


def test_bars_are_found_without_torch() -> None:
    script = (
        "import sys\n"
        "from hwflow.bars import Bars\n"
        "from hwflow.testing.toy import toy_problem\n"
        "assert Bars.of(toy_problem(), 'latency_s', toy_problem().space.default) is None\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_costs_of_the_named_layers_are_those_of_the_plan() -> None:
    found = Problem(prune(deep(2), (0.5,)), "eyeriss", Coarse())
    plan = found.space.uniform()[0]
    bars = Bars.of(found, "macs", plan)
    assert bars is not None
    layers = {layer.name: layer.values["macs"] for layer in found.costs([plan])[0].layers}
    named = next(iter(bars._rows.values()))
    np.testing.assert_allclose(bars._values[named[0]], max(layers.values()))


def test_groups_at_one_channel_are_not_said_to_allow_fewer() -> None:
    lines = refusal(problem(prune(deep(), (0.01, 0.5)), latency_s=1e-7))
    assert "1 of 32 channels from 1 of 32 (the fewest allowed" in " ".join(lines)
    assert "fewer channels" not in lines[-1]


class Opposed(Mid):
    """Layers that take more energy the faster they are."""

    def over_bits(self, design: Design, bits: Bits) -> Costs:
        found = super().over_bits(design, bits)
        hungry = 1e-15 / found.layers["latency_s"].clip(1e-12)
        layers = dict(found.layers) | {"energy_j": hungry}
        return replace(found, layers=layers, total=dict(found.total) | {"energy_j": hungry.sum(1)})


def test_limits_that_only_exclude_each_other_tell_what_bars_the_worst_of_them() -> None:
    space = prune(deep(), (0.25, 0.5))
    free = replace(problem(space), cost=Opposed())
    lean = tuple(0 for _ in space.choices)
    ends = free.totals([lean, space.default])
    below = Limits(latency_s=1.2 * ends["latency_s"][0], energy_j=1.2 * ends["energy_j"][1])
    lines = refusal(replace(free, below=below))
    assert "though each limit alone can be met" in lines[0]
    assert "What bars" in lines[0]
    assert "channels from" in lines[1]
    assert "add another edit (--quantize)" in lines[-1]
