"""What a study's trials were made with: it must change exactly when they would."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from toy import BitPart, ToyQuality, chain, toy_problem

from hwflow.cost import Limits
from hwflow.loop.fingerprint import network_digest, run_settings, versions, workload_digest
from hwflow.problem import Problem
from hwflow.solvers.random import Random
from hwflow.space import Space


def settings(problem: Problem | None = None, **more: object) -> dict[str, object]:
    given = {"quality": ToyQuality(), "solver": Random(), "seed": 0, "threads": 1} | more
    return run_settings(problem or toy_problem(), **given)  # type: ignore[arg-type]


def test_settings_are_plain_data_and_stay_the_same() -> None:
    found = settings()
    assert json.loads(json.dumps(found)) == found
    assert found == settings()


@pytest.mark.parametrize(
    ("key", "changed"),
    [
        ("seed", settings(seed=1)),
        ("threads", settings(threads=2)),
        ("solver", settings(solver=Random(seed=1))),
        ("quality", settings(quality=ToyQuality(noise=0.1))),
        ("limits", settings(toy_problem(Limits(latency_s=1.0)))),
        ("space", settings(toy_problem(options=(2, 4)))),
        ("objectives", settings(replace(toy_problem(), objectives=("accuracy",)))),
        ("machine", settings(replace(toy_problem(), on="simd-16"))),
    ],
)
def test_every_setting_shows_under_its_key(key: str, changed: dict[str, object]) -> None:
    before = settings()
    assert {name for name in before if before[name] != changed[name]} == {key}


def test_the_workload_counts_without_its_name() -> None:
    same = replace(chain(), name="another name")
    other = replace(chain(), loose_params=5)
    assert workload_digest(same) == workload_digest(chain())
    assert workload_digest(other) != workload_digest(chain())
    narrow = chain().with_bits({"conv1": 4}, {})
    assert workload_digest(narrow) != workload_digest(chain())


def test_edits_without_choices_count() -> None:
    workload = chain()
    part = BitPart(("conv0",))
    bare = replace(part, names=())
    one = settings(Problem(Space(workload, (part,)), "eyeriss", toy_problem().cost))
    two = settings(Problem(Space(workload, (part, bare)), "eyeriss", toy_problem().cost))
    assert one["edits"] != two["edits"]


def test_weights_and_calibration_inputs_count() -> None:
    torch = pytest.importorskip("torch")
    from hwflow.network import Network

    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2))
    network = Network("small", module, torch.zeros(1, 1, 4, 4))
    digests = [network_digest(network)]
    assert network_digest(replace(network, name="same")) == digests[0]
    digests.append(network_digest(network.calibrated(torch.zeros(2, 1, 4, 4))))
    digests.append(network_digest(network.calibrated(torch.ones(2, 1, 4, 4))))
    with torch.no_grad():
        module[1].running_mean += 1
    digests.append(network_digest(network))
    module.to(torch.bfloat16)
    digests.append(network_digest(network))
    assert len(set(digests)) == 5


def test_versions_name_what_computes() -> None:
    found = versions()
    assert set(found) == {"hwflow", "torch", "numpy", "pymoo", "python"}
    assert all(found.values())


def test_what_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    from hwflow.loop import fingerprint

    def version(name: str) -> str:
        if name == "torch":
            raise fingerprint.PackageNotFoundError
        return "1.0"

    monkeypatch.setattr(fingerprint, "version", version)
    assert versions()["torch"] is None
    assert SimpleNamespace(**versions()).numpy == "1.0"
