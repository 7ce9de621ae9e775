"""An agent that walks over the choices: DDPG as in AMC, with HW-Flow's hardware-aware state.

    DDPG(seed=0)                               # the limits are walls, the state knows the hardware
    DDPG(hardware=False)                       # AMC's own state
    DDPG(repair="backwards", hardware=False)   # HAQ's repair
    DDPG(repair="ratio")                       # the same, but what loses least for what it saves
    DDPG(start="coarse/agent.safetensors")     # go on from what an agent learnt at another level

One episode decides every choice in the order of the layers and is evaluated once; the reward at its
end goes to every step. Defaults are AMC's (ECCV 2018): networks 300-300, learning rates 1e-4 and
1e-3, tau 0.01, discount 1, batches of 64, noise 0.5 x 0.95^episode after 100 random episodes.
Source of the state and the levels: HW-Flow (LITES 8(1):3, 2022), as described in METHODS.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from hwflow.errors import HwflowError, unknown_name
from hwflow.problem import Problem
from hwflow.settings import check_seed
from hwflow.solvers import Evaluate
from hwflow.solvers.ddpg.rewards import RewardName
from hwflow.solvers.ddpg.wall import Repair
from hwflow.space import Plan

GENERATION = 2
"""Of state, rewards and learning. It goes up with every change that makes other walks of the same
settings, so that a study is never gone on with by an agent that began it differently."""

AgentName = Literal["ddpg", "td3", "sac"]


@dataclass(frozen=True)
class DDPG:
    """Deep deterministic policy gradient on plans; TD3 and SAC by `agent`."""

    name: ClassVar[str] = "ddpg"
    endless: ClassVar[bool] = True

    seed: int = 0
    agent: AgentName = "ddpg"
    hardware: bool = True
    """Whether the state has the hardware metrics of the level, or AMC's entries only."""
    repair: Repair = "wall"
    """How limits are kept: "wall" while walking, afterwards "backwards" (HAQ) or by the best
    "ratio" of saving to loss, or "none"."""
    losses: tuple[tuple[float, ...], ...] = ()
    """What each option of each choice loses, for the repair "ratio"; () for a proxy by bits."""
    reward: RewardName = "accuracy"
    exponent: float = -0.07
    """w of the reward "product"."""
    step_price: float = 0.0
    """How much the reward falls by the longest fine-tuning to choose, and in proportion by less."""
    warmup: int = 100
    """Random episodes before learning begins. A run that is no longer than them is a random search,
    and warns of it; one that goes on with more evaluations begins to learn."""
    sigma: float = 0.5
    decay: float = 0.95
    hidden: tuple[int, ...] = (300, 300)
    actor_rate: float = 1e-4
    critic_rate: float = 1e-3
    tau: float = 0.01
    discount: float = 1.0
    batch: int = 64
    replay_episodes: int = 100
    """Episodes that are kept to learn from."""
    start: Path | str | None = None
    """Weights to begin with, as `keep` wrote them for a walk over the same choices."""
    first: tuple[Plan, ...] = ()
    """Plans to walk along first, as far as the limits let it: the best of another level, say."""
    keep: Path | str | None = None
    """Where to write the agent's weights (.safetensors) when the run ends."""

    def __post_init__(self) -> None:
        for kind, known in (("agent", AgentName), ("repair", Repair), ("reward", RewardName)):
            if getattr(self, kind) not in get_args(known):
                raise HwflowError(unknown_name(kind, getattr(self, kind), get_args(known)))
        check_seed(self.seed)
        for key, least in (("warmup", 0), ("batch", 1), ("replay_episodes", 1)):
            if getattr(self, key) < least:
                raise HwflowError(
                    f"DDPG's {key} must be {least} or more, not {getattr(self, key)}."
                )
        for key in ("tau", "discount", "decay"):
            if not 0 <= getattr(self, key) <= 1:
                raise HwflowError(f"DDPG's {key} lies from 0 to 1, not {getattr(self, key)}.")
        for key in ("actor_rate", "critic_rate"):
            if not (isfinite(rate := getattr(self, key)) and rate > 0):
                raise HwflowError(f"DDPG's {key} is a learning rate above 0, not {rate}.")
        if not self.hidden or min(self.hidden) < 1:
            raise HwflowError(
                f"DDPG's hidden are the sizes of its layers, each 1 or more, not {self.hidden}."
            )
        if not (isfinite(self.sigma) and self.sigma >= 0):
            raise HwflowError(f"DDPG's sigma is a width, 0 or more, not {self.sigma}.")
        if not isfinite(self.exponent):
            raise HwflowError(f"DDPG's exponent is a number, such as -0.07, not {self.exponent}.")
        if not (isfinite(self.step_price) and self.step_price >= 0):
            raise HwflowError(f"DDPG's step_price is 0 or more, not {self.step_price}.")
        if self.keep is not None:
            check_writable(Path(self.keep))

    def settings(self) -> dict[str, Any]:
        """Return everything that decides what it asks for."""
        found = asdict(self) | {"hidden": list(self.hidden), "first": [list(p) for p in self.first]}
        del found["keep"]  # decides nothing
        if not self.step_price:
            del found["step_price"]  # so that runs from before there was one go on
        found["losses"] = [list(row) for row in self.losses]
        if not self.losses:
            del found["losses"]
        found["generation"] = GENERATION
        return found | {"start": None if self.start is None else digest(self.start)}

    def run(self, problem: Problem, evaluate: Evaluate) -> None:
        """Walk episode after episode, until `evaluate` ends the run."""
        from hwflow.solvers.ddpg.session import walk_on

        walk_on(self, problem, evaluate)


def digest(path: Path | str) -> str:
    """Return the SHA-256 of an agent's file; HwflowError when there is none."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise HwflowError(
            f"The agent {path} cannot be read: {error.strerror}. Give the file that DDPG(keep=...) "
            "wrote, or start without one."
        ) from error


def check_writable(path: Path) -> None:
    """Raise HwflowError where a file cannot be written; leaves nothing behind."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    try:
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise HwflowError(
            f"The agent cannot be kept in {path}: {error.strerror}. Give a file in a folder that "
            "may be written to (keep), or leave it out."
        ) from error
