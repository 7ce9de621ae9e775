"""The command line, run in the process of a test."""

import pytest

from hwflow.cli import main


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run the command line in this process; return exit code, standard output and error."""
    with pytest.raises(SystemExit) as left:
        main(words)
    shown = capsys.readouterr()
    return int(left.value.code or 0), shown.out, shown.err
