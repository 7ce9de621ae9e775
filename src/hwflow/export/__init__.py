"""Write a network as an ONNX file, checked on the runtime that it is meant for."""
