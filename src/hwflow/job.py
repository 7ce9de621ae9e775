"""A job: the settings of one run, as ``run.toml`` has them, and the parts that they name."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hwflow import plugins, settings
from hwflow.cost import Limits, is_relative
from hwflow.edits.resize import resize
from hwflow.errors import HwflowError
from hwflow.files import whole
from hwflow.machine import Accelerator, is_device, load_machine
from hwflow.problem import Problem
from hwflow.quality.sensitivity_table import Sensitivity
from hwflow.settings import Setting
from hwflow.space import Space

if TYPE_CHECKING:
    from hwflow.data import Data
    from hwflow.network import Network
    from hwflow.workload import Workload

RUN_FILE = "run.toml"

SENSITIVITY = "-sensitivity.json"
"""After the name of a run folder: single changes that were measured before the search."""

SEEDS = 20
"""First plans that a solver without a population gets from sensitivities."""

MIN_KEEP = 0.25
"""The least share of channels that is kept where nothing else is said."""


Model = TypeVar("Model", bound=BaseModel)


def _checked(kind: type[Model], settings: Mapping[str, Any], where: str) -> Model:
    try:
        return kind(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "missing":
            raise HwflowError(f"{where} needs {key}: it was not given.") from None
        raise HwflowError(f"{where}: {key}: {first['msg']} (got {first['input']!r}).") from None


class Pruning(BaseModel):
    """How channels may be removed: the options of :func:`hwflow.edits.prune.prune`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep: tuple[float, ...] | None = None
    """Shares of a group that may be kept; by default eighths, from `min_keep` on."""
    min_keep: float | None = Field(default=None, gt=0, le=1)
    step: int | Literal["array"] = 1
    """Counts are multiples of this; "array" is the width of the machine's array."""
    min_channels: int = 1
    exclude: tuple[str, ...] = ()
    ranking: str = "l2"
    mend: str = "statistics"
    branches: bool = False
    """Whether residual branches may be dropped as a whole."""

    @classmethod
    def check(cls, settings: Mapping[str, Any], where: str) -> Pruning:
        """Make it of plain settings; HwflowError names the first that is wrong."""
        return _checked(cls, settings, where)

    @property
    def shares(self) -> tuple[float, ...]:
        """The shares that may be kept; HwflowError where keep and min_keep are both given."""
        if self.keep is None:
            least = self.min_keep or MIN_KEEP
            eighths = (number / 8 for number in range(1, 9))
            return (least, *(share for share in eighths if share > least))
        if self.min_keep is not None:
            raise HwflowError("Give the shares to keep (keep) or the least (min_keep), not both.")
        return self.keep

    @property
    def needs_images(self) -> bool:
        """Whether the space itself is made from calibration inputs."""
        return self.mend == "least_squares"

    def space(
        self,
        make: Callable[..., Space],
        source: Any,
        machine: Accelerator,
        batches: Iterable[Any] | None = None,
    ) -> Space:
        """Return the space that `make`, the edit, gives for a network or a workload.

        `batches` of (inputs, targets) are for a ranking by gradients.
        """
        options: dict[str, Any] = {"branches": True} if self.branches else {}
        if self.ranking == "taylor":
            options["batches"] = batches
        return make(
            source,
            self.shares,
            step=self._step(machine),
            min_channels=self.min_channels,
            exclude=self.exclude,
            ranking=self.ranking,
            mend=self.mend,
            **options,
        )

    def _step(self, machine: Accelerator) -> int:
        if self.step != "array":
            return self.step
        from hwflow.edits.prune import channel_step

        return channel_step(machine)


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
    quantizer: str = "calibrated"
    calibrate: str = "mse"
    """Where ranges come from: mse, kl or minmax."""
    options: tuple[str, ...] | None = None
    """Operations or families that may replace what stands at a site; None is all."""
    trained: str | None = None
    """Folder with the weights of trained operations."""
    pruning: Pruning = Pruning()
    vary: dict[str, tuple[int | float | str, ...]] = Field(default_factory=dict)
    """Values of the machine's own figures to choose among, by key path such as "array.rows"."""
    below: tuple[str, ...] = ()
    """Limits such as "latency=4ms", or "latency=50%" of the original network's."""
    objectives: tuple[str, ...] = ("accuracy", "energy", "latency")
    quality: str = "accuracy"
    images: int | None = Field(default=None, gt=0)
    """How many validation images an evaluation sees; None is all."""
    solver: str = "nsga2"
    set: dict[str, Setting] = Field(default_factory=dict)
    """Settings of the solver, by the names of its fields."""
    seeded: str | None = None
    """What the solver gets its first plans from: a file of sensitivities, or on how many validation
    images to measure them before the search."""
    evaluations: int | None = Field(default=None, gt=0)
    seconds: float | None = Field(default=None, gt=0)
    workers: int = Field(default=1, gt=0)
    threads: int = Field(default=1, gt=0)
    """Threads of each evaluation; results may depend on it, so a run keeps its number."""
    seed: int = Field(default=0, ge=0, lt=settings.SEEDS)
    calibration: int = Field(default=256, gt=0)
    """How many training images give ranges of activations, and statistics of what was pruned."""

    @model_validator(mode="before")
    @classmethod
    def _on_a_device(cls, given: Any) -> Any:
        """Set the level and the objectives of a device, which is measured, where none are given."""
        if not isinstance(given, dict) or not is_device(given.get("on", "")):
            return given
        return {"level": "measured", "objectives": ("accuracy", "latency"), **given}

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
    def check(cls, settings: Mapping[str, Any], where: str) -> Job:
        """Make a job of plain settings; HwflowError names the first that is wrong."""
        return _checked(cls, settings, where)

    @property
    def method(self) -> dict[str, str]:
        """The options of quantising that are not the usual ones."""
        asked = {"quantizer": self.quantizer, "calibration": self.calibrate}
        return {name: v for name, v in asked.items() if v not in ("calibrated", "mse")}

    def write(self, path: Path, provenance: dict[str, Any]) -> None:
        """Write run.toml: the settings, and where they were run."""
        text = tomlkit.document()
        text.add(tomlkit.comment("Repeat this run with: hwflow search --from run.toml --out NEW"))
        text["job"] = self.plain()
        text["provenance"] = provenance
        with whole(path) as part:
            part.write_text(tomlkit.dumps(text))

    def plain(self) -> dict[str, Any]:
        """Return the settings as plain data, without those of edits that are not made."""
        plain = self.model_dump(exclude_none=True)
        if "prune" not in self.edits:
            del plain["pruning"]
        if "quantize" not in self.edits:
            del plain["quantizer"], plain["calibrate"]
        if not self.vary:
            del plain["vary"]
        return plain


def space_of(
    source: Network | Workload,
    machine: Accelerator,
    edits: Sequence[str],
    bits: Sequence[int],
    pruning: Pruning,
    batches: Iterable[Any] | None = None,
    method: Mapping[str, str] | None = None,
    replacing: Mapping[str, Any] | None = None,
) -> Space:
    """Return the sum of the spaces of edits on a network, or on paper; their order is no matter.

    `batches` of training data are for a ranking of channels by gradients, `method` are options of
    :func:`hwflow.edits.quantize.quantize` beside the bits, `replacing` those of
    :func:`hwflow.edits.replace.replace`. Replacing and pruning do not go together: channels are
    removed by the options "pruned" then.
    """
    if not edits:
        raise HwflowError("No edit to search over. Add --replace, --prune or --quantize.")
    if {"replace", "prune"} <= {*edits}:
        raise HwflowError(
            "--replace and --prune do not go together: which channels are coupled would hang on "
            "the operations. Use --replace with its family of options 'pruned'."
        )
    spaces = []
    for name in edits:
        make = plugins.load("edits", name)
        if name == "prune":
            spaces.append(pruning.space(make, source, machine, batches))
        elif name == "replace":
            spaces.append(make(source, **(replacing or {})))
        else:
            given = {"bits": bits, **(method or {})} if name == "quantize" else {}
            spaces.append(make(source, **given))
    return reduce(add, spaces)


@dataclass(frozen=True)
class Parts:
    """The parts that a job names, each made when it is first asked for."""

    job: Job
    calibrated: bool = True
    """Whether the network gets calibration inputs: what is known on paper needs none."""
    folder: Path | None = None
    """The run folder; sensitivities that are measured are kept beside it."""

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
        needed = "prune" in self.job.edits and self.job.pruning.needs_images
        if not self.calibrated and not needed:
            return self.pristine
        # The same images for every seed: searches are compared over seeds, on one network.
        return self.pristine.calibrated(self.data.calibration(self.job.calibration))

    @cached_property
    def machine(self) -> Accelerator:
        """The machine."""
        return load_machine(self.job.on)

    @cached_property
    def space(self) -> Space:
        """The sum of the spaces of the job's edits."""
        job, batches = self.job, None
        if "prune" in job.edits and job.pruning.ranking == "taylor":
            batches = self.data.train.batches(limit=job.calibration)
        if job.trained is not None and not Path(job.trained).is_dir():
            raise HwflowError(
                f"There is no folder {job.trained} of trained operations. Give OUT/weights of "
                "`hwflow distill ... --out OUT`, or leave --trained out."
            )
        replacing = {"options": job.options, "trained": job.trained, "seed": job.seed}
        own = space_of(
            self.network, self.machine, job.edits, job.bits, job.pruning, batches, job.method,
            replacing,
        )  # fmt: skip
        if not job.vary:
            return own
        return own + resize(self.network, self.machine, job.vary)

    @cached_property
    def problem(self) -> Problem:
        """The problem that the solver sees; its limits are absolute."""
        job = self.job
        cost = plugins.load("costs", job.level)()
        free = Problem(self.space, self.machine, cost, objectives=job.objectives)
        prepare = getattr(cost, "prepare", None)
        if prepare is not None:
            prepare(free)
        relative = any(is_relative(text) for text in job.below)
        whole = free.original if relative else None
        return replace(free, below=Limits.read(job.below, whole))

    @cached_property
    def quality(self) -> Any:
        """What scores a plan on the validation split, or on paper."""
        make, images = plugins.load("qualities", self.job.quality), self.job.images
        if getattr(make, "on_paper", False):
            return make(self.space)
        return make(self.data.val) if images is None else make(self.data.val, limit=images)

    @cached_property
    def sensitivity(self) -> Sensitivity | None:
        """What single changes lose, measured now or before; None for a search without them."""
        given = self.job.seeded
        if given is None:
            return None
        read = self._measured(int(given)) if given.isdecimal() else Sensitivity.read(given)
        return read.check(self.space)

    @cached_property
    def solver(self) -> Any:
        """The solver, with its settings."""
        job, make = self.job, plugins.load("solvers", self.job.solver)
        made = make(seed=job.seed, **solver_settings(job.solver, job.set))
        return made if job.seeded is None else replace(made, **self._taught(made))

    def _taught(self, solver: Any) -> dict[str, Any]:
        """Return what a solver takes of sensitivities: all losses, or first plans that are best.

        An agent that repairs by the best ratio takes losses, any other first plans. Raises
        HwflowError for a solver that takes neither, or a file of another space.
        """
        takes = getattr(solver, "__dataclass_fields__", {})
        if "losses" not in takes and "first" not in takes:
            raise HwflowError(
                f"The solver {self.job.solver!r} does not begin with sensitivities. Use nsga2, "
                "milp or ddpg, or leave them out."
            )
        from hwflow.solvers.surrogate import seeds

        found = self.sensitivity
        assert found is not None  # asked for
        if "losses" in takes and getattr(solver, "repair", "ratio") == "ratio":
            by_row = isinstance(solver.losses, tuple)
            return {"losses": found.table() if by_row else found.by_choice()}
        count = solver.population // 2 if "population" in takes else SEEDS
        return {"first": seeds(self.problem, found.table(), max(1, count))}

    def _measured(self, images: int) -> Sensitivity:
        """Return sensitivities on validation images, measured now or before."""
        if images < 1:
            raise HwflowError(
                "seeded is a file of `hwflow sensitivity`, or on how many validation images single "
                "changes are measured now, 1 or more, not 0. Leave it out to begin without them."
            )
        from hwflow.quality.sensitivity import sensitivities

        run = self.folder
        file = None if run is None else run.with_name(run.name + SENSITIVITY)
        return sensitivities(self.space, self.data.val, images=images, file=file)


def solver_settings(solver: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of a solver by the types of its fields, which may be given as text.

    Raises HwflowError for unknown names, with the known ones; the seed is the job's own.
    """
    return settings.typed(plugins.load("solvers", solver), given, taken=("seed",))
