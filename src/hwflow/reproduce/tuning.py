"""Fine-tuning in reproductions: the same recipe for edited networks and for their baselines."""

from __future__ import annotations

from hwflow.network import Network
from hwflow.quality.accuracy import compare
from hwflow.reproduce.stages import Plain, Settings
from hwflow.train import Progress, finetune

EPOCHS = 12
RATE = 0.05
"""Peak learning rate."""
QUICK_IMAGES = 500
"""Test images of a quick reproduction."""
QUICK_STEPS = 20
"""Steps of a fine-tuning in a quick reproduction."""


def tuned(settings: Settings, original: Network, start: Network, label: str, seed: int) -> Network:
    """Fine-tune a network with the original as its teacher; a killed run goes on."""
    train = settings.splits(original).train

    def show(progress: Progress) -> None:
        if progress.step % 50 == 0:
            settings.say(f"  {label}: step {progress.step} of {progress.steps}")

    return finetune(
        start, train, original, **length(settings), lr=RATE, augment="crop+flip", seed=seed,
        checkpoint=settings.out / "tunes" / f"{label}.safetensors",
        answers=settings.out / "answers", on_step=show,
    )  # fmt: skip


def length(settings: Settings) -> dict[str, int]:
    """Return how long is fine-tuned."""
    return {"steps": QUICK_STEPS} if settings.quick else {"epochs": settings.epochs or EPOCHS}


def baseline(settings: Settings, network: Network, name: str) -> Network:
    """Return the network itself, fine-tuned in the same way as long."""
    return tuned(settings, network, network, f"{name}-baseline-0", 0)


def paired(settings: Settings, network: Network, first: Network, second: Network) -> Plain:
    """Compare two networks on the test split of `network`, image by image."""
    test = settings.splits(network).test
    flips = compare(first, second, test, limit=QUICK_IMAGES if settings.quick else None)
    return {
        "images": flips.images, "original": flips.before, "edited": flips.after,
        "gained": flips.gained, "lost": flips.lost, "drop": flips.drop,
        "half_width_95": 1.96 * flips.standard_error,
    }  # fmt: skip
