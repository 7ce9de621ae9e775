"""What a study's trials were made with, as plain data: a change of it would mix unlike trials."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, version
from platform import python_version_tuple
from typing import TYPE_CHECKING, Any

from hwflow import __version__
from hwflow.network import Network
from hwflow.problem import Problem
from hwflow.space import Part
from hwflow.workload import Workload

if TYPE_CHECKING:
    from hwflow.quality import Quality
    from hwflow.solvers import Solver


def run_settings(
    problem: Problem, quality: Quality, solver: Solver, seed: int, threads: int
) -> dict[str, Any]:
    """Return everything that decides what the trials of a run are, except its budget."""
    space = problem.space
    return {
        "seed": seed,
        "solver": {"name": solver.name, **solver.settings()},
        "objectives": list(problem.objectives),
        "limits": dict(problem.below.items()),
        "machine": {"name": problem.machine.name, "digest": problem.machine.digest()},
        "cost": {"level": problem.cost.level, "digest": problem.cost.digest()},
        "quality": {"name": quality.name, "digest": quality.digest()},
        "workload": workload_digest(space.workload),
        "network": network_digest(space.network) if space.network else None,
        "edits": [_described(part) for part in space.parts],
        "space": space.describe(),
        "threads": threads,
        "versions": versions(),
    }


def _described(part: Part) -> str:
    """Return the kind of a part, with its digest where its options alone do not say what it does.

    Which channels a pruning plan keeps is the ranking's doing, for one.
    """
    digest = getattr(part, "digest", None)
    return part.kind if digest is None else f"{part.kind} {digest()}"


def workload_digest(workload: Workload) -> str:
    """Return the SHA-256 of a workload; its name does not count."""
    return workload.digest()


def network_digest(network: Network) -> str:
    """Return the SHA-256 of a network's parameters, buffers and calibration inputs."""
    import torch

    tensors = dict(network.module.state_dict())
    if network.calibration is not None:
        tensors["calibration inputs"] = network.calibration
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy())
    return digest.hexdigest()


def versions() -> dict[str, str | None]:
    """Return the versions of what computes the trials; None for what is not installed."""
    found: dict[str, str | None] = {"hwflow": __version__}
    for name in ("torch", "numpy", "pymoo"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    found["python"] = ".".join(python_version_tuple()[:2])
    return found
