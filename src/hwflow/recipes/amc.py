"""AMC: an agent prunes channels below a share of the multiplications.

Implements the method of "AMC: AutoML for model compression and acceleration on mobile devices"
(ECCV 2018, arXiv 1802.03494): the state knows no hardware, the budget is on multiplications, the
reward is the accuracy, and nothing is fine-tuned inside the search. Differences: any graph,
channels in coupled groups, and accuracy on validation images after batch-norm re-estimation.

    front = amc(net, data, "runs/amc", below=("macs=50%",), evaluations=800)
    front.pick("most accurate").build()
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hwflow import loop
from hwflow.cost import Limits
from hwflow.costs.coarse import Coarse
from hwflow.data import Data
from hwflow.edits.prune import prune
from hwflow.front import Front
from hwflow.loop import Progress
from hwflow.network import Network
from hwflow.problem import QUALITY, Problem
from hwflow.quality.accuracy import Accuracy
from hwflow.recipes.levels import check_limits
from hwflow.solvers.ddpg import DDPG
from hwflow.space import Space

KEEP = tuple(share / 20 for share in range(4, 21))
"""From 0.2 to 1, as in AMC, in steps of a twentieth."""


def amc(
    network: Network,
    data: Data,
    out: Path | str,
    *,
    below: Sequence[str] = ("macs=50%",),
    evaluations: int = 800,
    warmup: int = 100,
    images: int | None = None,
    calibration: int = 256,
    keep: Sequence[float] = KEEP,
    space: Space | None = None,
    seed: int = 0,
    qualities: Path | str | None = None,
    on_trial: Callable[[Progress], None] | None = None,
) -> Front:
    """Search, and return the front; its one plan is the most accurate within the limits.

    `below` are limits on what the coarse level gives, absolute or in percent of the original
    network. `warmup` episodes are random. A `space` of your own stands for what `calibration` and
    `keep` make. Killed, the same call goes on. Raises DataError when splits share images.
    """
    check_limits(below)
    data.check_disjoint()
    if space is None:
        space = prune(network.calibrated(data.calibration(calibration)), keep)
    free = Problem(space, MACHINE, Coarse())
    limits = Limits.read(below, free.original)
    problem = Problem(space, MACHINE, free.cost, limits, (QUALITY,))
    solver = DDPG(seed=seed, warmup=warmup, hardware=False)
    return loop.search(
        problem, Accuracy(data.val, limit=images), solver, out, evaluations=evaluations, seed=seed,
        qualities=qualities, on_trial=on_trial,
    )  # fmt: skip


MACHINE = "eyeriss"
"""Any machine: the coarse level does not look at it."""
