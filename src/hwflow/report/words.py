"""Numbers as a reader wants them: shares, changes, costs with units, and names of metrics."""

from __future__ import annotations

from math import isfinite

from hwflow.cost import METRICS
from hwflow.report.data import ReportData
from hwflow.units import show

NAMES = {
    "latency_s": "latency",
    "energy_j": "energy",
    "dram_bytes": "DRAM traffic",
    "macs": "MACs",
    "params": "parameters",
    "bit_ops": "bit operations",
    "frac_ops": "fractional operations",
    "model_bytes": "model size",
    "peak_bytes": "peak memory",
    "area_um2": "area",
    "luts": "look-up tables",
    "brams": "block RAMs",
}
"""How the page calls each metric."""

STANDINGS = {
    "exact": "counted, no model involved",
    "bound": "never above the true value",
    "estimate": "a model's figure; the hardware may differ",
    "measured": "measured on the device or on data",
}
"""What each standing of a metric means."""

_COUNTED = frozenset({"macs", "params", "bit_ops", "frac_ops"})
SPACE = "\N{NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"
"""What stands where there is no figure."""


def unit(name: str) -> str:
    """Return the unit of a metric as the page writes it."""
    return METRICS[name].unit.replace("um2", "µm²")


def cost(name: str, value: float | None) -> str:
    """Write a cost with its unit, such as "4.1 ms"."""
    if value is None or value != value:
        return NOTHING
    if not isfinite(value):
        return "infinite"
    if name == "area_um2":
        return f"{value:,.0f}{SPACE}{unit(name)}"
    return show(value, unit(name)).replace(" ", SPACE)


def quality(data: ReportData, value: float | None, digits: int = 2) -> str:
    """Write a quality: a share in percent, any other metric as it is."""
    if value is None or not isfinite(value):
        return NOTHING
    return f"{100 * value:.{digits}f}{SPACE}%" if data.is_share else f"{value:.4g}"


def difference(data: ReportData, value: float | None, digits: int = 2) -> str:
    """Write the difference of a quality to the original's, such as "-0.20 points"."""
    original = data.original_quality
    if value is None or original is None or not isfinite(value):
        return NOTHING
    if not data.is_share:
        return _signed(f"{value - original:+.3g}")
    return f"{_signed(f'{100 * (value - original):+.{digits}f}')}{SPACE}points"


def change(ratio: float | None) -> str:
    """Write a relative change, such as "-41 %"."""
    if ratio is None:
        return NOTHING
    percent = 100 * ratio
    if abs(percent) < 0.05:
        return f"0{SPACE}%"
    digits = 1 if abs(percent) < 9.95 or percent < -98.95 else 0
    return f"{_signed(f'{percent:+.{digits}f}')}{SPACE}%"


def less(name: str, ratio: float) -> str:
    """Write a relative change in words, such as "41 % less energy"."""
    amount = change(abs(ratio)).lstrip("+")
    if change(ratio) == change(0):
        return f"the same {NAMES[name]}"
    if ratio > 0:
        return f"{amount} more {NAMES[name]}"
    return f"{amount} {'fewer' if name in _COUNTED else 'less'} {NAMES[name]}"


def joined(parts: list[str], last: str = "and") -> str:
    """Join words with commas and a last conjunction."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def _signed(text: str) -> str:
    """Return a signed number with a true minus sign, and zero without a sign."""
    if not text.strip("+-0."):
        return text.lstrip("+-")
    return text.replace("-", _MINUS)
