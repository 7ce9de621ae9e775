"""The demo: digits, a small network trained on the spot, a search on a described accelerator.

Run it with ``make demo``. It trains ResNet-8 on scikit-learn's 8 x 8 digits, asks what it costs on
Eyeriss, searches bit-widths that save energy and time, and ships one of the networks as ONNX. Every
step after the training is a command that you can run yourself.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from safetensors.torch import save_file

import hwflow as hf
from hwflow.quality.accuracy import evaluate
from hwflow.train import train

MODEL = ["cifar:resnet8", "--input", "1x8x8", "--classes", "10"]
console = Console()


def step(title: str, why: str) -> None:
    """Say what comes next."""
    console.print(f"\n[bold]{title}[/bold]\n{why}")


def hwflow(*words: str) -> None:
    """Run one command of hwflow and show it as the user would type it."""
    console.print(f"[cyan]$ hwflow {shlex.join(words)}[/cyan]", highlight=False)
    subprocess.run([sys.executable, "-m", "hwflow", *words], check=True)


def train_digits(target: Path) -> None:
    """Train ResNet-8 on the training digits and write its weights."""
    network = hf.load("cifar:resnet8", num_classes=10, input_shape=(1, 8, 8))
    data = hf.load_data("digits", network)
    trained = train(network, data.train, epochs=12, lr=0.1, batch_size=64, seed=0)
    accuracy = evaluate(trained, data.val)
    save_file(trained.module.state_dict(), target)
    console.print(f"Accuracy on digits it has not seen: {100 * accuracy:.1f} %")


def main(folder: Path) -> None:
    """Run the demo into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "digits_resnet8.safetensors"
    run = folder / "search"
    step(
        "1. A trained network", "ResNet-8 learns scikit-learn's handwritten digits (8 x 8 pixels)."
    )
    if not weights.exists():
        train_digits(weights)
    step(
        "2. What does it cost on the machine?",
        "Eyeriss is a research accelerator of 168 PEs. Arithmetic or memory binds each layer.",
    )
    hwflow("cost", *MODEL, "--on", "eyeriss", "--level", "mid")
    step(
        "3. Which networks cost less?",
        "Every layer may get 2 to 8 bits. The search keeps the networks that no other\n"
        "beats in accuracy, energy and latency together. Killed and started again, it\n"
        "goes on where it stopped.",
    )
    hwflow(
        "search", *MODEL, "--weights", str(weights), "--data", "digits", "--on", "eyeriss",
        "--quantize", "--level", "mid", "--evaluations", "150", "--seed", "0", "--out", str(run),
    )  # fmt: skip
    step(
        "4. Ship one",
        "The network with the least energy among those above 95 % is built, tested on\n"
        "digits that neither training nor search has seen, and run in ONNX Runtime.",
    )
    hwflow(
        "build", str(run), "--pick", "accuracy > 95 %, least energy",
        "--to", str(folder / "digits.onnx"),
    )  # fmt: skip
    console.print(
        f"\nOpen [bold]{run / 'report.html'}[/bold] in a browser: hover and click the front."
    )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-run"))
