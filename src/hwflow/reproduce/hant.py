"""HANT on CIFAR-10 (JPEG q75): operations replaced in ResNet-56, on this CPU and on an accelerator.

Beside it EfficientNet-Lite0, with what a thousand images of ImageNet teach it.

The published bars are speed-ups of EfficientNet (arXiv 2107.10624); ours are against our own
baseline, fine-tuned as long as the transformed network. On the CPU two latencies are given: the sum
of the layers' table, and the measured one of the exported file beside its parent's.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from hwflow.cost import CostModel
from hwflow.costs.fine import Fine
from hwflow.costs.fine.cache import user_file
from hwflow.costs.measured.files import measure
from hwflow.costs.measured.level import Measured
from hwflow.design import Design
from hwflow.edits.operations import find
from hwflow.export import to_onnx
from hwflow.extract import extract
from hwflow.front import Trial
from hwflow.machine import Device, load_machine
from hwflow.network import Network
from hwflow.quality.fitting import Fitting
from hwflow.quality.sensitivity_table import Figure
from hwflow.recipes.hant import Transformed, hant
from hwflow.recipes.hw_flowq import quantization_space
from hwflow.reproduce.finalists import whole_validation
from hwflow.reproduce.stages import LITE, Plain, Settings, Stage
from hwflow.reproduce.tuning import RATE, baseline, length, paired, tuned
from hwflow.study import Study

MACHINES = ("cpu", "systolic-16x16")
SHARES = {
    "cpu": ("85%", "50%", "40%", "33%", "25%"),
    "systolic-16x16": ("50%", "40%", "33%", "25%"),
}
"""Latencies asked for, of the original's, by machine."""
TUNED = {"cpu": ("40%",), "systolic-16x16": ("50%", "40%")}
"""Those whose best answer is fine-tuned; a quick reproduction has the last ones."""
EIGHT_BITS = ("90%", "75%", "60%")
"""Latencies asked for on the CPU of networks of 8 bits, of the original's with 8 bits."""
BITS = 8
CALIBRATION = 256
"""Training images that set the ranges of 8 bits."""
LITE_SHARES = ("90%", "80%", "70%")
"""The same of EfficientNet-Lite0."""
SEED = 0
ANSWERS = 10
SCORES: tuple[Figure, ...] = ("divergence", "loss", "accuracy")
"""What is compared with the truth; the first is what the program minimises."""
OPTIONS = (
    "skip", "conv_bn_act_k3_g1", "conv_bn_act_k3_g2", "conv_bn_act_k3_g4", "conv_bn_act_k3_g8",
    "conv_bn_act_k1_g1", "depthwise_separable_k3_relu", "depthwise_separable_k5_relu",
    "bottleneck_k3_r2_g1", "bottleneck_k3_r4_g1", "inverted_residual_k3_e1_se0_relu",
    "pruned_0.25_l1", "pruned_0.5_l1", "pruned_0.75_l1", "low_rank_svd_0.25", "low_rank_svd_0.5",
    "quantized_w8_a8",
)  # fmt: skip
"""Of the registry's, those that are cheap where images are 32 x 32."""
LITE_OPTIONS = (
    "skip", "depthwise_separable_k3_relu", "inverted_residual_k3_e3_se0_relu",
    "inverted_residual_k5_e3_se0_relu", "pruned_0.25_l1", "pruned_0.375_l1", "pruned_0.5_l1",
    "pruned_0.625_l1", "pruned_0.75_l1", "low_rank_svd_0.25", "low_rank_svd_0.5",
)  # fmt: skip
"""Those tried where few images teach a network that is made of inverted residuals already."""


@dataclass(frozen=True)
class Means:
    """What the options of a network, and the network they make, learn from."""

    options: tuple[str, ...] = OPTIONS
    per_site: int = 12
    """Options that are trained at each site, at most."""
    images: int = 4000
    held: int = 500
    """Further training images, on which trained options are measured."""
    epochs: float = 2.0
    """Passes over these images, for each option."""
    scored: int = 256
    """Validation images on which single replacements are scored."""
    rate: float = RATE
    """Peak learning rate of fine-tuning."""
    trained_original: bool = True
    """Whether what is fine-tuned is compared with the original fine-tuned as long."""


MEANS = {
    LITE: Means(
        LITE_OPTIONS, per_site=8, images=400, held=100, epochs=3.0, rate=0.005,
        trained_original=False,
    ),
}  # fmt: skip
"""By network, where they are not the usual ones. Few images of ImageNet make its original worse."""


def means(network: str) -> Means:
    """Return what a network learns from."""
    return MEANS.get(network, Means())


@dataclass(frozen=True)
class Case:
    """A network to transform for a machine, to a share of its latency."""

    network: str
    machine: str
    share: str
    eight: bool = False
    """Whether all of it has 8 bits, and so no single site is offered them."""

    @property
    def key(self) -> str:
        """Its name in files."""
        return f"{self.network}-{self.machine}-{self.share.rstrip('%')}{self._end}"

    @property
    def folder(self) -> str:
        """The name of the folder that all its shares have in common."""
        return f"{self.network}-{self.machine}{self._end}"

    @property
    def _end(self) -> str:
        return "-in-8-bits" if self.eight else ""

    @property
    def options(self) -> tuple[str, ...]:
        """The options that are tried."""
        known = means(self.network).options
        return tuple(name for name in known if not (self.eight and name.startswith("quantized")))

    @property
    def answers(self) -> int:
        """Diverse answers asked for: bits are simulated, which takes twice as long."""
        return ANSWERS // 2 if self.eight else ANSWERS


def model(machine: str) -> CostModel:
    """Return how costs are known on a machine: measured on the CPU, else the fine level."""
    return Measured() if machine == "cpu" else Fine(cache=user_file())


def transformed(settings: Settings, case: Case) -> Transformed:
    """Return the answers of a case; what was trained is shared by all shares of a machine."""
    network, quick = settings.network(case.network), settings.quick
    data, of = settings.splits(network), means(case.network)
    return hant(
        network, data, case.machine, model(case.machine),
        settings.out / "transforms" / case.folder,
        below=(f"latency={case.share}",), options=find(case.options),
        bits=BITS if case.eight else None,
        per_site=2 if quick else of.per_site, images=256 if quick else of.images,
        held=100 if quick else of.held, how=Fitting(epochs=1.0 if quick else of.epochs),
        scored=200 if quick else of.scored,
        validation=200 if quick else None, answers=2 if quick else case.answers, score_by=SCORES[0],
        seed=SEED, distilled=settings.out / "distilled" / case.network,
        on_progress=lambda p: settings.say(f"  {p.stage}: {p.done} of {p.total}")
        if p.done % 50 == 0 else None,
    )  # fmt: skip


def transform_stage(settings: Settings, case: Case) -> Plain:
    """Transform, and say what stands where, what it costs, and how additive the problem was."""
    found = transformed(settings, case)
    trials = _answers(found)
    added: dict[Figure, list[float]] = {by: _added(found, trials, by) for by in SCORES}
    best = found.best
    accuracy = whole_validation(settings, settings.network(case.network))
    operations = found.operations(best.plan)
    return {
        "case": asdict(case), "sites": len(operations),
        "options_trained": sum(map(len, found.chosen.values())), "remarks": found.remarks(),
        "operations": operations, "families": dict(Counter(map(_family, operations.values()))),
        "validation": accuracy.of(found.problem.space.apply(best.plan)),
        "log_likelihood": best.quality, "teacher": found.scores.teacher.accuracy,
        "shares": _shares(found),
        "answers": [
            {
                "log_likelihood": t.quality,
                "latency_s": t.total["latency_s"],
                "added": {by: sums[row] for by, sums in added.items()},
            }
            for row, t in enumerate(trials)
        ],
        "rank_correlation": {by: _correlation(sums, trials) for by, sums in added.items()},
    }  # fmt: skip


def _shares(found: Transformed) -> dict[str, float]:
    whole = found.problem.costs([found.problem.space.default])[0].total
    return {n: found.best.total[n] / whole[n] for n in ("latency_s", "macs", "params")}


def _answers(found: Transformed) -> list[Trial]:
    """Return the answers that were scored as a whole, in their order."""
    with Study.read(found.answers) as study:
        return [trial for trial in study.trials() if trial.feasible]


def _added(found: Transformed, trials: list[Trial], by: Figure) -> list[float]:
    """Return what the scores add up to."""
    losses = found.scores.losses(found.problem.space, by)
    choices = found.problem.space.choices
    rows = {place: losses[c.name] for place, c in enumerate(choices) if c.name in losses}
    return [float(sum(row[t.plan[place]] for place, row in rows.items())) for t in trials]


def _correlation(added: list[float], trials: list[Trial]) -> float | None:
    """Return Spearman's rank correlation of added scores and what whole networks lose."""
    truth = [trial.quality for trial in trials]
    if len({*added}) < 2 or len({*truth}) < 2:
        return None
    return float(spearmanr(-np.array(added), truth).statistic)


def _family(option: str) -> str:
    return find((option,))[-1].family


def tune_stage(settings: Settings, case: Case, trained: bool = True) -> Plain:
    """Fine-tune the best answer and, as long, the original; compare and measure them.

    Without training the answer is compared with the original as they are. Bits come after it.
    """
    original, of = settings.network(case.network), means(case.network)
    found = transformed(settings, case)
    made = small = found.in_floats(found.best.plan)
    if trained:
        made = tuned(settings, original, small, case.key, SEED, rate=of.rate)
    fair = trained and of.trained_original
    base = baseline(settings, original, case.network) if fair else original
    pairs = {
        "before_fine_tuning": (original, small), "after": (base, made),
        "against_untuned_original": (original, made),
    }  # fmt: skip
    files = {"measured": made}
    if found.has_bits(found.best.plan):
        files["measured_in_eight_bits"] = found.with_bits(made, found.best.plan)
        pairs["after_in_eight_bits"] = (base, files["measured_in_eight_bits"])
    if case.eight:
        files["measured_original_in_eight_bits"] = eight_bits(settings, original, original)
        pairs["original_in_eight_bits"] = (original, files["measured_original_in_eight_bits"])
    accuracy = whole_validation(settings, original)
    before = accuracy.of(small)
    result: dict[str, Any] = {
        "case": asdict(case), **(length(settings) if trained else {"epochs": 0}), "lr": of.rate,
        "validation_before": before,
        "validation_after": accuracy.of(made) if trained else before,
        "test": paired(settings, original, pairs),
    }  # fmt: skip
    if case.machine == "cpu":
        for name, network in files.items():
            result[name] = measured(settings, original, network, f"{case.key}-{name}")
    return result


def eight_bits(settings: Settings, data: Network, network: Network) -> Network:
    """Return a network with 8 bits everywhere, calibrated and not trained."""
    space = quantization_space(network, settings.splits(data), (BITS,), CALIBRATION)
    return space.apply(space.default)


def measured(
    settings: Settings, original: Network, made: Network, name: str, before: str = "original"
) -> Plain:
    """Write both networks as ONNX files and time them side by side on this computer."""
    folder = settings.out / "files"
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{label}.onnx" for label in (before, name)]
    for network, file in zip((original, made), files, strict=True):
        to_onnx(network, file, inputs=settings.splits(original).test.head(CHECKED))
    return measure(files[1], files[0], cpu()).to_json()


def cpu() -> Device:
    """Return this computer's processor as a device."""
    found = load_machine(MACHINES[0])
    assert isinstance(found, Device)  # the preset of that name
    return found


CHECKED = 100
"""Test images on which an exported file is compared with its network."""


def sized_stage(settings: Settings, name: str) -> Plain:
    """Transform ResNet-56 to the latency of a smaller ResNet, and compare it with that.

    Both have 8 bits, and are fine-tuned before with ResNet-56 as their teacher.
    """
    original, small = settings.network("resnet56"), settings.network(name)
    own, whole = (latency_in_bits(network) for network in (small, original))
    case = Case("resnet56", MACHINES[0], f"{100 * own / whole:.2f}%", eight=True)
    found = transformed(settings, case)
    start = found.in_floats(found.best.plan)
    made = tuned(settings, original, start, f"resnet56-as-{name}", SEED)
    base = tuned(settings, original, small, f"{name}-taught-by-resnet56", SEED)
    small_8 = eight_bits(settings, original, base)
    made_8 = found.with_bits(made, found.best.plan)
    pairs = {"after": (base, made), "after_in_eight_bits": (small_8, made_8)}
    return {
        "as": name, "case": asdict(case), "latency_s": own, **length(settings), "lr": RATE,
        "shares": _shares(found),
        "validation_before": whole_validation(settings, original).of(start),
        "test": paired(settings, original, pairs),
        "measured": measured(settings, base, made, f"resnet56-as-{name}", name),
        "measured_in_eight_bits": measured(
            settings, small_8, made_8, f"resnet56-as-{name}-in-8-bits", f"{name}-in-8-bits",
        ),
    }  # fmt: skip


def latency_in_bits(network: Network) -> float:
    """Return what a network of 8 bits takes on this CPU, in seconds, by the table."""
    workload = extract(network).with_one_width(BITS)
    return float(
        model(MACHINES[0]).cost(Design(workload, load_machine(MACHINES[0]))).total["latency_s"]
    )


def _cases() -> list[Case]:
    """Return what is transformed, by machine and share."""
    found = [Case("resnet56", machine, share) for machine in MACHINES for share in SHARES[machine]]
    found += [Case("resnet56", "cpu", share, eight=True) for share in EIGHT_BITS]
    return found + [Case(LITE, "cpu", share, eight=True) for share in LITE_SHARES]


def _stages() -> tuple[Stage, ...]:
    stages: list[Stage] = []
    for case in _cases():
        after = ", all in 8 bits" if case.eight else ""
        about = f"{case.network} on {case.machine} at {case.share} of its latency{after}"
        tuned_too = case.eight or case.share in TUNED[case.machine]
        make = partial(transform_stage, case=case)
        quick = not case.eight and case.share in TUNED[case.machine][-1:]
        stages.append(Stage(f"transform-{case.key}", f"transform {about}", make, quick))
        if tuned_too:
            make = partial(tune_stage, case=case)
            stages.append(Stage(f"tune-{case.key}", f"fine-tune {about}", make, quick))
        if case.eight:
            make = partial(tune_stage, case=case, trained=False)
            stages.append(Stage(f"untrained-{case.key}", f"no training, {about}", make, quick))
    for number in (20, 32):
        name, about = f"resnet{number}", f"ResNet-56 at the latency of ResNet-{number}"
        stages.append(Stage(f"as-{name}", about, partial(sized_stage, name=name), quick=False))
    return tuple(stages)


STAGES = _stages()
