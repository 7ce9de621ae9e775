"""Checks for plug-in writers, and for hwflow's own parts: what an edit, a cost model, a solver owe.

Each check raises :class:`CheckError`, an AssertionError whose text says what is not as promised and
where, so that one line in a test suite is enough::

    from hwflow.testing import check_edit

    def test_my_edit_keeps_its_promises():
        check_edit(MyEdit(), network)
"""

from hwflow.testing.check import CheckError
from hwflow.testing.cost_models import check_cost_model
from hwflow.testing.edits import check_edit, difference
from hwflow.testing.solvers import check_solver
from hwflow.testing.toy import toy_problem, toy_workload

__all__ = [
    "CheckError", "check_cost_model", "check_edit", "check_solver", "difference", "toy_problem",
    "toy_workload",
]  # fmt: skip
