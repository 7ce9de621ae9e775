"""Scales of quantisers from weights and from observed activations.

By default a scale is the one whose grid gives the least mean squared error over a list of clipping
ranges: the full range shrunk by factors between 1 and a smallest one, then refined between the
neighbours of the best. Others: the full range itself, or for activations the range of least
divergence of histograms (:mod:`hwflow.edits.histogram`). Weights of one bit take +-mean|w|
(Rastegari et al., XNOR-Net, arXiv 1603.05279), the minimum in closed form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from hwflow.edits.histogram import least_divergence
from hwflow.edits.methods import Calibration
from hwflow.errors import DataError, ModelError
from hwflow.extract.call import is_quantizer
from hwflow.fake_quantize import fake_quantize, grid
from hwflow.learned_grids import dorefa

SAMPLES = 16384
"""How many values of a tensor the search for its range looks at."""

CHUNK = 32
"""How many calibration inputs run through the network at once."""

_COARSE, _FINE = 16, 6
_SMALLEST_WEIGHT_RANGE, _SMALLEST_ACTIVATION_RANGE = 0.1, 0.02


@dataclass(frozen=True)
class Scale:
    """A quantiser's grid: the arguments of `fake_quantize` but for the bits. On the CPU."""

    scale: Tensor
    """Float32, shape () or (channels,), above zero."""
    zero_point: Tensor
    """Int32, as many."""
    signed: bool
    axis: int = -1
    """Axis of the channels, -1 for one scale per tensor."""

    def __call__(self, x: Tensor, bits: int) -> Tensor:
        """Return `x` on the grid of `bits` bits."""
        found: Tensor = fake_quantize(x, self.scale, self.zero_point, bits, self.signed, self.axis)
        return found


@dataclass(frozen=True)
class Observed:
    """What a tensor was seen to hold: some of its values, and its extremes."""

    values: Tensor
    """In random order."""
    low: float
    high: float
    elements: int
    """How many values it was seen to hold in all."""


def weight_scale(weight: Tensor, bits: int, axis: int, fit: bool = True) -> Scale:
    """Return the symmetric grid of least squared error, one scale per index of `axis` (-1: one).

    Without `fit` it is that of the whole range, except for one bit.
    """
    rows = _rows(weight, axis)
    zero = torch.zeros(len(rows), dtype=torch.int32)
    if bits == 1:
        return Scale(_positive(rows.abs().mean(dim=1)), zero, signed=True, axis=axis)
    widest = _positive(rows.abs().amax(dim=1)) / grid(bits, signed=True)[1]

    if not fit:
        return Scale(widest, zero, signed=True, axis=axis)

    def make(factor: Tensor) -> Scale:
        return Scale(widest * factor, zero, signed=True, axis=0)

    best = make(_best_factor(rows, bits, make, _SMALLEST_WEIGHT_RANGE))
    return Scale(best.scale, zero, signed=True, axis=axis)


def _rows(weight: Tensor, axis: int) -> Tensor:
    """Return the weights that share a scale as a row, one per index of `axis`."""
    weight = weight.detach().float().cpu()
    return weight.reshape(1, -1) if axis < 0 else weight.movedim(axis, 0).flatten(1)


def dorefa_scale(weight: Tensor, bits: int, axis: int, faithful: bool) -> Scale:
    """Return the factors with which DoReFa's weights come nearest to `weight`; 1 if `faithful`.

    Signed says that there is no zero point; the levels are those of ``hwflow::dorefa``.
    """
    axis = -1 if faithful else axis
    rows = _rows(weight, axis)
    ones, zero = torch.ones(len(rows)), torch.zeros(len(rows), dtype=torch.int32)
    if faithful or bits == 1:
        return Scale(ones, zero, signed=True, axis=axis)
    made = dorefa(rows, ones, zero, bits, True, 0 if axis >= 0 else -1)
    factor = (rows * made).sum(1) / made.square().sum(1)
    return Scale(_positive(factor), zero, signed=True, axis=axis)


def unit_scale(bits: int) -> Scale:
    """Return the grid of [0, 1]."""
    step = torch.tensor(1 / grid(bits, signed=False)[1])
    return Scale(step, torch.tensor(0, dtype=torch.int32), signed=False)


def activation_scale(seen: Observed, bits: int, calibration: Calibration = "mse") -> Scale:
    """Return the grid of a calibration: half-wave if no value is below 0, else asymmetric.

    Zero lies on the grid exactly, as padding needs it.
    """
    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    top = grid(bits, signed=False)[1]

    def make(factor: Tensor) -> Scale:
        scale = _positive(factor.reshape(()) * (high - low)) / top
        zero = torch.round(-low * factor.reshape(()) / scale).clamp(0, top)
        return Scale(scale, zero.to(torch.int32), signed=False)

    if calibration == "minmax":
        return make(torch.ones(1))
    if calibration == "kl":

        def figures(factor: float) -> tuple[float, int]:
            found = make(torch.tensor(factor))
            return float(found.scale), int(found.zero_point)

        best = least_divergence(seen.values, low, high, bits, figures, _SMALLEST_ACTIVATION_RANGE)
        return make(torch.tensor(best))
    rows = seen.values.reshape(1, -1)
    return make(_best_factor(rows, bits, make, _SMALLEST_ACTIVATION_RANGE))


def _best_factor(
    rows: Tensor, bits: int, make: Callable[[Tensor], Scale], smallest: float
) -> Tensor:
    """Return for each row the factor of its full range that gives the least squared error."""

    def errors(factors: Tensor) -> Tensor:
        return torch.stack([(make(f)(rows, bits) - rows).square_().sum(dim=1) for f in factors])

    coarse = torch.logspace(0, float(torch.tensor(smallest).log10()), _COARSE)
    first = errors(coarse[:, None].expand(-1, len(rows)))
    best = first.argmin(dim=0)  # of equals the widest, which comes first
    upper, lower = coarse[(best - 1).clamp(min=0)], coarse[(best + 1).clamp(max=_COARSE - 1)]
    steps = torch.linspace(0, 1, _FINE + 2)[1:-1, None]
    fine = torch.cat([coarse[best][None], upper + steps * (lower - upper)])
    second = torch.cat([first.gather(0, best[None]), errors(fine[1:])])
    return fine.gather(0, second.argmin(dim=0)[None])[0]


def _positive(scale: Tensor) -> Tensor:
    """Replace the scale of what is zero throughout, whose grid does not matter, by 1."""
    return torch.where(scale > 0, scale, torch.ones_like(scale)).clamp(min=1e-30)


def observe(
    module: fx.GraphModule, nodes: Mapping[str, fx.Node], inputs: Tensor, samples: int = SAMPLES
) -> dict[str, Observed]:
    """Run `inputs` through `module` and return what each named node was seen to hold.

    Values are those of the network without quantisers, and the same ones in every run. Raises
    DataError for an empty set of inputs and ModelError when a tensor holds no finite numbers.
    """
    if len(inputs) == 0:
        raise DataError("There are no calibration inputs. Give at least one, better 100 or more.")
    watch = _Watch(module, nodes, -(-len(inputs) // CHUNK), samples)
    with torch.no_grad():
        for chunk in torch.split(inputs, CHUNK):
            watch.run(chunk)
    return {name: watch.observed(name) for name in nodes}


class _Watch(fx.Interpreter):
    """Runs a graph in floats, past its quantisers, and keeps some values of the watched nodes."""

    def __init__(
        self, module: fx.GraphModule, nodes: Mapping[str, fx.Node], chunks: int, samples: int
    ) -> None:
        super().__init__(module)
        self.names: dict[fx.Node, list[str]] = {}
        for name, node in nodes.items():
            self.names.setdefault(node, []).append(name)
        self.samples = samples
        self.quota = -(-samples // chunks)
        self.kept: dict[str, list[Observed]] = {name: [] for name in nodes}
        self.random = torch.Generator().manual_seed(0)

    def run_node(self, n: fx.Node) -> Any:
        value = self.env[n.all_input_nodes[0]] if is_quantizer(n) else super().run_node(n)
        for name in self.names.get(n, ()):
            self.kept[name].append(self._look(name, value))
        return value

    def _look(self, name: str, value: Tensor) -> Observed:
        low, high = (float(v) for v in torch.aminmax(value))
        if not (abs(low) < float("inf") and abs(high) < float("inf")):
            raise ModelError(
                f"Tensor {name!r} holds values that are not finite numbers on the calibration "
                "inputs. Check the weights and the inputs for NaN."
            )
        flat, many = value.reshape(-1), value.numel() > self.quota
        drawn = (
            torch.randint(len(flat), (self.quota,), generator=self.random)
            if many
            else torch.randperm(len(flat), generator=self.random)
        )
        return Observed(flat[drawn].float().cpu(), low, high, len(flat))

    def observed(self, name: str) -> Observed:
        return together(self.kept[name], self.samples)


def together(seen: Sequence[Observed], samples: int = SAMPLES) -> Observed:
    """Return what several tensors hold as one; each gives values by its share of the elements."""
    elements = sum(o.elements for o in seen)
    shares = [-(-samples * o.elements // elements) for o in seen]
    values = torch.cat([o.values[:share] for o, share in zip(seen, shares, strict=True)])
    return Observed(values, min(o.low for o in seen), max(o.high for o in seen), elements)
