"""Layer-wise distillation: replacement operations trained and scored, site by site.

found = distill(network, sites, options, data.train, "runs/r56")     # resumable
scores = score(network, sites, options, data.val, "runs/r56")        # loss when one is replaced
"""

from hwflow.distill.jobs import Progress
from hwflow.distill.run import Distillate, distill
from hwflow.distill.scores import Scored, Scores, score
from hwflow.distill.tasks import Distilled
from hwflow.quality.fitting import Fitting

__all__ = [
    "Distillate",
    "Distilled",
    "Fitting",
    "Progress",
    "Scored",
    "Scores",
    "distill",
    "score",
]
