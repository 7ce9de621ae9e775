"""How the parameters of a layer are shared out among its channels."""

from __future__ import annotations

from dataclasses import dataclass

from hwflow.workload import Layer


@dataclass(frozen=True)
class Held:
    """Parameters of a multiplying layer: its weight, some per output channel, some for all."""

    weight: bool
    """Whether the weight is counted here."""
    per_output: int
    """Bias and the factors of a folded norm or activation."""
    once: int

    def count(self, layer: Layer) -> int:
        """Return the parameters of a layer of these dimensions."""
        return self.weight * layer.weights + self.per_output * layer.out_channels + self.once


def per_channel(layer: Layer) -> Held | None:
    """Return how a multiplying layer's parameters are shared out, None when it is not clear."""
    own = layer.params >= layer.weights
    rest = layer.params - own * layer.weights
    slopes = layer.act.count("prelu")
    most = layer.bias + 2 * (layer.norm is not None) + slopes
    found = Held(own, *divmod(rest, layer.out_channels))
    return found if found.per_output <= most and found.once <= slopes else None
