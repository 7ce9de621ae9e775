"""Checkpoints: a training run that is killed goes on where it was, with the same result.

One safetensors file holds weights, momentum, averages and the states of the random generators; it
is replaced as a whole. Its header tells the run it belongs to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from hwflow.errors import HwflowError
from hwflow.files import whole
from hwflow.learned_grids import Grid, learned_grids
from hwflow.train.average import Average
from hwflow.train.stream import Place

TORCH, DRAWS = "random.torch", "random.draws"


@dataclass
class State:
    """What changes while a network is trained."""

    module: nn.Module
    optimizer: torch.optim.Optimizer
    draws: torch.Generator
    average: Average | None = None
    step: int = 0
    """Steps done."""
    place: Place = field(default=Place(0, 0))
    """Of the next batch."""

    @cached_property
    def grids(self) -> list[Grid]:
        """Grids with learned scales, which a step must not take below zero."""
        return learned_grids(self.module)

    def tensors(self) -> dict[str, Tensor]:
        """Return everything but step and place."""
        found = {f"module.{name}": v for name, v in self.module.state_dict().items()}
        found |= {f"momentum.{i}": v for i, v in self._momentum().items()}
        if self.average is not None:
            found |= {f"average.{name}": v for name, v in self.average.state.items()}
        return found | {TORCH: torch.get_rng_state(), DRAWS: self.draws.get_state()}

    def _momentum(self) -> dict[int, Tensor]:
        held = self.optimizer.state_dict()["state"]
        return {
            i: s["momentum_buffer"] for i, s in held.items() if s.get("momentum_buffer") is not None
        }

    @torch.no_grad()
    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Become the state that a checkpoint holds."""
        for name, value in self.module.state_dict().items():
            value.copy_(tensors[f"module.{name}"])
        held = self.optimizer.state_dict()
        held["state"] = {
            int(name.removeprefix("momentum.")): {"momentum_buffer": value.clone()}
            for name, value in tensors.items() if name.startswith("momentum.")
        }  # fmt: skip
        self.optimizer.load_state_dict(held)
        if self.average is not None:
            for name, value in self.average.state.items():
                value.copy_(tensors[f"average.{name}"])
        torch.set_rng_state(tensors[TORCH])
        self.draws.set_state(tensors[DRAWS])


@dataclass
class Checkpoint:
    """The file of one run, written at most every `seconds`; None writes nothing."""

    path: Path | None
    run: str
    """Identifies the run: another one is refused."""
    seconds: float = 60.0
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._last = self.clock()

    def resume(self, state: State) -> None:
        """Put `state` where the file was, if there is one.

        Raises HwflowError for a file that cannot be read or is of another run.
        """
        if self.path is None or not self.path.exists():
            return
        try:
            with safe_open(self.path, framework="pt") as file:
                head = file.metadata() or {}
                self._check(head)
                state.take({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except (SafetensorError, KeyError, OSError) as error:
            raise HwflowError(
                f"The checkpoint {self.path} cannot be read: {error}. Delete it to start anew."
            ) from error
        state.step = int(head["step"])
        state.place = Place(int(head["epoch"]), int(head["batch"]))

    def _check(self, head: Mapping[str, str]) -> None:
        if head.get("run") != self.run:
            raise HwflowError(
                f"The checkpoint {self.path} is of another training run (other weights, data, "
                "settings or seed). Name another file, or delete it to start anew."
            )

    def due(self) -> bool:
        """Whether it is time to write."""
        return self.path is not None and self.clock() - self._last >= self.seconds

    def write(self, state: State) -> None:
        """Write the file, in one piece."""
        if self.path is None:
            return
        self._last = self.clock()
        tensors = {name: v.detach().contiguous().clone() for name, v in state.tensors().items()}
        head = {
            "run": self.run, "step": str(state.step),
            "epoch": str(state.place.epoch), "batch": str(state.place.batch),
        }  # fmt: skip
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with whole(self.path) as part:
            save_file(tensors, part, metadata=head)
