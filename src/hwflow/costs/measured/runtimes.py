"""Runtimes that measure: each turns a network into something to be called again and again.

Threads are pinned to a number; inputs and outputs are bound once, so that a call is the network
and little else. Everything but ONNX Runtime on a CPU is untested here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from onnx import ModelProto

from hwflow.costs.measured.timing import Run
from hwflow.errors import HwflowError, unknown_name

Model = ModelProto | Path


class Runtime(Protocol):
    """What can run a network."""

    def loaded(self, model: Model) -> Run:
        """Return a call that runs the network once on random inputs of batch 1 or its own."""
        ...


class OnnxRuntime:
    """ONNX Runtime on one of its execution providers."""

    def __init__(self, provider: str = "CPUExecutionProvider", threads: int = 1) -> None:
        import onnxruntime

        known = onnxruntime.get_available_providers()
        if provider not in known:
            raise HwflowError(
                unknown_name("provider", provider, known, "Install the ONNX Runtime that has it.")
            )
        self._provider, self._threads = provider, threads

    def loaded(self, model: Model) -> Run:
        """Return a call that runs the network once; HwflowError when the runtime refuses it."""
        import onnxruntime

        given = str(model) if isinstance(model, Path) else model.SerializeToString()
        try:
            session = onnxruntime.InferenceSession(
                given, self._options(onnxruntime), providers=[self._provider]
            )
            return self._bound(session, onnxruntime)
        except Exception as error:  # the runtime's errors have no base class of their own
            where = model.name if isinstance(model, Path) else model.graph.name
            raise HwflowError(f"ONNX Runtime cannot run {where}: {error}") from error

    def _options(self, onnxruntime: Any) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what fails is raised
        return options

    def _bound(self, session: Any, onnxruntime: Any) -> Run:
        binding = session.io_binding()
        for given in session.get_inputs():
            shape = [n if isinstance(n, int) else 1 for n in given.shape]
            binding.bind_cpu_input(given.name, sample_input(shape, given.type))
        session.run_with_iobinding(self._to_outputs(binding, session))
        outputs = binding.get_outputs()
        for known, value in zip(session.get_outputs(), outputs, strict=True):
            binding.bind_ortvalue_output(known.name, value)
        return lambda: session.run_with_iobinding(binding)

    @staticmethod
    def _to_outputs(binding: Any, session: Any) -> Any:
        for made in session.get_outputs():
            binding.bind_output(made.name)
        return binding


_TYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8,
          "tensor(int64)": np.int64, "tensor(float16)": np.float16}  # fmt: skip


def sample_input(shape: list[int], kind: str) -> Any:
    """Return random numbers of a shape and of a type as ONNX Runtime names it."""
    if kind not in _TYPES:
        raise HwflowError(f"An input of the type {kind} cannot be made up. Known: {list(_TYPES)}.")
    random = np.random.default_rng(0)
    if np.issubdtype(_TYPES[kind], np.integer):
        return random.integers(0, 127, shape).astype(_TYPES[kind])
    return random.normal(size=shape).astype(_TYPES[kind])


class OpenVino:
    """OpenVINO on a CPU, where the package openvino is installed."""

    def __init__(self, provider: str = "CPU", threads: int = 1) -> None:
        try:
            import openvino
        except ImportError:
            raise HwflowError(
                "The runtime openvino is not installed: pip install openvino."
            ) from None
        self._core = openvino.Core()
        self._settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
        self._device = "CPU" if provider == "CPUExecutionProvider" else provider

    def loaded(self, model: Model) -> Run:
        """Return a call that runs the network once."""
        given = model if isinstance(model, Path) else model.SerializeToString()
        compiled = self._core.compile_model(
            self._core.read_model(given), self._device, self._settings
        )
        request = compiled.create_infer_request()
        feeds = {
            port.any_name: sample_input(
                [d.get_length() if d.is_static else 1 for d in port.partial_shape],
                "tensor(float)" if "f32" in str(port.element_type) else "tensor(uint8)",
            )
            for port in compiled.inputs
        }
        return lambda: request.infer(feeds)


RUNTIMES: Mapping[str, Callable[[str, int], Runtime]] = {
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
}
"""Runtimes by name, made with a provider and a number of threads."""


def runtime(name: str, provider: str, threads: int) -> Runtime:
    """Return a runtime; HwflowError for an unknown one and for one that is not installed."""
    if name not in RUNTIMES:
        raise HwflowError(unknown_name("runtime", name, RUNTIMES))
    return RUNTIMES[name](provider, threads)
