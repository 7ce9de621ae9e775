"""Workloads drawn by hand: ResNets for golden figures and random networks for properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as st

from hwflow.cost import Bits
from hwflow.workload import Input, Layer, Workload


@dataclass
class Sketch:
    """A network under construction; every method returns the name of the new tensor."""

    shape: tuple[int, ...]
    layers: list[Layer] = field(default_factory=list)

    def shape_of(self, name: str) -> tuple[int, ...]:
        return next((la.out_shape for la in self.layers if la.name == name), self.shape)

    def add(self, name: str, op: str, sources: tuple[str, ...], out: tuple[int, ...], **more: Any):
        shapes = tuple(self.shape_of(source) for source in sources)
        bits = (32,) * len(sources)
        self.layers.append(Layer(name, op, sources, shapes, out, input_bits=bits, **more))
        return name

    def conv(
        self, name: str, source: str, outs: int, kernel: int, stride: int = 1, groups: int = 1,
        pad: int | None = None, dilation: int = 1, norm: bool = True, op: str = "conv",
    ) -> str:  # fmt: skip
        batch, ins, *size = self.shape_of(source)
        before = dilation * (kernel - 1) // 2 if pad is None else pad
        out = tuple((s + 2 * before - dilation * (kernel - 1) - 1) // stride + 1 for s in size)
        weights = outs * (ins // groups) * kernel**2
        return self.add(
            name, op, (source,), (batch, outs, *out), batch=batch, out_channels=outs,
            in_channels=ins, out_size=out, kernel=(kernel, kernel), stride=(stride, stride),
            dilation=(dilation, dilation), padding=(before,) * 4, groups=groups,
            norm="batch" if norm else None, params=weights + (2 * outs if norm else 0),
        )  # fmt: skip

    def same(self, name: str, op: str, *sources: str) -> str:
        return self.add(name, op, sources, self.shape_of(sources[0]))

    def pool(self, name: str, op: str, source: str, size: int) -> str:
        return self.add(name, op, (source,), (*self.shape_of(source)[:2], size, size))

    def flat(self, name: str, source: str) -> str:
        batch, *rest = self.shape_of(source)
        return self.add(name, "reshape", (source,), (batch, prod(rest)))

    def linear(self, name: str, source: str, outs: int) -> str:
        batch, ins = self.shape_of(source)
        return self.add(
            name, "linear", (source,), (batch, outs), batch=batch, out_channels=outs,
            in_channels=ins, bias=True, params=outs * ins + outs,
        )  # fmt: skip

    def done(self, name: str, *outputs: str) -> Workload:
        inputs = (Input("x", self.shape),)
        return Workload(name, tuple(self.layers), inputs, outputs or (self.layers[-1].name,))


def resnet_cifar(blocks: int = 3) -> Workload:
    """ResNet-(6 blocks + 2) with option A shortcuts (slice and pad)."""
    net = Sketch((1, 3, 32, 32))
    top = net.conv("conv1", "x", 16, 3)
    for stage, width in enumerate((16, 32, 64), 1):
        for block in range(blocks):
            stride = 2 if stage > 1 and block == 0 else 1
            here = f"layer{stage}.{block}"
            body = net.conv(f"{here}.conv1", top, width, 3, stride)
            body = net.conv(f"{here}.conv2", body, width, 3)
            if stride == 2:
                _, ins, high, wide = net.shape_of(top)
                top = net.add(f"{here}.slice", "slice", (top,), (1, ins, high // 2, wide // 2))
                top = net.add(f"{here}.pad", "pad", (top,), net.shape_of(body))
            top = net.same(f"{here}.add", "add", body, top)
    top = net.flat("flat", net.pool("avgpool", "avg_pool", top, 1))
    net.linear("fc", top, 10)
    return net.done(f"resnet{6 * blocks + 2}")


def resnet50() -> Workload:
    """ResNet-50 as torchvision has it."""
    net = Sketch((1, 3, 224, 224))
    top = net.pool("maxpool", "max_pool", net.conv("conv1", "x", 64, 7, 2), 56)
    for stage, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), 1):
        for block in range(blocks):
            stride = 2 if stage > 1 and block == 0 else 1
            here = f"layer{stage}.{block}"
            body = net.conv(f"{here}.conv1", top, width, 1)
            body = net.conv(f"{here}.conv2", body, width, 3, stride)
            body = net.conv(f"{here}.conv3", body, 4 * width, 1)
            if block == 0:
                top = net.conv(f"{here}.downsample.0", top, 4 * width, 1, stride)
            top = net.same(f"{here}.add", "add", body, top)
    net.linear("fc", net.flat("flatten", net.pool("avgpool", "avg_pool", top, 1)), 1000)
    return net.done("resnet50")


def matmul() -> Workload:
    """Two products of activations: 4 heads, 6 tokens, depth 8."""
    net = Sketch((4, 6, 8))
    same = {"out_channels": 4 * 8, "in_channels": 4 * 8, "out_size": (6, 1), "groups": 4}
    q = net.add("q", "linear", ("x",), (4, 6, 8), out_channels=8, in_channels=8, params=64,
                out_size=(24, 1))  # fmt: skip
    k = net.add("k", "permute", ("x",), (4, 8, 6))
    scores = net.add("scores", "matmul", (q, k), (4, 6, 6), **{**same, "out_channels": 4 * 6})
    soft = net.same("softmax", "softmax", scores)
    net.add("mix", "matmul", (soft, "x"), (4, 6, 8), **{**same, "in_channels": 4 * 6})
    return net.done("attention")


def random_bits(workload: Workload, rows: int, seed: int = 0, choices: Sequence[int] = ()) -> Bits:
    rng = np.random.default_rng(seed)
    options = choices or (*range(1, 17), 32)
    layers, tensors = len(workload), len(workload) + len(workload.inputs)
    return Bits(rng.choice(options, (rows, layers)), rng.choice(options, (rows, tensors)))


@st.composite
def networks(draw: st.DrawFn, most: int = 7) -> Workload:
    """Random networks: any layer reads any earlier tensor of the right shape."""
    net = Sketch((1, draw(st.sampled_from((2, 4))), 8, 8))
    tensors = ["x"]
    for index in range(draw(st.integers(1, most))):
        source = draw(st.sampled_from(tensors))
        channels = net.shape_of(source)[1]
        name = f"n{index}"
        op = draw(st.sampled_from(("conv", "depthwise", "add", "slice", "unknown", "concat")))
        if op == "conv":
            kernel, stride = draw(st.sampled_from(((1, 1), (3, 1), (1, 2), (3, 2), (5, 3))))
            net.conv(name, source, draw(st.sampled_from((2, 4))), kernel, stride)
        elif op == "depthwise":
            net.conv(name, source, channels, 3, groups=channels, norm=False)
        elif op == "concat":
            batch, _, *size = net.shape_of(source)
            net.add(name, op, (source, source), (batch, 2 * channels, *size))
        elif op == "slice":
            batch, _, *size = net.shape_of(source)
            net.add(name, op, (source,), (batch, max(1, channels // 2), *size))
        elif op == "add":
            alike = [t for t in tensors if net.shape_of(t) == net.shape_of(source)]
            net.same(name, op, source, draw(st.sampled_from(alike)))
        else:
            net.same(name, op, source)
        tensors.append(name)
    outputs = draw(st.sets(st.sampled_from(tensors[1:]), max_size=2))
    return net.done("random", *sorted(outputs | {tensors[-1]}))
