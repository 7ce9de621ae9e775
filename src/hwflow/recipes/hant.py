"""HANT: operations replaced by cheaper ones, trained layer by layer, chosen by an integer program.

Implements the method of HANT / LANA (arXiv 2107.10624), with HURRICANE's filter (arXiv 1910.11609)
before any training; it does not claim to reproduce their tables. The list of options is our own,
and options made from the teacher (fewer channels, low rank, fewer bits) stand beside new ones.

    found = hant(net, data, "cpu", "runs/hant", below=("latency=40%",))
    found.best.build()                         # assembled, before fine-tuning
    found.front                                # the answers, ranked by what they really lose

1. Sites: residual blocks, or single convolutions where there are none. Options: what fits a site,
   can be costed on the machine, runs faster there than what stands there now, and has much capacity
   for its latency.
2. Phase 1: every option learns to do at its site what the teacher does there. Each is a job of its
   own; many learn from one reading of the teacher's activations.
3. Scores: what the network loses when one site alone is replaced.
4. Phase 2: an integer program adds up scores and costs, and answers with plans that differ. Every
   answer is costed truly, and scored as a whole on validation images; the program learns from it.
5. The best answer is fine-tuned by whoever asked (:func:`hwflow.train.finetune`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hwflow import loop
from hwflow.cost import Cost, CostModel, Limits
from hwflow.data import Data
from hwflow.distill import Distillate, Scores, distill, score
from hwflow.distill.jobs import Progressing
from hwflow.edits.operations import Option
from hwflow.edits.replace import OPERATION, ReplacePart
from hwflow.edits.replace import replace as replacing
from hwflow.edits.sites import Site
from hwflow.errors import HwflowError, MachineError
from hwflow.front import Front, Trial
from hwflow.network import Network
from hwflow.problem import QUALITY, Problem
from hwflow.quality.accuracy import Accuracy
from hwflow.quality.fitting import Fitting
from hwflow.quality.promising import OptionCost, promising
from hwflow.solvers.milp import MILP
from hwflow.space import Plan, Space

OBJECTIVES = (QUALITY, "latency")

DISTILLED, ANSWERS = "distilled", "answers"
"""Folders of a run: what was trained and scored, and the search over answers."""


@dataclass(frozen=True)
class Transformed:
    """What was found, and everything on the way to it."""

    problem: Problem
    chosen: Mapping[str, tuple[str, ...]]
    """The options that were trained, by site."""
    distillate: Distillate
    scores: Scores
    front: Front
    answers: Path
    """Folder of the search over answers."""

    @property
    def best(self) -> Trial:
        """The answer that loses least, of those within the limits."""
        return self.front.pick("most accurate")

    def operations(self, plan: Plan) -> dict[str, str]:
        """Return the option at each site under a plan."""
        values = self.problem.space.values(plan)
        return {name.removeprefix(OPERATION): str(value) for name, value in values.items()}


def hant(
    network: Network,
    data: Data,
    on: str,
    cost: CostModel,
    out: Path | str,
    *,
    below: Sequence[str] = ("latency=50%",),
    sites: Sequence[Site | str] | None = None,
    options: Sequence[Option | str] | None = None,
    per_site: int = 12,
    images: int = 4000,
    how: Fitting = Fitting(),
    scored: int = 1000,
    validation: int | None = None,
    calibration: int = 256,
    answers: int = 10,
    overlap: float = 0.7,
    workers: int = 1,
    seed: int = 0,
    on_progress: Progressing | None = None,
) -> Transformed:
    """Transform a network for a machine; killed at any moment, the same call goes on.

    `per_site` options at each site are trained on `images` training images as `how` says, and
    scored on `scored` validation images. `answers` plans within `below`, no two of which agree at
    more than `overlap` of the sites, are scored as a whole on `validation` images (all by default).
    Raises InfeasibleError where no plan keeps the limits.
    """
    folder = Path(out)
    ready = network.calibrated(data.calibration(calibration))
    wide = replacing(ready, sites, options, seed=seed)
    chosen = worthwhile(Problem(wide, on, cost, objectives=OBJECTIVES), per_site)
    places = {
        site: tuple(o for o in options_ if o.name in chosen[site.name])
        for site, options_ in parts_of(wide).items() if site.name in chosen
    }  # fmt: skip
    known = tuple(dict.fromkeys(option for row in places.values() for option in row))
    found = distill(
        ready, tuple(places), known, data.train, folder / DISTILLED, chosen=chosen, images=images,
        how=replace(how, seed=seed), workers=workers, on_progress=on_progress,
    )  # fmt: skip
    losses = score(
        ready, tuple(places), known, data.val, folder / DISTILLED, chosen=chosen, images=scored,
        workers=workers, on_progress=on_progress,
    )  # fmt: skip
    space = replacing(ready, options=usable(places, losses), trained=found.weights, seed=seed)
    problem = limited(space, on, cost, below)
    answered = folder / "-".join([ANSWERS, *below]).replace("%", "")
    solver = MILP(
        seed, diverse=answers, overlap=overlap, next_best=answers, losses=losses.losses(space)
    )
    front = loop.search(
        problem, Accuracy(data.val, limit=validation), solver, answered,
        evaluations=EVALUATIONS * answers, seed=seed,
    )  # fmt: skip
    return Transformed(problem, chosen, found, losses, front, answered)


EVALUATIONS = 3
"""Evaluations for each diverse answer: beside it the program's best ones, and the next best."""


def limited(space: Space, on: str, cost: CostModel, below: Sequence[str]) -> Problem:
    """Return the problem below limits, absolute or in percent of the original network's costs."""
    free = Problem(space, on, cost, objectives=OBJECTIVES)
    original = free.costs([space.default])[0].total
    return replace(free, below=Limits.read(below, original))


def worthwhile(problem: Problem, per_site: int) -> dict[str, tuple[str, ...]]:
    """Return the options worth training by site: HURRICANE's filter on the problem's machine."""
    chosen = {}
    for site, costs in option_costs(problem).items():
        kept = promising(list(costs), costs, per_site)
        if len(kept) > 1:
            chosen[site] = kept
    if not chosen:
        raise HwflowError(
            f"On {problem.machine.name} no option is faster than what stands at its site. Allow "
            "more options or families, or look for other edits: pruning, quantization."
        )
    return chosen


def option_costs(problem: Problem) -> dict[str, dict[str, OptionCost]]:
    """Return what each option costs at its site; options that cannot be costed are left out.

    A site's cost is that of the whole network with this option alone, less the layers elsewhere.
    """
    space = problem.space
    whole = problem.costs([space.default])[0]
    found: dict[str, dict[str, OptionCost]] = {}
    for place, (site, options) in enumerate(parts_of(space).items()):
        rest = _rest(whole, site)
        plans = [
            (*space.default[:place], o, *space.default[place + 1 :]) for o in range(len(options))
        ]
        costs = zip(options, _costed(problem, plans), strict=True)
        found[site.name] = {o.name: _own(cost, rest) for o, cost in costs if cost is not None}
    return found


_NAMES = ("macs", "params", "latency_s")


def _rest(whole: Cost, site: Site) -> dict[str, float]:
    """Return what the layers outside a site cost."""
    inside = [layer for layer in whole.layers if layer.name in site.layers]
    return {n: whole.total[n] - sum(layer.values.get(n, 0.0) for layer in inside) for n in _NAMES}


def _own(cost: Cost, rest: Mapping[str, float]) -> OptionCost:
    return OptionCost(*(max(0.0, cost.total[name] - rest[name]) for name in _NAMES))


def _costed(problem: Problem, plans: Sequence[Plan]) -> Iterator[Cost | None]:
    """Yield costs; None for a plan that the machine cannot be asked about."""
    try:
        yield from problem.costs(plans)
    except MachineError:
        for plan in plans:
            try:
                yield problem.costs([plan])[0]
            except MachineError:
                yield None


def parts_of(space: Space) -> Mapping[Site, tuple[Option, ...]]:
    """Return the sites of a space of operations, with their options."""
    (part,) = (part for part in space.parts if isinstance(part, ReplacePart))
    return part.options


def usable(
    places: Mapping[Site, tuple[Option, ...]], scores: Scores
) -> dict[Site, tuple[Option, ...]]:
    """Return the options that were trained and scored, by site; some may have failed."""
    known = {(row.site, row.option) for row in scores.rows}
    return {
        site: tuple(o for o in options if (site.name, o.name) in known)
        for site, options in places.items()
    }
