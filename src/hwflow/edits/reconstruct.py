"""Least squares: what is left of a layer's weight, fitted to what the layer gave before.

He et al., "Channel pruning for accelerating very deep neural networks", ICCV 2017 (arXiv
1707.06168), the reconstruction step of equation 1: for each layer that has lost inputs,

    min over W' of ||Y - X W'||^2 + ridge ||W' - W||^2

with W the weight's columns that are left, X what the pruned network gives the layer, layer by layer
in order, and Y what the original layer makes of the same images. Where the layer has a bias it is
fitted too; where a batch normalisation follows, that takes up any shift. Dense 2-D convolutions and
linear layers are fitted; what is grouped, transposed or shares its weight stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from hwflow.coupling.groups import Mask
from hwflow.edits.survey import Survey, arguments
from hwflow.errors import ModelError
from hwflow.extract.call import shape_of
from hwflow.train.batchnorm import Averaging

SAMPLES = 8192
"""How many places of a layer's output, over all images, its weight is fitted to."""

RIDGE = 0.1
"""Relative to the mean square of an input: with few images, less makes weights that fit only them.

Best of 0.0001 to 3 for the accuracy of a ResNet-20, on 256 and on 1,024 images.
"""

_MOST = 2**25
"""Elements of the largest tensor: so many images go through the network at once."""

_CONV, _LINEAR = torch.ops.aten.conv2d.default, torch.ops.aten.linear.default
_NORM = torch.ops.aten.batch_norm.default


@dataclass(frozen=True, eq=False)
class Wanted:
    """What a layer of the original network makes of some images, at some places."""

    node: fx.Node
    places: Tensor
    """Indices of output positions (tokens of a linear layer), the same for every image."""
    outputs: Tensor
    """Shape (images x places, output channels)."""


def images_of(survey: Survey, calibration: Tensor) -> Tensor:
    """Return so many of the calibration inputs as are run at once."""
    largest = max(prod(shape_of(node)) for node in survey.lanes)
    return calibration[: max(_MOST // largest, 1)]


def wanted(survey: Survey, images: Tensor) -> dict[str, Wanted]:
    """Return, by the names of their nodes, what the layers make that can be fitted."""
    module = survey.found.graph.owning_module
    assert module is not None  # a graph is part of the module it was exported as
    recorder = _Recorder(module, {n.name for n in survey.lanes if _fits(survey, n)})
    with torch.no_grad():
        recorder.run(images)
    return recorder.found


def _fits(survey: Survey, node: fx.Node) -> bool:
    """Whether a node is a dense layer with a weight of its own."""
    if node.target not in (_CONV, _LINEAR) or arguments(node).get("groups", 1) != 1:
        return False
    weight = arguments(node)["weight"]
    path = survey.keys.get(str(weight.target))
    shared = [p for p, first in survey.keys.items() if first == path]
    return weight.op == "get_attr" and len(weight.users) == 1 and len(shared) == 1


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps what some nodes make, at random places."""

    def __init__(self, module: fx.GraphModule, names: set[str]) -> None:
        super().__init__(module)
        self.names, self.found = names, dict[str, Wanted]()
        self.draw = torch.Generator().manual_seed(0)

    def run_node(self, n: fx.Node) -> Any:
        """Run a node."""
        made = super().run_node(n)
        if n.name in self.names:
            rows = _rows(made, n.target is _CONV)
            count = min(rows.shape[1], ceil(SAMPLES / len(rows)))
            places = torch.randperm(rows.shape[1], generator=self.draw)[:count]
            self.found[n.name] = Wanted(n, places, rows[:, places].flatten(0, 1).clone())
        return made


def _rows(made: Tensor, channels_first: bool) -> Tensor:
    """Return a layer's output as (images, places, channels)."""
    if channels_first:
        return made.flatten(2).transpose(1, 2)
    return made[:, None] if made.dim() == 2 else made.flatten(1, -2)


def reconstruct(
    module: fx.GraphModule, survey: Survey, mask: Mask, wants: Mapping[str, Wanted], images: Tensor
) -> None:
    """Fit the weights of a pruned copy of the surveyed graph, and its batch-norm statistics.

    `wants` are of the same `images`.
    """
    fitter = _Fitter(module, survey, mask, wants)
    with torch.no_grad():
        fitter.run(images)


class _Fitter(Averaging):
    """Runs a pruned graph by the statistics of the batch, and fits each layer before it runs."""

    def __init__(
        self, module: fx.GraphModule, survey: Survey, mask: Mask, wants: Mapping[str, Wanted]
    ) -> None:
        super().__init__(module)
        self.survey, self.mask, self.wants = survey, mask, wants

    def run_node(self, n: fx.Node) -> Any:
        """Run a node."""
        want = self.wants.get(n.name)
        if want is not None and not self._kept(want.node.all_input_nodes[0]).all():
            args, kwargs = self.fetch_args_kwargs_from_env(n)
            self._fit(want, dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs)
        return super().run_node(n)

    def _kept(self, node: fx.Node) -> Tensor:
        """Return which channels of a node of the original graph are left."""
        lane = self.survey.lanes.get(node)
        kept = self.mask[-1:] if lane is None else self.mask[lane.ids]
        return torch.from_numpy(kept)

    def _fit(self, want: Wanted, given: dict[str, Any]) -> None:
        weight, bias = given["weight"], given.get("bias")
        kept = self._kept(want.node)
        outputs = want.outputs if len(kept) == 1 else want.outputs[:, kept]
        inputs = _read(want, given["input"], weight)
        if not torch.isfinite(inputs.sum() + outputs.sum()):
            raise ModelError(
                f"Layer {self.survey.found.owners[want.node.name]!r} gives numbers that are not "
                'finite: its weight cannot be fitted. Load sound weights, or take mend="none".'
            )
        shifts = bias is not None or any(user.target is _NORM for user in want.node.users)
        new, shift = fitted(inputs, outputs, weight.flatten(1), shifts, RIDGE)
        weight.copy_(new.reshape(weight.shape))
        if bias is not None:
            bias.copy_(shift)


def _read(want: Wanted, x: Tensor, weight: Tensor) -> Tensor:
    """Return what is multiplied by the weight's rows: (images x places, inputs of an output)."""
    if want.node.target is _LINEAR:
        return _rows(x, False)[:, want.places].flatten(0, 1)
    given = arguments(want.node)
    stride, padding, dilation = (
        _pair(given.get(key, default))
        for key, default in (("stride", 1), ("padding", 0), ("dilation", 1))
    )
    padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    width = shape_of(want.node)[3]
    top, left = want.places // width * stride[0], want.places % width * stride[1]
    taps = [
        padded[:, :, top + r * dilation[0], left + s * dilation[1]]
        for r in range(weight.shape[2])
        for s in range(weight.shape[3])
    ]  # each (images, channels, places)
    return torch.stack(taps, dim=2).permute(0, 3, 1, 2).flatten(0, 1).flatten(1)


def _pair(value: Any) -> tuple[int, int]:
    values = [value] if isinstance(value, int) else list(value)
    return (values[0], values[-1])


def fitted(
    inputs: Tensor, outputs: Tensor, weight: Tensor, shifts: bool, ridge: float
) -> tuple[Tensor, Tensor]:
    """Return the weight (outputs, inputs) near the given one, and shift, of least squared error.

    `inputs` has shape (samples, inputs), `outputs` (samples, outputs). Without `shifts` the shift
    is zero. `ridge` is relative to the mean square of an input.
    """
    x_mean, y_mean = inputs.mean(0) * shifts, outputs.mean(0) * shifts
    x, y = inputs - x_mean, outputs - y_mean
    missing = (x.T @ (y - x @ weight.T)).double()
    gram = (x.T @ x).double()
    gram.diagonal().add_((ridge * gram.diagonal().mean()).clamp(min=1e-12))
    change = torch.cholesky_solve(missing, torch.linalg.cholesky(gram))
    new = (weight + change.T).to(weight.dtype)
    return new, y_mean - new @ x_mean
