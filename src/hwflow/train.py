"""Training: a short SGD loop that also fine-tunes quantised graphs, and batch-norm re-estimation.

Stochastic gradient descent with Nesterov momentum; the learning rate warms up and decays linearly.
With a teacher the loss is that of Hinton et al., "Distilling the knowledge in a neural network",
2015: L = (1 - a) CE(z, y) + a T^2 KL(softmax(z_teacher / T) || softmax(z / T)).
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from hwflow.errors import HwflowError
from hwflow.network import Network
from hwflow.running import evaluating, output, seeded, state_digest

Batch = tuple[Tensor, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]

CROP_MARGIN = 4
"""Pixels by which an augmented image may be shifted to either side, as usual for CIFAR."""


@runtime_checkable
class Shuffles(Protocol):
    """A split that gives all its images once, in an order drawn from a seed."""

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def shuffled(self, size: int, seed: int) -> Iterator[Batch]:
        """Yield batches of `size` images."""
        ...


Trainable = Shuffles | Iterable[Batch]
"""What is trained on: a split, or a loader of (inputs, targets) that does its own shuffling."""


@dataclass(frozen=True)
class Progress:
    """Where training is, for a callback."""

    step: int
    """Steps done, of `steps`."""
    steps: int
    loss: float
    lr: float


@dataclass(frozen=True)
class Distillation:
    """How much the teacher's outputs count against the labels."""

    teacher: Network
    share: float = 0.5
    """a in the formula above: 0 labels only, 1 teacher only."""
    temperature: float = 4.0


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
    augment: Literal["none", "crop", "crop+flip"] = "none",
    teacher: Network | Distillation | None = None,
    loss: Loss | None = None,
    seed: int = 0,
    on_step: Callable[[Progress], None] | None = None,
) -> Network:
    """Return a trained copy of `network`, in eval mode; the same seed gives the same weights.

    Give `epochs` or `steps`. `lr` is the peak after a share `warmup` of the steps; weight decay
    spares biases and norms. `loss` is a function (outputs, targets) -> scalar in place of
    cross-entropy; targets of 255 in maps are ignored. Quantised graphs train through their
    straight-through gradients.

    Raises HwflowError when the loss is no longer finite, or there is nothing to train.
    """
    total = _total_steps(split, batch_size, epochs, steps)
    _check(lr, warmup, augment)
    module = copy.deepcopy(network.module)
    optimizer = _optimizer(module, lr, momentum, weight_decay)
    criterion = _criterion(loss, teacher)
    draw = torch.Generator().manual_seed(seed)
    with seeded(seed):
        module.train()
        for step, (inputs, targets) in enumerate(_endless(split, batch_size, seed, total)):
            rate = _set_rate(optimizer, lr * _shape(step, total, warmup))
            inputs = augmented(inputs, augment, draw)
            error = criterion(inputs, output(module, inputs), targets)
            _check_loss(error, step, rate)
            optimizer.zero_grad()
            error.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if on_step is not None:
                on_step(Progress(step + 1, total, float(error.detach()), rate))
    module.eval()
    return replace(network, module=module, weights=state_digest(module))


def _check(lr: float, warmup: float, augment: str) -> None:
    if not 0 < lr < float("inf"):
        raise HwflowError(f"The learning rate must be above zero, not {lr}.")
    if not 0 <= warmup < 1:
        raise HwflowError(f"warmup is a share of the steps in [0, 1), not {warmup}.")
    if augment not in ("none", "crop", "crop+flip"):
        raise HwflowError(f"augment must be none, crop or crop+flip, not {augment!r}.")


def _total_steps(split: Trainable, size: int, epochs: int | None, steps: int | None) -> int:
    if (epochs is None) == (steps is None):
        raise HwflowError("Give either epochs or steps.")
    if size < 1 or (epochs or steps or 0) < 1:
        raise HwflowError("epochs, steps and batch_size must be 1 or more.")
    if steps is not None:
        return steps
    if isinstance(split, Shuffles):
        return epochs * max(1, len(split) // size)  # type: ignore[operator]  # one is not None
    if isinstance(split, Sized):
        return epochs * len(split)  # type: ignore[operator]
    loader = getattr(split, "loader", None)
    if isinstance(loader, Sized):
        return epochs * len(loader)  # type: ignore[operator]
    raise HwflowError("The length of this loader is not known. Give steps instead of epochs.")


def _endless(split: Trainable, size: int, seed: int, steps: int) -> Iterator[Batch]:
    """Go through the split again and again, `steps` batches in all."""
    done = epoch = 0
    while done < steps:
        before = done
        for batch in islice(_epoch(split, size, seed, epoch), steps - done):
            done += 1
            yield batch
        if done == before:
            raise HwflowError("There are no images to train on. Give at least one.")
        epoch += 1


def _epoch(split: Trainable, size: int, seed: int, epoch: int) -> Iterator[Batch]:
    if isinstance(split, Shuffles):
        order = np.random.SeedSequence([abs(seed), epoch]).generate_state(1)
        return split.shuffled(size, int(order[0]))
    return iter(split)


def _optimizer(
    module: nn.Module, lr: float, momentum: float, decay: float
) -> torch.optim.Optimizer:
    free = [p for p in module.parameters() if p.requires_grad]
    if not free:
        raise HwflowError("The network has no parameters that can be trained.")
    groups = [
        {"params": [p for p in free if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in free if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=momentum > 0)


def _shape(step: int, steps: int, warmup: float) -> float:
    """Return the share of the peak learning rate: up in `warmup` * steps, then down to zero."""
    rising = max(1, round(warmup * steps))
    if step < rising and steps > 1:
        return (step + 1) / rising
    return (steps - step) / max(1, steps - rising + 1)


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> float:
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate


def _criterion(
    loss: Loss | None, teacher: Network | Distillation | None
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return the function (inputs, outputs, targets) -> loss."""
    plain = loss or _cross_entropy
    if teacher is None:
        return lambda inputs, outputs, targets: plain(outputs, targets)
    how = teacher if isinstance(teacher, Distillation) else Distillation(teacher)
    guide = how.teacher.module

    def distilled(inputs: Tensor, outputs: Tensor, targets: Tensor) -> Tensor:
        with evaluating(guide), torch.no_grad():
            wanted = output(guide, inputs)
        soft = _divergence(outputs, wanted, how.temperature)
        return (1 - how.share) * plain(outputs, targets) + how.share * soft

    return distilled


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, ignore_index=255 if targets.dim() > 1 else -100)


def _divergence(outputs: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL(softmax(wanted / T) || softmax(outputs / T)), averaged over the batch."""
    log_found = F.log_softmax(outputs / temperature, 1)
    log_wanted = F.log_softmax(wanted / temperature, 1)
    total = F.kl_div(log_found, log_wanted, reduction="none", log_target=True).sum(1)
    return total.mean() * temperature**2


def _check_loss(error: Tensor, step: int, rate: float) -> None:
    if not bool(torch.isfinite(error)):
        raise HwflowError(
            f"Training diverged at step {step + 1} (loss {float(error.detach())}, learning rate "
            f"{rate:g}). Lower lr, or look for NaN in the data."
        )


def augmented(inputs: Tensor, how: str, draw: torch.Generator) -> Tensor:
    """Return the images, each shifted by up to 4 pixels (edges reflected) and perhaps mirrored.

    `how` is "none", "crop" or "crop+flip"; `inputs` has shape (N, C, H, W).
    """
    if how == "none":
        return inputs
    n, _, height, width = inputs.shape
    margin = min(CROP_MARGIN, height - 1, width - 1)  # a reflection needs a pixel more than it adds
    wide = F.pad(inputs, (margin,) * 4, mode="reflect")
    shift = torch.randint(0, 2 * margin + 1, (2, n, 1), generator=draw)
    rows = shift[0] + torch.arange(height)
    columns = shift[1] + torch.arange(width)
    if how == "crop+flip":
        mirrored = torch.rand((n, 1), generator=draw) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    each = torch.arange(n)[:, None, None]
    return wide[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)

_RUNNING_MEAN, _TRAINING, _MOMENTUM = 3, 5, 6
"""Indices of arguments of aten.batch_norm."""


def reestimate_batchnorm(
    network: Network, split: Trainable, *, images: int = 2000, batch_size: int = 250, seed: int = 0
) -> Network:
    """Return a copy whose batch-norm statistics are the averages over `images` training images.

    Statistics of pruned or replaced layers are stale; this mends them without any gradient. The
    weights stay as they are. An exported graph, as pruning makes it, must take any batch.
    """
    if images < 1 or batch_size < 1:
        raise HwflowError("images and batch_size must be 1 or more.")
    return _restated(network, list(_first(split, images, batch_size, seed)))


def restated(network: Network, inputs: Tensor, batch_size: int = 250) -> Network:
    """Return a copy whose batch-norm statistics are the averages over `inputs`, (M, C, H, W).

    As :func:`reestimate_batchnorm`, on inputs at hand.
    """
    return _restated(network, inputs.split(batch_size))


def _restated(network: Network, batches: Sequence[Tensor]) -> Network:
    module = copy.deepcopy(network.module).eval()
    with torch.no_grad():
        if isinstance(module, fx.GraphModule):
            _average_in_graph(module, batches)
        _average(module, batches)
    return replace(network, module=module, weights=state_digest(module))


def _average(module: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the statistics of normalisations that are modules to the averages over batches."""
    norms = [part for part in module.modules() if isinstance(part, _NORMS)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's sign for the plain average over batches
        norm.train()
    for inputs in batches if norms else ():
        module(inputs)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
        norm.eval()


def _average_in_graph(module: fx.GraphModule, batches: Iterable[Tensor]) -> None:
    """Set the statistics of normalisations that are ATen calls to the averages over batches."""
    calls = [
        node for node in module.graph.find_nodes(
            op="call_function", target=torch.ops.aten.batch_norm.default
        ) if isinstance(node.args[_RUNNING_MEAN], fx.Node)
    ]  # fmt: skip
    before = [call.args for call in calls]
    seen: Counter[fx.Node] = Counter()  # one normalisation may be called several times
    for inputs in batches if calls else ():
        for call in calls:
            seen[call.args[_RUNNING_MEAN]] += 1
            call.update_arg(_TRAINING, True)
            # new = (1 - momentum) old + momentum batch: with 1 / n, the average of n batches
            call.update_arg(_MOMENTUM, 1 / seen[call.args[_RUNNING_MEAN]])
        module.recompile()
        module(inputs)
    for call, args in zip(calls, before, strict=True):
        call.args = args
    module.recompile()


def _first(split: Trainable, images: int, size: int, seed: int) -> Iterator[Tensor]:
    """Yield the inputs of `images` images, or all where there are fewer."""
    left = images
    for inputs, _ in _epoch(split, min(size, images), seed, 0):
        yield inputs[:left]
        left -= len(inputs)
        if left <= 0:
            return
    if left == images:
        raise HwflowError("There are no images to take statistics from. Give at least one.")
