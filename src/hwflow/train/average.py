"""A moving average of the weights, which often generalises better than the last ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hwflow.errors import HwflowError


class Average:
    """Exponential moving average of a module's parameters and buffers.

    average <- d average + (1 - d) value, d = min(decay, (1 + n) / (10 + n)) after n steps, so that
    short runs are not held back by where they began. Counters are copied.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise HwflowError(f"ema is the share kept with each step, in [0, 1), not {decay}.")
        self._module = module
        self._decay = decay
        self.state = {name: value.detach().clone() for name, value in self._own().items()}

    def _own(self) -> dict[str, Tensor]:
        return dict(self._module.state_dict())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the module's values after its `step`-th step."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, value in self._own().items():
            kept = self.state[name]
            if kept.is_floating_point():
                kept.lerp_(value.detach(), 1 - decay)
            else:
                kept.copy_(value)

    @torch.no_grad()
    def write(self) -> None:
        """Give the module the averages."""
        for name, value in self._own().items():
            value.copy_(self.state[name])
