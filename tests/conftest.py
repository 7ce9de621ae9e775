"""Shared by all tests: one thread, repeatable examples, and the toy problem as fixtures."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the runner starts as many processes as cores

import pytest
from hypothesis import settings
from toy import ToyQuality, toy_problem

from hwflow.problem import Problem

settings.register_profile("repeatable", derandomize=True)
settings.register_profile("explore", derandomize=False)  # pytest --hypothesis-profile=explore
settings.load_profile("repeatable")


@pytest.fixture
def problem() -> Problem:
    """Six layers in a chain, 2, 4 or 8 bits of weights and activations each."""
    return toy_problem()


@pytest.fixture
def quality() -> ToyQuality:
    """Accuracy as a formula of the bits."""
    return ToyQuality()
