"""``python -m hwflow``: the command line."""

from hwflow.cli import main

main()
