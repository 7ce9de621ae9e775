"""Single changes in reproductions, measured once for all searches that begin with them."""

from __future__ import annotations

from hwflow.quality.sensitivity import sensitivities
from hwflow.quality.sensitivity_table import Sensitivity
from hwflow.reproduce.stages import Settings
from hwflow.space import Space


def single_changes(
    settings: Settings, name: str, space: Space, images: int, label: str
) -> Sensitivity:
    """Return what each option of each choice loses alone, measured now or before.

    `images` are of the validation split of the network called `name`; `label` names the file.
    """
    val = settings.splits(settings.network(name)).val
    return sensitivities(
        space, val, images=images, file=settings.out / f"single-changes-{label}.json"
    )
