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
        """Return the data set, preprocessed as the network wants it.

        Raises DataError when its splits share images.
        """
        from hwflow.data import load_data

        if network.name not in self._sets:
            given = self.imagenet if network.name == LITE else self.data
            if not given:
                raise HwflowError(
                    f"{LITE} needs images of ImageNet. Give train, val and test .npz of them with "
                    "--imagenet, or leave its stages out (--only)."
                )
            data = load_data(given, network)
            data.check_disjoint()
            self._sets[network.name] = data
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
        """Return its result, made now unless it was before.

        Raises HwflowError for one that was made with other settings.
        """
        found = kept(self.file(settings), lambda: self._made(settings))
        self._agrees(found, settings)
        return found

    def check(self, settings: Settings) -> None:
        """Raise HwflowError where the result that is there was made with other settings."""
        if self.file(settings).exists():
            self._agrees(json.loads(self.file(settings).read_text()), settings)

    def _agrees(self, found: Plain, settings: Settings) -> None:
        asked = asked_of(settings)
        before = {key: found.get(key, value) for key, value in asked.items()}
        if before != asked:
            raise HwflowError(
                f"{settings.out} holds a result of the stage {self.name} that was made "
                f"{_options(before)}, not {_options(asked)}. Give another folder (--out), or "
                f"delete {self.file(settings)}."
            )

    def _made(self, settings: Settings) -> Plain:
        start, cpu = time.monotonic(), time.process_time()
        found = self.make(settings)
        spent = {"wall_s": time.monotonic() - start, "cpu_s": time.process_time() - cpu}
        return found | {"time_of_last_start": spent, **asked_of(settings), "made_with": where()}


def asked_of(settings: Settings) -> Plain:
    """Return what decides how long a reproduction searches and trains, as results keep it.

    Results from before `epochs_asked` was kept pass with any number of epochs.
    """
    return {"quick": settings.quick, "epochs_asked": settings.epochs}


def _options(asked: Plain) -> str:
    """Say with which options of the command a result was made."""
    quick, epochs = asked["quick"], asked["epochs_asked"]
    length = "the reproduction's own epochs" if epochs is None else f"--epochs {epochs}"
    return f"{'with' if quick else 'without'} --quick and with {length}"


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
    chosen = [
        stage for stage in stages
        if (stage.name in only if only else stage.quick or not settings.quick)
    ]  # fmt: skip
    for stage in chosen:
        stage.check(settings)
    for stage in chosen:
        done = " (done before)" if stage.file(settings).exists() else ""
        settings.say(f"{stage.name}: {stage.about}{done}")
        found[stage.name] = stage.result(settings)
    return found
