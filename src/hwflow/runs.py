"""Run folders: search into one, report on it, build from it. What the command line calls."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import sys
import tomllib
from collections.abc import Callable, Sequence, Sized
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwflow import latencies, loop
from hwflow.cost import CostModel
from hwflow.costs.fine.level import LayerReport
from hwflow.costs.layerwise import LayerLevel
from hwflow.costs.mid import Roofline, ops_roofline
from hwflow.design import Design
from hwflow.errors import HwflowError, StudyError
from hwflow.files import whole
from hwflow.front import Front, Trial
from hwflow.job import RUN_FILE, Job, Parts
from hwflow.loop import Progress
from hwflow.machine import Device
from hwflow.problem import Problem
from hwflow.proof import prove
from hwflow.report import ReportData, write_report
from hwflow.study import Study

if TYPE_CHECKING:
    from hwflow.build import Tuning
    from hwflow.solvers.surrogate import Worth
    from hwflow.train import Progress as Step

REPORT_FILE = "report.html"
FRONT_FILE = "front.csv"
BUILDS_FILE = "builds.json"
_PACKAGES = ("hwflow", "torch", "torchvision", "numpy", "pymoo", "onnx", "onnxruntime")


@dataclass(frozen=True)
class Result:
    """What a run has found so far."""

    folder: Path
    front: Front
    baseline: Trial
    """The original network: its quality and cost."""
    evaluated: int
    infeasible: int
    worth: Worth | None = None
    """Of the single changes that the search began with; None where it began without."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "run": str(self.folder),
            "evaluated": self.evaluated,
            "infeasible": self.infeasible,
            "hypervolume": self.front.hypervolume(),
            "original": {"accuracy": self.baseline.quality, **self.baseline.total},
            "front": [_row(trial) for trial in self.front],
            **({} if self.worth is None else {"single_changes": _worth(self.worth)}),
        }


def _row(trial: Trial) -> dict[str, Any]:
    values = trial.space.values(trial.plan) if trial.space else {}
    return {
        "trial": trial.number,
        "accuracy": trial.quality,
        **trial.total,
        "choices": values,
    }


def _worth(worth: Worth) -> dict[str, Any]:
    gaps = None if worth.gaps is None else [
        {"trial": each.trial.number, "loss": each.loss, "gap": each.gap, "proven": each.proven}
        for each in worth.gaps
    ]  # fmt: skip
    return {"rank_correlation": worth.correlation, "gaps": gaps}


def search(job: Job, folder: Path, show: Callable[[Progress], None] | None = None) -> Result:
    """Search as `job` says into `folder`, or go on with the search that is there.

    Raises DataError when the splits of the data set share images, and HwflowError with the layer
    where channels cannot be removed.
    """
    parts = Parts(job, folder=folder)
    parts.data.check_disjoint()
    prove(parts.problem)
    recorder = _Recorder(parts, folder, show)
    loop.search(
        parts.problem,
        parts.quality,
        parts.solver,
        folder,
        evaluations=job.evaluations,
        seconds=job.seconds,
        workers=job.workers,
        threads=job.threads,
        seed=job.seed,
        provenance=recorder.provenance,
        on_trial=recorder,
    )
    recorder.write()
    result, told = _finish(parts, folder), parts.sensitivity
    if told is None:
        return result
    from hwflow.solvers.surrogate import worth

    with Study.read(folder) as study:
        trials = study.trials()
    return replace(result, worth=worth(parts.problem, told.table(), trials, result.front))


def adopt(job: Job, folder: Path) -> Result:
    """Make a run of a folder that a recipe has searched: run.toml, front.csv and report.html.

    `job` must give the choices, the machine and the level of the search. Raises StudyError where
    its choices are others.
    """
    parts = Parts(job, calibrated=False)
    with Study.read(folder) as study:
        _check_space(study, parts.problem, folder)
    job.write(folder / RUN_FILE, _read_provenance(folder) or provenance(parts))
    return _finish(parts, folder)


class _Recorder:
    """Writes run.toml when the run folder is there, and passes progress on."""

    def __init__(self, parts: Parts, folder: Path, show: Callable[[Progress], None] | None) -> None:
        self._parts, self._folder, self._show = parts, folder, show
        self.provenance = provenance(parts)
        self._written = False

    def __call__(self, progress: Progress) -> None:
        self.write()
        if self._show is not None:
            self._show(progress)

    def write(self) -> None:
        if not self._written and self._folder.is_dir():
            stored = _read_provenance(self._folder)
            self._parts.job.write(self._folder / RUN_FILE, stored or self.provenance)
            self._written = True


def provenance(parts: Parts) -> dict[str, Any]:
    """Return what a run was made with and from, for run.toml and the report."""
    network, machine = parts.pristine, parts.problem.machine
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["hwflow", *sys.argv[1:]]),
        "network": network.name,
        "weights_sha256": network.weights or "those of the model itself",
        "machine": machine.name,
        "machine_sha256": machine.digest(),
        "limits": dict(parts.problem.below.items()),
        "channels_not_followed": _left_whole(parts),
        "host": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _PACKAGES},
    }


def _left_whole(parts: Parts) -> list[str]:
    """Return the layers that keep their channels though nobody excluded them."""
    left: set[str] = set()
    for part in parts.problem.space.parts:
        left |= set(getattr(part, "exclude", ()))
    return sorted(left - set(parts.job.pruning.exclude))


def _read_provenance(folder: Path) -> dict[str, Any]:
    path = folder / RUN_FILE
    if not path.exists():
        return {}
    return dict(tomllib.loads(path.read_text()).get("provenance", {}))


def report(folder: Path) -> Result:
    """Write the report and the table of a run again, from its study."""
    study = Study.read(folder)  # says what is wrong with the folder, before the settings are read
    parts = Parts(Job.read(folder / RUN_FILE), calibrated=False)
    _check_space(study, parts.problem, folder)
    return _finish(parts, folder)


def _check_space(study: Study, problem: Problem, folder: Path) -> None:
    if study.settings["space"] != json.loads(json.dumps(problem.space.describe())):
        raise StudyError(
            f"The choices of {folder} are not those that its {RUN_FILE} gives today: the network "
            "or hwflow has changed since. Search again into another folder."
        )


def _finish(parts: Parts, folder: Path) -> Result:
    """Measure the original once, write front.csv and report.html."""
    study = Study.read(folder)
    front = study.front(parts.space)
    result = Result(folder, front, baseline(parts, folder), study.evaluated, study.infeasible)
    study.export_csv(folder / FRONT_FILE)
    write_report(_report_data(parts, study, result), folder / REPORT_FILE)
    return result


def baseline(parts: Parts, folder: Path) -> Trial:
    """Return the original network as a trial; its quality is measured once and kept in run.toml."""
    stored = _read_provenance(folder)
    quality = stored.get("original_quality")
    if quality is None:
        quality = parts.quality.of(parts.pristine)
        found = {"original_quality": quality} | _images(parts)
        parts.job.write(folder / RUN_FILE, stored | found)
    return Trial(-1, (), parts.problem.original, float(quality))


def _images(parts: Parts) -> dict[str, int]:
    """Return how many validation images were seen, where that is known (a stream may not say)."""
    split, limit = parts.data.val, parts.job.images
    if not isinstance(split, Sized):
        return {}
    return {"validation_images": len(split) if limit is None else min(limit, len(split))}


def _notes(stored: dict[str, Any], quality: float | None) -> list[str]:
    """Return what a reader must know of the accuracies."""
    images = stored.get("validation_images")
    if images is None or quality is None or not 0 <= quality <= 1:
        return []
    error = 100 * math.sqrt(quality * (1 - quality) / images)
    return [
        f"The quality was measured on {images:,} validation images, which the search has seen: "
        f"standard error {error:.1f} points, and the best of many trials flatters itself. "
        "`hwflow build` measures a network on the test split."
    ]


def _report_data(parts: Parts, study: Study, result: Result) -> ReportData:
    problem = parts.problem
    designs = {t.number: problem.space.on_paper(t.plan, problem.design) for t in result.front}
    costs = problem.costs([trial.plan for trial in result.front])
    stored = _read_provenance(result.folder)
    return ReportData(
        title=f"{problem.space.workload.name} on {problem.machine.name}",
        model=parts.job.model,
        machine=problem.machine,
        level=parts.job.level,
        front=result.front,
        trials=study.trials(),
        baseline=result.baseline,
        workload_before=problem.space.workload,
        cost_before=replace(problem.cost.cost(problem.design), total=problem.original),
        details={
            number: (design.workload, cost)
            for (number, design), cost in zip(designs.items(), costs, strict=True)
        },
        roofline=_roofline(problem.design),
        reports_before=layer_reports(problem.cost, problem.design),
        reports={n: layer_reports(problem.cost, design) for n, design in designs.items()},
        provenance=stored | {"settings": parts.job.plain()},
        notes=_notes(stored, result.baseline.quality),
        latencies=latencies.read(result.folder),
        run=str(result.folder),
        quality=parts.job.quality,
    )


def _roofline(design: Design) -> Roofline | None:
    """Return the roofline of a modelled machine; a device has none."""
    return None if isinstance(design.machine, Device) else ops_roofline(design)


def recosting(folders: Sequence[Path], level: str, below: Sequence[str]) -> Problem:
    """Return the problem of run folders at another level, within other limits, to compare them at.

    Without `below` the limits are the runs' own, which must then be the same. Raises HwflowError
    where they are not, and for a folder without run.toml.
    """
    jobs = [Job.read(folder / RUN_FILE) for folder in folders]
    if not below and len({job.below for job in jobs}) > 1:
        raise HwflowError("These runs have different limits. Say which count: --below NAME=VALUE.")
    settings = jobs[0].model_dump() | {"level": level, "below": tuple(below) or jobs[0].below}
    return Parts(Job.check(settings, "hwflow compare"), calibrated=False).problem


def layer_reports(model: CostModel, design: Design) -> tuple[LayerReport, ...]:
    """Return the mappings of a design's layers; empty where the level has none to show."""
    found = model.report(design) if isinstance(model, LayerLevel) else ()
    return tuple(report for report in found if isinstance(report, LayerReport))


def build(
    folder: Path,
    wish: str,
    to: Path | None,
    tuning: Tuning | None = None,
    show: Callable[[Step], None] | None = None,
    timed: bool = True,
    form: str = "qdq",
) -> dict[str, Any]:
    """Build one network of a run's front, test it against the original, write it to `to`.

    `form` is that of a .onnx file: "qdq" or "qonnx".

    Fine-tuning keeps a checkpoint in the run folder: killed, the same call goes on. An .onnx file
    is timed against the unedited network's unless `timed` is False or the format is "qonnx".
    """
    from hwflow import build as make

    study = Study.read(folder)
    parts = Parts(Job.read(folder / RUN_FILE))
    parts.data.check_disjoint()
    problem = parts.problem
    _check_space(study, problem, folder)
    trial = study.front(problem.space).pick(wish)
    make.check_target(to, form)
    tuning = tuning or make.Tuning(0)
    key = _build_key(trial, tuning, problem)
    kept = replace(tuning, seed=parts.job.seed, checkpoint=folder / f"tuning-{key}.safetensors")
    train = parts.data.train if tuning.epochs else None
    network = make.build(problem, trial, kept, train, show)
    test = _tested_once(parts, network, folder, key)
    exported = make.save(network, to, parts.data.test, form) if to is not None else None
    timed = timed and form == "qdq"  # no runtime here computes QONNX's nodes
    times = make.time_file(parts.pristine, to, folder) if timed and exported and to else None
    return {
        "run": str(folder),
        "trial": trial.number,
        "choices": problem.space.values(trial.plan),
        "total": dict(trial.total),
        "original": dict(baseline(parts, folder).total),
        "validation": trial.quality,
        "finetuned_epochs": tuning.epochs,
        "test": test,
        "written": str(to) if to is not None else None,
        "export": {**asdict(exported), "format": form} if exported is not None else None,
        "latency": latencies.side_by_side(problem, trial, times, folder),
    }


def _build_key(trial: Trial, tuning: Tuning, problem: Problem) -> str:
    """Return what tells one build of a run from another."""
    how: tuple[Any, ...] = (tuning.lr, tuning.augment, tuning.ema)
    if tuning.epochs:
        how = (*how, tuning.rate(problem.space), tuning.clip_norm(problem.space))
    text = json.dumps([list(trial.plan), tuning.epochs, *how])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _tested_once(parts: Parts, network: Any, folder: Path, key: str) -> dict[str, Any]:
    """Return the test figures of a build; the test split is read once for it, then remembered."""
    from hwflow import build as make

    path = folder / BUILDS_FILE
    known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if key not in known:
        flips = make.measure(parts.pristine, network, parts.data.test)
        known[key] = {**asdict(flips), "drop": flips.drop, "standard_error": flips.standard_error}
        with whole(path) as part:
            part.write_text(json.dumps(known, indent=2))
    return dict(known[key])
