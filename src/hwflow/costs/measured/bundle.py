"""A bundle for a device elsewhere: one ONNX file per layer, a manifest, and a table that returns.

    write_bundle(layers, folder, "torchvision:mobilenet_v2")
    read_bundle(folder / "latencies.csv", folder / "manifest.json", Path("phone.yaml"), "Pixel 6")

The device runs the files with whatever runner it has; the CSV comes back with a line per file.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import yaml

from hwflow.costs.measured.fill import LAUNCH
from hwflow.costs.measured.networks import KEY_VERSION, about, launch, one_layer
from hwflow.costs.measured.operators import UnmeasurableError
from hwflow.errors import MachineError
from hwflow.files import whole
from hwflow.machine.latencies import COLUMNS
from hwflow.workload import Layer

MANIFEST = "manifest.json"
README = "README.md"
TIMES = "latencies.csv"

_HOW = """# One-layer networks of {name}

{count} ONNX files in `layers/`, one for each distinct layer, with random weights; `manifest.json`
says what each is. They wait to be timed on a device, by whatever runner it has:

1. Copy this folder to the device.
2. Run each file some 50 times after a few runs that do not count, always with as many threads as
   the network will have. Take turns between files rather than one after the other, as devices slow
   down when they grow hot. With ONNX Runtime's own tool, for one file:
   `onnxruntime_perf_test -e cpu -x 1 -r 50 layers/FILE.onnx`
   For a runtime that does not read ONNX, convert the files first (TensorFlow Lite, Core ML, ...).
3. Fill in `latencies.csv`: the median in seconds in the column `latency_s`, and the quartiles in
   `low_s` and `high_s` where you have them. Lines that stay empty count as not measured.
4. Back here: `hwflow profile --read latencies.csv --to phone.yaml` makes a machine of it, for
   `hwflow cost NET --on phone.yaml` and `hwflow search NET --on phone.yaml`.
"""


def write_bundle(layers: Mapping[str, Layer], folder: Path, name: str) -> dict[str, str]:
    """Write one-layer networks, given by key, into a new folder.

    Returns why some layers could not be written, by key. Raises MachineError where the folder
    holds something already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise MachineError(f"{folder} holds files already. Give --bundle a new folder.")
    (folder / "layers").mkdir(parents=True)
    files: list[dict[str, Any]] = [{"key": LAUNCH, "file": f"layers/{LAUNCH}.onnx", "layer": {}}]
    onnx.save(launch(), folder / "layers" / f"{LAUNCH}.onnx")
    refused = {}
    for key, layer in layers.items():
        try:
            model = one_layer(layer)
        except UnmeasurableError as error:
            refused[key] = str(error)
            continue
        where = f"layers/{layer.op}-{key[:16]}.onnx"
        onnx.save(model, folder / where)
        files.append({"key": key, "file": where, "layer": about(layer)})
    _write_texts(folder, name, files)
    return refused


def _write_texts(folder: Path, name: str, files: list[dict[str, Any]]) -> None:
    plain = {"version": KEY_VERSION, "network": name, "files": files}
    (folder / MANIFEST).write_text(json.dumps(plain, indent=1, default=str))
    (folder / README).write_text(_HOW.format(name=name, count=len(files)))
    with (folder / TIMES).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", *COLUMNS[1:4]])
        writer.writerows([entry["file"], "", "", ""] for entry in files)


def read_bundle(times: Path, to: Path, manifest: Path | None = None, name: str = "") -> int:
    """Make a machine file, and its table beside it, of times that came back; return their number.

    `times` names layers by `file` (with the manifest beside it) or by `key`. Raises MachineError
    for files that are not in the manifest and where nothing was filled in.
    """
    keys = _keys(manifest or times.with_name(MANIFEST))
    rows = [
        _keyed(times, keys, row) for row in _lines(times) if (row.get("latency_s") or "").strip()
    ]
    if not rows:
        raise MachineError(f"{times} has no times: fill in the column latency_s, in seconds.")
    table = to.with_suffix(".csv")
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(rows)
    plain = {
        "kind": "device", "description": name or f"Latencies of {times.name}",
        "runtime": "elsewhere",
        "runtime_version": "", "processor": name or to.stem, "read_only": True, "table": table.name,
    }  # fmt: skip
    with whole(to) as part:
        part.write_text(yaml.safe_dump(plain, sort_keys=False))
    return len(rows)


def _lines(times: Path) -> list[dict[str, str]]:
    try:
        with times.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MachineError(f"Cannot read the times {times}: {error}.") from error


def _keys(manifest: Path) -> dict[str, str]:
    """Return keys by file; empty without a manifest, as a table may name keys itself."""
    if not manifest.exists():
        return {}
    try:
        plain = json.loads(manifest.read_text())
        found = {Path(e["file"]).name: str(e["key"]) for e in plain["files"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MachineError(f"{manifest} is no manifest of a bundle: {error}.") from error
    if plain.get("version") != KEY_VERSION:
        raise MachineError(
            f"{manifest} was written by another version of hwflow, whose layers go by other keys. "
            "Write the bundle again."
        )
    return found


def _keyed(times: Path, keys: Mapping[str, str], row: dict[str, str]) -> dict[str, str]:
    if row.get("key"):
        return row
    name = Path(row.get("file") or "").name
    if name not in keys:
        raise MachineError(
            f"{times}: the file {row.get('file')!r} is not in the manifest beside it. Keep "
            f"{MANIFEST} in the folder of the times, and the names in the column file."
        )
    return {**row, "key": keys[name]}
