"""Every figure of a published system, from one command: ``hwflow reproduce NAME``.

A reproduction is a list of stages. Each writes one JSON file into the output folder when it is
done and is skipped when that file is there, so a reproduction can be stopped and started.
"""

from hwflow.reproduce.stages import Settings, Stage, run, stages_of

__all__ = ["Settings", "Stage", "run", "stages_of"]
