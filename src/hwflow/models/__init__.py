"""Networks by name: ours, torchvision's, timm's and the user's own."""

from hwflow.models.loading import load, model_names

__all__ = ["load", "model_names"]
