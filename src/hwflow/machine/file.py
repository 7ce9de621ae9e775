"""Machine files: finding, reading and merging them, and errors that name the file and the key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from hwflow.errors import MachineError, unknown_name

_PRESETS = Path(__file__).parents[1] / "machines"
_DEVICES = _PRESETS / "devices"
_GROUP = "hwflow.machines"
_SUFFIXES = (".yaml", ".yml")
_UNIONS = ("engine", "mac_energy", "scratchpads")
"""Keys whose `kind` decides what they hold; pydantic adds the kind to the key path."""

_FOREIGN = (
    " An architecture of Timeloop or AccelForge is turned into one by "
    "'hwflow convert FILE --to mine.yaml'."
)

Model = TypeVar("Model", bound=BaseModel)


class UniqueKeys(yaml.SafeLoader):
    """YAML's safe loader, refusing a key that is written twice in one mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping of a node after looking for a key that occurs twice."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} is written twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_MERGE = "tag:yaml.org,2002:merge"


def names() -> list[str]:
    """Return the names of all machines: the presets and those that plug-ins offer."""
    return sorted({*_presets(), *(point.name for point in entry_points(group=_GROUP))})


def device_names() -> list[str]:
    """Return the names of the devices among the presets."""
    return sorted(path.stem for path in _DEVICES.glob("*.yaml"))


def load(name_or_path: str | Path, model: type[Model]) -> Model:
    """Read the machine called `name_or_path`, or in that file, as a `model`."""
    return checked(shown_as(name_or_path), read(name_or_path), model)


def read(name_or_path: str | Path) -> dict[str, Any]:
    """Return the keys of a machine's file, with those of the files that it extends."""
    path = find(name_or_path)
    return {"name": path.stem, **_extended(path, ())}


def shown_as(name_or_path: str | Path) -> str:
    """Return what errors call a machine's file."""
    path = find(name_or_path)
    return path.name if path.parent in (_PRESETS, _DEVICES) else str(name_or_path)


def checked(shown: str, plain: dict[str, Any], model: type[Model]) -> Model:
    """Return plain data as a `model`; a fault is told with the file as `shown` and the key."""
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        raise MachineError(_faults(shown, plain, error)) from None


def find(name_or_path: str | Path) -> Path:
    """Return the file of a machine."""
    text = str(name_or_path)
    if text.endswith(_SUFFIXES):
        return Path(text)
    if text in _presets():
        return _presets()[text]
    if text in device_names():
        return _DEVICES / f"{text}.yaml"
    for point in entry_points(group=_GROUP):
        if point.name == text:
            return _offered(point.name, point.load)
    hint = f"Devices: {', '.join(device_names())}. Or give the path of a .yaml file."
    raise MachineError(unknown_name("machine", text, names(), hint))


def _presets() -> dict[str, Path]:
    return {path.stem: path for path in sorted(_PRESETS.glob("*.yaml"))}


def _offered(name: str, load_point: Any) -> Path:
    try:
        return Path(load_point())
    except Exception as error:
        raise MachineError(
            f"The plug-in of machine {name!r} does not load: {error}. Its entry point in "
            f"{_GROUP} must be the path of a .yaml file."
        ) from error


def _extended(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """Read a file and merge it onto the one it extends."""
    if path.resolve() in above:
        raise MachineError(
            f"{path}: extends: the files extend each other in a circle. One of them must stand on "
            "its own, or extend a preset."
        )
    plain = _read(path)
    base = plain.pop("extends", None)
    if base is None:
        return plain
    if not isinstance(base, str):
        raise MachineError(f"{path}: extends: {base!r} is neither a machine nor a .yaml file.")
    beside = path.parent / base
    try:
        below = beside if base.endswith(_SUFFIXES) else find(base)
    except MachineError as error:
        raise MachineError(f"{path}: extends: {error}") from None
    inherited = _extended(below, (*above, path.resolve()))
    merged: dict[str, Any] = _merge({**inherited, "name": path.stem}, plain)
    return merged


def _read(path: Path) -> dict[str, Any]:
    try:
        plain = UniqueKeys(path.read_text(encoding="utf-8")).get_single_data()
    except FileNotFoundError:
        raise MachineError(
            f"There is no machine file {path}. Known machines: {', '.join(names())}."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise MachineError(f"Cannot read the machine file {path}: {error}.") from error
    except yaml.YAMLError as error:
        hint = _FOREIGN if "constructor for the tag" in str(error) else ""
        raise MachineError(
            f"{path}{_line(error)} is not valid YAML: {_problem(error)}.{hint}"
        ) from error
    if isinstance(plain, dict) and {"architecture", "arch"} & set(plain):
        raise MachineError(f"{path} is no machine file of hwflow.{_FOREIGN}")
    if not isinstance(plain, dict):
        raise MachineError(
            f"{path} holds no machine: it must have keys such as clock, engine and memory. "
            "A file of two lines can start from a preset: 'extends: eyeriss'."
        )
    return plain


def _line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f", line {mark.line + 1}," if mark else ""


def _problem(error: yaml.YAMLError) -> str:
    return str(getattr(error, "problem", None) or error)


def _merge(base: Any, change: Any) -> Any:
    """Return `base` with `change` laid over it.

    Mappings merge by key and lists of named entries by name; a figure, or an entry of another
    kind, is replaced as a whole.
    """
    if isinstance(base, dict) and isinstance(change, dict):
        if "value" in change or change.get("kind", base.get("kind")) != base.get("kind"):
            return change
        return {**base, **{key: _merge(base.get(key), new) for key, new in change.items()}}
    if _named(base) and _named(change):
        old = {entry["name"]: entry for entry in base}
        new = {entry["name"]: _merge(old.get(entry["name"]), entry) for entry in change}
        return list({**old, **new}.values())
    return change


def _named(entries: Any) -> bool:
    """Tell whether a list's entries have names of their own; of equal ones none may be dropped."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return False
    found = [entry.get("name") for entry in entries]
    return all(isinstance(name, str) for name in found) and len(set(found)) == len(found)


def _faults(shown: str, plain: Mapping[str, Any], error: ValidationError) -> str:
    """Write every fault as "file: key.path: what is wrong", the first five of them."""
    found = error.errors(include_url=False)
    lines = [f"{shown}: {_key(plain, fault['loc'])}{_fault(fault)}" for fault in found[:5]]
    return "\n".join(lines + ([f"... and {len(found) - 5} more."] if len(found) > 5 else []))


def _fault(fault: Mapping[str, Any]) -> str:
    context = fault.get("ctx", {})
    if "error" in context:
        return str(context["error"])
    if fault["type"] == "missing":
        return "This key is missing."
    if fault["type"] == "union_tag_invalid":
        kinds = re.findall(r"'([^']*)'", context["expected_tags"])
        return unknown_name("kind", str(context["tag"]), kinds)
    if fault["type"] == "union_tag_not_found":
        return "The key 'kind' is missing."
    return f"{fault['msg']} (got {fault['input']!r})."


def _key(plain: Any, location: tuple[Any, ...]) -> str:
    """Return "key.path: " as the file has it: levels by name, without the kinds of unions."""
    keys: list[str] = []
    for index, item in enumerate(location):
        if index and location[index - 1] in _UNIONS:
            continue
        try:
            plain = plain[item]
        except (KeyError, IndexError, TypeError):
            plain = None
        name = plain.get("name") if isinstance(item, int) and isinstance(plain, dict) else None
        keys.append(str(name or item))
    return ".".join(keys) + ": " if keys else ""
