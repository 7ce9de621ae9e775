"""Studies: run folders in which no trial is lost or paid for twice."""

from hwflow.study.file import STUDY_FILE
from hwflow.study.journal import UNNUMBERED, Study, trial_seed, write_csv

__all__ = ["STUDY_FILE", "UNNUMBERED", "Study", "trial_seed", "write_csv"]
