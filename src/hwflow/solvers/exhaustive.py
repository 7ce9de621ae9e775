"""Every plan of a small space: the exact front, and the yardstick of the other solvers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

from hwflow.errors import HwflowError
from hwflow.plans import ENUMERABLE, distinct_plans
from hwflow.problem import Problem
from hwflow.solvers import Evaluate


@dataclass(frozen=True)
class Exhaustive:
    """Tries every plan, in lexical order. `seed` is not used; every solver takes one."""

    name: ClassVar[str] = "exhaustive"
    endless: ClassVar[bool] = False

    seed: int = 0
    limit: int = ENUMERABLE
    """Spaces with more plans are refused."""
    batch: int = 256
    """Plans asked for at a time."""

    def run(self, problem: Problem, evaluate: Evaluate) -> None:
        """Ask for all plans. Raises HwflowError for a space that is too large."""
        size = problem.space.size
        if size > self.limit:
            shown = f"{size:,}" if size < 10**12 else f"10^{len(str(size)) - 1}"
            raise HwflowError(
                f"The space has {shown} plans; the exhaustive solver takes up to {self.limit:,}. "
                "Give fewer options, raise its `limit`, or use nsga2 or random."
            )
        plans = distinct_plans(problem.space)
        while chunk := list(islice(plans, self.batch)):
            evaluate(chunk)

    def settings(self) -> dict[str, Any]:
        """Nothing but the space decides what it asks for."""
        return {}
