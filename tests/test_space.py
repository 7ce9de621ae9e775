import random
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwflow.design import Design
from hwflow.errors import HwflowError
from hwflow.machine import load_machine
from hwflow.network import Network
from hwflow.space import ORDER, BitsPart, Choice, Edit, Space, plan_matrix
from hwflow.testing import toy_problem, toy_workload

WORKLOAD = toy_workload()


@dataclass(frozen=True)
class Log:
    """An edit that writes down that it was made, on paper and in the network."""

    text: str

    def on_paper(self, design):
        return Design(design.workload, (*(design.machine or ()), self.text))

    def in_network(self, network):
        return network.with_module((*(network.module or ()), self.text))


@dataclass(frozen=True)
class LogPart:
    kind: str
    choices: tuple = ()

    def edit(self, values):
        return Log(f"{self.kind}{sorted(values.items())}")


OPERATION = Choice("operation", ("keep", "skip", "slim"), ordered=False)
BITS = Choice("bits", (2, 4, 8), default=2, only_if=("operation", ("keep", "slim")))
SCALE = Choice("scale", ("max", "mse"), only_if=("bits", (2,)))


@pytest.fixture
def space():
    parts = (LogPart("quantize", (BITS, SCALE)), LogPart("replace", (OPERATION,)))
    return Space(WORKLOAD, parts, Network("net", None, None))


plans = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 1))


def test_parts_and_choices_come_in_the_order_edits_are_made(space):
    assert [part.kind for part in space.parts] == ["replace", "quantize"]
    assert [choice.name for choice in space.choices] == ["operation", "bits", "scale"]
    assert len(space) == 3
    assert space.size == 18
    assert space.default == (0, 2, 0)


def test_edits_are_made_in_order_on_paper_and_in_the_network(space):
    plan = (2, 0, 1)
    expected = ("replace[('operation', 'slim')]", "quantize[('bits', 2), ('scale', 'mse')]")
    assert space.on_paper(plan, Design(WORKLOAD, ())).machine == expected
    assert space.apply(plan).module == expected


def test_edits_see_the_canonical_plan(space):
    assert space.edits((1, 0, 1)) == space.edits(space.canonical((1, 0, 1)))


def test_inactive_choices_are_set_to_their_default_through_chains(space):
    assert space.canonical((1, 0, 1)) == (1, 2, 0)  # skipped: no bits, so no scale
    assert space.canonical((0, 1, 1)) == (0, 1, 0)  # 4 bits have no choice of scale
    assert space.canonical((0, 0, 1)) == (0, 0, 1)


@given(plan=plans)
def test_a_canonical_plan_is_its_own_canonical_form(plan):
    parts = (LogPart("quantize", (BITS, SCALE)), LogPart("replace", (OPERATION,)))
    space = Space(WORKLOAD, parts)
    once = space.canonical(plan)
    assert space.canonical(once) == once
    assert space.edits(once) == space.edits(plan)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ((0, 0), "has 3 entries, this has 2"),
        ((0, 3, 0), "'bits' has options 0 to 2, not 3"),
        ((-1, 0, 0), "'operation' has options 0 to 2, not -1"),
    ],
)
def test_plans_of_another_space_are_refused(space, plan, message):
    for method in (space.check, space.canonical, space.values, space.apply):
        with pytest.raises(HwflowError, match=message):
            method(plan)


@given(plan=plans)
def test_values_and_plan_are_inverse(plan):
    parts = (LogPart("quantize", (BITS, SCALE)), LogPart("replace", (OPERATION,)))
    space = Space(WORKLOAD, parts)
    assert space.plan(space.values(plan)) == plan


def test_what_is_not_named_takes_its_default(space):
    assert space.plan({"operation": "skip"}) == (1, 2, 0)
    assert space.plan({}) == space.default


def test_unknown_choices_and_options_are_refused(space):
    with pytest.raises(HwflowError, match="no choice called 'colour'"):
        space.plan({"colour": 3})
    with pytest.raises(HwflowError, match=r"no option 3\. Allowed: 2, 4, 8"):
        space.plan({"bits": 3})


@settings(max_examples=20)
@given(seed=st.integers(0, 999))
def test_samples_are_canonical_and_follow_their_seed(seed):
    parts = (LogPart("quantize", (BITS, SCALE)), LogPart("replace", (OPERATION,)))
    space = Space(WORKLOAD, parts)
    plan = space.sample(random.Random(seed))
    assert plan == space.canonical(plan) == space.sample(random.Random(seed))


def test_every_option_is_drawn():
    choice = Choice("bits", (2, 4, 8))
    space = Space(WORKLOAD, (LogPart("quantize", (choice,)),))
    rng = random.Random(0)
    assert {space.sample(rng) for _ in range(60)} == {(0,), (1,), (2,)}


def test_uniform_plans_give_each_value_to_all_who_have_it():
    wide, narrow = Choice("wide", (2, 4, 8), default=2), Choice("narrow", (4, 8), default=1)
    space = Space(WORKLOAD, (LogPart("quantize", (wide, narrow)),))
    assert space.uniform() == [(0, 1), (1, 0), (2, 1)]


def test_uniform_plans_leave_the_machine_as_it_is():
    bits, rows = Choice("bits", (2, 4, 8), default=2), Choice("rows", (4, 16), default=1)
    space = Space(WORKLOAD, (LogPart("quantize", (bits,)), LogPart("resize", (rows,))))
    assert space.uniform() == [(0, 1), (1, 1), (2, 1)]


def test_a_split_plan_has_a_slice_for_every_part(space):
    slices = {part.kind: values for part, values in space.split((2, 1, 0))}
    assert slices == {"replace": (2,), "quantize": (1, 0)}


def test_a_description_is_plain_data(space):
    assert space.describe()[1] == {"name": "bits", "options": [2, 4, 8], "default": 2}


def test_spaces_of_one_network_add_up():
    network = Network("net", None, None)
    left = Space(WORKLOAD, (LogPart("fuse"), LogPart("quantize", (Choice("a", (1, 2)),))))
    right = Space(WORKLOAD, (LogPart("fuse"), LogPart("prune", (Choice("b", (1, 2)),))), network)
    both = left + right
    assert [part.kind for part in both.parts] == ["prune", "fuse", "quantize"]
    assert both.network is network


def test_spaces_of_two_networks_do_not():
    other = toy_workload(batch=2)
    with pytest.raises(HwflowError, match="two different networks"):
        Space(WORKLOAD) + Space(other)


def test_two_choices_of_one_name_are_refused():
    part = LogPart("quantize", (Choice("a", (1,)),))
    with pytest.raises(HwflowError, match="two choices called 'a'"):
        Space(WORKLOAD, (part, part))


def test_unknown_kinds_of_edit_are_refused():
    with pytest.raises(HwflowError, match=f"'paint'. Known: {', '.join(ORDER)}"):
        Space(WORKLOAD, (LogPart("paint"),))


def test_a_choice_needs_options_and_a_default_among_them():
    with pytest.raises(HwflowError, match="no options"):
        Choice("bits", ())
    with pytest.raises(HwflowError, match="no option number 2"):
        Choice("bits", (4, 8), default=2)


def test_a_space_on_paper_cannot_make_a_network():
    with pytest.raises(HwflowError, match="on paper only"):
        Space(WORKLOAD).apply(())


def test_a_space_without_choices_has_one_plan():
    space = Space(WORKLOAD)
    assert (space.size, space.default, space.sample(random.Random(0))) == (1, (), ())


def test_protocols_know_their_own():
    part = toy_problem().space.parts[0]
    assert isinstance(part, BitsPart)
    assert not isinstance(LogPart("fuse"), BitsPart)
    assert isinstance(part.edit({}), Edit)


def test_the_paper_face_of_a_plan_is_that_of_its_edits():
    problem = toy_problem()
    plan = problem.space.plan({"weight_bits:depthwise": 2})
    design = Design(problem.space.workload, load_machine("eyeriss"))
    paper = problem.space.on_paper(plan, design).workload
    assert [x.weight_bits for x in paper.mac_layers] == [16, 2, 16, 16]


def test_plans_become_a_table_of_options():
    table = plan_matrix([(0, 1), (1, 0), (1, 1)], [(2, 4), (8, 16)])
    assert table.tolist() == [[2, 16], [4, 8], [4, 16]]
    assert plan_matrix([(), ()], []).shape == (2, 0)
    assert plan_matrix([], [(2, 4)]).shape == (0, 1)
    assert table.dtype == np.int64
