"""Tables on the screen."""

import pytest
from rich.console import Console
from rich.table import Table
from sketch_nets import small

from hwflow import costing, screen
from hwflow.costing import Options
from hwflow.front import Front, Trial
from hwflow.machine import load_machine

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


BUILT = {
    "trial": 7,
    "test": {
        "images": 8000, "before": 0.88, "after": 0.88, "gained": 3, "lost": 3, "drop": -0.0,
        "standard_error": 0.001,
    },
    "original": dict.fromkeys(("latency_s", "energy_j", "dram_bytes", "model_bytes"), 2.0),
    "total": dict.fromkeys(("latency_s", "energy_j", "dram_bytes", "model_bytes"), 0.5),
    "written": "net.onnx",
    "export": {
        "agreement": 0.999, "inputs": 1000, "integer_layers": 2, "simulated_layers": 18,
        "settings": {"session.x64quantprecision": "1"},
    },
}  # fmt: skip


def test_a_built_network_is_shown_beside_the_original() -> None:
    shown = text(screen.built_table(BUILT))
    assert "+0.00 ± 0.10 points" in shown
    assert "-75 %" in shown


def test_what_was_written_and_how_it_runs_is_said() -> None:
    lines = list(screen.built_lines(BUILT))
    assert "right only after 3, right only before 3" in lines[0]
    assert lines[1] == "Written: net.onnx"
    assert "(with session.x64quantprecision = 1) agrees with torch on 99.90 % of 1,000" in lines[2]
    assert "18 have other bits, which the file simulates" in lines[3]


def test_weights_alone_have_no_runtime_to_speak_of() -> None:
    lines = list(screen.built_lines(BUILT | {"export": None, "written": "net.safetensors"}))
    assert lines[1:] == ["Written: net.safetensors"]


@pytest.mark.parametrize("width", [80, 140])
def test_a_searched_layer_shows_utilisation_and_gap(width: int) -> None:
    found = costing.run(small(), load_machine("eyeriss"), Options("fine", cached=False))
    shown = text(screen.layer_table(small(), found.cost, width, found.by_name))
    heading = next(line for line in shown.splitlines() if "bound by" in line)
    assert heading.split()[-2:] == ["util.", "gap"]
    conv = next(line for line in shown.splitlines() if line.strip().startswith("conv"))
    assert conv.split()[-2:] == ["0", "%"]
    assert f"{100 * found.by_name['conv']['utilization']:.0f} %" in conv
    pool = next(line for line in shown.splitlines() if line.strip().startswith("pool"))
    assert "%" not in pool
    assert "flat" not in shown


def test_a_level_without_mappings_shows_no_gap() -> None:
    found = costing.run(small(), load_machine("eyeriss"), Options("mid"))
    assert "gap" not in text(screen.layer_table(small(), found.cost, 80, found.by_name))


def test_the_last_line_names_the_mapspace_of_the_proof() -> None:
    found = costing.run(small(), load_machine("eyeriss"), Options("fine", cached=False))
    with screen.out.capture() as shown:
        screen.show_costing(found, "batch 1")
    lines = " ".join(shown.get().split())
    assert lines.startswith("small on eyeriss, fine level, batch 1")
    assert lines.endswith("proven optimal in the default mapspace of eyeriss.")
