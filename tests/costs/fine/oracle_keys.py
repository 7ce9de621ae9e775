"""What the oracle compares: an objective as a pair of keys, lesser first."""

from __future__ import annotations


def keys(objective: str, energy: float, cycles: float, clock: float = 1.0) -> tuple[float, float]:
    if objective == "latency":
        return cycles, energy
    if objective == "energy":
        return energy, cycles
    if "+" in objective:
        shares = {
            name: float(share) for share, name in (t.split("*") for t in objective.split("+"))
        }
        return shares["energy"] * energy + shares["latency"] * cycles / clock, cycles
    powers = {"energy": 1.0, "latency": 1.0}
    if objective != "edp":
        powers = {
            name: float(power) for name, power in (t.split("^") for t in objective.split("*"))
        }
    return energy ** powers["energy"] * cycles ** powers["latency"], cycles


def smaller(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    """Return the lesser pair; first entries equal but for rounding let the second decide."""
    if abs(first[0] - second[0]) <= 1e-11 * abs(first[0]) or first[0] == second[0]:
        return first if first[1] <= second[1] else second
    return first if first[0] < second[0] else second
