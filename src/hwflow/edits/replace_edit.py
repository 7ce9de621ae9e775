"""The edit: other operations at some sites of a network, on paper and in the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast
from weakref import ref

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, fx, nn

from hwflow.design import Design
from hwflow.edits.inherit import Inheritance, legacy
from hwflow.edits.inline import Insert, inlined
from hwflow.edits.operations.compressed import INPUTS
from hwflow.edits.operations.option import Option, seed_of
from hwflow.edits.operations.pieces import graph_of
from hwflow.edits.operations.teacher import cut_out, ends
from hwflow.edits.quantizers import Prepared, prepared_in_floats
from hwflow.edits.remember import Remembered
from hwflow.edits.sites import Site
from hwflow.edits.splice import check_sites, exit_of, renamed, spliced
from hwflow.errors import HwflowError
from hwflow.extract.subgraph import subgraph
from hwflow.network import Network
from hwflow.running import seeded
from hwflow.space import Legacy
from hwflow.workload import FLOAT_BITS, Workload

Trained = Path | Mapping[tuple[str, str], Mapping[str, Tensor]] | None
"""A folder with <site>/<option>.safetensors, or states by (name of the site, of the option)."""

IMAGES = 64
"""How many calibration inputs the options made from the teacher look at."""


@dataclass(frozen=True)
class Replace:
    """Put these options at these sites; sites that are not named keep what they have."""

    chosen: Mapping[Site, Option] = field(default_factory=dict)
    trained: Trained = field(default=None, compare=False)
    """Where weights that were trained are; what is not there is fresh, or the teacher's."""
    seed: int = 0
    inheritance: Inheritance = field(default=Inheritance(), compare=False, repr=False)
    """Whose bits new layers take."""

    def __post_init__(self) -> None:
        kept = {site: option for site, option in sorted(self.chosen.items(), key=_by_name)
                if option.name != "keep"}  # fmt: skip
        for site, option in kept.items():
            if not option.fits(site):
                raise HwflowError(
                    f"The option {option.name} cannot stand at {site.name!r}, which makes "
                    f"{site.out_shape} of {site.in_shape}. fitting(site) returns those that can."
                )
        object.__setattr__(self, "chosen", kept)

    def __hash__(self) -> int:
        return hash((tuple(self.chosen.items()), self.seed))

    def on_paper(self, design: Design) -> Design:
        """Return the design with the options' layers at their sites.

        Raises HwflowError for sites that the workload does not have or that overlap.
        """
        workload = design.workload
        check_sites(workload, self.chosen)
        pieces = {s: (piece_of(o, s, workload), o.derived) for s, o in self.chosen.items()}
        return design.with_workload(spliced(workload, pieces))

    def in_network(self, network: Network) -> Network:
        """Return a network with the options' modules: an exported graph that trains, in eval mode.

        It shares no parameter with `network`. Raises HwflowError for sites that the network does
        not have or that overlap, and for a network that is quantised.
        """
        ready = replaceable(network)
        check_sites(ready.prepared.workload, self.chosen)
        inserts = [self._insert(ready, site, option) for site, option in self.chosen.items()]
        return network.with_module(inlined(ready.prepared, inserts))

    def legacy(self, workload: Workload) -> Legacy:
        """Return what the layers of `workload` that are gone hand on, and to whom."""
        placed = {s: (o, piece_of(o, s, workload)) for s, o in self.chosen.items()}
        return legacy(self.inheritance, placed)

    def _insert(self, ready: Replaceable, site: Site, option: Option) -> Insert:
        module = self.module(ready, site, option)
        state = dict(module.named_parameters()) | dict(module.named_buffers())
        return Insert(site, graph_of(option, site, module), state, option.derived)

    def module(self, ready: Replaceable, site: Site, option: Option) -> nn.Module:
        """Return what is put at a site, with its trained weights where there are some."""
        teacher = ready.teacher(site) if option.derived else None
        with seeded(seed_of(site, option) ^ self.seed):
            module = option.module(site, teacher)
        state = state_of(self.trained, site, option)
        if state is not None:
            load_state(module, state, f"{site.name}/{option.name}")
        return module.eval()


def _by_name(pair: tuple[Site, Option]) -> str:
    return pair[0].name


def file_of(folder: Path, site: Site, option: Option) -> Path:
    """Return where the weights of an option at a site are."""
    return folder / site.name / f"{option.name}.safetensors"


def state_of(trained: Trained, site: Site, option: Option) -> Mapping[str, Tensor] | None:
    """Return the trained weights of an option at a site, None where there are none."""
    if trained is None:
        return None
    if not isinstance(trained, Path):
        return trained.get((site.name, option.name))
    path = file_of(trained, site, option)
    if not path.is_file():
        return None
    try:
        return cast(Mapping[str, Tensor], load_file(path))
    except (OSError, SafetensorError) as error:
        raise HwflowError(f"{path} cannot be read: {error}. Remove it, or train anew.") from error


def load_state(module: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Load weights that must fit a module; HwflowError names the first that does not."""
    own = module.state_dict()
    for key in sorted(own.keys() ^ state.keys()):
        where = "lacks" if key in own else "has"
        raise HwflowError(f"The state of {name} {where} {key!r}: it is of another option or site.")
    for key, value in own.items():
        if value.shape != state[key].shape:
            raise HwflowError(
                f"{key!r} of {name} has shape {tuple(state[key].shape)}, not "
                f"{tuple(value.shape)}: it is of another option or site."
            )
    module.load_state_dict(dict(state))


class _Pieces:
    """Options as workloads, remembered for each workload as long as that is in use."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Callable[[], Workload | None], _Table]] = {}

    def __call__(self, option: Option, site: Site, workload: Workload) -> Workload:
        """Return an option at a site of a workload as a workload of its own."""
        owner, table = self._known.get(id(workload), (None, {}))
        if owner is None or owner() is not workload:
            table = {}
            self._known = {k: v for k, v in self._known.items() if v[0]() is not None}
            self._known[id(workload)] = (ref(workload), table)
        if (site, option) not in table:
            table[site, option] = option.piece(site, workload)
        return table[site, option]


_Table = dict[tuple[Site, Option], Workload]

piece_of = _Pieces()
"""What hashing a workload would cost for each site of each plan is spared."""


def owned(
    workload: Workload, site: Site, options: Iterable[Option]
) -> tuple[set[str], tuple[int, ...]] | None:
    """Return the layers that options put at a site, its own included, and their loose parameters.

    None where an option hands on other bits than the site's exit had: what reads it then costs
    something else.
    """
    bits = {i.name: i.bits for i in workload.inputs} | {la.name: la.output_bits for la in workload}
    if not bits[site.entry] == bits[site.exit] == FLOAT_BITS:
        return None
    names, loose = set(site.layers), []
    for option in options:
        if option.name == "keep":
            loose.append(sum(workload[name].loose for name in site.layers))
            continue
        piece = piece_of(option, site, workload)
        handed_on = site.entry == exit_of(site, piece, option.derived)
        if not handed_on and piece[piece.outputs[0]].output_bits != FLOAT_BITS:
            return None
        names |= {renamed(site, layer.name, option.derived) for layer in piece}
        loose.append(piece.loose_params)
    return names, tuple(loose)


class Replaceable:
    """What replacing operations of a network needs and no plan changes."""

    def __init__(self, ready: Prepared) -> None:
        """Take the exported network."""
        self.prepared = ready
        self._teachers: dict[Site, fx.GraphModule] = {}

    def teacher(self, site: Site) -> fx.GraphModule:
        """Return what stands at a site, with what its entry holds for calibration inputs."""
        if site not in self._teachers:
            made = cut_out(self.prepared, site)
            if self.prepared.calibration is not None:
                made.meta[INPUTS] = self._entry(site, self.prepared.calibration[:IMAGES])
            self._teachers[site] = made
        return self._teachers[site]

    def _entry(self, site: Site, inputs: Tensor) -> Tensor:
        """Run the network up to the entry of a site."""
        entry, _ = ends(self.prepared, site)
        with torch.no_grad():
            found: Tensor = subgraph(self.prepared.graph, [entry])(inputs)[0]
            return found


@Remembered
def replaceable(network: Network) -> Replaceable:
    """Export the network; raises HwflowError when it is quantised already."""
    why = (
        "scales belong to what they were computed with. Replace operations first and quantise the "
        "result."
    )
    return Replaceable(prepared_in_floats(network, why))
