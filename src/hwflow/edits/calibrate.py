"""Scales of quantisers from weights and from observed activations.

A scale is the one whose grid gives the least mean squared error over a list of clipping ranges:
the full range shrunk by factors between 1 and a smallest one, then refined between the neighbours
of the best. Weights of one bit take +-mean|w| (Rastegari et al., XNOR-Net, arXiv 1603.05279), the
minimum in closed form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from hwflow.errors import DataError, ModelError
from hwflow.extract.call import is_quantizer
from hwflow.fake_quantize import fake_quantize, grid

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


def weight_scale(weight: Tensor, bits: int, axis: int) -> Scale:
    """Return the symmetric grid of least squared error, one scale per index of `axis` (-1: one)."""
    rows = weight.detach().float().cpu().reshape(1, -1)
    if axis >= 0:
        rows = weight.detach().float().cpu().movedim(axis, 0).reshape(weight.shape[axis], -1)
    zero = torch.zeros(len(rows), dtype=torch.int32)
    if bits == 1:
        return Scale(_positive(rows.abs().mean(dim=1)), zero, signed=True, axis=axis)
    widest = _positive(rows.abs().amax(dim=1)) / grid(bits, signed=True)[1]

    def make(factor: Tensor) -> Scale:
        return Scale(widest * factor, zero, signed=True, axis=0)

    best = make(_best_factor(rows, bits, make, _SMALLEST_WEIGHT_RANGE))
    return Scale(best.scale, zero, signed=True, axis=axis)


def activation_scale(seen: Observed, bits: int) -> Scale:
    """Return the grid of least squared error: half-wave if no value is below 0, else asymmetric.

    Zero lies on the grid exactly, as padding needs it.
    """
    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    top = grid(bits, signed=False)[1]

    def make(factor: Tensor) -> Scale:
        scale = _positive(factor.reshape(()) * (high - low)) / top
        zero = torch.round(-low * factor.reshape(()) / scale).clamp(0, top)
        return Scale(scale, zero.to(torch.int32), signed=False)

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
    module: fx.GraphModule, nodes: Mapping[str, fx.Node], inputs: Tensor
) -> dict[str, Observed]:
    """Run `inputs` through `module` and return what each named node was seen to hold.

    Values are those of the network without quantisers, and the same ones in every run. Raises
    DataError for an empty set of inputs and ModelError when a tensor holds no finite numbers.
    """
    if len(inputs) == 0:
        raise DataError("There are no calibration inputs. Give at least one, better 100 or more.")
    watch = _Watch(module, nodes, -(-len(inputs) // CHUNK))
    with torch.no_grad():
        for chunk in torch.split(inputs, CHUNK):
            watch.run(chunk)
    return {name: watch.observed(name) for name in nodes}


class _Watch(fx.Interpreter):
    """Runs a graph in floats, past its quantisers, and keeps some values of the watched nodes."""

    def __init__(self, module: fx.GraphModule, nodes: Mapping[str, fx.Node], chunks: int) -> None:
        super().__init__(module)
        self.names: dict[fx.Node, list[str]] = {}
        for name, node in nodes.items():
            self.names.setdefault(node, []).append(name)
        self.quota = -(-SAMPLES // chunks)
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
        return together(self.kept[name])


def together(seen: Sequence[Observed]) -> Observed:
    """Return what several tensors hold as one; each gives values by its share of the elements."""
    elements = sum(o.elements for o in seen)
    shares = [-(-SAMPLES * o.elements // elements) for o in seen]
    values = torch.cat([o.values[:share] for o, share in zip(seen, shares, strict=True)])
    return Observed(values, min(o.low for o in seen), max(o.high for o in seen), elements)
