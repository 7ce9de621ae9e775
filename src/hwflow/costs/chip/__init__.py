"""Row-stationary processing as the Eyeriss chip does it, checked against the chip itself.

    chip = Chip.of(load_machine("eyeriss"))
    replay(layer, Passes(64, 4, 13, 16, 3, 2, 2), chip, density=0.207).processing_s
    search(layer, chip, "latency").passes

See ``docs/eyeriss.md`` for the comparison with silicon and for what is fitted.
"""

from hwflow.costs.chip.closed_form import row_stationary_cycles
from hwflow.costs.chip.hardware import EYERISS, Chip, Fitted
from hwflow.costs.chip.legality import Limit, MappingError, check, limits
from hwflow.costs.chip.passes import Passes
from hwflow.costs.chip.replay import ChipCost, replay
from hwflow.costs.chip.search import Found, Objective, search
from hwflow.costs.chip.shape import Shape

__all__ = [
    "EYERISS", "Chip", "ChipCost", "Fitted", "Found", "Limit", "MappingError", "Objective",
    "Passes", "Shape", "check", "limits", "replay", "row_stationary_cycles", "search",
]  # fmt: skip
