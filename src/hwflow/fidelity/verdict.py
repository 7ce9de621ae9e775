"""Which level is enough, in words with the numbers behind them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from hwflow.cost import METRICS
from hwflow.fidelity.compare import TARGETS, Fidelity, Row

RANK, EXCESS, REGRET = 0.95, 0.01, 0.05
"""A level is enough when it ranks plans at least this much like Fine, the front that it keeps lies
no further above Fine's on average, nor its best plan above Fine's. Bars of ours."""

FLAT = 1.01
"""Below this ratio of 95th to 5th percentile a metric hardly differs between plans."""

Enough = Literal["any", "coarse", "mid", "fine"]

NAMES = {"latency_s": "latency", "energy_j": "energy", "dram_bytes": "DRAM traffic"}
STAND_INS = {
    **NAMES, "macs": "MACs", "bit_ops": "BitOPs", "frac_ops": "FracOPs",
    "model_bytes": "model size",
}  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """The cheapest level that is enough for one metric."""

    target: str
    enough: Enough
    words: str

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def passes(row: Row) -> bool:
    """Say whether a stand-in meets all three bars."""
    ranked = row.rank is not None and row.rank >= RANK
    return ranked and row.excess <= EXCESS and row.regret <= REGRET


def best_coarse(found: Fidelity, target: str) -> Row:
    """Return the row of Coarse's best stand-in: one that passes, else that of highest rank."""
    rows = [row for row in found.rows if row.target == target and row.level == "coarse"]
    return max(rows, key=lambda row: (passes(row), row.rank if row.rank is not None else -2.0))


def verdicts(found: Fidelity) -> tuple[Verdict, ...]:
    """Return the verdict on latency, energy and DRAM traffic."""
    return tuple(_verdict(found, target) for target in TARGETS)


def _verdict(found: Fidelity, target: str) -> Verdict:
    name, varies = METRICS[target].short, found.varies[target]
    if varies < FLAT:
        text = (
            f"Fine's {NAMES[target]} differs by {percent(varies - 1)} between plans (5th to 95th "
            "percentile): any level will do."
        )
        return Verdict(name, "any", text)
    coarse, mid = best_coarse(found, target), found.of(target, "mid")
    if passes(coarse):
        return Verdict(name, "coarse", f"Coarse is enough for {NAMES[target]}: {_facts(coarse)}.")
    if passes(mid):
        return Verdict(
            name, "mid",
            f"Mid is enough for {NAMES[target]}: {_facts(mid)}. Coarse is not: {_facts(coarse)}.",
        )  # fmt: skip
    return Verdict(
        name, "fine",
        f"Fine is needed for {NAMES[target]}. Mid is not enough: {_facts(mid)}. "
        f"Nor is Coarse: {_facts(coarse)}.",
    )  # fmt: skip


def _facts(row: Row) -> str:
    """Write rank, recall and regret of a stand-in as one clause."""
    whose = "its own figure" if row.stand_in == row.target else STAND_INS[row.stand_in]
    if row.rank is None:
        return f"{whose} is the same for all plans"
    kept = f"{row.recall.kept} of {row.recall.members}"
    lies = "as good" if row.excess < 5e-4 else f"{percent(row.excess)} worse"
    over = "is Fine's too" if row.regret < 5e-4 else f"costs {percent(row.regret)} more than Fine's"
    return (
        f"{whose} has rank correlation {row.rank:.2f} with Fine, keeps {kept} plans of the front "
        f"(on average it is {lies}), and its best plan {over}"
    )


def percent(share: float) -> str:
    """Write a share in percent with two or three digits, such as "4.2 %"."""
    value = 100 * share
    return f"{value:.1f} %" if abs(value) < 9.95 else f"{value:.0f} %"


def summary(found: Fidelity) -> str:
    """Return the verdict on the space in one sentence."""
    order: tuple[Enough, ...] = ("any", "coarse", "mid", "fine")
    given = verdicts(found)
    most = max((v.enough for v in given), key=order.index)
    place = f"{len(found.plans)} plans of {found.name} on {found.machine.name}"
    if most == "any":
        return f"{place}: cost hardly differs between plans, at any level."
    asking = [NAMES[target] for target, v in zip(TARGETS, given, strict=True) if v.enough == most]
    why = " and ".join(asking) if len(asking) < 3 else "latency, energy and DRAM traffic"
    says = f"the {most} level is needed, for {why}" if most == "fine" else (
        f"the mid level is enough; Coarse is not, for {why}" if most == "mid" else
        "the coarse level is enough"
    )  # fmt: skip
    return f"{place}: {says}."
