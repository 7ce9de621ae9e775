"""What fits: scratchpads, PE sets in the array, banks of the global buffer."""

from __future__ import annotations

from dataclasses import dataclass

from hwflow.costs.chip.hardware import FILTER_STORE_BYTES, Chip
from hwflow.costs.chip.passes import Passes
from hwflow.costs.chip.shape import Shape
from hwflow.errors import HwflowError


class MappingError(HwflowError):
    """Parameters that do not fit the chip or the layer, or a layer that nothing fits."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How much of one part of the chip a mapping needs, in `unit`, and how much there is."""

    part: str
    needs: float
    has: float
    unit: str
    remedy: str
    """What to lower, for a mapping that needs too much."""

    @property
    def missing(self) -> float:
        """What is missing; 0 where it fits."""
        return max(0.0, self.needs - self.has)

    def __str__(self) -> str:
        return (
            f"{self.part} needs {self.needs:g} {self.unit}, has {self.has:g}: "
            f"{self.missing:g} {self.unit} missing"
        )


def ifmap_bytes(shape: Shape, chip: Chip, n: int, e: int, channels: int) -> float:
    """Return the buffer bytes of a strip's ifmaps: q r n ((e-1) stride + R) W words."""
    return channels * n * shape.strip_rows(e) * shape.width * chip.word_bytes


def psum_bytes(shape: Shape, chip: Chip, n: int, e: int, filters: int) -> float:
    """Return the buffer bytes of the psums that wait: n m e Q words."""
    return n * filters * e * shape.out_cols * chip.word_bytes


def limits(shape: Shape, passes: Passes, chip: Chip) -> tuple[Limit, ...]:
    """Return every limit of the chip with what the mapping needs of it.

    p q S filter, q S ifmap and p psum words in each PE; R rows and r t sets of R x e PEs in the
    array; psums and ifmaps in whole banks of the buffer.
    """
    m, n, e, p, q, r, t = passes.as_dict().values()
    word, cols = chip.word_bytes, shape.kernel_cols
    buffer = _banked(psum_bytes(shape, chip, n, e, m), chip)
    buffer += _banked(ifmap_bytes(shape, chip, n, e, q * r), chip)
    return (
        Limit("ifmap scratchpad", q * cols * word, chip.ifmap_pad * word, "B", "q"),
        Limit("filter scratchpad", p * q * cols * word, chip.filter_pad * word, "B", "p or q"),
        Limit("psum scratchpad", p * word, chip.psum_pad * word, "B", "p"),
        _array_limit(shape, chip, e, r * t),
        Limit("global buffer (ifmaps and psums)", buffer, chip.banks * chip.bank_bytes, "B",
              "m, n, e, q or r"),
    )  # fmt: skip


def physical_limits(shape: Shape, passes: Passes, chip: Chip) -> tuple[Limit, ...]:
    """Return the limits that hold whatever the model assumes of the chip's controller.

    Each of the r t e columns of PEs that sum one output row takes R neighbouring PEs of a column of
    the array; ifmaps and psums take bytes of the whole buffer, the part for filters included.
    """
    m, n, e, _, q, r, t = passes.as_dict().values()
    pads, array = limits(shape, passes, chip)[:3], _array_limit(shape, chip, e, r * t)
    if shape.kernel_rows <= chip.rows:
        there = chip.rows // shape.kernel_rows * chip.cols
        part = f"columns of {shape.kernel_rows} PEs"
        array = Limit("PE array", r * t * e, there, part, "r, t or e")
    needs = psum_bytes(shape, chip, n, e, m) + ifmap_bytes(shape, chip, n, e, q * r)
    has = chip.buffer_bytes + FILTER_STORE_BYTES
    return (*pads, array, Limit("global buffer", needs, has, "B", "m, n, e, q or r"))


def beyond_assumptions(shape: Shape, passes: Passes, chip: Chip) -> str:
    """Return which assumed limits a mapping exceeds, "" where it keeps them all."""
    over = [str(limit) for limit in limits(shape, passes, chip) if limit.missing]
    if not over:
        return ""
    return (
        f"Layer {shape.name!r} with (m,n,e,p,q,r,t) = {passes}: {'; '.join(over)}. How sets lie in "
        "the array and ifmaps and psums in the buffer's banks is assumed (docs/eyeriss.md), so the "
        "mapping is costed all the same."
    )


def _array_limit(shape: Shape, chip: Chip, e: int, sets: int) -> Limit:
    rows = shape.kernel_rows
    if rows > chip.rows:
        return Limit("PE array", rows, chip.rows, "rows", "the kernel's rows")
    return Limit("PE array", sets, chip.sets(rows, e), f"sets of {rows}x{e} PEs", "r, t or e")


def _banked(size: float, chip: Chip) -> float:
    return -(-size // chip.bank_bytes) * chip.bank_bytes


def check(shape: Shape, passes: Passes, chip: Chip, *, assumed: bool = True) -> None:
    """Raise MappingError unless the mapping fits layer and chip; the message names what is short.

    m, n and e may not exceed the filters, images and output rows of one group. Without `assumed`
    only the physical limits count, not how sets lie in the array and data in the buffer's banks.
    """
    for name, size, what in (
        ("m", shape.filters, "filters"),
        ("n", shape.batch, "images"),
        ("e", shape.out_rows, "output rows"),
    ):
        value = getattr(passes, name)
        if value > size:
            raise MappingError(
                f"Layer {shape.name!r} has {size} {what}{_of_group(shape)}, the mapping takes "
                f"{name} = {value}. Allowed are 1 to {size}."
            )
    found = limits(shape, passes, chip) if assumed else physical_limits(shape, passes, chip)
    broken = [limit for limit in found if limit.missing]
    if broken:
        raise MappingError(
            f"Layer {shape.name!r} with (m,n,e,p,q,r,t) = {passes} does not fit: "
            f"{'; '.join(map(str, broken))}. Lower {broken[0].remedy}."
        )


def check_mappable(shape: Shape, chip: Chip) -> None:
    """Raise MappingError if not even the smallest mapping fits, with the bytes that are missing."""
    broken = [limit for limit in limits(shape, Passes(1, 1, 1, 1, 1, 1, 1), chip) if limit.missing]
    if broken:
        raise MappingError(
            f"Layer {shape.name!r} ({shape.kernel_rows}x{shape.kernel_cols} kernel, "
            f"{shape.out_rows}x{shape.out_cols} outputs) cannot be mapped: "
            f"{'; '.join(map(str, broken))}. "
            "Enlarge that part of the machine, or cut the layer."
        )


def _of_group(shape: Shape) -> str:
    return " in each group" if shape.groups > 1 else ""
