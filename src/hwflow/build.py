"""From a trial to a network that ships: built, checked against the paper, fine-tuned, tested."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hwflow.costs.measured.files import Measured
from hwflow.costs.measured.files import measure as measure_files
from hwflow.costs.measured.fill import Measuring
from hwflow.costs.measured.timing import Repetitions
from hwflow.design import Design
from hwflow.errors import HwflowError, unknown_name
from hwflow.export import ExportReport, to_onnx, to_qonnx
from hwflow.extract import extract
from hwflow.front import Trial
from hwflow.machine import Device
from hwflow.network import Network
from hwflow.quality.accuracy import Flips, compare
from hwflow.space import Space
from hwflow.train import QUANTIZED_CLIP, QUANTIZED_RATE, Progress, finetune
from hwflow.train.augment import Augment

if TYPE_CHECKING:
    from hwflow.data.split import AnySplit
    from hwflow.problem import Problem

PARENT_FILE = "original.onnx"
"""The unedited network as a file, in the run folder: what built ones are timed against."""

CHECK_IMAGES = 1000
"""How many test images the exported file is compared with the torch module on."""


@dataclass(frozen=True)
class Tuning:
    """How a built network is fine-tuned, with the original as its teacher."""

    epochs: int
    lr: float | None = None
    """Peak learning rate; None: 0.02 where channels or operations went, else 0.03, for bits."""
    augment: Augment = "none"
    """"crop" and "crop+flip" suit photographs; mirrored digits are other digits."""
    ema: float | None = None
    """Share that a moving average of the weights keeps with each step; None: no average."""
    seed: int = 0
    checkpoint: Path | None = None
    """A file from which a killed run goes on."""

    def rate(self, space: Space) -> float:
        """Return the peak learning rate for networks of a space."""
        if self.lr is not None:
            return self.lr
        gone = any(part.kind in ("prune", "replace") for part in space.parts)
        return 0.02 if gone else QUANTIZED_RATE

    @staticmethod
    def clip_norm(space: Space) -> float | None:
        """Return the length at which gradients are clipped: that of networks whose bits changed."""
        return QUANTIZED_CLIP if any(part.kind == "quantize" for part in space.parts) else None


def build(
    problem: Problem,
    trial: Trial,
    tuning: Tuning | None = None,
    data: AnySplit | None = None,
    on_step: Callable[[Progress], None] | None = None,
) -> Network:
    """Return a trial's network, fine-tuned on `data` where `tuning` is given.

    The workload read back from the built network must be the one whose cost was searched; a
    HwflowError names the first layer where they differ (a fault of an edit, never of the user).
    """
    original = problem.space.network
    network = trial.build()
    check_agreement(problem, trial, network)
    if tuning is None or tuning.epochs == 0:
        return network
    if data is None or original is None:
        raise HwflowError("Fine-tuning needs training data. Give the run a data set with train.")
    return finetune(
        network, data, original, epochs=tuning.epochs, lr=tuning.rate(problem.space),
        clip_norm=tuning.clip_norm(problem.space), augment=tuning.augment, ema=tuning.ema,
        seed=tuning.seed, checkpoint=tuning.checkpoint, on_step=on_step,
    )  # fmt: skip


def check_agreement(problem: Problem, trial: Trial, network: Network) -> None:
    """Raise HwflowError unless the built network is the one that was costed."""
    paper = problem.space.on_paper(
        trial.plan, Design(problem.space.workload, problem.machine)
    ).workload
    built = extract(network)
    if built == paper:
        return
    pairs = zip(built.layers, paper.layers, strict=False)
    where = next((f"layer {a.name!r}" for a, b in pairs if a != b), "the number of layers")
    raise HwflowError(
        f"Trial #{trial.number}: the built network is not the one that was costed: they differ in "
        f"{where}. An edit's two faces disagree: check it with hwflow.testing.check_edit."
    )


def measure(original: Network, built: Network, split: AnySplit) -> Flips:
    """Compare the built network with the original on `split`, image by image."""
    return compare(original, built, split)


def time_file(
    original: Network, file: Path, folder: Path, measuring: Measuring | None = None
) -> Measured:
    """Time an exported file side by side with its parent, on this computer with one thread.

    The parent is the unedited network, exported in the same way; it is kept in `folder`.
    """
    parent = folder / PARENT_FILE
    if not parent.exists():
        to_onnx(original, parent, inputs=original.example)
    short = Measuring(Repetitions(rounds=25, turn_s=4e-3, most=200))
    device = Device(name="cpu", description="this computer")
    return measure_files(file, parent, device, measuring or short)


WRITERS = {"qdq": to_onnx, "qonnx": to_qonnx}
"""What writes a .onnx file, by the format's name."""


def check_target(path: Path | None, form: str = "qdq") -> None:
    """Raise HwflowError when `path` cannot be written as a network in format `form`."""
    if form not in WRITERS:
        raise HwflowError(unknown_name("format", form, WRITERS))
    if path is None:
        return
    if path.suffix not in (".onnx", ".safetensors"):
        raise HwflowError(
            f"Cannot write {path.name!r}. Give a name ending in .onnx or .safetensors."
        )
    if not path.parent.is_dir():
        raise HwflowError(f"There is no folder {path.parent} to write {path.name} to.")


def save(
    network: Network, path: Path, split: AnySplit, form: str = "qdq"
) -> ExportReport | None:  # fmt: skip
    """Write a .onnx file (checked on real inputs) or a .safetensors file of the state.

    `form` is how a .onnx file says bits: "qdq" (QuantizeLinear, functions for other grids) or
    "qonnx" (nodes of the qonnx package).
    """
    check_target(path, form)
    if path.suffix == ".onnx":
        return WRITERS[form](network, path, inputs=split.head(CHECK_IMAGES))
    from safetensors.torch import save_file

    state = {k: v.contiguous() for k, v in network.module.state_dict().items()}
    save_file(state, path)
    return None
