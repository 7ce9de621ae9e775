"""Measured costs: latencies of layers on a device, and of whole files side by side.

A layer is written as an ONNX network of its own, timed by a runtime and kept in the device's table;
the latency of a network is the sum of its layers', calibrated on whole networks.
"""
