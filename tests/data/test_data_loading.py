"""Opening data sets by name or path: what each form leads to, and what leads nowhere."""

from pathlib import Path

import numpy as np
import pytest
import torch

import hwflow as hf
from hwflow.data import load_data
from hwflow.errors import DataError
from hwflow.network import Network
from hwflow.quality.accuracy import evaluate

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT / ".." / "shared" / "data"


@pytest.mark.parametrize("spec", ["nowhere", "nowhere/train", "no such thing.npz", ""])
def test_what_is_not_there_is_named_with_what_is_allowed(
    grey: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"digits, torchvision:NAME|train, val and test") as error:
        load_data(spec, grey)
    assert spec in str(error.value)


def test_a_file_that_is_no_npz_is_refused(grey: Network, tmp_path: Path) -> None:
    path = tmp_path / "images.tar"
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"images\.tar is no \.npz file"):
        load_data(path, grey)


def test_arrays_come_before_folders(grey: Network, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    np.savez(tmp_path / "val.npz", x=np.zeros((3, 8, 8), np.uint8), y=np.arange(3))
    assert load_data(tmp_path, grey).names == ("val",)


def test_a_path_with_a_colon_is_still_a_path(
    grey: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "mine:data.npz", x=np.zeros((30, 8, 8), np.uint8), y=np.arange(30) % 10)
    assert len(load_data("mine:data.npz", grey).train) > 0


def test_load_data_is_part_of_the_package() -> None:
    assert hf.load_data is load_data


def test_the_network_is_left_as_it_was(grey: Network) -> None:
    before = {key: value.clone() for key, value in grey.module.state_dict().items()}
    load_data("digits", grey).calibration(8)
    after = grey.module.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data folder is not there")
def test_the_projects_baseline_has_its_accuracy(tmp_path: Path) -> None:
    import subprocess
    import sys

    script = ROOT / "benchmarks" / "unpack_cifar10_jpeg.py"
    command = [sys.executable, str(script), str(SHARED), str(tmp_path / "cifar")]
    subprocess.run(command, check=True, capture_output=True)
    weights = SHARED / "weights" / "cifar10jpeg_resnet20.safetensors"
    network = hf.load("cifar:resnet20", weights=weights)
    data = load_data(tmp_path / "cifar", network)
    assert [len(data.split(name)) for name in data.names] == [50_000, 2_000, 8_000]
    assert evaluate(network, data.val) == pytest.approx(0.8940, abs=5e-4)
    assert evaluate(network, data.test) == pytest.approx(0.8857, abs=5e-4)
    again = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "unpacked already" in again.stdout


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data folder is not there")
def test_unpacking_into_a_git_checkout_is_refused(tmp_path: Path) -> None:
    import subprocess
    import sys

    (tmp_path / ".git").mkdir()
    script = ROOT / "benchmarks" / "unpack_cifar10_jpeg.py"
    command = [sys.executable, str(script), str(SHARED), str(tmp_path / "a" / "b")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "inside the git checkout" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [".git"]
