"""Timeloop and AccelForge architectures, read as machines of ours.

    found = read_timeloop("arch.yaml", "ERT.yaml")
    found.plain                     # a machine file of ours, as plain data
    found.notes                     # what has no equal here

========================= ==================================================================
there                     here
========================= ==================================================================
one instance              a level of `memory`, the outermost one DRAM
as many as compute units  `scratchpads`
compute unit              `engine` bit-parallel, as wide as its multiplier; its count the array
meshX, fanout             columns of the array; meshY, a second fanout: rows
depth x width, sizeKB     `size`, with words of `width` bits
read, write bandwidth     `bandwidth`, `write_bandwidth` (words of `datawidth` per cycle)
keep, bypass              `holds`
multiple_buffering >= 2   `double_buffered`
ERT, actions              energies; leakage as `idle_power`
spatial factors =1        loops that `unroll_rows`, `unroll_cols` leave out
========================= ==================================================================

Read are the nested form (versions 0.2 and 0.3), the flat one with tags (0.4) and AccelForge's
`arch`. Tags become plain data and expressions plain arithmetic: nothing in a file is run.
"""

from hwflow.machine.timeloop.convert import Imported, read_timeloop
from hwflow.machine.timeloop.tree import LOOPS, tensors

__all__ = ["LOOPS", "Imported", "read_timeloop", "tensors"]
