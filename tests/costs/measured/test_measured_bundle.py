from __future__ import annotations

import csv
import json

import onnxruntime
import pytest

import hwflow as hf
from hwflow.costs.measured.bundle import MANIFEST, TIMES, read_bundle, write_bundle
from hwflow.costs.measured.fill import keyed
from hwflow.costs.measured.level import Measured
from hwflow.design import Design
from hwflow.errors import MachineError
from hwflow.extract import extract
from hwflow.machine import Device, load_machine


@pytest.fixture(scope="module")
def workload():
    return extract(hf.load("cifar:resnet8", input_shape=(3, 8, 8)))


@pytest.fixture
def bundle(workload, tmp_path):
    assert write_bundle(keyed(workload), tmp_path / "bundle", "resnet8") == {}
    return tmp_path / "bundle"


def fill_in(path, seconds):
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row | {"latency_s": seconds} for row in rows)


def test_times_of_a_bundle_come_back_as_a_machine(bundle, workload, tmp_path):
    fill_in(bundle / TIMES, 0.002)
    count = read_bundle(bundle / TIMES, tmp_path / "phone.yaml", name="a phone")
    assert count == len(keyed(workload)) + 1
    machine = load_machine(tmp_path / "phone.yaml")
    assert isinstance(machine, Device)
    assert not machine.measurable
    cost = Measured().cost(Design(workload, machine))
    counted = sum(layer.op != "reshape" for layer in workload)
    assert cost.latency_s == pytest.approx(0.002 * counted)
    assert machine.digest() == load_machine(tmp_path / "phone.yaml").digest()


def test_every_file_of_the_manifest_runs(bundle):
    files = json.loads((bundle / MANIFEST).read_text())["files"]
    for entry in files[:4]:
        session = onnxruntime.InferenceSession(
            bundle / entry["file"], providers=["CPUExecutionProvider"]
        )
        assert session.get_outputs()
    assert "latencies.csv" in (bundle / "README.md").read_text()


def test_a_folder_that_holds_files_is_left_alone(bundle, workload):
    with pytest.raises(MachineError, match="holds files already"):
        write_bundle(keyed(workload), bundle, "resnet8")


def test_times_that_were_not_filled_in_are_refused(bundle, tmp_path):
    with pytest.raises(MachineError, match="fill in the column latency_s"):
        read_bundle(bundle / TIMES, tmp_path / "phone.yaml")


def test_files_that_are_not_in_the_manifest_are_named(bundle, tmp_path):
    (bundle / TIMES).write_text("file,latency_s\nlayers/other.onnx,0.1\n")
    with pytest.raises(MachineError, match=r"other\.onnx.*not in the manifest"):
        read_bundle(bundle / TIMES, tmp_path / "phone.yaml")


@pytest.mark.parametrize("text", ["-1", "fast", "nan"])
def test_times_that_are_no_seconds_are_named_by_line(bundle, tmp_path, text):
    fill_in(bundle / TIMES, text)
    read_bundle(bundle / TIMES, tmp_path / "phone.yaml")
    with pytest.raises(MachineError, match=r"line 2: latency_s"):
        load_machine(tmp_path / "phone.yaml").digest()


def test_a_table_goes_through_csv(tmp_path, workload):
    from measured_fakes import fake_device, fake_measuring

    from hwflow.costs.measured.fill import fill
    from hwflow.machine.latencies import read_csv

    device = fake_device(tmp_path)
    fill(device, keyed(workload), fake_measuring())
    device.latencies.write_csv(tmp_path / "out.csv")
    assert read_csv(tmp_path / "out.csv") == dict(device.latencies.items())
