"""What single changes of a plan do to its loss, as plain data; a JSON file holds it.

:func:`hwflow.quality.sensitivity.sensitivities` measures it. Does not import torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from hwflow.errors import HwflowError
from hwflow.files import whole
from hwflow.space import Plan, Space, Value

Figure = Literal["divergence", "loss", "accuracy"]
"""What a change is told by; the cross-entropy is the loss."""

Row = tuple[float, ...]


@dataclass(frozen=True)
class Spent:
    """Forward work, in layers computed for an image, and in multiplications."""

    evaluations: int
    image_layers: int
    macs: int
    whole_image_layers: int
    """What one whole evaluation of the base plan takes."""
    whole_macs: int
    cpu_s: float = 0.0

    @property
    def whole_evaluations(self) -> float:
        """The work in whole evaluations, by image-layers."""
        return self.image_layers / max(1, self.whole_image_layers)


@dataclass(frozen=True)
class Sensitivity:
    """What single changes of a plan do, by place of the plan and option."""

    base: Plan
    names: tuple[str, ...]
    """Of the choices."""
    options: tuple[tuple[Value, ...], ...]
    divergence: tuple[Row, ...]
    """Rise of the Kullback-Leibler divergence of the answers from the default plan's, nats; 0 at
    the base plan's options. Below 0 only where that is not the default plan."""
    loss: tuple[Row, ...]
    """Rise of the cross-entropy; 0 at the base plan's options, below 0 where a change helps."""
    accuracy: tuple[Row, ...]
    """Rise of the accuracy, so mostly below 0."""
    base_loss: float
    base_accuracy: float
    images: int
    spent: Spent

    def table(self, figure: Figure = "divergence") -> tuple[Row, ...]:
        """Return what each option loses: divergence, rise of the loss, or fall of the accuracy."""
        if figure != "accuracy":
            return self.divergence if figure == "divergence" else self.loss
        return tuple(tuple(-value for value in row) for row in self.accuracy)

    def by_choice(self, figure: Figure = "divergence") -> dict[str, Row]:
        """Return what each option loses by its choice's name, as `MILP(losses=...)` takes it."""
        return dict(zip(self.names, self.table(figure), strict=True))

    def ranking(self) -> list[tuple[str, Value, float]]:
        """Return each choice with its worst option and the divergence of that, worst first."""
        found = []
        for name, options, row in zip(self.names, self.options, self.divergence, strict=True):
            worst = max(range(len(row)), key=row.__getitem__)
            found.append((name, options[worst], row[worst]))
        return sorted(found, key=lambda entry: -entry[2])

    def expected(self, plan: Sequence[int], figure: Figure = "divergence") -> float:
        """Return the sum of what the options of a plan lose."""
        return sum(row[o] for row, o in zip(self.table(figure), plan, strict=True))

    def check(self, space: Space) -> Sensitivity:
        """Return it for a space: zeros for choices of the machine, which change no answer.

        Raises HwflowError when it is of other choices of the network than the space.
        """
        machine = space.of_machine
        varied = {choice.name for choice in machine.choices}
        own = {n: o for n, o in zip(self.names, self.options, strict=True) if n not in varied}
        others = {choice.name: choice.options for choice in space.of_network.choices}
        if list(own.items()) != list(others.items()):
            raise HwflowError(
                f"The sensitivities are of other choices than the space: {_difference(own, others)}"
                ". Measure them for this space, with the same network and bits."
            )
        return self._beside(machine, len(own))

    def _beside(self, machine: Space, own: int) -> Sensitivity:
        """Return its first `own` choices, and behind them zeros for those of a machine."""
        zeros = tuple((0.0,) * len(choice.options) for choice in machine.choices)
        return replace(
            self,
            base=(*self.base[:own], *machine.default),
            names=(*self.names[:own], *(choice.name for choice in machine.choices)),
            options=(*self.options[:own], *(choice.options for choice in machine.choices)),
            divergence=(*self.divergence[:own], *zeros),
            loss=(*self.loss[:own], *zeros),
            accuracy=(*self.accuracy[:own], *zeros),
        )

    def write(self, path: Path | str) -> None:
        """Write a JSON file that :meth:`read` reads, in one step."""
        write_json(Path(path), {"sensitivity": asdict(self)})

    @classmethod
    def read(cls, path: Path | str) -> Sensitivity:
        """Read a file of :meth:`write` or of a finished measurement.

        Raises HwflowError when the file is neither.
        """
        held = read_json(Path(path)).get("sensitivity")
        if held is None:
            raise HwflowError(
                f"{path} holds no finished sensitivities. Give the command that began it again: "
                "it goes on where it stopped."
            )
        try:
            found = {key: _tuples(value) for key, value in held.items() if key != "spent"}
            return cls(**found, spent=Spent(**held["spent"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise HwflowError(f"{path} holds no sensitivities: {error}.") from error


def _difference(own: Mapping[str, object], others: Mapping[str, object]) -> str:
    """Say in which choice two spaces differ."""
    for name, options in own.items():
        if others.get(name, options) != options:
            return f"{name!r} has {options} there and {others[name]} here"
    lacking = next((name for name in own if name not in others), None)
    if lacking:
        return f"{lacking!r} is no choice here"
    more = next((name for name in others if name not in own), None)
    return f"{more!r} is no choice there" if more else "their order differs"


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write JSON, replacing the file in one step; its folder is made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        part.write_text(json.dumps(data))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; HwflowError when the file cannot be read or holds none."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no JSON"
        raise HwflowError(
            f"Cannot read the sensitivities in {path}: {why}. Give a file that "
            "`hwflow sensitivity NET --quantize --data DATA --out FILE` wrote."
        ) from error
    if not isinstance(found, dict):
        raise HwflowError(f"{path} holds no sensitivities. Give a file that was written by them.")
    return found
