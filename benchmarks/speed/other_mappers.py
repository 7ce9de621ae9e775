"""The same layers on one machine through hwflow, zigzag-dse and scalesim: CPU time and results.

    python benchmarks/speed/other_mappers.py others.jsonl [--folder FOLDER] [--tools zigzag ...]

Each tool is installed once by pip, in a virtual environment of its own under the folder, at the
versions below; nothing of it enters hwflow's environment. Rows are written as they come, so a run
that was stopped goes on where it was. A tool or layer that fails is a row with its error. The rules
of the tools differ (mappers/inputs.py names how), so costs stand side by side and are not equal;
`checks` holds the numbers that must agree whatever the rules.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

from mappers import inputs
from mappers.inputs import BITS, CASES, Case
from measured import Row, Rows, cpu_ms, read

from hwflow.costs.fine import Fine
from hwflow.costs.fine.cache import user_file
from hwflow.costs.fine.mapspace import mapspace
from hwflow.costs.fine.rates import rates
from hwflow.costs.fine.result import Objective
from hwflow.costs.fine.score import compute_cycles, score
from hwflow.machine import Accelerator, load_machine

MACHINE = "systolic-16x16"
SEARCHED: tuple[Objective, ...] = ("latency", "energy")
PACKAGES = {
    # six is imported by zigzag-dse 3.9.1 and not among its requirements
    "zigzag": ("zigzag-dse==3.9.1", "numpy==2.4.6", "six==1.17.0"),
    # scalesim 3.0.0 turns an array of one element into an int, which later numpy refuses
    "scalesim": ("scalesim==3.0.0", "numpy==2.2.6"),
}
MOST_SECONDS = 600
"""CPU time that a tool may take for all its layers."""
ROUNDED = 0.999
"""zigzag counts whole words of a port and rounds the count of a tensor down."""
HERE = Path(__file__).parent


class InstallError(Exception):
    """A tool that could not be installed; the text says why."""


def python_of(tool: str, folder: Path) -> Path:
    """Return the interpreter of a tool's environment, made and filled when it is not there."""
    home = folder / tool
    python, stamp = home / "bin" / "python", home / "installed"
    wanted = "\n".join(PACKAGES[tool])
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing {' '.join(PACKAGES[tool])}", file=sys.stderr)
        venv.create(home, clear=True, with_pip=True)
        words = [python, "-m", "pip", "install", "--quiet", *PACKAGES[tool]]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            raise InstallError(f"pip: {last_line(done.stderr)}")
        stamp.write_text(wanted)
    return python


def last_line(text: str) -> str:
    """Return the last line that says something."""
    return ([line for line in text.splitlines() if line.strip()] or ["no message"])[-1].strip()


def ran(tool: str, python: Path, case: Case, words: list[str], seconds: float) -> Row:
    """Run a tool's script on one layer under a limit of CPU time."""
    write: Callable[[Path, Case, Accelerator], None] = getattr(inputs, tool)
    with tempfile.TemporaryDirectory() as made:
        write(Path(made), case, load_machine(MACHINE))
        before = children_s()
        done = subprocess.run(
            [python, "-W", "ignore", HERE / "mappers" / f"{tool}_layer.py", made, *words],
            capture_output=True, text=True, env=os.environ | {"PYTHONPATH": ""},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1,) * 2),
        )  # fmt: skip
    spent = {"process_s": children_s() - before}
    if done.returncode:
        return {"error": f"exit {done.returncode}: {last_line(done.stderr)}", **spent}
    row: Row = {**json.loads(last_line(done.stdout)), **spent}
    if tool == "scalesim":
        row["steps"] = inputs.without_filling(case, row["cycles"])
    return row


def children_s() -> float:
    """Return the CPU seconds of all finished child processes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def other(tool: str, rows: Rows, folder: Path, cases: list[Case]) -> None:
    """Run one of the other tools on every layer, for every objective it knows."""
    code = " ".join(PACKAGES[tool])
    try:
        python = python_of(tool, folder)
    except (InstallError, OSError, subprocess.SubprocessError) as error:
        rows.measure({"tool": tool, "layer": "all"}, lambda e=str(error): {"error": e}, code)
        return
    left = float(MOST_SECONDS)
    for case, objective in product(cases, SEARCHED if tool == "zigzag" else (None,)):
        what = {"tool": tool, "layer": case.name, "objective": objective}
        words = [objective] if objective else []
        print(" ".join(map(str, what.values())), file=sys.stderr)
        if left <= 0:
            print(
                f"{tool} has used its {MOST_SECONDS} s; start again for the rest", file=sys.stderr
            )
            return
        row = rows.measure(what, lambda c=case, w=words: ran(tool, python, c, w, left), code)  # noqa: B023
        left -= row["process_s"]


def ours(rows: Rows, cases: list[Case]) -> None:
    """Run hwflow on every layer."""
    machine = load_machine(MACHINE)
    Fine().best(machine, CASES[-1].shape, BITS)
    for case, objective, full in product(cases, SEARCHED, (False, True)):
        what = {"tool": "hwflow", "layer": case.name, "objective": objective,
                "mapspace": "full" if full else "default"}  # fmt: skip
        rows.measure(what, lambda c=case, o=objective, f=full: own(machine, c, o, f))


def own(machine: Accelerator, case: Case, objective: Objective, full: bool) -> Row:
    """Map one layer from empty caches."""
    shape = case.shape
    ms, found = cpu_ms(lambda: Fine(objective, full=full).best(machine, shape, BITS), 3)
    figures = rates(machine, shape, BITS)
    scored = score(shape, figures, found.mapping, machine.pes)
    spreads = mapspace(machine).unrollings(shape).tolist()
    return {
        "cpu_ms": ms, "macs": shape.macs, "steps": scored.compute_cycles, "cycles": scored.cycles,
        "energy_pj": scored.energy_j * 1e12, "dram_bytes": scored.dram_bytes, "gap": found.gap,
        "fewest_steps": min(compute_cycles(shape, figures, tuple(each)) for each in spreads),
    }  # fmt: skip


def checks(case: Case, zigzag: Row | None, scalesim: Row | None, mine: Row) -> dict[str, bool]:
    """Return what must hold between the tools, each True or False."""
    steps, least = inputs.plain_steps(case), inputs.compulsory_bytes(case)
    held = {
        "hwflow: DRAM bytes at least compulsory": mine["dram_bytes"] >= least,
        "hwflow: the fewest steps are those of C x K": mine["fewest_steps"] == steps,
    }
    if zigzag:
        held["zigzag: the same MACs"] = zigzag["macs"] == mine["macs"]
        held["zigzag: steps of C x K"] = zigzag["steps"] == steps
        held["zigzag: DRAM bytes at least compulsory"] = zigzag["dram_bytes"] >= least * ROUNDED
    if scalesim:
        count, columns = inputs.folds(case)
        held["scalesim: cycles = folds (P Q + 46)"] = scalesim["steps"] == count * columns
        if case.ins // case.groups % inputs.SIDE == 0:
            held["scalesim: steps of C x K"] = scalesim["steps"] == steps
        held["scalesim: DRAM bytes at least compulsory"] = scalesim["dram_bytes"] >= least
    return held


def verdicts(rows: list[Row]) -> dict[str, dict[str, bool]]:
    """Return the checks of every layer that hwflow has rows of."""
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        what: dict[str, Any] = dict(row["what"])
        layer = what.pop("layer")
        if "error" not in row:
            found.setdefault(layer, {})[" ".join(str(v) for v in what.values() if v)] = row
    return {
        case.name: checks(
            case, of.get("zigzag latency"), of.get("scalesim"), of["hwflow latency full"]
        )
        for case in CASES
        if "hwflow latency full" in (of := found.get(case.name, {}))
    }  # fmt: skip


def main() -> None:
    """Install, run, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--folder", type=Path, default=user_file().parent / "other-mappers")
    parser.add_argument("--tools", nargs="*", default=list(PACKAGES), choices=list(PACKAGES))
    parser.add_argument("--layers", type=int, nargs="+", default=range(len(CASES)),
                        help="numbers of layers, from 0")  # fmt: skip
    asked = parser.parse_args()
    cases, rows, start = (
        [CASES[number] for number in asked.layers],
        Rows(asked.results),
        time.time(),
    )
    ours(rows, cases)
    for tool in asked.tools:
        other(tool, rows, asked.folder, cases)
    for name, held in verdicts(read(asked.results)).items():
        broken = [check for check, holds in held.items() if not holds]
        print(f"{name}: {len(held) - len(broken)} of {len(held)} checks hold", *broken,
              sep="\n  ")  # fmt: skip
    print(
        f"{time.time() - start:.0f} s; tables: python benchmarks/speed/tables.py", file=sys.stderr
    )


if __name__ == "__main__":
    main()
