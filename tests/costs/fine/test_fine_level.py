"""Fine as a cost model: above Mid everywhere, cached, and clear about what cannot be costed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwflow.cost import Bits
from hwflow.costs.fine import Fine
from hwflow.costs.fine.cache import Cache, user_file
from hwflow.costs.mid import Mid
from hwflow.design import Design
from hwflow.errors import HwflowError, MachineError, WorkloadError
from hwflow.machine import Accelerator, load_machine, machine_names
from hwflow.workload import Input, Layer, Workload

QUIET = [HealthCheck.too_slow]
BITS = st.sampled_from((1, 2, 3, 4, 6, 8, 16, 32))


def one(layer: Layer, shape: tuple[int, ...]) -> Workload:
    return Workload("one", (layer,), (Input("x", shape),), (layer.name,))


def conv(
    outs: int, ins: int, size: int, kernel: int, stride: int = 1, dilation: int = 1,
    groups: int = 1, pad: int = 0, batch: int = 1,
) -> Workload:  # fmt: skip
    out = (size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
    shape = (batch, ins, size, size)
    layer = Layer(
        "conv", "conv", ("x",), (shape,), (batch, outs, out, out), batch=batch, out_channels=outs,
        in_channels=ins, out_size=(out, out), kernel=(kernel, kernel), stride=(stride, stride),
        dilation=(dilation, dilation), padding=(pad,) * 4, groups=groups, input_bits=(32,),
        params=outs * ins // groups * kernel**2,
    )  # fmt: skip
    return one(layer, shape)


@st.composite
def convs(draw: st.DrawFn) -> Workload:
    kernel, dilation = draw(st.sampled_from((1, 3, 5))), draw(st.sampled_from((1, 2)))
    size = draw(st.integers(dilation * (kernel - 1) + 1, 40))
    groups = draw(st.sampled_from((1, 1, 2, 8)))
    outs, ins = (groups * draw(st.integers(1, 70 // groups)) for _ in range(2))
    return conv(
        outs, ins, size, kernel, draw(st.sampled_from((1, 2, 3))), dilation, groups,
        draw(st.integers(0, kernel // 2 * dilation)), draw(st.sampled_from((1, 4))),
    )  # fmt: skip


@st.composite
def others(draw: st.DrawFn) -> Workload:
    kind = draw(st.sampled_from(("linear", "matmul", "conv_transpose", "add")))
    n, k, c, p = (draw(st.integers(1, 60)) for _ in range(4))
    if kind == "linear":
        layer = Layer("linear", kind, ("x",), ((n, p, c),), (n, p, k), batch=n, out_channels=k,
                      in_channels=c, out_size=(p, 1), input_bits=(32,), params=k * c)  # fmt: skip
        return one(layer, (n, p, c))
    if kind == "add":
        return one(Layer("add", "add", ("x",), ((1, c, p, p),), (1, c, p, p), input_bits=(32,)),
                   (1, c, p, p))  # fmt: skip
    if kind == "matmul":
        lots = draw(st.integers(1, 8))
        layer = Layer(
            "matmul", kind, ("x", "y"), ((lots, p, c), (lots, c, k)), (lots, p, k), groups=lots,
            in_channels=lots * c, out_channels=lots * k, out_size=(p, 1), input_bits=(32, 32),
        )  # fmt: skip
        return Workload("one", (layer,), (Input("x", (lots, p, c)), Input("y", (lots, c, k))),
                        ("matmul",))  # fmt: skip
    kernel, stride = draw(st.sampled_from(((2, 2), (4, 2), (3, 2), (3, 1))))
    out = (p - 1) * stride + kernel
    layer = Layer(
        "up", kind, ("x",), ((1, c, p, p),), (1, k, out, out), out_channels=k, in_channels=c,
        out_size=(out, out), kernel=(kernel, kernel), stride=(stride, stride), input_bits=(32,),
        params=k * c * kernel**2,
    )  # fmt: skip
    return one(layer, (1, c, p, p))


@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=QUIET)
@given(
    st.one_of(convs(), others()), st.sampled_from(machine_names()), BITS, BITS, BITS,
    st.sampled_from(("latency", "energy")),
)  # fmt: skip
def test_mid_is_never_above_fine(
    workload: Workload, name: str, weight: int, read: int, out: int, goal: str
) -> None:
    layer = workload.layers[0]
    tensors = {**dict.fromkeys((i.name for i in workload.inputs), read), layer.name: out}
    design = Design(workload.with_bits({layer.name: weight}, tensors), load_machine(name))
    fine, mid = Fine(goal).cost(design), Mid().cost(design)
    for metric in ("dram_bytes", "latency_s", "energy_j"):
        assert fine.total[metric] >= mid.total[metric] * (1 - 1e-9)
    assert fine.macs == mid.macs


def net(count: int = 3) -> Workload:
    """Equal convolutions in a chain, an add at the end."""
    layers, source = [], "x"
    shape = (1, 16, 10, 10)
    for index in range(count):
        layers.append(Layer(
            f"conv{index}", "conv", (source,), (shape,), shape, out_channels=16, in_channels=16,
            out_size=(10, 10), kernel=(3, 3), padding=(1,) * 4, input_bits=(32,), params=2304,
        ))  # fmt: skip
        source = f"conv{index}"
    layers.append(Layer("add", "add", (source, "x"), (shape, shape), shape, input_bits=(32, 32)))
    return Workload("net", tuple(layers), (Input("x", shape),), ("add",))


def test_equal_layers_are_searched_once() -> None:
    fine = Fine()
    found = fine.cost(Design(net(), load_machine("eyeriss")))
    assert len(fine.cache) == 1
    assert len({layer.latency_s for layer in found.layers[:3]}) == 1


def test_many_bits_at_once_cost_what_each_costs_alone() -> None:
    design, rng = Design(net(), load_machine("simd-16")), np.random.default_rng(3)
    bits = Bits(rng.choice([2, 4, 8], (6, 4)), rng.choice([4, 8], (6, 5)))
    fine = Fine("edp")
    together = fine.over_bits(design, bits)
    for row in range(len(bits)):
        names = [layer.name for layer in design.workload]
        weights = dict(zip(names, bits.weights[row].tolist(), strict=True))
        tensors = dict(zip(["x", *names], bits.tensors[row].tolist(), strict=True))
        alone = fine.cost(design.with_workload(design.workload.with_bits(weights, tensors)))
        assert alone.total == pytest.approx(together[row].total)


def test_fewer_bits_never_cost_more() -> None:
    for name in ("eyeriss", "simd-16", "bismo"):
        design, fine = Design(net(1), load_machine(name)), Fine()
        bits = Bits(np.array([[b, 32] for b in (2, 4, 8)]), np.array([[b] * 3 for b in (2, 4, 8)]))
        costs = fine.over_bits(design, bits)
        for metric in ("latency_s", "dram_bytes"):
            values = costs.total[metric]
            assert (np.diff(values) >= -1e-12 * values[1:]).all()


def test_the_report_adds_up() -> None:
    design = Design(net(), load_machine("eyeriss"))
    fine = Fine("energy")
    cost, report = fine.cost(design), fine.report(design)
    assert [entry.name for entry in report] == ["conv0", "conv1", "conv2"]
    for entry, layer in zip(report, cost.layers, strict=False):
        plain = entry.to_json()
        assert sum(plain["energy_by_part"].values()) == pytest.approx(layer.energy_j)
        assert sum(plain["bytes_by_memory"]["dram"].values()) == pytest.approx(layer.dram_bytes)
        assert plain["cycles"] == pytest.approx(layer.latency_s * design.machine.clock_hz)
        assert plain["bound_by"] == layer.bound_by
        assert plain["gap"] == 0
        assert 1 <= plain["active_pes"] <= design.machine.pes
        assert "GLB" in plain["mapping"] or "DRAM" in plain["mapping"]


def test_objectives_seek_what_they_say() -> None:
    design = Design(conv(64, 32, 28, 3, pad=1), load_machine("eyeriss-isca16"))
    by = {goal: Fine(goal).cost(design) for goal in ("latency", "energy", "edp")}
    product = {goal: cost.latency_s * cost.energy_j for goal, cost in by.items()}
    assert by["latency"].latency_s == min(cost.latency_s for cost in by.values())
    assert by["energy"].energy_j == min(cost.energy_j for cost in by.values())
    assert product["edp"] == min(product.values())


def test_a_file_keeps_mappings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, design = tmp_path / "deep" / "fine.sqlite", Design(net(), load_machine("eyeriss"))
    first = Fine(cache=path).cost(design)
    monkeypatch.setattr(Fine, "_searched", lambda *_: pytest.fail("searched again"))
    assert Fine(cache=path).cost(design).total == first.total
    with sqlite3.connect(path) as file:
        assert file.execute("SELECT count(*) FROM mappings").fetchone() == (1,)


def test_a_file_that_is_no_cache_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are not the mappings you are looking for, " * 50)
    with pytest.raises(HwflowError, match=r"Cannot use .*notes\.txt as a cache"):
        Cache(path)


def test_the_users_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert user_file().parent == Path("/elsewhere/hwflow")


def test_settings_are_part_of_the_digest() -> None:
    kinds = [Fine(), Fine("energy"), Fine(full=True)]
    assert len({fine.digest() for fine in kinds}) == 3
    with pytest.raises(HwflowError, match="objective 'speed'"):
        Fine("speed")  # type: ignore[arg-type]


def changed(name: str, **update: object) -> Accelerator:
    plain = load_machine(name).model_dump(mode="json", by_alias=True)
    return Accelerator.model_validate({**plain, **update})


def test_a_layer_that_cannot_be_mapped_names_the_memory_and_the_bytes() -> None:
    plain = load_machine("eyeriss").model_dump(mode="json", by_alias=True)
    plain["memory"][1]["size"] = {"value": "20 B", "source": "test"}
    machine = Accelerator.model_validate(plain)
    with pytest.raises(WorkloadError, match=r"'conv0': .*K16 C16.*GLB lacks 18 bytes"):
        Fine().cost(Design(net(), machine))


def test_a_scratchpad_without_room_is_named() -> None:
    plain = load_machine("eyeriss").model_dump(mode="json", by_alias=True)
    plain["scratchpads"]["weights"] |= {
        "size": {"value": "1 B", "source": "test"}, "word": {"value": 8, "source": "test"},
    }  # fmt: skip
    machine = Accelerator.model_validate(plain)
    with pytest.raises(WorkloadError, match=r"weights scratchpad lacks 1 bytes"):
        Fine().cost(Design(net(), machine))


def test_machines_of_other_shapes_are_refused() -> None:
    plain = load_machine("eyeriss").model_dump(mode="json", by_alias=True)
    extra = {**plain["memory"][1], "name": "L1"}
    machine = changed("eyeriss", memory=[*plain["memory"], extra],
                      array={**plain["array"], "between": ["GLB", "L1"]})  # fmt: skip
    with pytest.raises(MachineError, match=r"L1 and scratchpads lie in each PE.*mid level"):
        Fine().cost(Design(net(), machine))
