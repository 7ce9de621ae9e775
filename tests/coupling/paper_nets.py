"""Networks on paper, layer by layer, for tests that need no torch."""

from __future__ import annotations

from dataclasses import replace

from hwflow.workload import Input, Layer, Workload


class Paper:
    """Collects layers over maps of `size` x `size`; every method returns the layer's name."""

    def __init__(self, channels: int = 3, size: int = 4) -> None:
        self.shapes = {"x": (1, channels, size, size)}
        self.layers: list[Layer] = []

    def layer(self, name: str, op: str, *sources: str, shape=None, **fields) -> str:
        """Add a layer; it has the shape of its first input by default."""
        shapes = tuple(self.shapes[source] for source in sources)
        self.shapes[name] = shape or shapes[0]
        attrs = tuple(fields.pop("attrs", {}).items())
        bits = (32,) * len(sources)
        self.layers.append(
            Layer(
                name, op, sources, shapes, self.shapes[name], input_bits=bits, attrs=attrs, **fields
            )
        )
        return name

    def conv(self, name: str, source: str, out: int, *, groups: int = 1, kernel: int = 1, **fields):
        """Add a convolution that keeps the size, with a bias and a folded normalisation."""
        ins, size = self.shapes[source][1], self.shapes[source][2:]
        params = out * (ins // groups) * kernel**2 + 3 * out
        return self.layer(
            name, "conv", source, shape=(1, out, *size), out_channels=out, in_channels=ins,
            out_size=size, kernel=(kernel, kernel), groups=groups, bias=True, norm="batch",
            params=params, **fields,
        )  # fmt: skip

    def linear(self, name: str, source: str, out: int, **fields):
        ins = self.shapes[source][-1]
        return self.layer(
            name, "linear", source, shape=(*self.shapes[source][:-1], out), out_channels=out,
            in_channels=ins, bias=True, params=ins * out + out, **fields,
        )  # fmt: skip

    def add(self, name: str, *sources: str, op: str = "add", **fields) -> str:
        return self.layer(name, op, *sources, **fields)

    def concat(self, name: str, *sources: str) -> str:
        widths = [self.shapes[source][1] for source in sources]
        offsets = tuple(sum(widths[:i]) for i in range(len(widths)))
        shape = (1, sum(widths), *self.shapes[sources[0]][2:])
        return self.layer(
            name, "concat", *sources, shape=shape, attrs={"dim": 1, "offsets": offsets}
        )

    def slice(self, name: str, source: str, start: int, stop: int) -> str:
        shape = (1, stop - start, *self.shapes[source][2:])
        attrs = {"dim": 1, "start": start, "stop": stop, "step": 1}
        return self.layer(name, "slice", source, shape=shape, attrs=attrs)

    def pad(self, name: str, source: str, before: int, after: int, mode: str = "constant") -> str:
        _, channels, *size = self.shapes[source]
        attrs = {"mode": mode, "value": 0, "before": (0, before, 0, 0), "after": (0, after, 0, 0)}
        return self.layer(
            name, "pad", source, shape=(1, before + channels + after, *size), attrs=attrs
        )

    def reshape(self, name: str, source: str, *shape: int) -> str:
        return self.layer(name, "reshape", source, shape=shape)

    def permute(self, name: str, source: str, *dims: int) -> str:
        shape = tuple(self.shapes[source][axis] for axis in dims)
        return self.layer(name, "permute", source, shape=shape, attrs={"dims": dims})

    def workload(self, *outputs: str, loose: int = 0) -> Workload:
        """Return the network; its last layer leaves it by default."""
        leaving = outputs or (self.layers[-1].name,)
        made = Workload("paper", tuple(self.layers), (Input("x", self.shapes["x"]),), leaving)
        return replace(made, loose_params=loose)


def chain() -> Workload:
    """Two convolutions of 4 and 6 channels, and one of 2 that leaves the network."""
    net = Paper()
    net.conv("c", net.conv("b", net.conv("a", "x", 4), 6, kernel=3), 2)
    return net.workload()


def residual() -> Workload:
    """A stem, a block of two convolutions around which the stem is added, and a head."""
    net = Paper()
    stem = net.conv("stem", "x", 4)
    second = net.conv("second", net.conv("first", stem, 6), 4)
    net.conv("head", net.add("add", second, stem), 2)
    return net.workload()


def padded_shortcut() -> Workload:
    """A CIFAR ResNet's option A: the shortcut gets two channels of zeros on either side."""
    net = Paper()
    stem = net.conv("stem", "x", 4)
    wide = net.conv("wide", stem, 8)
    net.conv("head", net.add("add", wide, net.pad("pad", stem, 2, 2)), 2)
    return net.workload()
