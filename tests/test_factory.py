"""What a user names as package.module:function."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwflow.errors import DataError, ModelError
from hwflow.factory import find_factory, is_factory


# "a.py:f" could be the module py of a package a
@pytest.mark.parametrize("spec", ["a:b", "a.b.c:make_it", "_x1.y:Z", "a.py:f"])
def test_this_is_the_form(spec: str) -> None:
    assert is_factory(spec)


@pytest.mark.parametrize(
    "spec",
    ["a", "a.b", ":b", "a:", "a:b:c", "a/b:c", "a.:b", "a:b.c", "1a:b", "a b:c", "", "ü b:f"],
)
def test_this_is_not(spec: str) -> None:
    assert not is_factory(spec)


@given(st.text(max_size=20))
def test_any_text_is_one_or_not(spec: str) -> None:
    assert not is_factory(spec) or spec.count(":") == 1


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with modules in it, forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    for name in ("own_code", "own_package", "own_package.nets", "own_broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "own_code.py").write_text("def make(): return 7\nnumber = 3\ndef _hidden(): pass\n")
    (tmp_path / "own_broken.py").write_text("raise RuntimeError('no licence')\n")
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "nets.py").write_text("def make(): return 8\n")
    return tmp_path


def test_modules_of_the_current_folder_are_found(here: Path) -> None:
    assert find_factory("own_code:make", ModelError)() == 7
    assert find_factory("own_package.nets:make", ModelError)() == 8


def test_installed_modules_are_found(here: Path) -> None:
    assert find_factory("os.path:basename", ModelError)("a/b") == "b"


def test_the_search_path_is_as_before(here: Path) -> None:
    before = list(sys.path)
    find_factory("own_code:make", ModelError)
    with pytest.raises(ModelError):
        find_factory("nowhere_at_all:make", ModelError)
    assert sys.path == before


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("nowhere_at_all:make", "No module named 'nowhere_at_all'"),
        ("own_broken:make", "RuntimeError: no licence"),
        ("own_code:maker", "Did you mean 'make'"),
        ("own_code:number", "Unknown function of own_code 'number'"),
    ],
)
def test_what_is_wrong_is_said_in_the_callers_error(here: Path, spec: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        find_factory(spec, DataError)
