"""From a trial to a network that ships: built, checked against the paper, fine-tuned, tested."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hwflow.design import Design
from hwflow.errors import HwflowError
from hwflow.export import ExportReport, to_onnx
from hwflow.extract import extract
from hwflow.front import Trial
from hwflow.network import Network
from hwflow.quality.accuracy import Flips, compare
from hwflow.train import train

if TYPE_CHECKING:
    from hwflow.data.split import AnySplit
    from hwflow.problem import Problem

CHECK_IMAGES = 1000
"""How many test images the exported file is compared with the torch module on."""


def build(
    problem: Problem,
    trial: Trial,
    *,
    finetune: int = 0,
    data: AnySplit | None = None,
    seed: int = 0,
) -> Network:
    """Return a trial's network, after `finetune` epochs on `data` with the original as teacher.

    The workload read back from the built network must be the one whose cost was searched; a
    HwflowError names the first layer where they differ (a fault of an edit, never of the user).
    """
    original = problem.space.network
    network = trial.build()
    check_agreement(problem, trial, network)
    if finetune == 0:
        return network
    if data is None or original is None:
        raise HwflowError("Fine-tuning needs training data. Give the run a data set with train.")
    return train(network, data, epochs=finetune, lr=0.002, teacher=original, seed=seed)


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


def check_target(path: Path | None) -> None:
    """Raise HwflowError when `path` cannot be written as a network."""
    if path is None:
        return
    if path.suffix not in (".onnx", ".safetensors"):
        raise HwflowError(
            f"Cannot write {path.name!r}. Give a name ending in .onnx or .safetensors."
        )
    if not path.parent.is_dir():
        raise HwflowError(f"There is no folder {path.parent} to write {path.name} to.")


def save(network: Network, path: Path, split: AnySplit) -> ExportReport | None:
    """Write a .onnx file (checked on real inputs) or a .safetensors file of the state."""
    check_target(path)
    if path.suffix == ".onnx":
        return to_onnx(network, path, inputs=split.head(CHECK_IMAGES))
    from safetensors.torch import save_file

    state = {k: v.contiguous() for k, v in network.module.state_dict().items()}
    save_file(state, path)
    return None
