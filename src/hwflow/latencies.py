"""Modelled, tabled and measured latency of a built network, side by side.

modelled: what the search minimised on a described machine; tabled: the sum of its layers in this
computer's table of latencies, calibrated; measured: the exported file against its parent's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hwflow.costs.measured.files import Measured as FileTimes
from hwflow.costs.measured.level import Measured
from hwflow.design import Design
from hwflow.errors import HwflowError
from hwflow.files import whole
from hwflow.front import Trial
from hwflow.machine import Device, load_machine
from hwflow.machine.latencies import user_table
from hwflow.problem import Problem

LATENCIES_FILE = "latencies.json"


def side_by_side(
    problem: Problem, trial: Trial, times: FileTimes | None, folder: Path
) -> dict[str, Any]:
    """Return a trial's latencies before and after, and keep them for the run's report."""
    device = problem.machine if isinstance(problem.machine, Device) else None
    before = problem.cost.cost(problem.design).total.get("latency_s")
    searched = {"on": problem.machine.name, "before_s": before,
                "after_s": trial.total.get("latency_s")}  # fmt: skip
    found = {
        "trial": trial.number,
        "modelled": None if device else searched,
        "tabled": searched if device else _tabled(problem, trial),
        "measured": _measured(times) if times else None,
    }
    if times is not None:
        path = folder / LATENCIES_FILE
        known = {entry["trial"]: entry for entry in read(folder)} | {trial.number: found}
        with whole(path) as part:
            part.write_text(json.dumps(list(known.values()), indent=1))
    return found


def read(folder: Path) -> list[dict[str, Any]]:
    """Return the latencies of a run's built networks."""
    path = folder / LATENCIES_FILE
    return list(json.loads(path.read_text())) if path.exists() else []


def _tabled(problem: Problem, trial: Trial) -> dict[str, Any] | None:
    """Return latencies from this computer's table, None where it lacks a layer."""
    if not user_table().exists():
        return None
    cpu, model = load_machine("cpu"), Measured(may_measure=False)
    workload = problem.space.on_paper(trial.plan, problem.design).workload
    try:
        costs = model.costs([Design(w, cpu) for w in (problem.space.workload, workload)])
    except HwflowError:
        return None
    before, after = (cost.latency_s for cost in costs)
    return {"on": cpu.name, "before_s": before, "after_s": after}


def _measured(times: FileTimes) -> dict[str, Any]:
    plain = times.to_json()
    against = plain["against"]
    return {
        "on": f"{times.device['processor']}, {times.device['runtime']}",
        "before_s": against["latency_s"] if against else None,
        "after_s": plain["file"]["latency_s"],
        **plain,
    }
