"""Runs to compare that no search made: qualities and energies as given, everything else alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hwflow.compare import Comparison, Run
from hwflow.compare.gather import grouped
from hwflow.front import Trial


def made_run(
    solver: Mapping[str, Any] | str,
    qualities: Sequence[float],
    seed: int = 0,
    infeasible: Sequence[int] = (),
) -> Run:
    """Return a run with these qualities, the trials numbered `infeasible` being beyond a limit."""
    settings = {"name": solver} if isinstance(solver, str) else dict(solver)
    trials = tuple(
        Trial(
            number, (number,), {"energy_j": 1e-6 * (number + 1), "latency_s": 1e-3}, quality,
            seconds=0.5, infeasible=("energy is too much",) if number in infeasible else (),
        )
        for number, quality in enumerate(qualities)
    )  # fmt: skip
    where = f"runs/{settings['name']}-{seed}"
    return Run(where, {"seed": seed, "solver": {"seed": seed, **settings}}, trials)


def made_comparison(
    runs: Sequence[Run], labels: Sequence[str | None] | None = None, **changed: Any
) -> Comparison:
    """Compare runs as `compare` does with those of folders."""
    least = min(len(run.trials) for run in runs)
    given: dict[str, Any] = {
        "contenders": grouped(labels or [None] * len(runs), runs),
        "objectives": ("accuracy", "energy_j"),
        "limits": {"energy_j": 9e-6},
        "machine": "eyeriss",
        "level": "mid",
        "evaluations": least,
    }
    return Comparison(**given | changed)
