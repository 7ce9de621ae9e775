"""Random layers of every kind, each a network of its own."""

from __future__ import annotations

from hypothesis import strategies as st

from hwflow.workload import Input, Layer, Workload

BITS = st.sampled_from((1, 2, 3, 4, 6, 8, 16, 32))


def one(layer: Layer, shape: tuple[int, ...]) -> Workload:
    return Workload("one", (layer,), (Input("x", shape),), (layer.name,))


def conv(
    outs: int, ins: int, size: int, kernel: int, stride: int = 1, dilation: int = 1,
    groups: int = 1, pad: int = 0, batch: int = 1,
) -> Workload:  # fmt: skip
    out = (size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
    shape = (batch, ins, size, size)
    layer = Layer(
        "conv", "conv", ("x",), (shape,), (batch, outs, out, out), batch=batch, out_channels=outs,
        in_channels=ins, out_size=(out, out), kernel=(kernel, kernel), stride=(stride, stride),
        dilation=(dilation, dilation), padding=(pad,) * 4, groups=groups, input_bits=(32,),
        params=outs * ins // groups * kernel**2,
    )  # fmt: skip
    return one(layer, shape)


@st.composite
def convs(draw: st.DrawFn) -> Workload:
    kernel, dilation = draw(st.sampled_from((1, 3, 5))), draw(st.sampled_from((1, 2)))
    size = draw(st.integers(dilation * (kernel - 1) + 1, 40))
    groups = draw(st.sampled_from((1, 1, 2, 8)))
    outs, ins = (groups * draw(st.integers(1, 70 // groups)) for _ in range(2))
    return conv(
        outs, ins, size, kernel, draw(st.sampled_from((1, 2, 3))), dilation, groups,
        draw(st.integers(0, kernel // 2 * dilation)), draw(st.sampled_from((1, 4))),
    )  # fmt: skip


@st.composite
def others(draw: st.DrawFn) -> Workload:
    kind = draw(st.sampled_from(("linear", "matmul", "conv_transpose", "add")))
    n, k, c, p = (draw(st.integers(1, 60)) for _ in range(4))
    if kind == "linear":
        layer = Layer("linear", kind, ("x",), ((n, p, c),), (n, p, k), batch=n, out_channels=k,
                      in_channels=c, out_size=(p, 1), input_bits=(32,), params=k * c)  # fmt: skip
        return one(layer, (n, p, c))
    if kind == "add":
        return one(Layer("add", "add", ("x",), ((1, c, p, p),), (1, c, p, p), input_bits=(32,)),
                   (1, c, p, p))  # fmt: skip
    if kind == "matmul":
        lots = draw(st.integers(1, 8))
        layer = Layer(
            "matmul", kind, ("x", "y"), ((lots, p, c), (lots, c, k)), (lots, p, k), groups=lots,
            in_channels=lots * c, out_channels=lots * k, out_size=(p, 1), input_bits=(32, 32),
        )  # fmt: skip
        return Workload("one", (layer,), (Input("x", (lots, p, c)), Input("y", (lots, c, k))),
                        ("matmul",))  # fmt: skip
    kernel, stride = draw(st.sampled_from(((2, 2), (4, 2), (3, 2), (3, 1))))
    out = (p - 1) * stride + kernel
    layer = Layer(
        "up", kind, ("x",), ((1, c, p, p),), (1, k, out, out), out_channels=k, in_channels=c,
        out_size=(out, out), kernel=(kernel, kernel), stride=(stride, stride), input_bits=(32,),
        params=k * c * kernel**2,
    )  # fmt: skip
    return one(layer, (1, c, p, p))
