"""What a network loses when one site is replaced: the scores of HANT's integer program.

    a[i, j] = loss with option j at site i - loss of the teacher

on a small labelled set (Molchanov et al., arXiv 2107.10624, section 3.2). An option may well be
better than the teacher: scores below 0 are legitimate. A teacher that is too sure of itself makes
them worth little: an option that only blurs its answers has less cross-entropy, and several such
options together are no better for it. So the divergence of the answers from the teacher's is
measured beside it, which is 0 for the teacher alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from hwflow.data.split import Split, Stream
from hwflow.distill.jobs import Clock, Pair, Progress, Progressing, answers, pairs_of
from hwflow.distill.tasks import KNOWN, Group, distilled_key, made_option
from hwflow.edits.operations import Option, teacher_of
from hwflow.edits.operations.compressed import INPUTS
from hwflow.edits.quantizers import prepared
from hwflow.edits.replace import OPERATION
from hwflow.edits.replace_edit import file_of
from hwflow.edits.sites import Site
from hwflow.errors import HwflowError
from hwflow.network import Network
from hwflow.quality.detour import Batch, Detour, Figures, measure
from hwflow.quality.sensitivity_table import Figure
from hwflow.running import output
from hwflow.space import Space
from hwflow.study import Study

WEIGHTS = "weights"
SLICE = 16
"""Options of a site that one job scores: what is scored is committed after each."""


@dataclass(frozen=True)
class Scored:
    """What the network loses with one option at one site, the rest being the teacher."""

    site: str
    option: str
    loss: float
    """Change of the mean cross-entropy, nats; below 0 where it got better."""
    accuracy: float
    """Accuracy lost, in [-1, 1]."""
    divergence: float
    """Mean Kullback-Leibler divergence of the answers from the teacher's, nats; 0 or more."""


@dataclass(frozen=True)
class Scores:
    """The scores of all options, and what the teacher reaches."""

    teacher: Figures
    rows: tuple[Scored, ...]

    def of(self, site: str, option: str) -> Scored:
        """Return the score of an option at a site; HwflowError where there is none."""
        found = self._table.get((site, option))
        if found is None:
            raise HwflowError(f"The option {option!r} at {site!r} was not scored. Score it first.")
        return found

    @cached_property
    def _table(self) -> dict[tuple[str, str], Scored]:
        return {(row.site, row.option): row for row in self.rows}

    def losses(self, space: Space, by: Figure = "accuracy") -> dict[str, tuple[float, ...]]:
        """Return what each option loses by choice of a space, as solvers take it.

        Choices are named "operation:SITE", their options by name. In units of the quality that is
        maximised: with "accuracy" shares of the images, with "loss" and "divergence" nats. Raises
        HwflowError for options that were not scored.
        """
        sites = {row.site for row in self.rows}
        found = {}
        for choice in space.choices:
            kind, _, site = choice.name.partition(":")
            if f"{kind}:" == OPERATION and site in sites:
                rows = [self.of(site, str(option)) for option in choice.options]
                found[choice.name] = tuple(getattr(row, by) for row in rows)
        return found


@dataclass(frozen=True, eq=False)
class _Bench:
    """All that a worker process needs."""

    network: Network
    sites: Sequence[Site]
    options: Sequence[Option]
    batches: Sequence[Batch]
    logits: Sequence[Tensor]
    """The teacher's."""
    teacher: Figures
    weights: Path
    seed: int


def score(
    network: Network,
    sites: Sequence[Site],
    options: Sequence[Option],
    split: Split | Stream | Iterable[Batch],
    out: Path | str,
    *,
    chosen: Mapping[str, Sequence[str]] | None = None,
    images: int = 512,
    batch: int = 128,
    workers: int = 1,
    on_progress: Progressing | None = None,
) -> Scores:
    """Score every option that :func:`hwflow.distill.distill` finished in the folder `out`.

    `split` has labels; the first or a fixed choice of `images` are taken. What runs before a site
    is computed once for all of its options. Scores are journaled in the folder's study: the same
    call goes on where it was killed. Raises HwflowError where an option was not trained yet.
    """
    batches = list(_batches(split, images, batch))
    ready = prepared(network)
    with torch.no_grad():
        logits = [output(ready.graph, inputs) for inputs, _ in batches]
    teacher = measure(logits, [targets for _, targets in batches])
    pairs = pairs_of(sites, options, chosen)
    with Study.start(out, Study.read(out).settings) as study:
        seed = int(study.settings["seed"])
        run = _Run(study, sites, options, pairs, _digest(batches))
        run.check_trained()
        weights = Path(out) / WEIGHTS
        bench = _Bench(network, sites, options, batches, logits, teacher, weights, seed)
        run.score(bench, workers, on_progress)
        return Scores(teacher, run.rows())


class _Run:
    """The scores of a folder, those found before among them."""

    def __init__(
        self,
        study: Study,
        sites: Sequence[Site],
        options: Sequence[Option],
        pairs: Sequence[Pair],
        data: str,
    ) -> None:
        self._study, self._data = study, data
        self._names = {pair: (sites[pair[0]].name, options[pair[1]].name) for pair in pairs}
        self._found: dict[tuple[str, str], Scored] = {}
        for names in self._names.values():
            known = study.recall(self._key(*names))
            if known is not None:
                self._found[names] = Scored(**known)

    def _key(self, site: str, option: str) -> str:
        return f"scored beside the teacher {self._data} {site} {option}"

    def check_trained(self) -> None:
        """Leave out what failed; raise HwflowError for what was never trained."""
        for pair, (site, option) in list(self._names.items()):
            known = self._study.recall(distilled_key(site, option))
            if known is None:
                raise HwflowError(
                    f"The option {option!r} at {site!r} was not distilled in this folder. "
                    "Distill it first, or leave it out (chosen)."
                )
            if known["failed"] is not None:
                del self._names[pair]

    def score(self, bench: _Bench, workers: int, tell: Progressing | None) -> None:
        """Score what is missing."""
        missing = [pair for pair, names in self._names.items() if names not in self._found]
        groups = list(_groups(missing))
        clock, done = Clock(len(missing)), 0
        for _, found in answers(bench, groups, score_group, workers):
            for each in found:
                done += 1
                self._study.remember(self._key(each.site, each.option), asdict(each))
                self._found[each.site, each.option] = each
            if tell is not None:
                tell(Progress("scores", len(self._found), len(self._names), clock.left(done)))

    def rows(self) -> tuple[Scored, ...]:
        """Return the scores by site and option."""
        return tuple(self._found[names] for names in self._names.values())


def score_group(group: Group, bench: _Bench) -> list[Scored]:
    """Score options of one site."""
    torch.set_num_threads(1)
    site = bench.sites[group.site]
    ready = prepared(bench.network)
    values = ready.found.values
    entry, exit_ = values[site.entry], values[site.exit]
    detour = Detour(ready.graph, entry, exit_, bench.batches, bench.logits)
    teacher = teacher_of(bench.network, site)
    teacher.meta[INPUTS] = detour.entry[:KNOWN]
    found = []
    for number in group.options:
        option = bench.options[number]
        module = made_option(option, site, teacher, bench.seed)
        _load(module, option, file_of(bench.weights, site, option))
        got = detour.measure(module)
        lost = (got.loss - bench.teacher.loss, bench.teacher.accuracy - got.accuracy)
        found.append(Scored(site.name, option.name, *lost, got.divergence))
    return found


def _load(module: nn.Module, option: Option, file: Path) -> None:
    if file.exists():
        module.load_state_dict(load_file(file))
    elif option.learns and any(True for _ in module.parameters()):
        raise HwflowError(
            f"The weights {file} are missing. Put them back, or distill in a new folder."
        )


def _groups(pairs: Sequence[Pair]) -> Iterator[Group]:
    for site in dict.fromkeys(i for i, _ in pairs):
        own = [j for i, j in pairs if i == site]
        for start in range(0, len(own), SLICE):
            part = tuple(own[start : start + SLICE])
            yield Group(site, part, len(part))


def _batches(data: Split | Stream | Iterable[Any], images: int, size: int) -> Iterator[Batch]:
    """Yield `images` labelled images: of a split a fixed choice, of others the first ones."""
    if images < 1 or size < 1:
        raise HwflowError(f"images and batch must be 1 or more, not {images} and {size}.")
    if isinstance(data, Split | Stream):
        yield from data.batches(size, images)
        return
    left = images
    for inputs, targets in data:
        if left > 0:
            yield inputs[:left], targets[:left]
        left -= len(inputs)


def _digest(batches: Sequence[Batch]) -> str:
    found = hashlib.sha256()
    for inputs, targets in batches:
        found.update(inputs.contiguous().numpy().tobytes() + targets.numpy().tobytes())
    return found.hexdigest()[:16]
