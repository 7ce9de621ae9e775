"""Tables on the screen."""

from rich.console import Console
from rich.table import Table

from hwflow import screen
from hwflow.front import Front, Trial

OBJECTIVES = ("accuracy", "energy_j", "latency_s")


def text(table: Table) -> str:
    """Render a table without colour."""
    console = Console(width=160, no_color=True)
    with console.capture() as shown:
        console.print(table)
    return shown.get()


def trial(number: int, accuracy: float, energy: float) -> Trial:
    """Return a trial of one millisecond."""
    return Trial(number, (number,), {"energy_j": energy, "latency_s": 1e-3}, accuracy)


def test_the_front_shows_what_each_network_saves() -> None:
    front = Front.of([trial(1, 0.9, 1e-3), trial(2, 0.8, 5e-4)], OBJECTIVES)
    shown = text(screen.front_table(front, trial(0, 0.91, 2e-3)))
    assert "original" in shown
    assert "90.00 %" in shown
    assert "500 µJ" in shown
    assert "75 %" in shown


def test_a_long_front_is_thinned_evenly_and_says_so() -> None:
    trials = [trial(n, 0.5 + n / 1000, 1e-3 * (n + 1)) for n in range(100)]
    shown = text(screen.front_table(Front.of(trials, OBJECTIVES), limit=5))
    rows = [line for line in shown.splitlines() if "#" in line]
    assert len(rows) == 5
    assert "#0" in rows[0]
    assert "#99" in rows[-1]
    assert "5 of 100 shown" in shown


def test_an_empty_front_is_a_table_without_rows() -> None:
    assert "Front: 0 networks" in text(screen.front_table(Front.of([], OBJECTIVES)))
