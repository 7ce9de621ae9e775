"""Running an exported file on ONNX Runtime, against the torch module it came from.

Facts measured :
"""
