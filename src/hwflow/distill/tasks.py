"""The work of distillation: some options of one site, trained side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from hwflow.edits.operations import Option, teacher_of
from hwflow.edits.operations.compressed import INPUTS
from hwflow.edits.replace_edit import file_of
from hwflow.edits.sites import Site
from hwflow.errors import HwflowError
from hwflow.files import whole
from hwflow.network import Network
from hwflow.quality.features import Features
from hwflow.quality.fitting import Fitted, Fitting, Task, fit
from hwflow.running import seeded

KNOWN = 64
"""Images whose activations options that are made from the teacher may look at."""


@dataclass(frozen=True)
class Distilled:
    """What became of one option at one site."""

    site: str
    option: str
    error: float
    """Mean squared error on images held back, over the teacher's variance: 0 is the teacher, 1 a
    constant per channel; infinite where it failed."""
    curve: tuple[float, ...]
    """Training loss, averaged over tenths of the steps; empty where nothing was trained."""
    seconds: float
    """CPU time."""
    steps: int
    params: int
    failed: str | None = None
    """Why it could not be trained."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return found | {"error": self.error if isfinite(self.error) else None}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Distilled:
        """Read what :meth:`to_json` gave."""
        error = data["error"]
        return cls(**{**data, "curve": tuple(data["curve"]),
                      "error": float("inf") if error is None else error})  # fmt: skip


def distilled_key(site: str, option: str) -> str:
    """Return under which key a run's study holds what became of an option at a site."""
    return f"distilled {site} {option}"


@dataclass(frozen=True)
class Group:
    """Options of one site that are trained side by side."""

    site: int
    options: tuple[int, ...]
    work: float
    """How long it takes, in any one unit."""


@dataclass(frozen=True, eq=False)
class Work:
    """All that a worker process needs."""

    network: Network
    sites: Sequence[Site]
    options: Sequence[Option]
    features: Features
    images: int
    how: Fitting
    weights: Path
    """Folder of the trained weights."""


def train_group(group: Group, work: Work) -> list[Distilled]:
    """Train the options of a group, write their weights, and return what became of them."""
    torch.set_num_threads(1)
    site = work.sites[group.site]
    options = {work.options[number].name: work.options[number] for number in group.options}
    made, failed = _made(site, options, work)
    task = Task(work.features, site.entry, site.exit, work.images)
    how = replace(work.how, seed=_seed(work.how.seed, site.name))
    warm = frozenset(name for name in made if starts_warm(options[name]))
    fixed = frozenset(name for name in made if not options[name].learns)
    fitted = fit(made, task, how, warm=warm, fixed=fixed)
    done = [_distilled(site.name, name, made[name], found) for name, found in fitted.items()]
    for found in done:
        if found.steps and found.failed is None:
            write_weights(made[found.option], file_of(work.weights, site, options[found.option]))
    return [*done, *(_failure(site.name, name, why) for name, why in failed.items())]


def starts_warm(option: Option) -> bool:
    """Whether an option starts from the teacher's weights: it then needs a lower learning rate."""
    return option.derived


def write_weights(module: nn.Module, path: Path) -> None:
    """Write the parameters and buffers of a module as safetensors, in one piece."""
    state = module.state_dict()
    tensors = {name: v.detach().contiguous().clone() for name, v in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        save_file(tensors, part)


def _made(
    site: Site, options: Mapping[str, Option], work: Work
) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """Return the modules of a site's options, and why others cannot be made."""
    teacher = teacher_of(work.network, site)
    teacher.meta[INPUTS] = work.features.read(site.entry, slice(0, KNOWN))
    made: dict[str, nn.Module] = {}
    failed: dict[str, str] = {}
    for name, option in options.items():
        try:
            made[name] = made_option(option, site, teacher, work.how.seed)
        except HwflowError as error:
            failed[name] = str(error)
    return made, failed


def made_option(option: Option, site: Site, teacher: nn.Module, seed: int) -> nn.Module:
    """Return the module of an option at a site, as it is before any training."""
    with seeded(_seed(seed, site.name, option.name)):
        return option.module(site, teacher)


def _seed(seed: int, *names: str) -> int:
    """Return a seed that hangs on nothing but the run's seed and some names."""
    digest = hashlib.sha256("/".join([str(seed), *names]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _distilled(site: str, option: str, module: nn.Module, found: Fitted) -> Distilled:
    params = sum(p.numel() for p in module.parameters())
    error, failed = found.error, None
    if not isfinite(error):
        error, failed = float("inf"), "Its outputs are no finite numbers: lower the learning rate."
    return Distilled(site, option, error, found.curve, found.seconds, found.steps, params, failed)


def _failure(site: str, option: str, why: str) -> Distilled:
    return Distilled(site, option, float("inf"), (), 0.0, 0, 0, why)
