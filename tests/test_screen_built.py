"""What is said of a built network: its machine, and how its file says bits."""

from typing import Any

from hwflow.screen import built_lines

TEST = {"images": 10, "gained": 1, "lost": 2}


def said(form: str, integer: int, simulated: int, **choices: Any) -> str:
    export = {
        "settings": {}, "agreement": 1.0, "inputs": 10, "integer_layers": integer,
        "simulated_layers": simulated, "format": form,
    }  # fmt: skip
    built = {"test": TEST, "choices": choices, "written": "net.onnx", "export": export}
    return "\n".join(built_lines(built))


def test_a_float_file_says_nothing_of_bits() -> None:
    assert "operands" not in said("qdq", 0, 0)


def test_a_qonnx_file_is_not_said_to_run_in_onnx_runtime() -> None:
    shown = said("qonnx", 0, 8)
    assert "ONNX Runtime agrees" not in shown
    assert "not timed" in shown


def test_the_machine_that_a_plan_chose_is_named() -> None:
    assert "Its machine: array.rows = 8." in said("qdq", 8, 0, **{"machine:array.rows": 8})
