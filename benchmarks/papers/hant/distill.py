"""Layer-wise distillation and scores of ResNet-56 on CIFAR-10: how long, how well, for all sites.

    python distill.py WEIGHTS DATA OUT [--sites a,b] [--options family,name] [--score] [--json FILE]

WEIGHTS is the teacher's .safetensors, DATA what `hwflow --data` takes, OUT a run folder: killed at
any moment, the same command goes on. Prints CPU seconds and errors by family and size of the
activations, and from them how long all options would take at all sites.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from statistics import mean, median

import hwflow as hf
from hwflow.distill import Distilled, Fitting, Progress, distill, score
from hwflow.edits.operations import Option, find, fitting
from hwflow.edits.sites import Site, sites
from hwflow.extract import extract

CHEAP = (
    "keep,skip,conv_bn_act_k3_g1,conv_bn_act_k3_g2,conv_bn_act_k3_g4,conv_bn_act_k3_g8,conv_bn_act_k1_g1,"
    "depthwise_separable_k3_relu,depthwise_separable_k5_relu,bottleneck_k3_r2_g1,bottleneck_k3_r4_g1,"
    "inverted_residual_k3_e1_se0_relu,pruned_0.25_l1,pruned_0.5_l1,pruned_0.75_l1,"
    "low_rank_svd_0.25,low_rank_svd_0.5"
)
"""Options that are cheap on most machines."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights")
    parser.add_argument("data")
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="cifar:resnet56")
    parser.add_argument("--sites", help="Names of sites; all by default.")
    parser.add_argument("--options", default=CHEAP, help="Names or families; 'all'.")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--lr", type=float, default=0.03)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--together", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--score", action="store_true", help="Score them on validation images.")
    parser.add_argument("--score-images", type=int, default=512)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def tell(progress: Progress) -> None:
    left = "?" if progress.seconds_left is None else f"{progress.seconds_left / 60:.0f} min"
    last = progress.last
    about = (
        "" if last is None else f"{last.site} {last.option} {last.error:.3f} {last.seconds:.1f} s"
    )
    print(f"{progress.stage} {progress.done}/{progress.total}, {left} left {about}", flush=True)


def family(option: str, options: tuple[Option, ...]) -> str:
    return next(o.family for o in options if o.name == option)


def extrapolated(results: list[Distilled], chosen: list[Site], every: tuple[Site, ...]) -> float:
    """Return CPU seconds of the same options at all sites: each like the measured one of its size.

    A site of a size that was not measured counts like the nearest by number of elements.
    """
    size = {site.name: _elements(site) for site in every}
    by_size: dict[int, list[float]] = defaultdict(list)
    for site in chosen:
        by_size[size[site.name]].append(sum(r.seconds for r in results if r.site == site.name))
    return sum(
        mean(by_size[min(by_size, key=lambda known: abs(known - _elements(site)))])
        for site in every
    )


def _elements(site: Site) -> int:
    return sum(c * h * w for c, h, w in (site.in_shape, site.out_shape))


def main() -> None:
    given = arguments()
    net = hf.load(given.model, weights=given.weights)
    data = hf.load_data(given.data, net)
    every = sites(extract(net))
    named = given.sites.split(",") if given.sites else [site.name for site in every]
    chosen = [site for site in every if site.name in named]
    options = find(None if given.options == "all" else given.options.split(","))
    how = Fitting(given.epochs, given.lr, batch=given.batch, seed=given.seed)
    began = time.monotonic(), time.process_time()
    found = distill(
        net, chosen, options, data.train, given.out, images=given.images, how=how,
        workers=given.workers, together=given.together, on_progress=tell,
    )  # fmt: skip
    results = list(found.results)
    report = summary(results, options, chosen, every)
    report["run"] = {"wall_s": time.monotonic() - began[0], "cpu_s": time.process_time() - began[1]}
    if given.score:
        scores = score(net, chosen, options, data.val, given.out, images=given.score_images,
                       workers=given.workers, on_progress=tell)  # fmt: skip
        report["teacher"] = scores.teacher._asdict()
        report["scores"] = [vars(row) for row in scores.rows]
    text = json.dumps({"settings": {k: str(v) for k, v in vars(given).items()}, **report}, indent=1)
    if given.json:
        given.json.write_text(text + "\n")
    print(json.dumps({k: v for k, v in report.items() if k != "scores"}, indent=1))


def summary(
    results: list[Distilled], options: tuple[Option, ...], chosen: list[Site],
    every: tuple[Site, ...],
) -> dict[str, object]:  # fmt: skip
    rows = []
    for site in chosen:
        for name in dict.fromkeys(family(r.option, options) for r in results):
            own = [r for r in results if r.site == site.name and family(r.option, options) == name]
            if own:
                rows.append({"site": site.name, "family": name, "options": len(own),
                             "seconds": round(mean(r.seconds for r in own), 2),
                             "error": round(median(r.error for r in own), 4),
                             "least_error": round(min(r.error for r in own), 4)})  # fmt: skip
    fit = mean(len(fitting(site, options)) for site in every)
    total = extrapolated(results, chosen, every)
    return {
        "rows": rows,
        "failed": [[r.site, r.option, r.failed] for r in results if r.failed],
        "options_per_site": fit,
        "all_sites_cpu_s": round(total),
        "seconds_per_option": round(total / (fit * len(every)), 2),
        "minutes_for_40_options_on_2_cores": round(total / fit * 40 / 2 / 60, 1),
    }


if __name__ == "__main__":
    main()
