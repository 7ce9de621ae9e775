"""A job: the settings of one run, as ``run.toml`` has them, and the parts that they name."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hwflow import plugins
from hwflow.cost import Limits
from hwflow.errors import HwflowError
from hwflow.problem import Problem
from hwflow.space import Space

if TYPE_CHECKING:
    from hwflow.data import Data
    from hwflow.network import Network

RUN_FILE = "run.toml"


class Job(BaseModel):
    """The settings of a search; paths as the user wrote them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    weights: str | None = None
    classes: int | None = None
    input: tuple[int, int, int] | None = None
    """Channels, height and width, where they differ from the model's own."""
    data: str
    on: str
    """Machine: a preset's name or a YAML file."""
    level: str = "mid"
    edits: tuple[str, ...] = ("quantize",)
    bits: tuple[int, ...] = (2, 3, 4, 6, 8)
    below: tuple[str, ...] = ()
    """Limits such as "latency=4ms"."""
    objectives: tuple[str, ...] = ("accuracy", "energy", "latency")
    quality: str = "accuracy"
    solver: str = "nsga2"
    evaluations: int | None = Field(default=None, gt=0)
    seconds: float | None = Field(default=None, gt=0)
    workers: int = Field(default=1, gt=0)
    threads: int = Field(default=1, gt=0)
    """Threads of each evaluation; results may depend on it, so a run keeps its number."""
    seed: int = 0
    calibration: int = Field(default=256, gt=0)
    """How many training images give the ranges of the activations."""

    @classmethod
    def read(cls, path: Path) -> Job:
        """Read the settings of a run.toml."""
        try:
            settings = tomllib.loads(path.read_text())
        except OSError as error:
            raise HwflowError(f"Cannot read {path}: {error.strerror}.") from error
        except tomllib.TOMLDecodeError as error:
            raise HwflowError(f"{path} is not valid TOML: {error}.") from error
        if "job" not in settings:
            raise HwflowError(f"{path} has no [job] table. Give the run.toml of a run folder.")
        return cls.check(settings["job"], str(path))

    @classmethod
    def check(cls, settings: dict[str, Any], where: str) -> Job:
        """Make a job of plain settings; HwflowError names the first that is wrong."""
        try:
            return cls(**settings)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            if first["type"] == "missing":
                raise HwflowError(f"{where} needs {key}: it was not given.") from None
            raise HwflowError(f"{where}: {key}: {first['msg']} (got {first['input']!r}).") from None

    def write(self, path: Path, provenance: dict[str, Any]) -> None:
        """Write run.toml: the settings, and where they were run."""
        text = tomlkit.document()
        text.add(tomlkit.comment("Repeat this run with: hwflow search --from run.toml --out NEW"))
        text["job"] = self.model_dump(exclude_none=True)
        text["provenance"] = provenance
        path.write_text(tomlkit.dumps(text))


@dataclass(frozen=True)
class Parts:
    """The parts that a job names, each made when it is first asked for."""

    job: Job
    calibrated: bool = True
    """Whether the network gets calibration inputs: what is known on paper needs none."""

    @cached_property
    def pristine(self) -> Network:
        """The network as loaded, without calibration inputs."""
        from hwflow.models import load

        job = self.job
        shape = job.input
        return load(job.model, weights=job.weights, num_classes=job.classes, input_shape=shape)

    @cached_property
    def data(self) -> Data:
        """The data set with its splits."""
        from hwflow.data import load_data

        return load_data(self.job.data, self.pristine)

    @cached_property
    def network(self) -> Network:
        """The network, with calibration inputs from the training split where asked for."""
        if not self.calibrated:
            return self.pristine
        # The same images for every seed: searches are compared over seeds, on one network.
        return self.pristine.calibrated(self.data.calibration(self.job.calibration))

    @cached_property
    def space(self) -> Space:
        """The sum of the spaces of the job's edits."""
        spaces = [self._space(name) for name in self.job.edits]
        if not spaces:
            raise HwflowError("No edit to search over. Add --quantize.")
        total = spaces[0]
        for space in spaces[1:]:
            total = total + space
        return total

    def _space(self, name: str) -> Space:
        make = plugins.load("edits", name)
        space: Space = (
            make(self.network, bits=self.job.bits) if name == "quantize" else make(self.network)
        )
        return space

    @cached_property
    def problem(self) -> Problem:
        """The problem that the solver sees."""
        job = self.job
        cost = plugins.load("costs", job.level)()
        limits = Limits.read(job.below)
        return Problem(self.space, job.on, cost, limits, job.objectives)

    @cached_property
    def quality(self) -> Any:
        """What scores a plan on the validation split."""
        return plugins.load("qualities", self.job.quality)(self.data.val)

    @cached_property
    def solver(self) -> Any:
        """The solver."""
        return plugins.load("solvers", self.job.solver)(seed=self.job.seed)
