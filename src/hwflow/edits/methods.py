"""How grids are found, and what of them is learned when the network is trained further.

====================  =====================================  ====================================
quantiser             weights                                activations
====================  =====================================  ====================================
calibrated            fixed steps, one per output channel    fixed steps
lsq                   steps learned, one per output channel  steps learned
pact                  as calibrated                          half-waves: the level that clips is
                                                             learned; others as calibrated
dorefa                through tanh, 2^b levels, factors      as calibrated
                      fixed, one per output channel
====================  =====================================  ====================================
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, get_args

from hwflow.errors import HwflowError, unknown_name

QuantizerName = Literal["calibrated", "lsq", "pact", "dorefa"]
Calibration = Literal["mse", "kl", "minmax"]
Mend = Literal["none", "statistics"]


@dataclass(frozen=True)
class Method:
    """A quantiser, where its ranges come from, and what is mended afterwards."""

    quantizer: QuantizerName = "calibrated"
    calibration: Calibration = "mse"
    """mse: least squared error. kl: activations by the divergence of histograms, weights by least
    squared error. minmax: the whole range."""
    mend: Mend = "none"
    """statistics: every channel gets mean and variance of the network before."""
    faithful: bool = False
    """DoReFa as published: one range per layer, weights in [-1, 1], activations clipped to [0, 1].
    """

    def __post_init__(self) -> None:
        for name, kind in (
            ("quantizer", QuantizerName), ("calibration", Calibration), ("mend", Mend),
        ):  # fmt: skip
            if getattr(self, name) not in get_args(kind):
                raise HwflowError(unknown_name(name, str(getattr(self, name)), get_args(kind)))
        if self.faithful and self.quantizer != "dorefa":
            raise HwflowError(
                f"faithful is about DoReFa's ranges; the quantizer is {self.quantizer!r}. "
                'Leave it out, or take quantizer="dorefa".'
            )

    def digest(self) -> str:
        """Return the SHA-256 of the settings: a study must not mix them."""
        return hashlib.sha256(repr(self).encode()).hexdigest()

    @property
    def fits(self) -> bool:
        """Whether weights are fitted by least squared error, and do not take the whole range."""
        return self.calibration != "minmax"
