from pathlib import Path

import pytest

from hwflow.build import WRITERS, check_target
from hwflow.errors import HwflowError
from hwflow.export import to_onnx, to_qonnx


def test_each_format_has_its_writer():
    assert WRITERS["qdq"] is to_onnx
    assert WRITERS["qonnx"] is to_qonnx


@pytest.mark.parametrize("form", WRITERS)
def test_known_formats_and_endings_pass(form, tmp_path):
    check_target(tmp_path / "net.onnx", form)
    check_target(None, form)
    with pytest.raises(HwflowError, match=r"ending in \.onnx"):
        check_target(Path("net.qonnx"), form)


def test_another_format_is_refused_before_anything_is_built():
    with pytest.raises(HwflowError, match=r"qonx.*qonnx"):
        check_target(None, "qonx")
