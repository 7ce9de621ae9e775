"""HAQ: an agent chooses bits, two actions per layer, below a share of the 8-bit network's cost.

Implements the method of "HAQ: Hardware-Aware Automated Quantization with Mixed Precision" (CVPR
2019, arXiv 1811.08886) for any machine and level; it does not claim to reproduce its tables.

    front = haq(net, data, "bismo", "runs/haq", below=("latency=50%",))
    front.pick("most accurate").build()

The agent is DDPG, with the figures of HAQ's public code: networks 300-300, rates 1e-4 and 1e-3, tau
0.01, discount 1, batches of 64, 64 episodes kept (128 steps for each layer, which has two), 20
random ones, then noise of 0.5 x 0.99^episode on the action, which ends with the 600th; fewer
episodes go down to the same noise in as many as there are. An episode is worth 0.1 x its points of
accuracy, less a moving average that keeps half of itself with every batch; the state tells the bits
of a weight from those of a tensor. An action a gives round(b_min - 0.5 + a (b_max - b_min + 1))
bits. Where a plan is beyond the budget, its bits are lowered until it is not: HAQ goes from the
last layer backwards (repair "backwards"), and by default what loses least for what it saves goes
first ("ratio").

Where ours differs: a tensor that several layers read is one action, which comes after the weights
of the layer that makes it; the state has the same entries of the layer but the size of its input,
in logarithms, beside the progress towards the budget; the agent learns from actions as the repair
left them, since the reward is that of the plan they make, where HAQ's code keeps those it asked
for; after five episodes in a row without a new plan one is random; an update is made at the end of
an episode, as many as it has steps; rewards are accuracies after calibration on validation images
where HAQ trains each plan for an epoch; first and last layers keep 8 bits, as in HAQ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hwflow import loop
from hwflow.data import Data
from hwflow.front import Front
from hwflow.loop import Progress
from hwflow.network import Network
from hwflow.problem import QUALITY, Problem
from hwflow.quality.accuracy import Accuracy
from hwflow.recipes.hw_flowq import BITS, costed, quantization_space
from hwflow.recipes.levels import check_levels, check_limits
from hwflow.solvers.ddpg import DDPG
from hwflow.solvers.ddpg.ratio import Losses
from hwflow.solvers.ddpg.wall import Repair
from hwflow.space import Space

EPISODES, WARMUP, DECAY = 600, 20, 0.99
"""Of HAQ's code: episodes, random ones among them, and the factor on the noise with every other."""


def haq(
    network: Network,
    data: Data,
    on: str,
    out: Path | str,
    *,
    bits: Sequence[int] = BITS,
    below: Sequence[str] = ("latency=50%",),
    repair: Repair = "ratio",
    losses: Losses = (),
    level: str = "fine",
    evaluations: int = EPISODES,
    warmup: int = WARMUP,
    images: int | None = 1000,
    calibration: int = 256,
    seed: int = 0,
    qualities: Path | str | None = None,
    on_trial: Callable[[Progress], None] | None = None,
) -> Front:
    """Search, and return the front; its one plan is the most accurate within the limits.

    `below` are limits, absolute or in percent of the 8-bit network. `losses` tell the repair what
    each option of each choice loses, as sensitivities give; without them it goes by bits. Killed,
    the same call goes on, but not one with other `evaluations`, on which the noise hangs. Raises
    InfeasibleError when the limits are out of reach, and DataError when splits share images.
    """
    check_levels([level])
    check_limits(below)
    data.check_disjoint()
    space = quantization_space(network, data, bits, calibration)
    return loop.search(
        budgeted(space, on, below, level), Accuracy(data.val, limit=images),
        agent(seed, repair, losses, warmup, evaluations), out, evaluations=evaluations, seed=seed,
        qualities=qualities, on_trial=on_trial,
    )  # fmt: skip


def budgeted(space: Space, on: str, below: Sequence[str], level: str = "fine") -> Problem:
    """Return the problem: accuracy alone, below limits in percent of the 8-bit network."""
    problem = costed(level, space, on, below, ())
    return Problem(space, on, problem.cost, problem.below, (QUALITY,))


def agent(
    seed: int,
    repair: Repair = "ratio",
    losses: Losses = (),
    warmup: int = WARMUP,
    evaluations: int = EPISODES,
    **figures: float,
) -> DDPG:
    """Return HAQ's agent, which has none of HW-Flow's entries in its state.

    The noise falls to HAQ's last within so many `evaluations`, `warmup` included. `figures` are
    others than those of HAQ's code, by their names in :class:`~hwflow.DDPG`, such as ``decay=0.95``
    or ``actor_rate=1e-3``.
    """
    learning = max(1, evaluations - warmup)
    usual: dict[str, Any] = {
        "decay": DECAY ** ((EPISODES - WARMUP) / learning), "sigma": 0.5, "replay_episodes": 64,
        "reward": "points", "hardware": False,
    }  # fmt: skip
    return DDPG(seed=seed, repair=repair, losses=losses, warmup=warmup, **(usual | figures))
