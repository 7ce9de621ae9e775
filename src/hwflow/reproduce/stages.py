"""Stages of a reproduction: named, resumable, each with a JSON file as its result."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwflow.errors import HwflowError, unknown_name
from hwflow.files import whole

if TYPE_CHECKING:
    from hwflow.data import Data
    from hwflow.network import Network

KNOWN = {
    "hw-flow": "hwflow.reproduce.hw_flow",
    "hw-flowq": "hwflow.reproduce.hw_flowq",
    "hant": "hwflow.reproduce.hant",
}
"""Reproduction -> the module that has its STAGES."""

LITE = "efficientnet_lite0"
"""The network of ImageNet."""

Plain = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What all stages of a reproduction are given."""

    out: Path
    weights: Path
    """Folder of weights files, or none in the stages that need none."""
    data: str
    """Data set, as `hwflow search` takes it."""
    quick: bool = False
    """Fewer evaluations and epochs: whether everything runs, not what it is worth."""
    say: Callable[[str], None] = lambda text: None
    epochs: int | None = None
    """Of fine-tuning, where they are not those of the reproduction."""
    imagenet: str = ""
    """Images for LITE, as `data` is for the others."""

    def network(self, name: str) -> Network:
        """Return a network with its weights: LITE, or one of CIFAR.

        Of CIFAR it is the one trained on this data, or else the one trained on exact images.
        """
        from hwflow.models import load

        if name not in self._networks:
            spec = name if name == LITE else f"cifar:{name}"
            sources = ("imagenet",) if name == LITE else ("cifar10jpeg", "cifar10")
            paths = [self.weights / f"{source}_{name}.safetensors" for source in sources]
            path = next((path for path in paths if path.exists()), None)
            if path is None:
                raise HwflowError(
                    f"There are no weights {paths[0]}. Give their folder with --weights."
                )
            self._networks[name] = load(spec, weights=str(path))
        return self._networks[name]

    @cached_property
    def _networks(self) -> dict[str, Network]:
        return {}

    @cached_property
    def _sets(self) -> dict[str, Data]:
        return {}

    def splits(self, network: Network) -> Data:
        """Return the data set, preprocessed as the network wants it."""
        from hwflow.data import load_data

        if network.name not in self._sets:
            given = self.imagenet if network.name == LITE else self.data
            if not given:
                raise HwflowError(
                    f"{LITE} needs images of ImageNet. Give train, val and test .npz of them with "
                    "--imagenet, or leave its stages out (--only)."
                )
            self._sets[network.name] = load_data(given, network)
        return self._sets[network.name]


@dataclass(frozen=True)
class Stage:
    """One part of a reproduction."""

    name: str
    about: str
    make: Callable[[Settings], Plain]
    quick: bool = True
    """Whether a quick reproduction has it too."""

    def file(self, settings: Settings) -> Path:
        """Return where its result is kept."""
        return settings.out / f"{self.name}.json"

    def result(self, settings: Settings) -> Plain:
        """Return its result, made now unless it was before."""
        return kept(self.file(settings), lambda: self._made(settings))

    def _made(self, settings: Settings) -> Plain:
        start, cpu = time.monotonic(), time.process_time()
        found = self.make(settings)
        spent = {"wall_s": time.monotonic() - start, "cpu_s": time.process_time() - cpu}
        return found | {"time_of_last_start": spent, "quick": settings.quick, "made_with": where()}


def kept(path: Path, make: Callable[[], Plain]) -> Plain:
    """Return what the JSON file holds, or else make it and write the file in one step."""
    if path.exists():
        return dict(json.loads(path.read_text()))
    found = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        part.write_text(json.dumps(found, indent=1) + "\n")
    return found


def where() -> Plain:
    """Return what a figure depends on beside its settings: machine and versions."""
    names = ("hwflow", "torch", "numpy", "stable-baselines3", "pymoo")
    return {
        "host": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in names},
    }


def stages_of(name: str) -> tuple[Stage, ...]:
    """Return the stages of a reproduction; HwflowError for an unknown one."""
    if name not in KNOWN:
        raise HwflowError(unknown_name("reproduction", name, KNOWN))
    found: tuple[Stage, ...] = import_module(KNOWN[name]).STAGES
    return found


def run(name: str, settings: Settings, only: Sequence[str] = ()) -> dict[str, Plain]:
    """Run the stages of a reproduction, or those named, and return their results by name."""
    stages = stages_of(name)
    names = [stage.name for stage in stages]
    for wanted in only:
        if wanted not in names:
            raise HwflowError(unknown_name("stage", wanted, names))
    settings.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Plain] = {}
    for stage in stages:
        left_out = stage.name not in only if only else settings.quick and not stage.quick
        if left_out:
            continue
        done = " (done before)" if stage.file(settings).exists() else ""
        settings.say(f"{stage.name}: {stage.about}{done}")
        found[stage.name] = stage.result(settings)
    return found
