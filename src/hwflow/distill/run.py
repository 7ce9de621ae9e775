"""Layer-wise distillation of many options at many sites, resumable at every one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import fx

from hwflow.distill.jobs import Clock, Pair, Progress, Progressing, answers, check_known, pairs_of
from hwflow.distill.tasks import Distilled, Group, Work, distilled_key, train_group
from hwflow.edits.operations import Option
from hwflow.edits.quantizers import Prepared, prepared
from hwflow.edits.sites import Site
from hwflow.errors import HwflowError, unknown_name
from hwflow.network import Network
from hwflow.quality.features import MOST_BYTES, Kind, Nodes, elements, record
from hwflow.quality.fitting import Fitting
from hwflow.running import state_digest
from hwflow.settings import check_seed
from hwflow.study import Study
from hwflow.train.stream import Trainable, first_inputs

FEATURES, WEIGHTS = "features", "weights"
"""Folders of a run: the teacher's activations, which may be deleted at the end; trained weights."""


@dataclass(frozen=True)
class Distillate:
    """What a distillation found, and where the weights lie."""

    results: tuple[Distilled, ...]
    weights: Path
    """Folder with SITE/OPTION.safetensors."""

    def of(self, site: str, option: str) -> Distilled:
        """Return what became of an option at a site."""
        for found in self.results:
            if (found.site, found.option) == (site, option):
                return found
        known = [f"{found.site}/{found.option}" for found in self.results]
        raise HwflowError(unknown_name("result", f"{site}/{option}", known))


def distill(
    network: Network,
    sites: Sequence[Site],
    options: Sequence[Option],
    split: Trainable,
    out: Path | str,
    *,
    chosen: Mapping[str, Sequence[str]] | None = None,
    images: int = 4000,
    held: int = 500,
    how: Fitting = Fitting(),
    workers: int = 1,
    together: int = 8,
    kind: Kind = "float16",
    most_bytes: int = MOST_BYTES,
    on_progress: Progressing | None = None,
) -> Distillate:
    """Train every option at every site that it fits to do what the teacher does there.

    `chosen` gives the names of the options worth training by site (see
    :func:`hwflow.quality.promising.promising`); without it all are trained. The teacher's
    activations on `images` training images and on `held` more, held back to measure, are written
    to `out` once (`kind`, at most `most_bytes`). `together` options of a site are trained side by
    side; each of the `workers` processes computes on one thread. What is finished is in `out`: the
    same call goes on where it was killed, more options or sites may be added, and a result does not
    hang on the others. Options that need no training (`keep`, quantized) are measured only.

    Raises HwflowError for settings that make no sense, StudyError for a folder of other settings.
    """
    _check(images, held, workers, together)
    check_seed(how.seed)
    settings = _settings(network, split, images, held, how, kind)
    pairs = pairs_of(sites, options, chosen)
    with Study.start(out, settings) as study:
        run = _Run(study, sites, options, pairs, on_progress)
        if run.missing:
            ready = prepared(network)
            nodes = _nodes(ready, sites, run.missing)
            features = record(
                ready.graph, nodes, lambda: first_inputs(split, images + held, 125, how.seed),
                images + held, Path(out) / FEATURES, key=_images_key(settings), kind=kind,
                most_bytes=most_bytes, on_images=run.say_images(images + held),
            )  # fmt: skip
            work = Work(network, sites, options, features, images, how, Path(out) / WEIGHTS)
            run.train(work, _groups(run.missing, nodes, sites, options, together), workers)
        return Distillate(run.results(), Path(out) / WEIGHTS)


class _Run:
    """The jobs of a run, those done before among them."""

    def __init__(
        self,
        study: Study,
        sites: Sequence[Site],
        options: Sequence[Option],
        pairs: Sequence[Pair],
        tell: Progressing | None,
    ) -> None:
        self._study, self._tell = study, tell
        self._names = [(sites[i].name, options[j].name) for i, j in pairs]
        self._found: dict[tuple[str, str], Distilled] = {}
        for names in self._names:
            known = study.recall(distilled_key(*names))
            if known is not None and known["failed"] is None:
                self._found[names] = Distilled.from_json(known)
        self.missing = [
            pair for pair, names in zip(pairs, self._names, strict=True)
            if names not in self._found
        ]  # fmt: skip

    def say_images(self, total: int) -> Callable[[int], None] | None:
        """Return what hears how many images went through the teacher."""
        tell = self._tell
        if tell is None:
            return None
        clock = Clock(total)
        return lambda done: tell(Progress("activations", done, total, clock.left(done)))

    def train(self, work: Work, groups: Sequence[Group], workers: int) -> None:
        """Train what is missing; every option is committed as soon as its group is done."""
        clock, done = Clock(sum(group.work for group in groups)), 0.0
        for group, found in answers(work, groups, train_group, workers):
            done += group.work
            for each in found:
                self._study.remember(distilled_key(each.site, each.option), each.to_json())
                self._found[each.site, each.option] = each
                if self._tell is not None:
                    count, total = len(self._found), len(self._names)
                    self._tell(Progress("options", count, total, clock.left(done), each))

    def results(self) -> tuple[Distilled, ...]:
        """Return what was found, by site and option."""
        return tuple(self._found[names] for names in self._names)


def _check(images: int, held: int, workers: int, together: int) -> None:
    for name, value in (("images", images), ("held", held), ("workers", workers),
                        ("together", together)):  # fmt: skip
        if value < 1:
            raise HwflowError(f"{name} must be 1 or more, not {value}.")


def _settings(
    network: Network, split: Trainable, images: int, held: int, how: Fitting, kind: Kind
) -> dict[str, Any]:
    """Return what decides the results, beside the options themselves."""
    return {
        "distill": asdict(how),
        "seed": how.seed,
        "network": state_digest(network.module),
        "data": getattr(split, "digest", type(split).__qualname__),
        "images": images,
        "held": held,
        "kind": kind,
    }


def _images_key(settings: Mapping[str, Any]) -> str:
    """Return what identifies the teacher and the images, whatever is trained on them."""
    return " ".join(str(settings[name]) for name in ("network", "data", "held", "seed"))


def _groups(
    pairs: Sequence[Pair],
    nodes: Nodes,
    sites: Sequence[Site],
    options: Sequence[Option],
    together: int,
) -> list[Group]:
    """Return the jobs in groups: those of a site that learn, and those that do not."""
    found: list[Group] = []
    for number in dict.fromkeys(i for i, _ in pairs):
        site = sites[number]
        size = elements(nodes[site.entry]) + elements(nodes[site.exit])
        own = [j for i, j in pairs if i == number]
        for learning in (True, False):
            same = [j for j in own if options[j].learns == learning]
            for start in range(0, len(same), together):
                part = tuple(same[start : start + together])
                found.append(Group(number, part, size * len(part) * (1.0 if learning else 0.05)))
    return found


def _nodes(ready: Prepared, sites: Sequence[Site], pairs: Sequence[Pair]) -> dict[str, fx.Node]:
    """Return the nodes of the tensors at the entries and exits of the sites that have jobs."""
    values = ready.found.values
    wanted = dict.fromkeys(n for i, _ in pairs for n in (sites[i].entry, sites[i].exit))
    check_known("tensor", wanted, list(values))
    return {tensor: values[tensor] for tensor in wanted}
