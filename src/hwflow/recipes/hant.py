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
3. Scores: how far the answers are from the teacher's when one site alone is replaced (Kullback-
   Leibler). The paper's score, by how much the cross-entropy rises, is `score_by="loss"`.
4. Phase 2: an integer program adds up scores and costs, and answers with plans that differ. Every
   answer is costed truly, and scored as a whole on validation images; the program learns from it.
5. The best answer is fine-tuned by whoever asked (:func:`hwflow.train.finetune`).

`bits=8` chooses the operations of a network that has 8 bits everywhere: an operation is worth what
it saves between layers of bytes, which on a CPU is not what it saves between layers of floats.
Options learn and are scored in floating point; answers are costed and scored with their bits.
Fine-tuning is in floating point: `found.in_floats(plan)` begins it, `found.with_bits(tuned, plan)`
sets the bits afterwards, those of single sites too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hwflow import loop
from hwflow.cost import CostModel, Limits
from hwflow.data import Data
from hwflow.distill import Distillate, Scores, distill, score
from hwflow.distill.jobs import Progressing
from hwflow.distill.targets import promising_options, slower_options
from hwflow.edits.operations import Option
from hwflow.edits.quantize import quantize
from hwflow.edits.replace import OPERATION, ReplacePart
from hwflow.edits.replace import replace as replacing
from hwflow.edits.sites import Site
from hwflow.edits.sites import sites as sites_of
from hwflow.errors import HwflowError
from hwflow.extract import extract
from hwflow.front import Front, Trial
from hwflow.machine import Accelerator, load_machine
from hwflow.network import Network
from hwflow.problem import QUALITY, Problem
from hwflow.quality.accuracy import Accuracy
from hwflow.quality.fitting import Fitting
from hwflow.quality.metrics import LogLikelihood
from hwflow.quality.sensitivity_table import Figure
from hwflow.solvers.milp import MILP
from hwflow.space import Plan, Space

OBJECTIVES = (QUALITY, "latency")

QUANTIZED = "quantized"
"""The family of options that are the teacher's layers with fewer bits."""

LEVELS = ("layer", "block")
"""Where sites are looked for again in a fine-tuned network; blocks go first."""

DISTILLED, ANSWERS = "distilled", "answers"
"""Folders of a run: what was trained and scored, and the search over answers."""


@dataclass(frozen=True)
class Transformed:
    """What was found, and everything on the way to it."""

    problem: Problem
    chosen: Mapping[str, tuple[str, ...]]
    """The options that were trained, by site."""
    slower: Mapping[str, tuple[str, ...]]
    """Those that fit a site, but that the machine runs no faster than what stands there."""
    distillate: Distillate
    scores: Scores
    front: Front
    answers: Path
    """Folder of the search over answers."""
    bits: int | None = None
    """Those of all weights and tensors; None where only single sites may have fewer."""

    @property
    def best(self) -> Trial:
        """The answer within the limits that has the least cross-entropy."""
        return self.front.pick("most accurate")

    def operations(self, plan: Plan) -> dict[str, str]:
        """Return the option at each site under a plan."""
        values = self.problem.space.values(plan)
        return {
            name.removeprefix(OPERATION): str(value)
            for name, value in values.items()
            if name.startswith(OPERATION)
        }

    def remarks(self) -> list[str]:
        """Say which options save no time where they fit, most sites first: no false speed-ups."""
        counts = Counter(name for names in self.slower.values() for name in names)
        return [
            f"{name} is no faster than what stands there at {count} of {len(self.slower)} sites "
            f"on {self.problem.machine.name}; it was not tried at these."
            for name, count in counts.most_common()
        ]

    def has_bits(self, plan: Plan) -> bool:
        """Return whether a plan has bits: everywhere, or at some sites."""
        return self.bits is not None or bool(self._quantized(plan))

    def in_floats(self, plan: Plan) -> Network:
        """Return the network of a plan without its bits: what fine-tuning begins with.

        Sites that would only have fewer bits keep what stands there.
        """
        part, options = self._replaced(plan)
        quantized = self._quantized(plan)
        floats = tuple(
            0 if site.name in quantized else option
            for site, option in zip(part.options, options, strict=True)
        )
        return replace(self.problem.space, parts=(part,)).apply(floats)

    def with_bits(self, tuned: Network, plan: Plan) -> Network:
        """Return a fine-tuned :meth:`in_floats` with the bits of its plan, calibrated anew.

        Bits come last: a training with the rates that replaced operations need would not keep them.
        """
        network = self.problem.space.network
        assert network is not None  # as hant() made it
        assert network.calibration is not None
        ready = tuned.calibrated(network.calibration)
        if self.bits is not None:
            space = quantize(ready, (self.bits,), first_last=self.bits)
            return space.apply(space.default)
        names = self._quantized(plan)
        if not names:
            return tuned
        workload = extract(ready)
        there = {s.name: s for level in LEVELS for s in sites_of(workload, level)}
        space = replacing(ready, options={there[name]: (o,) for name, o in names.items()})
        return space.apply(space.plan({OPERATION + name: o.name for name, o in names.items()}))

    def _replaced(self, plan: Plan) -> tuple[ReplacePart, Plan]:
        """Return the part of the space that replaces, with its slice of the plan."""
        for part, options in self.problem.space.split(plan):
            if isinstance(part, ReplacePart):
                return part, options
        raise AssertionError("the space of a transformation replaces")

    def _quantized(self, plan: Plan) -> dict[str, Option]:
        """Return the options of fewer bits that a plan has at single sites."""
        part, options = self._replaced(plan)
        chosen = {s.name: row[o] for (s, row), o in zip(part.options.items(), options, strict=True)}
        return {name: option for name, option in chosen.items() if option.family == QUANTIZED}


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
    bits: int | None = None,
    per_site: int = 12,
    images: int = 4000,
    held: int = 500,
    how: Fitting = Fitting(),
    scored: int = 1000,
    score_by: Figure = "divergence",
    validation: int | None = None,
    calibration: int = 256,
    answers: int = 10,
    overlap: float = 0.7,
    workers: int = 1,
    distilled: Path | str | None = None,
    seed: int = 0,
    on_progress: Progressing | None = None,
) -> Transformed:
    """Transform a network for a machine; killed at any moment, the same call goes on.

    `per_site` options at each site are trained on `images` training images as `how` says, measured
    on `held` more, and scored on `scored` validation images. `answers` plans within `below`, no two
    of which agree at more than `overlap` of the sites, are scored as a whole on `validation` images
    (all by default). What was trained lies in `out`, or in the folder `distilled`, which machines
    may share. With `bits` all weights and tensors have these, and limits in percent are of the
    original with them.
    Raises InfeasibleError where no plan keeps the limits.
    """
    folder = Path(out)
    ready = network.calibrated(data.calibration(calibration))
    wide = replacing(ready, sites, options, seed=seed)
    chosen = worthwhile(wide, load_machine(on), cost, per_site, bits)
    places = {
        site: tuple(o for o in options_ if o.name in chosen[site.name])
        for site, options_ in parts_of(wide).items() if site.name in chosen
    }  # fmt: skip
    known = tuple(dict.fromkeys(option for row in places.values() for option in row))
    trained = folder / DISTILLED if distilled is None else Path(distilled)
    found = distill(
        ready, tuple(places), known, data.train, trained, chosen=chosen, images=images,
        held=held, how=replace(how, seed=seed), workers=workers, on_progress=on_progress,
    )  # fmt: skip
    losses = score(
        ready, tuple(places), known, data.val, trained, chosen=chosen, images=scored,
        workers=workers, on_progress=on_progress,
    )  # fmt: skip
    space = replacing(ready, options=usable(places, losses), trained=found.weights, seed=seed)
    if bits is not None:
        space += quantize(ready, (bits,), first_last=bits)
    problem = limited(space, on, cost, below)
    answered = folder / "-".join([ANSWERS, *below]).replace("%", "")
    solver = MILP(
        seed,
        diverse=answers,
        overlap=overlap,
        next_best=answers,
        losses=losses.losses(space, score_by),
    )
    front = loop.search(
        problem, Accuracy(data.val, limit=validation, metric=LogLikelihood()), solver, answered,
        evaluations=EVALUATIONS * answers, seed=seed,
    )  # fmt: skip
    slower = slower_ones(wide, problem.machine, cost, bits)
    return Transformed(problem, chosen, slower, found, losses, front, answered, bits)


EVALUATIONS = 3
"""Evaluations for each diverse answer: beside it the program's best ones, and the next best."""


def limited(space: Space, on: str, cost: CostModel, below: Sequence[str]) -> Problem:
    """Return the problem below limits, absolute or in percent of the original network's costs."""
    free = Problem(space, on, cost, objectives=OBJECTIVES)
    return replace(free, below=Limits.read(below, free.total(space.default)))


def worthwhile(
    space: Space,
    machine: Accelerator,
    cost: CostModel,
    per_site: int,
    bits: int | None = None,
) -> dict[str, tuple[str, ...]]:
    """Return the options worth training by site: HURRICANE's filter on a machine."""
    places, options = _offered(space)
    found = promising_options(space.workload, places, options, machine, cost, per_site, bits=bits)
    chosen = {site: names for site, names in found.items() if len(names) > 1}
    if not chosen:
        raise HwflowError(
            f"On {machine.name} no option is faster than what stands at its site. Allow more "
            "options or families, or look for other edits: pruning, quantization."
        )
    return chosen


def slower_ones(
    space: Space, machine: Accelerator, cost: CostModel, bits: int | None = None
) -> dict[str, tuple[str, ...]]:
    """Return the options by site that save no time there on a machine."""
    places, options = _offered(space)
    return slower_options(space.workload, places, options, machine, cost, bits=bits)


def _offered(space: Space) -> tuple[tuple[Site, ...], tuple[Option, ...]]:
    """Return the sites of a space of operations, and all options of any of them."""
    places = parts_of(space)
    return tuple(places), tuple(dict.fromkeys(o for row in places.values() for o in row))


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
