from pathlib import Path

import pytest
from paper_nets import Paper, padded_shortcut, residual

from hwflow.coupling import couple, describe
from hwflow.extract import extract
from hwflow.models import load


def test_a_group_is_printed_with_all_that_goes_with_it():
    assert describe(couple(residual())).splitlines() == [
        "stem: 4 units",
        "  stem    filters  0 - 3",
        "  second  filters  0 - 3",
        "  first   inputs   0 - 3",
        "  head    inputs   0 - 3",
        "first: 6 units",
        "  first   filters  0 - 5",
        "  second  inputs   0 - 5",
        "Channels that stay",
        "  head: head leaves the network",
    ]


def test_runs_of_channels_are_printed_in_short():
    assert "  wide  filters  0 - 1, 6 - 7\n" in describe(couple(padded_shortcut()))


def test_several_channels_for_each_unit_are_said():
    net = Paper(size=2)
    net.conv("a", "x", 3)
    net.linear("fc", net.reshape("flat", "a", 1, 12), 5)
    assert "  fc  inputs   0 - 11 (4 for each unit)" in describe(couple(net.workload()))


def test_many_runs_are_cut_short():
    net = Paper()
    left = [net.conv(f"left{i}", "x", 2) for i in range(6)]
    right = [net.conv(f"right{i}", "x", 2) for i in range(6)]
    net.add("sum", *left)
    between = [name for pair in zip(left, right, strict=True) for name in pair]
    net.conv("join", net.concat("cat", *between), 2)
    net.conv("head", "sum", 2)
    text = describe(couple(net.workload("join", "head")))
    assert "  join   inputs   0 - 1, 4 - 5, ..., 20 - 21" in text


DOC = Path(__file__).parents[2] / "docs" / "pruning.md"


@pytest.mark.skipif(not DOC.exists(), reason="the docs are not part of an installed package")
def test_the_group_printed_in_the_docs_is_the_first_one_of_resnet20():
    text = describe(couple(extract(load("cifar:resnet20"))))
    first = text.split("\nlayer1.0.conv1: ")[0].splitlines()
    printed = "\n".join(f"    {line}" for line in first)
    assert len(first) == 21
    assert printed in DOC.read_text(encoding="utf-8")
