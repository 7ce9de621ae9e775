"""A layer as a row-stationary array sees it: groups of one plain convolution."""

from __future__ import annotations

from dataclasses import dataclass

from hwflow.errors import WorkloadError
from hwflow.workload import MAC_OPS, Layer, touched_rows


@dataclass(frozen=True, slots=True)
class Shape:
    """`groups` equal convolutions that run one after the other; sizes are those of one group.

    Linear layers and products of matrices are 1 x 1 convolutions. The chip has no transposed
    convolution: it runs one as a convolution over inputs with zeros between them, and only the
    energy of those zeros is saved. A dilated kernel takes as many PEs and scratchpad words as a
    plain one; its rows lie further apart.
    """

    name: str
    groups: int
    batch: int
    filters: int
    channels: int
    out_rows: int
    out_cols: int
    kernel_rows: int
    kernel_cols: int
    row_step: int
    """New input rows for one more output row."""
    row_overlap: int
    """Input rows, beyond `row_step` for each output row, that a strip of output rows reads."""
    width: int
    """Words of one input row in the buffer, zero padding included."""
    in_rows: int
    """Input rows that are really read, padding excluded."""
    in_cols: int
    """Input columns that are really read, padding excluded."""
    spacing: int
    """Rows of the buffer for one real row: the stride of a transposed convolution, else 1."""
    macs: int
    """Multiply-accumulates of all groups."""

    @classmethod
    def of(cls, layer: Layer) -> Shape:
        """Read the dimensions of a layer. Raises WorkloadError for one without MACs."""
        if not layer.is_mac:
            raise WorkloadError(
                f"Layer {layer.name!r} ({layer.op}) has no multiply-accumulates: row-stationary "
                f"passes are made of {', '.join(sorted(MAC_OPS))}."
            )
        step, overlap = _rows(layer)
        height, width = _real(layer)
        return cls(
            name=layer.name,
            groups=layer.groups,
            batch=layer.batch,
            filters=layer.out_channels // layer.groups,
            channels=layer.in_channels // layer.groups,
            out_rows=layer.out_size[0],
            out_cols=layer.out_size[1],
            kernel_rows=layer.kernel[0],
            kernel_cols=layer.kernel[1],
            row_step=step,
            row_overlap=overlap,
            width=_width(layer),
            in_rows=height,
            in_cols=width,
            spacing=layer.stride[0] if layer.transposed else 1,
            macs=layer.macs,
        )

    def strip_rows(self, outputs: int) -> int:
        """Return the input rows of a strip of so many output rows, halo and padding included."""
        return outputs * self.row_step + self.row_overlap


def _axis(layer: Layer, axis: int) -> tuple[int, int]:
    """Return (step, overlap) along an axis; a stride beyond the kernel skips what lies between."""
    stride = 1 if layer.transposed else layer.stride[axis]
    overlap = (layer.kernel[axis] - 1) * layer.dilation[axis] + 1 - stride
    return (stride, overlap) if overlap >= 0 else (layer.kernel[axis], 0)


def _rows(layer: Layer) -> tuple[int, int]:
    return _axis(layer, 0)


def _width(layer: Layer) -> int:
    step, overlap = _axis(layer, 1)
    return layer.out_size[1] * step + overlap


def _real(layer: Layer) -> tuple[int, int]:
    """Return the real input rows and columns that are read."""
    if layer.op not in ("conv", "conv_transpose"):
        return layer.out_size
    height, width = layer.in_shapes[0][-2:]
    if layer.transposed:
        return height, width
    rows, cols = (
        touched_rows(
            size, layer.out_size[axis], layer.kernel[axis], layer.stride[axis],
            layer.dilation[axis], layer.padding[axis],
        )
        for axis, size in enumerate((height, width))
    )  # fmt: skip
    return rows, cols
