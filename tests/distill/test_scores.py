"""Scores of single replacements are what plain evaluation of the replaced network gives."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tiny_distill import OPTIONS, blocks, distilled, images, network

from hwflow.distill import Scored, Scores, score
from hwflow.edits.quantizers import prepared
from hwflow.edits.sites import sites
from hwflow.errors import HwflowError
from hwflow.extract import extract
from hwflow.quality.detour import Detour, Figures
from hwflow.space import Choice
from hwflow.study import STUDY_FILE, Study

LABELLED = images(48)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("scored") / "run"
    distilled(out)
    net = network()
    return out, net, score(net, blocks(net), OPTIONS, LABELLED, out, images=40, batch=16)


def plain(module: torch.nn.Module) -> tuple[float, float]:
    inputs = torch.cat([x for x, _ in LABELLED])[:40]
    targets = torch.cat([y for _, y in LABELLED])[:40]
    with torch.no_grad():
        logits = module.eval()(inputs)
    return float(F.cross_entropy(logits, targets)), float(
        (logits.argmax(1) == targets).float().mean()
    )


def divergence(teacher: torch.nn.Module, student: torch.nn.Module) -> float:
    inputs = torch.cat([x for x, _ in LABELLED])[:40]
    with torch.no_grad():
        wanted, found = (module.eval()(inputs).softmax(1) for module in (teacher, student))
    return float((wanted * (wanted / found).log()).sum(1).mean())


def logits(net):
    with torch.no_grad():
        return [net.module.eval()(x) for x, _ in LABELLED]


@pytest.mark.parametrize("option", OPTIONS[1:], ids=lambda option: option.name)
@pytest.mark.parametrize("site", ["one", "two"])
def test_a_score_is_that_of_the_replaced_network(run, site, option):
    out, net, scores = run
    edited = copy.deepcopy(net.module)
    place = next(s for s in blocks(net) if s.name == site)
    module = option.module(place)
    file = out / "weights" / site / f"{option.name}.safetensors"
    if file.exists():
        module.load_state_dict(load_file(file))
    setattr(edited, site, module)
    before, after = plain(net.module), plain(edited)
    found = scores.of(site, option.name)
    assert found.divergence == pytest.approx(divergence(net.module, edited), abs=1e-5)
    assert found.loss == pytest.approx(after[0] - before[0], abs=1e-5)
    assert found.accuracy == pytest.approx(before[1] - after[1], abs=1e-6)


def test_the_teacher_loses_nothing(run):
    _, net, scores = run
    for site in ("one", "two"):
        assert scores.of(site, "keep").loss == pytest.approx(0, abs=1e-6)
        assert scores.of(site, "keep").accuracy == 0
        assert scores.of(site, "keep").divergence == pytest.approx(0, abs=1e-6)
    assert scores.teacher == pytest.approx((*plain(net.module), 0), abs=1e-6)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_scores_are_found_once(run, workers):
    out, net, scores = run
    heard = []
    again = score(
        net, blocks(net), OPTIONS, LABELLED, out, images=40, batch=16, on_progress=heard.append
    )
    assert (again, heard) == (scores, [])
    fewer = score(
        net, blocks(net), OPTIONS, LABELLED, out, images=32, workers=workers,
        on_progress=heard.append,
    )  # fmt: skip
    assert [p.done for p in heard] == [5, 10]
    assert heard[-1].stage == "scores"
    assert fewer.teacher != scores.teacher


def test_inside_a_branch_the_other_branch_is_kept():
    net = network()
    (site,) = [s for s in sites(extract(net), "layer") if s.name == "two.conv1"]
    ready = prepared(net)
    values = ready.found.values
    detour = Detour(ready.graph, values[site.entry], values[site.exit], LABELLED, logits(net))
    edited = copy.deepcopy(net.module)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module = torch.nn.Conv2d(8, 8, 3, padding=1)
    edited.two.conv1, edited.two.bn1 = module, torch.nn.Identity()
    inputs = torch.cat([x for x, _ in LABELLED])
    targets = torch.cat([y for _, y in LABELLED])
    with torch.no_grad():
        wanted = float(F.cross_entropy(edited.eval()(inputs), targets))
    found = detour.measure(torch.nn.Sequential(module, torch.nn.ReLU()))
    assert found.loss == pytest.approx(wanted, abs=1e-5)


def test_losses_are_given_as_solvers_take_them():
    rows = (Scored("a.b", "keep", 0.0, 0.0, 0.0), Scored("a.b", "skip", 0.5, 0.25, 0.75))
    scores = Scores(Figures(1.0, 0.9), rows)

    class Space:
        choices = (Choice("operation:a.b", ("skip", "keep")), Choice("bits:a.b", (4, 8)))

    assert scores.losses(Space()) == {"operation:a.b": (0.25, 0.0)}
    assert scores.losses(Space(), "loss") == {"operation:a.b": (0.5, 0.0)}
    assert scores.losses(Space(), "divergence") == {"operation:a.b": (0.75, 0.0)}
    Space.choices = (Choice("operation:a.b", ("keep", "other")),)
    with pytest.raises(HwflowError, match=r"'other' at 'a.b' was not scored"):
        scores.losses(Space())


def test_what_was_not_distilled_is_said(run, tmp_path):
    out, net, _ = run
    distilled(tmp_path / "run", options=OPTIONS[:2])
    with pytest.raises(HwflowError, match=r"conv_bn_act_k3_g1.*was not distilled"):
        score(net, blocks(net), OPTIONS, LABELLED, tmp_path / "run")
    with pytest.raises(HwflowError, match="no run folder"):
        score(net, blocks(net), OPTIONS, LABELLED, tmp_path / "none")
    with pytest.raises(HwflowError, match="images and batch"):
        score(net, blocks(net), OPTIONS, LABELLED, out, images=0)


def test_options_that_failed_are_left_out(run, tmp_path):
    _, net, _ = run
    out = tmp_path / "run"
    found = distilled(out, options=OPTIONS[:2])
    failed = replace(found.of("one", "skip"), failed="why", error=float("inf"))
    with Study.start(out, Study.read(out).settings) as study:
        study.remember("distilled one skip", failed.to_json())
    scores = score(net, blocks(net), OPTIONS[:2], LABELLED, out, images=16)
    assert [(r.site, r.option) for r in scores.rows] == [
        ("one", "keep"), ("two", "keep"), ("two", "skip")
    ]  # fmt: skip
    assert (out / STUDY_FILE).exists()


def test_missing_weights_are_said(run, tmp_path):
    _, net, _ = run
    out = tmp_path / "run"
    distilled(out, options=OPTIONS[2:3])
    (out / "weights" / "one" / "conv_bn_act_k3_g1.safetensors").unlink()
    with pytest.raises(HwflowError, match="are missing"):
        score(net, blocks(net), OPTIONS[2:3], LABELLED, out, images=16)
