"""What an edit owes: two faces that agree, and a network that runs, trains and stands alone."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from hwflow.design import Design
from hwflow.machine import Accelerator, load_machine
from hwflow.network import Network
from hwflow.space import Edit, Plan, Space
from hwflow.testing.check import require
from hwflow.workload import Workload

if TYPE_CHECKING:
    from torch import Tensor, nn


def check_edit(
    edit: Edit | Space,
    network: Network,
    on: Accelerator | str = "eyeriss",
    *,
    plans: int = 3,
    seed: int = 0,
) -> None:
    """Check an edit, or a space by its default, its uniform and some random plans, on a network.

    - The square: the workload read from the edited network is the one the paper face gives.
    - The network is left as it was, and shares no parameter or buffer with the edited one.
    - The edited network runs on one and on two images, gives finite numbers, and the same ones when
      the edit is made again.
    - In train mode a gradient reaches a parameter.

    A network without calibration inputs is calibrated on its own example: enough to check an edit,
    not to use it. Raises CheckError.
    """
    machine = load_machine(on) if isinstance(on, str) else on
    if network.calibration is None:
        network = network.calibrated(network.example)
    if not isinstance(edit, Space):
        _check_one(str(edit), edit.on_paper, edit.in_network, network, machine)
        return
    for plan in _some_plans(edit, plans, seed):
        _check_one(
            f"Plan {plan}",
            lambda design, plan=plan: edit.on_paper(plan, design),  # type: ignore[misc]
            lambda start, plan=plan: edit.apply(plan, start),  # type: ignore[misc]
            network,
            machine,
        )


def _some_plans(space: Space, count: int, seed: int) -> list[Plan]:
    rng = random.Random(seed)
    drawn = [space.sample(rng) for _ in range(count)]
    return list(dict.fromkeys([space.default, *space.uniform(), *drawn]))


def _check_one(
    name: str,
    on_paper: Callable[[Design], Design],
    in_network: Callable[[Network], Network],
    network: Network,
    machine: Accelerator,
) -> None:
    from hwflow.extract import extract

    before = copy.deepcopy(network.module)
    paper = on_paper(Design(extract(network), machine)).workload
    edited = in_network(network)
    _check_untouched(name, before, network.module)
    _check_apart(name, network.module, edited.module)
    found = extract(edited)
    require(found == paper, f"{name}: the two faces disagree.\n{difference(found, paper)}")
    outputs = _check_runs(name, edited)
    again = _check_runs(name, in_network(network))
    same = all((a == b).all() for a, b in zip(outputs, again, strict=True))
    require(same, f"{name}: made a second time, the edited network computes something else.")
    _check_trains(name, edited)


def difference(found: Workload, paper: Workload) -> str:
    """Describe where two workloads first differ, one field a line; "" when they do not."""
    for left, right in zip(found.layers, paper.layers, strict=False):
        if left != right:
            lines = [f"First difference in layer {left.name!r} (network | paper):"]
            return "\n".join(lines + _fields(left, right))
    if len(found) != len(paper):
        longer = found if len(found) > len(paper) else paper
        extra = longer.layers[min(len(found), len(paper))].name
        return f"The network has {len(found)} layers, the paper {len(paper)}: {extra!r} is extra."
    return "\n".join(_fields(found, paper))


def _fields(left: Any, right: Any) -> list[str]:
    compared = [f.name for f in fields(left) if f.compare]
    pairs = [(name, getattr(left, name), getattr(right, name)) for name in compared]
    return [f"  {name}: {a!r} | {b!r}" for name, a, b in pairs if a != b]


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _check_untouched(name: str, before: nn.Module, after: nn.Module) -> None:
    old, new = _tensors(before), _tensors(after)
    require(old.keys() == new.keys(), f"{name}: the original network gained or lost a parameter.")
    for key in old:
        same = old[key].shape == new[key].shape and bool((old[key] == new[key]).all())
        require(same, f"{name}: {key!r} of the original network was changed. Edit a copy.")
    modes = [part.training for part in before.modules()]
    require(
        modes == [part.training for part in after.modules()],
        f"{name}: the original network was switched between training and evaluation.",
    )


def _check_apart(name: str, original: nn.Module, edited: nn.Module) -> None:
    held = {value.data_ptr(): key for key, value in _tensors(original).items() if value.numel()}
    for key, value in _tensors(edited).items():
        shared = held.get(value.data_ptr()) if value.numel() else None
        require(
            shared is None,
            f"{name}: {key!r} of the edited network is {shared!r} of the original: training the "
            "one would change the other. Copy it.",
        )


def _check_runs(name: str, network: Network) -> list[Tensor]:
    """Run the network on one and on two images; return the outputs."""
    import torch

    network.module.eval()
    outputs = []
    for images in (network.example, torch.cat([network.example, network.example])):
        with torch.no_grad():
            output = _first_tensor(network.module(images))
        require(
            bool(torch.isfinite(output).all()),
            f"{name}: on {len(images)} images the edited network gives numbers that are not "
            "finite.",
        )
        outputs.append(output)
    return outputs


def _first_tensor(output: Any) -> Tensor:
    while not hasattr(output, "isfinite"):
        output = next(iter(output.values() if isinstance(output, Mapping) else output))
    found: Tensor = output
    return found


def _check_trains(name: str, network: Network) -> None:
    import torch

    module = network.module.train()
    trained = [p for p in module.parameters() if p.requires_grad]
    images = network.example.repeat(4, *[1] * (network.example.dim() - 1))
    loss = _first_tensor(module(images)).square().sum()
    if loss.requires_grad:
        torch.autograd.backward(loss)
    reached = any(p.grad is not None and bool((p.grad != 0).any()) for p in trained)
    require(reached or not trained, f"{name}: no gradient reaches a parameter in train mode.")
