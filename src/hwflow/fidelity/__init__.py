"""Which level is enough here? Coarse and Mid held against Fine on sampled plans of a space."""

from hwflow.fidelity.compare import Fidelity, Row, levels
from hwflow.fidelity.sample import changes, sampled
from hwflow.fidelity.verdict import Verdict, summary, verdicts

__all__ = [
    "Fidelity",
    "Row",
    "Verdict",
    "changes",
    "levels",
    "sampled",
    "summary",
    "verdicts",
]
