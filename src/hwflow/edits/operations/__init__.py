"""Operations that may replace what stands at a site: options, by families.

    option.fits(site)                     # can it stand there?
    option.module(site, teacher)          # (N, *site.in_shape) -> (N, *site.out_shape)
    teacher_of(network, site)             # what stands there now, as a module

Families are plug-ins under the entry points ``hwflow.operations``.
"""

from __future__ import annotations

from hwflow.edits.operations.option import Option, seed_of
from hwflow.edits.operations.registry import find, fitting, registry
from hwflow.edits.operations.teacher import teacher_of

__all__ = ["Option", "find", "fitting", "registry", "seed_of", "teacher_of"]
