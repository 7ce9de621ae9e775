"""HAQ's recipe: an agent with two actions per layer below a share of the 8-bit network's cost."""

from __future__ import annotations

import pytest

from hwflow.errors import InfeasibleError
from hwflow.recipes.haq import agent, budgeted, haq
from hwflow.recipes.hw_flowq import default_costs, quantization_space
from hwflow.solvers.steps import steps_of
from hwflow.study import Study

BITS = (2, 4, 8)


@pytest.mark.parametrize("repair", ["ratio", "backwards"])
def test_every_plan_that_is_evaluated_keeps_the_budget(net, data, tmp_path, repair):
    front = haq(
        net, data, "bismo", tmp_path, bits=BITS, below=("latency=50%",), repair=repair,
        level="mid", evaluations=6, warmup=2, images=40, calibration=16,
    )  # fmt: skip
    whole = default_costs(budgeted(quantization_space(net, data, BITS, 16), "bismo", (), "mid"))
    with Study.read(tmp_path) as study:
        scored = [trial for trial in study.trials() if trial.quality is not None]
        assert study.settings["solver"]["repair"] == repair
        noise = study.settings["solver"]["decay"] ** 4  # after the four that are not random
        assert noise == pytest.approx(0.99**580)  # HAQ's last
    assert len(scored) == 6
    assert all(trial.total["latency_s"] <= 0.5 * whole["latency_s"] for trial in scored)
    assert front.pick("most accurate").quality == max(trial.quality for trial in scored)


def test_each_layer_has_an_action_for_its_weights_and_each_tensor_one(net, data):
    space = quantization_space(net, data, BITS, 16)
    steps = steps_of(budgeted(space, "bismo", (), "mid"))
    assert sorted(s.choice.name for s in steps) == sorted(c.name for c in space.choices)
    order = [(step.layers[0], "activation" in step.choice.name) for step in steps]
    assert order == sorted(order)  # the weights of a layer, then the tensor it makes


def test_an_action_gives_bits_as_haq_rounds_them(net, data):
    space = quantization_space(net, data, (2, 3, 4, 5, 6, 7, 8), 16)
    step = steps_of(budgeted(space, "bismo", (), "mid"))[0]
    for number in range(101):
        action = number / 100
        if abs((2 - 0.5 + action * 7) % 1 - 0.5) < 1e-9:
            continue  # halves: Python rounds them to even, at no share of the actions
        wanted = min(8, max(2, round(2 - 0.5 + action * 7)))
        assert step.choice.options[step.option(step.rank(action))] == wanted


def test_the_agent_is_haqs_but_for_the_repair():
    ours, theirs = agent(0), agent(0, "backwards")
    assert (ours.repair, theirs.repair) == ("ratio", "backwards")
    assert (theirs.warmup, theirs.sigma, theirs.decay, theirs.batch) == (20, 0.5, 0.99, 64)
    assert (theirs.actor_rate, theirs.critic_rate, theirs.tau) == (1e-4, 1e-3, 0.01)
    assert (theirs.hidden, theirs.replay_episodes, theirs.hardware) == ((300, 300), 64, False)
    assert theirs.reward == "points"
    assert agent(0, decay=0.9, sigma=0.4, evaluations=50).decay == 0.9
    assert agent(0, evaluations=160).decay == pytest.approx(0.9592, abs=1e-4)


def test_a_budget_out_of_reach_is_refused(net, data, tmp_path):
    with pytest.raises(InfeasibleError, match="No plan meets"):
        haq(
            net, data, "bismo", tmp_path, bits=BITS, below=("latency=1%",), level="mid",
            evaluations=3, calibration=16,
        )  # fmt: skip
