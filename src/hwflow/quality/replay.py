"""What plans answer on some images, each computed from where it leaves a base plan.

Networks that are graphs of ATen operators share what they can with the base plan's
(:class:`hwflow.quality.prefix.Prefix`); others are run as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hwflow.data.split import AnySplit
from hwflow.design import Design
from hwflow.errors import DataError, HwflowError
from hwflow.extract.exported import is_exported
from hwflow.quality.prefix import Prefix, Work
from hwflow.running import evaluating, output
from hwflow.space import Plan, Space


class Sums(NamedTuple):
    """What a network answers on some images, summed over them."""

    loss: float
    """Cross-entropy, nats."""
    divergence: float
    """Kullback-Leibler divergence of its answers from those of the base plan's network, nats."""
    right: int
    images: int


class Replay:
    """Plans of a space on labelled images, in parts whose activations fit in memory."""

    def __init__(
        self, space: Space, base: Plan, split: AnySplit, images: int, batch: int, budget: int
    ) -> None:
        """Read the images. `budget` is in bytes; raises HwflowError for labels of no classes."""
        if images < 1 or batch < 1 or budget < 0:
            raise HwflowError(
                f"images and batch must be 1 or more and budget 0 or more, not {images}, {batch} "
                f"and {budget}."
            )
        self.work = Work()
        """What was computed so far."""
        self._space, self._base, self._budget = space, base, budget
        self._batches = [
            (inputs, _classes(targets)) for inputs, targets in split.batches(batch, images)
        ]
        self._known: tuple[int, Prefix] | None = None
        self._of_base: tuple[int, list[Tensor]] | None = None

    @property
    def images(self) -> int:
        """How many images there are."""
        return sum(len(targets) for _, targets in self._batches)

    @cached_property
    def parts(self) -> int:
        """How many parts the images are gone through in."""
        return -(-len(self._batches) // self._batches_of_a_part)

    @cached_property
    def whole(self) -> Work:
        """The work of a whole evaluation of the base plan."""
        one = _work_on_paper(self._space, self._base)
        return Work(one.image_layers * self.images, one.macs * self.images)

    def sums(self, part: int, plan: Plan) -> Sums:
        """Return what a plan's network makes of a part of the images."""
        if self._of_base is None or self._of_base[0] != part:
            self._of_base = part, self._answers(part, self._base)
        answers = self._of_base[1] if plan == self._base else self._answers(part, plan)
        loss, apart, right, images = 0.0, 0.0, 0, 0
        batches = zip(answers, self._of_base[1], self._part(part), strict=True)
        for found, base, (_, targets) in batches:
            loss += float(F.nll_loss(found, targets, reduction="sum"))
            apart += float(F.kl_div(found, base, reduction="sum", log_target=True))
            right += int((found.argmax(1) == targets).sum())
            images += len(targets)
        return Sums(loss, apart, right, images)

    def _part(self, part: int) -> list[tuple[Tensor, Tensor]]:
        size = self._batches_of_a_part
        return self._batches[part * size : (part + 1) * size]

    def _answers(self, part: int, plan: Plan) -> list[Tensor]:
        """Return the logarithms of the classes' probabilities, in double precision."""
        outputs = self._outputs(part, plan)
        for one in outputs:
            _check(one, self._space, plan)
        return [one.double().log_softmax(1) for one in outputs]

    def _outputs(self, part: int, plan: Plan) -> list[Tensor]:
        inputs, network = [x for x, _ in self._part(part)], self._space.apply(plan)
        if self._graph is None or not is_exported(network.module):
            one, images = _work_on_paper(self._space, plan), sum(map(len, inputs))
            self.work.add(Work(one.image_layers * images, one.macs * images))
            with evaluating(network.module), torch.no_grad():
                return [output(network.module, batch) for batch in inputs]
        if self._known is None or self._known[0] != part:
            self._known = part, Prefix(self._graph, inputs, self._budget, self.work)
        with evaluating(network.module):
            return self._known[1].run(network.module)  # type: ignore[arg-type]

    @cached_property
    def _graph(self) -> torch.fx.GraphModule | None:
        """The base plan's network, if it is a graph."""
        module = self._space.apply(self._base).module
        return module if is_exported(module) else None  # type: ignore[return-value]

    @cached_property
    def _batches_of_a_part(self) -> int:
        """As many batches as the budget holds the largest cut of; one at least."""
        if self._graph is None:
            return len(self._batches)
        first, _ = self._batches[0]
        peak = Prefix(self._graph, [first[:1]]).peak * len(first)
        return max(1, min(len(self._batches), self._budget // max(1, peak)))


def _work_on_paper(space: Space, plan: Sequence[int]) -> Work:
    """Return the work of one image."""
    network = space.of_network
    start = Design(network.workload, None)  # type: ignore[arg-type]  # bits need no machine
    workload = network.on_paper(plan[: len(network)], start).workload
    images = max(1, workload.inputs[0].shape[0])
    return Work(len(workload.mac_layers), sum(x.macs for x in workload) // images)


def _classes(targets: Tensor) -> Tensor:
    if targets.dim() != 1 or targets.is_floating_point():
        raise DataError(
            "Sensitivities need one class label per image, not targets of shape "
            f"{tuple(targets.shape)} and type {targets.dtype}."
        )
    return targets.long()


def _check(outputs: Tensor, space: Space, plan: Plan) -> None:
    if not bool(torch.isfinite(outputs).all()):
        raise HwflowError(
            f"With the plan {space.values(plan)} the outputs of {space.workload.name!r} are not "
            "finite numbers. Look at the weights, the inputs and the calibration."
        )
