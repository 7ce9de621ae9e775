"""The table of named parts."""

from importlib.metadata import EntryPoint

import pytest

from hwflow import plugins
from hwflow.errors import HwflowError


def test_our_own_parts_are_in_the_table() -> None:
    assert {"coarse", "mid"} <= set(plugins.names("costs"))
    assert {"quantize", "fuse"} <= set(plugins.names("edits"))
    assert {"nsga2", "random", "exhaustive"} <= set(plugins.names("solvers"))
    assert "accuracy" in plugins.names("qualities")


@pytest.mark.parametrize("kind", ["costs", "edits", "solvers", "qualities"])
def test_every_own_part_loads(kind: plugins.Kind) -> None:
    for name in plugins.names(kind):
        assert callable(plugins.load(kind, name))


def test_an_unknown_part_names_the_nearest() -> None:
    with pytest.raises(HwflowError, match="Did you mean 'nsga2'"):
        plugins.load("solvers", "nsga")


def test_a_plugin_that_fails_to_load_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("broken", "no_such_package_here:Thing", "hwflow.costs")
    monkeypatch.setattr(plugins, "_points", lambda kind: [broken])
    with pytest.raises(HwflowError, match=r"'broken' of costs \(no_such_package_here:Thing\)"):
        plugins.load("costs", "broken")


def test_a_foreign_part_cannot_take_the_name_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = EntryPoint("mid", "hwflow.costs.mid:Mid", "hwflow.costs")
    theirs = EntryPoint("mid", "json:loads", "hwflow.costs")
    monkeypatch.setattr(plugins, "_points", lambda kind: [theirs, ours])
    assert plugins.load("costs", "mid").__name__ == "Mid"
