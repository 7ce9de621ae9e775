import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paper_nets import Paper, chain, padded_shortcut, residual

from hwflow.coupling import couple, shrink


def smaller(workload, **kept):
    coupling = couple(workload)
    return shrink(coupling, coupling.mask(kept))


def dims(workload, name):
    layer = workload[name]
    return layer.in_channels, layer.out_channels, layer.groups


def attrs(workload, name):
    return dict(workload[name].attrs)


def test_layers_lose_filters_and_what_reads_them_loses_inputs():
    small = smaller(chain(), a=(0, 2), b=(1, 3, 5))
    assert [dims(small, name) for name in "abc"] == [(3, 2, 1), (2, 3, 1), (3, 2, 1)]
    assert small["a"].out_shape == small["b"].in_shapes[0] == (1, 2, 4, 4)
    # a 3 x 3 weight, a bias and two factors of the normalisation for each of three filters
    assert small["b"].params == 3 * 2 * 9 + 3 * 3
    assert small.macs == 16 * (3 * 2 + 2 * 3 * 9 + 3 * 2)


def test_a_workload_of_which_all_is_kept_is_the_same():
    for workload in (chain(), residual(), padded_shortcut()):
        assert smaller(workload) == workload
        coupling = couple(workload)
        every = {group.name: range(group.size) for group in coupling.groups}
        assert shrink(coupling, coupling.mask(every)) == workload


def test_a_padded_shortcut_pads_as_much_as_is_left_on_either_side():
    small = smaller(padded_shortcut(), wide=(0, 1, 2), stem=(0, 3))
    assert attrs(small, "pad")["before"] == (0, 2, 0, 0)
    assert attrs(small, "pad")["after"] == (0, 1, 0, 0)
    assert small["pad"].in_shapes == ((1, 2, 4, 4),)
    assert small["add"].out_shape == (1, 5, 4, 4)


def test_a_padded_shortcut_pads_less_where_only_channels_beside_it_are_gone():
    small = smaller(padded_shortcut(), wide=(3,))
    assert small["pad"].in_shapes == ((1, 4, 4, 4),)
    assert (attrs(small, "pad")["before"], attrs(small, "pad")["after"]) == ((0,) * 4, (0, 1, 0, 0))


def test_what_lies_side_by_side_moves_up():
    net = Paper()
    left, right = net.conv("left", "x", 4), net.conv("right", "x", 3)
    net.conv("join", net.concat("cat", left, right), 2)
    small = smaller(net.workload(), left=(1,), right=(0, 2))
    assert attrs(small, "cat")["offsets"] == (0, 1)
    assert small["join"].in_channels == 3


def test_slices_start_and_stop_at_what_is_left():
    net = Paper()
    both = net.conv("both", "x", 6)
    net.conv("left", net.slice("low", both, 0, 3), 2)
    net.conv("right", net.slice("high", both, 3, 6), 2)
    small = smaller(net.workload("left", "right"), both=(1,), **{"both[2]": (0, 2)})
    assert [attrs(small, "low")[key] for key in ("start", "stop")] == [0, 1]
    assert [attrs(small, "high")[key] for key in ("start", "stop")] == [1, 3]
    assert small["both"].out_channels == 3


@pytest.mark.parametrize(
    ("out", "groups", "kept", "expected"),
    [
        (8, 8, (0, 3, 7), (3, 3, 3)),  # depthwise: whole groups of one
        (16, 8, (0, 3, 7), (3, 6, 3)),
        (8, 4, (0, 2), (4, 4, 2)),  # narrow groups: whole ones
        (12, 2, (0, 2), (4, 12, 2)),  # wide groups: as many channels of each
    ],
)
def test_grouped_convolutions(out, groups, kept, expected):
    net = Paper()
    net.conv("last", net.conv("grouped", net.conv("a", "x", 8), out, groups=groups, kernel=3), 2)
    small = smaller(net.workload(), a=kept)
    ins, outs, parts = dims(small, "grouped")
    assert (ins, outs, parts) == expected
    assert small["grouped"].params == outs * (ins // parts) * 9 + 3 * outs


def test_flattened_features_go_with_their_channel():
    net = Paper(size=2)
    net.conv("a", "x", 3)
    net.linear("fc", net.reshape("flat", "a", 1, 12), 5)
    small = smaller(net.workload(), a=(0, 2))
    assert small["flat"].out_shape == (1, 8)
    assert (small["fc"].in_channels, small["fc"].params) == (8, 45)


def test_norms_and_slopes_lose_parameters_with_their_channels():
    net = Paper()
    normed = net.layer("norm", "norm", net.conv("a", "x", 4), attrs={"kind": "batch"}, params=8)
    net.conv("b", net.layer("prelu", "act", normed, act=("prelu",), params=4), 2)
    small = smaller(net.workload(), a=(0, 1, 3))
    assert (small["norm"].params, small["prelu"].params) == (6, 3)


def test_a_group_norm_keeps_its_groups_whole():
    net = Paper()
    attrs_of = {"kind": "group", "groups": 2}
    normed = net.layer("norm", "norm", net.conv("a", "x", 8), attrs=attrs_of, params=16)
    net.conv("b", normed, 2)
    small = smaller(net.workload(), a=(1,))
    assert (attrs(small, "norm")["groups"], small["norm"].params, dims(small, "a")[1]) == (1, 8, 4)


def test_constants_per_channel_lose_loose_parameters():
    net = Paper()
    constant = {"constant": (4, 1, 1), "loose": 4}
    net.conv("b", net.add("scaled", net.conv("a", "x", 4), op="mul", attrs=constant), 2)
    workload = net.workload(loose=10)
    small = smaller(workload, a=(0, 1, 2))
    assert attrs(small, "scaled") == {"constant": (3, 1, 1), "loose": 3}
    assert small.loose_params == 9


def test_pools_have_the_channels_that_are_left():
    net = Paper()
    pool = net.layer(
        "pool", "max_pool", net.conv("a", "x", 4), shape=(1, 4, 2, 2), in_channels=4, out_channels=4
    )
    net.conv("b", pool, 2)
    small = smaller(net.workload(), a=(2,))
    assert (small["pool"].in_channels, small["pool"].out_channels) == (1, 1)
    assert small["pool"].out_shape == (1, 1, 2, 2)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), pick=st.sampled_from([chain, residual, padded_shortcut]))
def test_shapes_depend_on_how_many_are_kept_and_not_on_which(seed, pick):
    rng, workload = random.Random(seed), pick()
    coupling = couple(workload)
    counts = {group.name: rng.randint(1, group.size) for group in coupling.groups}
    seen = set()
    for _ in range(3):
        kept = {g.name: rng.sample(range(g.size), counts[g.name]) for g in coupling.groups}
        small = shrink(coupling, coupling.mask(kept))
        seen.add(tuple((x.in_channels, x.out_channels, x.params) for x in small.mac_layers))
    assert len(seen) == 1
    assert small.macs <= workload.macs
    assert small.params <= workload.params
