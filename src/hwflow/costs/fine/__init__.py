"""The fine level: an exact accelerator model. `Fine` is its cost model."""

from hwflow.costs.fine.level import Fine, LayerReport

__all__ = ["Fine", "LayerReport"]
