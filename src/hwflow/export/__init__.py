"""Write a network as an ONNX file, checked on the runtime that it is meant for."""

from hwflow.export.onnx_file import to_onnx
from hwflow.export.qonnx import to_qonnx
from hwflow.export.verify import ExportReport

__all__ = ["ExportReport", "to_onnx", "to_qonnx"]
