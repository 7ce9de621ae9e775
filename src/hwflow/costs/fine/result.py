"""What a search is asked for and what it returns; plain data that a cache can keep."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from hwflow.costs.fine.nest import Mapping
from hwflow.costs.fine.objectives import Goal, goal_of
from hwflow.errors import HwflowError

Objective = str
"""A text that :func:`~hwflow.costs.fine.objectives.goal_of` reads."""

MAX_LEAVES = 20_000_000
MAX_VISITS = 200_000


@dataclass(frozen=True)
class Settings:
    """What is sought, in which mapspace, and when to stop with a certified gap."""

    objective: Objective = "latency"
    full: bool = False
    whole_maps: bool = False
    """Whether buffer tiles must hold whole output maps, as in the model of ISCA 2016."""
    max_leaves: int = MAX_LEAVES
    max_visits: int = MAX_VISITS
    seconds: float | None = None
    """Wall time after which a search stops with the best mapping so far; None for no limit."""

    def __post_init__(self) -> None:
        """Write the objective in its one way; raises HwflowError for one that cannot be read."""
        object.__setattr__(self, "objective", goal_of(self.objective).spelling)
        if self.seconds is not None and not self.seconds > 0:
            raise HwflowError(
                f"Settings.seconds is {self.seconds}: a search needs a positive number of seconds, "
                "or None for no limit."
            )

    @property
    def goal(self) -> Goal:
        """What is minimised."""
        return goal_of(self.objective)

    def key(self) -> str:
        """Return what identifies the settings; results under a time limit are kept apart."""
        space = "full" if self.full else "default"
        space += "-whole_maps" if self.whole_maps else ""
        limit = "" if self.seconds is None else f"-{self.seconds:g}s"
        return f"{self.objective}-{space}-{self.max_leaves}-{self.max_visits}{limit}"


@dataclass(frozen=True, slots=True)
class Found:
    """The best mapping, what it costs, and the proof."""

    mapping: Mapping
    energy_j: float
    cycles: float
    key: float
    """The objective: cycles, joules, or their product."""
    bound: float
    """No mapping of the mapspace has a lower key."""
    leaves: int
    """Inner tiles and sets of them that were bounded."""
    visits: int
    """Inner tiles whose buffer tiles were searched."""

    @property
    def gap(self) -> float:
        """Share by which the key may lie above the best; 0 when proven optimal."""
        return 1 - self.bound / self.key if self.bound < self.key else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Found:
        """Read what `to_json` wrote."""
        return cls(**{**plain, "mapping": Mapping.from_json(plain["mapping"])})
