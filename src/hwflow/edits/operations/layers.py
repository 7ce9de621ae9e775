"""Layers that the options are made of: convolutions from one size to another, and what follows."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from hwflow.edits.sites import Site

Size = tuple[int, int]
"""Height and width."""

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
    "hardsigmoid": nn.Hardsigmoid,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "mish": nn.Mish,
}
"""By the name in the workload."""


def activation(name: str) -> nn.Module | None:
    """Return an activation by its name in the workload, None for "" and those not known."""
    kind = ACTIVATIONS.get(name)
    return kind() if kind else None


def fits_kernel(kernel: int, before: Size) -> bool:
    """Whether each row of a kernel meets the image somewhere, for an image of this size."""
    return kernel <= 2 * min(before) - 1


def conv(
    channels: int,
    outputs: int,
    kernel: int,
    before: Size,
    after: Size,
    groups: int = 1,
    bias: bool = False,
) -> nn.Module:
    """Return a convolution from an image of size `before` to one of size `after`.

    The stride is the ratio of the sizes; zeros are put around, or rows cut off at the end, so that
    the size is met (the usual half of the kernel where that does it).
    """
    axes = [_axis(kernel, *sizes) for sizes in zip(before, after, strict=True)]
    stride = (axes[0][0], axes[1][0])
    (top, bottom), (left, right) = (axis[1] for axis in axes)
    even = top == bottom and left == right and min(top, left) >= 0
    made = nn.Conv2d(
        channels, outputs, kernel, stride, (top, left) if even else 0, groups=groups, bias=bias,
    )  # fmt: skip
    if even:
        return made
    return nn.Sequential(OrderedDict(pad=nn.ZeroPad2d((left, right, top, bottom)), conv=made))


def _axis(kernel: int, before: int, after: int) -> tuple[int, tuple[int, int]]:
    """Return the stride along one axis, and the zeros before and after (below 0: rows cut off)."""
    stride = max(1, round(before / after))
    least = (after - 1) * stride + kernel - before
    most = least + stride - 1
    half = kernel // 2
    if least <= 2 * half <= most:
        return stride, (half, half)
    total = least if least > 0 else min(0, most)
    start = max(0, total) // 2
    return stride, (start, total - start)


def unit(
    channels: int, outputs: int, kernel: int, before: Size, after: Size, act: str = "",
    groups: int = 1,
) -> nn.Sequential:  # fmt: skip
    """Return a convolution, its batch normalisation and perhaps an activation."""
    parts: dict[str, nn.Module] = {
        "conv": conv(channels, outputs, kernel, before, after, groups),
        "norm": nn.BatchNorm2d(outputs),
    }
    last = activation(act)
    return nn.Sequential(OrderedDict({**parts, "act": last} if last else parts))


def projection(site: Site) -> nn.Sequential | None:
    """Return the 1x1 convolution that gives a site's entry the shape of its exit.

    None where the shape stays.
    """
    if site.keeps_shape:
        return None
    return unit(site.in_shape[0], site.out_shape[0], 1, site.in_shape[1:], site.out_shape[1:])


class Gate(nn.Module):
    """Squeeze and excitation: each channel times a number that depends on all means."""

    def __init__(self, channels: int, squeezed: int, act: str) -> None:
        """Make the two layers that compute the numbers from the means."""
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.act = ACTIVATIONS[act]()
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Return x times the numbers."""
        gate: Tensor = self.gate(self.expand(self.act(self.reduce(self.pool(x)))))
        return x * gate


class Residual(nn.Module):
    """A branch, added to its input or to a projection of that; then perhaps an activation."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module | None, act: str = "") -> None:
        """Take the branch; without a shortcut the input itself is added to."""
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        summed: Tensor = (x if self.shortcut is None else self.shortcut(x)) + self.branch(x)
        return summed if self.act is None else self.act(summed)
