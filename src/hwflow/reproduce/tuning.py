"""Fine-tuning in reproductions: the same recipe for edited networks and for their baselines."""

from __future__ import annotations

from collections.abc import Mapping

from hwflow.network import Network
from hwflow.quality.accuracy import Flips, predictions
from hwflow.reproduce.stages import Plain, Settings
from hwflow.train import Progress, finetune

EPOCHS = 12
RATE = 0.05
"""Peak learning rate."""
QUICK_IMAGES = 500
"""Test images of a quick reproduction."""
QUICK_STEPS = 20
"""Steps of a fine-tuning in a quick reproduction."""


def tuned(
    settings: Settings,
    original: Network,
    start: Network,
    label: str,
    seed: int,
    *,
    steps: int | None = None,
    rate: float = RATE,
    clip_norm: float | None = None,
) -> Network:
    """Fine-tune a network with the original as its teacher; a killed run goes on."""
    train = settings.splits(original).train
    how = length(settings) if steps is None else {"steps": steps}

    def show(progress: Progress) -> None:
        if progress.step % 50 == 0:
            settings.say(f"  {label}: step {progress.step} of {progress.steps}")

    return finetune(
        start, train, original, **how, lr=rate, clip_norm=clip_norm, augment="crop+flip", seed=seed,
        checkpoint=settings.out / "tunes" / f"{label}.safetensors",
        answers=settings.out / "answers", on_step=show,
    )  # fmt: skip


def length(settings: Settings) -> dict[str, int]:
    """Return how long is fine-tuned."""
    return {"steps": QUICK_STEPS} if settings.quick else {"epochs": settings.epochs or EPOCHS}


def baseline(settings: Settings, network: Network, name: str) -> Network:
    """Return the network itself, fine-tuned in the same way as long."""
    return tuned(settings, network, network, f"{name}-baseline-0", 0)


def paired(
    settings: Settings, data: Network, pairs: Mapping[str, tuple[Network, Network]]
) -> dict[str, Plain]:
    """Compare pairs of networks on the test split of `data`; each network is run once."""
    test, limit = settings.splits(data).test, QUICK_IMAGES if settings.quick else None
    networks = {id(network): network for pair in pairs.values() for network in pair}
    found = {key: predictions(network, test, limit=limit) for key, network in networks.items()}
    truth = next(iter(found.values()))[1]
    flips = {
        name: Flips.of(found[id(first)][0], found[id(second)][0], truth)
        for name, (first, second) in pairs.items()
    }
    return {name: plain_flips(each) for name, each in flips.items()}


def plain_flips(flips: Flips, before: str = "original", after: str = "edited") -> Plain:
    """Return a comparison as plain data, its two networks under these names."""
    return {
        "images": flips.images, before: flips.before, after: flips.after,
        "gained": flips.gained, "lost": flips.lost, "drop": flips.drop,
        "half_width_95": 1.96 * flips.standard_error,
    }  # fmt: skip
