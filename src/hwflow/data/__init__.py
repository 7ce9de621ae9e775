"""Data sets: read from ordinary formats, preprocessed once, with splits."""

from hwflow.data.loading import load_data
from hwflow.data.split import Data, Split, Stream

__all__ = ["Data", "Split", "Stream", "load_data"]
