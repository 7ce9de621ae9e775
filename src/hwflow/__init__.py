"""hwflow: from a trained CNN and a machine to the family of cheaper networks it really runs faster.

    import hwflow as hf

    net = hf.load("cifar:resnet20", weights="resnet20.safetensors")
    data = hf.load_data("cifar/", net)
    space = hf.quantize(net.calibrated(data.calibration()), bits=(2, 4, 8))
    job = hf.Problem(space, on="eyeriss", cost=hf.Mid(), below=hf.Limits(latency_s=4e-3))
    front = hf.search(job, hf.Accuracy(data.val), hf.NSGA2(), out="runs/r20", evaluations=300)
    hf.to_onnx(front.pick("most accurate").build(), "r20.onnx", inputs=data.test.inputs[:1000])

Names are loaded when they are first used, so that ``import hwflow`` does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "Accelerator": "machine",
    "Accuracy": "quality.accuracy",
    "Choice": "space",
    "Coarse": "costs.coarse",
    "Cost": "cost",
    "DDPG": "solvers.ddpg",
    "Design": "design",
    "Exhaustive": "solvers.exhaustive",
    "Fine": "costs.fine",
    "Front": "front",
    "Greedy": "solvers.greedy",
    "HwflowError": "errors",
    "Layer": "workload",
    "Limits": "cost",
    "MILP": "solvers.milp",
    "Mid": "costs.mid",
    "NSGA2": "solvers.nsga2",
    "Network": "network",
    "Preprocess": "network",
    "Problem": "problem",
    "Random": "solvers.random",
    "Space": "space",
    "Study": "study",
    "Trial": "front",
    "Uniform": "solvers.uniform",
    "Workload": "workload",
    "finetune": "edits.finetune",
    "fuse": "edits.fuse",
    "integer_network": "integer",
    "load": "models",
    "load_data": "data",
    "load_machine": "machine",
    "machine_names": "machine",
    "prune": "edits.prune",
    "quantize": "edits.quantize",
    "replace": "edits.replace",
    "resize": "edits.resize",
    "search": "loop",
    "to_onnx": "export",
    "to_qonnx": "export",
}

__all__ = [
    "DDPG",
    "MILP",
    "NSGA2",
    "Accelerator",
    "Accuracy",
    "Choice",
    "Coarse",
    "Cost",
    "Design",
    "Exhaustive",
    "Fine",
    "Front",
    "Greedy",
    "HwflowError",
    "Layer",
    "Limits",
    "Mid",
    "Network",
    "Preprocess",
    "Problem",
    "Random",
    "Space",
    "Study",
    "Trial",
    "Uniform",
    "Workload",
    "__version__",
    "finetune",
    "fuse",
    "integer_network",
    "load",
    "load_data",
    "load_machine",
    "machine_names",
    "prune",
    "quantize",
    "replace",
    "resize",
    "search",
    "to_onnx",
    "to_qonnx",
]

if TYPE_CHECKING:
    from hwflow.cost import Cost, Limits
    from hwflow.costs.coarse import Coarse
    from hwflow.costs.fine import Fine
    from hwflow.costs.mid import Mid
    from hwflow.data import load_data
    from hwflow.design import Design
    from hwflow.edits.finetune import finetune
    from hwflow.edits.fuse import fuse
    from hwflow.edits.prune import prune
    from hwflow.edits.quantize import quantize
    from hwflow.edits.replace import replace
    from hwflow.edits.resize import resize
    from hwflow.errors import HwflowError
    from hwflow.export import to_onnx, to_qonnx
    from hwflow.front import Front, Trial
    from hwflow.integer import integer_network
    from hwflow.loop import search
    from hwflow.machine import Accelerator, load_machine, machine_names
    from hwflow.models import load
    from hwflow.network import Network, Preprocess
    from hwflow.problem import Problem
    from hwflow.quality.accuracy import Accuracy
    from hwflow.solvers.ddpg import DDPG
    from hwflow.solvers.exhaustive import Exhaustive
    from hwflow.solvers.greedy import Greedy
    from hwflow.solvers.milp import MILP
    from hwflow.solvers.nsga2 import NSGA2
    from hwflow.solvers.random import Random
    from hwflow.solvers.uniform import Uniform
    from hwflow.space import Choice, Space
    from hwflow.study import Study
    from hwflow.workload import Layer, Workload


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'hwflow' has no attribute {name!r}")
    return getattr(import_module(f"hwflow.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return __all__
