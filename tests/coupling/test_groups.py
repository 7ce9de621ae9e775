import pytest
from paper_nets import Paper, chain, padded_shortcut, residual

from hwflow.coupling import channel_groups, couple, track
from hwflow.errors import WorkloadError


def sides(group):
    return {(member.layer, member.side): member.channels for member in group.members}


def names(workload, exclude=()):
    return [group.name for group in channel_groups(workload, exclude)]


def test_a_group_is_the_filters_of_a_layer_and_what_the_next_one_reads():
    first, second = channel_groups(chain())
    assert (first.name, first.size, first.layers, first.width) == ("a", 4, ("a",), 1)
    one_each = tuple((i,) for i in range(4))
    assert sides(first) == {("a", "out"): one_each, ("b", "in"): one_each}
    assert set(sides(second)) == {("b", "out"), ("c", "in")}


def test_what_leaves_the_network_stays_and_says_so():
    coupling = couple(chain())
    assert "c" not in coupling.names
    assert coupling.why == {"c": "c leaves the network"}


def test_layers_that_an_add_brings_together_are_one_group():
    stem, first = channel_groups(residual())
    assert stem.layers == ("stem", "second")
    assert set(sides(stem)) == {
        ("stem", "out"), ("second", "out"), ("first", "in"), ("head", "in")
    }  # fmt: skip
    assert first.layers == ("first",)


def test_channels_of_a_padded_shortcut_are_one_group_and_those_beside_them_another():
    with_stem, beside = channel_groups(padded_shortcut())
    assert (with_stem.name, beside.name) == ("stem", "wide")
    assert sides(with_stem)["wide", "out"] == ((2,), (3,), (4,), (5,))
    assert sides(with_stem)["head", "in"] == ((2,), (3,), (4,), (5,))
    assert sides(beside)["wide", "out"] == ((0,), (1,), (6,), (7,))


def test_padding_that_repeats_channels_lets_them_stay():
    net = Paper()
    stem = net.conv("stem", "x", 4)
    net.conv("head", net.pad("pad", stem, 2, 2, mode="reflect"), 2)
    assert couple(net.workload()).why["stem"] == "pad pads with channels that are not constant"


def test_a_depthwise_convolution_goes_with_what_it_reads():
    net = Paper()
    net.conv("point", net.conv("depth", net.conv("a", "x", 4), 4, groups=4, kernel=3), 2)
    (group,) = channel_groups(net.workload())
    assert group.layers == ("a", "depth")


def test_a_depth_multiplier_takes_several_filters_with_each_channel():
    net = Paper()
    net.conv("point", net.conv("depth", net.conv("a", "x", 4), 8, groups=4), 2)
    (group,) = channel_groups(net.workload())
    assert sides(group)["depth", "out"] == ((0, 1), (2, 3), (4, 5), (6, 7))


def test_many_narrow_groups_go_as_whole_groups():
    net = Paper()
    net.conv("last", net.conv("grouped", net.conv("a", "x", 8), 8, groups=4), 2)
    (group,) = channel_groups(net.workload())
    assert (group.size, group.width) == (4, 2)
    assert sides(group)["grouped", "out"] == ((0, 1), (2, 3), (4, 5), (6, 7))


def test_few_wide_groups_lose_as_many_channels_each():
    net = Paper()
    net.conv("last", net.conv("grouped", net.conv("a", "x", 8), 12, groups=2), 2)
    read, made = channel_groups(net.workload())
    assert sides(read)["a", "out"] == ((0, 4), (1, 5), (2, 6), (3, 7))
    assert made.size == 6
    assert sides(made)["grouped", "out"][0] == (0, 6)


def test_channels_side_by_side_are_read_behind_one_another():
    net = Paper()
    left, right = net.conv("left", "x", 2), net.conv("right", "x", 3)
    net.conv("join", net.concat("cat", left, right), 2)
    first, second = channel_groups(net.workload())
    assert sides(first)["join", "in"] == ((0,), (1,))
    assert sides(second)["join", "in"] == ((2,), (3,), (4,))


def test_halves_that_different_layers_read_are_two_groups():
    net = Paper()
    both = net.conv("both", "x", 6)
    net.conv("left", net.slice("first half", both, 0, 3), 2)
    net.conv("right", net.slice("second half", both, 3, 6), 2)
    groups = channel_groups(net.workload("left", "right"))
    assert [(g.name, g.size) for g in groups] == [("both", 3), ("both[2]", 3)]
    assert sides(groups[1]) == {
        ("both", "out"): ((3,), (4,), (5,)), ("right", "in"): ((0,), (1,), (2,))
    }  # fmt: skip


def test_a_flattened_map_is_read_as_many_features_for_each_channel():
    net = Paper(size=2)
    net.conv("a", "x", 3)
    net.linear("fc", net.reshape("flat", "a", 1, 12), 5)
    (group,) = channel_groups(net.workload())
    assert sides(group)["fc", "in"] == ((0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11))


def test_a_gate_goes_with_what_it_multiplies():
    net = Paper()
    body = net.conv("body", "x", 4)
    pooled = net.layer("pool", "avg_pool", body, shape=(1, 4, 1, 1))
    gate = net.conv("up", net.conv("down", pooled, 2), 4)
    net.conv("head", net.add("gated", body, gate, op="mul"), 2)
    groups = {group.name: group for group in channel_groups(net.workload())}
    assert groups["body"].layers == ("body", "up")
    assert groups["down"].layers == ("down",)


def test_shuffled_channels_stay_a_rectangle():
    net = Paper()
    body = net.conv("body", "x", 8)
    split = net.reshape("split", body, 1, 2, 4, 4, 4)
    turned = net.permute("turned", split, 0, 2, 1, 3, 4)
    net.conv("head", net.reshape("joined", turned, 1, 8, 4, 4), 2)
    (group,) = channel_groups(net.workload())
    assert sides(group)["body", "out"] == ((0, 4), (1, 5), (2, 6), (3, 7))
    assert sides(group)["head", "in"] == ((0, 1), (2, 3), (4, 5), (6, 7))


def test_channels_cut_across_by_a_reshape_go_in_whole_rectangles():
    net = Paper(size=2)
    net.conv("b", net.reshape("cut", net.conv("a", "x", 6), 1, 8, 3, 1), 2)
    (group,) = channel_groups(net.workload())
    assert sides(group) == {
        ("a", "out"): ((0, 1, 2), (3, 4, 5)), ("b", "in"): ((0, 1, 2, 3), (4, 5, 6, 7))
    }  # fmt: skip


def test_channels_that_can_only_go_all_together_stay():
    net = Paper(size=2)
    net.conv("b", net.reshape("cut", net.conv("a", "x", 3), 1, 4, 3, 1), 2)
    assert couple(net.workload()).why["a"] == "a has its channels tied to one another"


@pytest.mark.parametrize(
    ("op", "attrs", "why"),
    [
        ("softmax", {"dim": 1}, "odd is a softmax over the channels: each changes the others"),
        ("norm", {"kind": "layer"}, "odd is a layer norm over the channels: each changes the othe"),
        ("reduce", {"dims": (1,)}, "odd reduces over the channels"),
        ("unknown", {"target": "aten.fft"}, "odd is an operator that is not known, aten.fft"),
        ("roll", {"shifts": (1,), "dims": (1,)}, "odd changes the order of the channels"),
        ("slice", {"dim": 1, "start": 0, "stop": 4, "step": 2}, "odd picks single channels"),
    ],
)
def test_channels_that_change_one_another_stay_with_the_reason(op, attrs, why):
    net = Paper(size=4)
    shape = {"reduce": (1, 1, 4, 4), "slice": (1, 2, 4, 4)}.get(op)
    odd = net.layer("odd", op, net.conv("a", "x", 4), shape=shape, attrs=attrs)
    net.conv("b", odd, 2)
    coupling = couple(net.workload())
    assert coupling.groups == ()
    assert coupling.why["a"].startswith(why)


def test_a_product_of_two_tensors_keeps_their_channels():
    net = Paper()
    left, right = net.conv("left", "x", 4), net.conv("right", "x", 4)
    product = net.layer("qk", "matmul", left, right)
    net.conv("head", product, 2)
    assert couple(net.workload()).why["left"] == "qk multiplies two tensors"


def test_channels_that_meet_others_that_stay_stay():
    net = Paper(channels=4)
    net.conv("head", net.add("add", net.conv("a", "x", 4), "x"), 2)
    assert couple(net.workload()).why["a"] == "add meets x, whose channels stay"


def test_what_is_excluded_stays_with_all_that_goes_with_it():
    assert names(residual(), ["second"]) == ["first"]
    why = couple(residual(), frozenset({"second"})).why
    assert why["second"] == "second is excluded"
    assert why["stem"] == "add meets second, whose channels stay"


def test_excluding_an_unknown_layer_is_refused_with_the_known_ones():
    with pytest.raises(WorkloadError, match=r"layer to exclude 'stam'.*stem"):
        channel_groups(residual(), ["stam"])


def test_layers_that_share_a_weight_share_their_channels():
    net = Paper()
    first = net.conv("first", net.conv("a", "x", 4), 4)
    net.conv("last", net.conv("again", first, 4, attrs={"tied": "first"}), 2)
    (group,) = channel_groups(net.workload())
    assert group.layers == ("a", "first", "again")


def test_two_channels_are_kept_where_one_would_make_a_constant_per_channel_one_for_all():
    net = Paper()
    scaled = net.add("scaled", net.conv("a", "x", 4), op="mul", attrs={"constant": (4, 1, 1)})
    net.conv("b", scaled, 2)
    assert channel_groups(net.workload())[0].least == 2


class TestMask:
    def test_names_what_is_kept(self):
        coupling = couple(chain())
        mask = coupling.mask({"b": (0, 5)})
        assert mask[coupling.lanes["b"].ids].tolist() == [True, False, False, False, False, True]
        assert mask[coupling.lanes["a"].ids].all()
        assert mask[coupling.lanes["c"].ids].all()

    @pytest.mark.parametrize("units", [(), (4,), (-1, 0), (0, 1, 2, 3, 99)])
    def test_refuses_units_that_are_not_there_and_none_at_all(self, units):
        with pytest.raises(WorkloadError, match="Group 'a' has units 0 to 3, of which at least 1"):
            couple(chain()).mask({"a": units})

    def test_an_unknown_group_is_refused_with_the_reason_it_is_none(self):
        with pytest.raises(WorkloadError, match="c leaves the network"):
            couple(chain()).mask({"c": (0,)})


def test_the_groups_of_a_network_are_found_once():
    workload = chain()
    assert couple(workload) is couple(workload)
    assert couple(workload).group("b") is couple(workload).groups[1]
    assert couple(workload).least("b") == 1


def test_a_layer_whose_channels_cannot_be_followed_is_named_with_what_to_exclude(monkeypatch):
    def confused(tracker, layer, lanes):
        raise IndexError("tuple index out of range")

    monkeypatch.setitem(track.RULES, "max_pool", confused)
    net = Paper()
    pool = net.layer("pool", "max_pool", net.conv("a", "x", 4))
    net.conv("c", net.conv("b", pool, 4), 2)
    with pytest.raises(WorkloadError) as caught:
        couple(net.workload())
    assert str(caught.value) == (
        "The channels of layer 'pool' (max_pool) cannot be followed: IndexError: tuple index out "
        "of range. Leave all its channels: --exclude pool (in Python, exclude)."
    )
    coupling = couple(net.workload(), frozenset({"pool"}))
    assert coupling.names == ("b",)
    assert coupling.why["a"] == "pool cannot be followed"
