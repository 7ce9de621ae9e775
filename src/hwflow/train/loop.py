"""The training loop: SGD with Nesterov momentum. It also fine-tunes quantised and pruned graphs."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from hwflow.errors import HwflowError
from hwflow.learned_grids import learned_grids
from hwflow.network import Network
from hwflow.running import output, seeded, state_digest
from hwflow.train.augment import Augment, as_augment, augmented
from hwflow.train.average import Average
from hwflow.train.checkpoint import Checkpoint, State
from hwflow.train.distill import Criterion, Distillation, Loss
from hwflow.train.schedule import Schedule, check_schedule, share_of_peak
from hwflow.train.stream import Place, Trainable, endless, total_steps


@dataclass(frozen=True)
class Progress:
    """Where training is, for a callback."""

    step: int
    """Steps done, of `steps`."""
    steps: int
    loss: float
    lr: float


def train(
    network: Network,
    split: Trainable,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    lr: float = 0.1,
    batch_size: int = 128,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    warmup: float = 0.1,
    schedule: Schedule = "linear",
    augment: Augment = "none",
    teacher: Network | Distillation | None = None,
    loss: Loss | None = None,
    ema: float | None = None,
    clip_decay: float = 0.0,
    clip_norm: float | None = None,
    seed: int = 0,
    checkpoint: Path | str | None = None,
    checkpoint_seconds: float = 60.0,
    on_step: Callable[[Progress], None] | None = None,
) -> Network:
    """Return a trained copy of `network`, in eval mode; the same seed gives the same weights.

    Give `epochs` or `steps`. `lr` is the peak after a share `warmup` of the steps, from which the
    `schedule` falls to zero; weight decay spares biases and norms. `loss` is a function (outputs,
    targets) -> scalar in place of cross-entropy; targets of 255 in maps are ignored. With `ema` the
    result has the moving average of the weights that keeps this share of itself with each step.
    Quantised graphs train through their straight-through gradients, their learned scales too, which
    stay above zero; `clip_decay` is the weight decay of PACT's clips. A gradient over all
    parameters that is longer than `clip_norm` (L2) is scaled down to it; None leaves it as it is.
    `checkpoint` is a file that is written every `checkpoint_seconds` and at the end: the same call
    after a kill goes on from it, with the same result; a finished run is read from it. (A loader
    that shuffles by itself does not give the same batches again.)

    Raises HwflowError when the loss is no longer finite, there is nothing to train, or the
    checkpoint is of another run.
    """
    total = total_steps(split, batch_size, epochs, steps)
    check_schedule(lr, warmup, schedule)
    check_norm(clip_norm)
    as_augment(augment)
    module = copy.deepcopy(network.module)
    optimizer = _optimizer(module, lr, momentum, weight_decay, clip_decay)
    state = State(
        module, optimizer, torch.Generator().manual_seed(seed),
        None if ema is None else Average(module, ema),
    )  # fmt: skip
    order = f"{getattr(split, 'digest', '')} {batch_size} {seed} {augment}"
    how = Distillation(teacher) if isinstance(teacher, Network) else teacher
    criterion = Criterion(loss, how, order)
    settings: tuple[object, ...] = (
        order,
        total,
        lr,
        momentum,
        weight_decay,
        warmup,
        schedule,
        ema,
        loss is None,
    )
    if clip_decay:  # runs without keep their digest
        settings = (*settings, clip_decay)
    if clip_norm is not None:
        settings = (*settings, "clip_norm", clip_norm)
    file = Checkpoint(
        None if checkpoint is None else Path(checkpoint), _run(network, how, settings),
        checkpoint_seconds,
    )  # fmt: skip
    with seeded(seed):
        file.resume(state)
        module.train()
        batches = endless(split, batch_size, seed, total - state.step, state.place)
        for place, (inputs, targets) in batches if state.step < total else ():
            rate = _set_rate(optimizer, lr * share_of_peak(state.step, total, warmup, schedule))
            inputs = augmented(inputs, augment, state.draws)
            error = criterion(place, inputs, output(module, inputs), targets)
            _check_loss(error, state.step, rate)
            _update(state, error, place, clip_norm)
            if on_step is not None:
                on_step(Progress(state.step, total, float(error.detach()), rate))
            if file.due() or state.step == total:
                file.write(state)
    if state.average is not None:
        state.average.write()
    module.eval()
    return replace(network, module=module, weights=state_digest(module))


def _run(network: Network, how: Distillation | None, settings: tuple[object, ...]) -> str:
    """Return what identifies a run: where it starts, what it learns from and how."""
    taught = None if how is None else (state_digest(how.teacher.module), how.share, how.temperature)
    text = repr((state_digest(network.module), taught, settings))
    return hashlib.sha256(text.encode()).hexdigest()


def check_norm(clip_norm: float | None) -> None:
    """Raise HwflowError for a length that no gradient can be scaled down to."""
    if clip_norm is not None and not 0 < clip_norm < float("inf"):
        raise HwflowError(
            f"clip_norm is the largest length of a gradient, above 0, not {clip_norm}. "
            "None leaves gradients as they are."
        )


def _update(state: State, error: Tensor, place: Place, clip_norm: float | None) -> None:
    """Make one step down the gradient."""
    state.optimizer.zero_grad()
    error.backward()  # type: ignore[no-untyped-call]
    if clip_norm is not None:
        nn.utils.clip_grad_norm_(state.module.parameters(), clip_norm)
    state.optimizer.step()
    for grid in state.grids:
        grid.settle()
    state.step += 1
    state.place = Place(place.epoch, place.batch + 1)
    if state.average is not None:
        state.average.update(state.step)


def _optimizer(
    module: nn.Module, lr: float, momentum: float, decay: float, clip_decay: float
) -> torch.optim.Optimizer:
    free = [p for p in module.parameters() if p.requires_grad]
    if not free:
        raise HwflowError("The network has no parameters that can be trained.")
    if not 0 <= clip_decay < float("inf"):
        raise HwflowError(f"clip_decay is a weight decay, 0 or more, not {clip_decay}.")
    clips = {id(grid.value) for grid in learned_grids(module) if grid.name == "clip"}
    groups = [
        {"params": [p for p in free if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in free if p.dim() <= 1 and id(p) not in clips], "weight_decay": 0.0},
        {"params": [p for p in free if id(p) in clips], "weight_decay": clip_decay},
    ]
    return torch.optim.SGD(
        groups[: 3 if clips else 2], lr=lr, momentum=momentum, nesterov=momentum > 0
    )


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> float:
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate


def _check_loss(error: Tensor, step: int, rate: float) -> None:
    if not bool(torch.isfinite(error)):
        raise HwflowError(
            f"Training diverged at step {step + 1} (loss {float(error.detach())}, learning rate "
            f"{rate:g}). Lower lr, or look for NaN in the data."
        )
