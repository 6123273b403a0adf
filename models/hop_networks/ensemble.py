"""The hop model: an ensemble of hop networks behind fit and predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import ndtri

from ionbridge.models.barriers.hop_model import HopEnergies, HopModel
from ionbridge.models.calibration import ENOUGH_GROUPS, Calibration
from ionbridge.models.checkpoint import Arrays, named, under
from ionbridge.models.domain import LONGEST_HOP_A, Domain
from ionbridge.models.hop_networks.finetuning import (
    FineTuning,
    FromScratch,
    HeadsOnly,
    LowRankAdapters,
    ParameterGroups,
    fine_tuning_from_json,
    fine_tuning_to_json,
    merge_adapters,
)
from ionbridge.models.hop_networks.hop_graphs import graph_of
from ionbridge.models.hop_networks.losses import BarrierLoss
from ionbridge.models.hop_networks.network import (
    HopNetwork,
    HopNetworkConfig,
    HopOutput,
    arrays_of,
    network_of,
    weights_of,
)
from ionbridge.models.hop_networks.training import Example, TrainingConfig, fit_network, pick_device
from ionbridge.models.prediction import Prediction
from ionbridge.models.regressors.gaussian_process import PathProcess
from ionbridge.models.transforms import LogShift
from ionbridge.structures.features.graph import HopData, migration_graph_data
from ionbridge.structures.hops.migration_graph import MigrationGraph
from ionbridge.structures.records import Hop

BATCH_SIZE = 64
SAME_HOP = 1e-4
"""Distance to a training hop, in units of the domain's edge, below which it is that hop."""


MOST_MEMBERS = 1000


@dataclass(frozen=True)
class HopEnsembleConfig:
    """Settings of a :class:`HopEnsemble`.

    Attributes:
        network: Sizes of each member.
        training: How each member is fitted to labels.
        n_members: Networks in the ensemble; member k trains with seed ``training.seed + k``.
        strategy: What moves when there is a pretrained base.
        target: Space in which barriers are compared.
        process_weight: Share of a Gaussian process on the path scalars in every barrier, in the
            space of the target; 0 for none. Each member has its own draw of the process.
    """

    network: HopNetworkConfig = field(default_factory=HopNetworkConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    n_members: int = 5
    strategy: FineTuning = field(default_factory=FromScratch)
    target: LogShift = field(default_factory=LogShift)
    process_weight: float = 0.5

    def __post_init__(self) -> None:
        if not isinstance(self.n_members, int) or not 0 < self.n_members <= MOST_MEMBERS:
            raise ValueError(
                f"ensemble: n_members {self.n_members!r}; expected an integer from 1 to "
                f"{MOST_MEMBERS}"
            )
        if not 0.0 <= self.process_weight <= 1.0:
            raise ValueError(f"ensemble: process_weight {self.process_weight!r}; expected 0 to 1")

    def to_json(self) -> dict[str, Any]:
        """Plain values, ready to be written as JSON."""
        return {
            "network": asdict(self.network),
            "training": asdict(self.training),
            "n_members": self.n_members,
            "strategy": fine_tuning_to_json(self.strategy),
            "target": asdict(self.target),
            "process_weight": self.process_weight,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> HopEnsembleConfig:
        """Make settings from what :meth:`to_json` gave."""
        return cls(
            network=HopNetworkConfig(**value["network"]),
            training=TrainingConfig(**value["training"]),
            n_members=value["n_members"],
            strategy=fine_tuning_from_json(value["strategy"]),
            target=LogShift(**value["target"]),
            process_weight=value["process_weight"],
        )


class HopEnsemble(HopModel):
    """Migration barriers of hops with their spread; site energies that close every loop.

    It learns from values alone.

    Args:
        config: Settings.
        base: Weights of one or more pretrained networks (``network.state_dict()``); member k
            starts from base k modulo their number.
        known: Gaussian process of a base model; its labels are kept and the new ones added.
    """

    kind = "hop_ensemble"
    learns_bounds = False

    def __init__(
        self,
        config: HopEnsembleConfig | None = None,
        base: Sequence[Mapping[str, torch.Tensor]] = (),
        known: PathProcess | None = None,
    ) -> None:
        self.config = config or HopEnsembleConfig()
        self.base = base
        self.known = known

    def _fit(self, hops: Sequence[Hop], barriers: NDArray[np.float64]) -> None:
        graphs = [graph_of(hop) for hop in hops]
        scalars = torch.cat([g.scalars for g in graphs])
        # A handful of labels cannot say how large errors get: the base's spread is kept.
        few = self.known is not None and len({hop.framework for hop in hops}) < ENOUGH_GROUPS
        self.networks_ = []
        for member in range(self.config.n_members):
            network, groups = self._start(member, scalars)
            if few:
                groups = without(groups, network.scale_head)
            data = graphs
            if self.config.strategy.freezes_host:
                data = [with_encoded_host(network, graph) for graph in graphs]
            examples = [
                Example(graph, {"forward_eV": torch.tensor([value], dtype=torch.float32)})
                for graph, value in zip(data, barriers, strict=True)
            ]
            fit_network(
                network,
                examples,
                BarrierLoss(self.config.target.shift_eV),
                replace(self.config.training, seed=self.config.training.seed + member),
                parameter_groups=groups,
                progress=self.progress and f"{self.progress} {member + 1}/{self.config.n_members}",
            )
            merge_adapters(network)
            self.networks_.append(network.cpu().eval())
        elements = frozenset(k for hop in hops for s in hop.host_species for k in s) | frozenset(
            hop.working_ion for hop in hops
        )
        embedding = self._embedding(graphs)
        self.domain_ = Domain.fit(embedding, [hop.framework for hop in hops], elements)
        self.calibration_ = Calibration()
        self.process_: PathProcess | None = None
        if self.config.process_weight > 0:
            raw = self.member_energies(graphs)
            half = 0.5 * (raw.end_eV - raw.start_eV).mean(axis=0)
            saddle = np.maximum(barriers - half, np.abs(half))
            target = self.config.target.forward(saddle)
            inputs = scalars.double().numpy()
            if self.known is not None:
                inputs = np.concatenate([self.known.inputs, inputs])
                target = np.concatenate([self.known.target, target])
            self.process_ = PathProcess(inputs, target)

    @property
    def target(self) -> LogShift:
        """Space in which barriers are compared and intervals calibrated."""
        return self.config.target

    def _predict(self, hops: Sequence[Hop]) -> Prediction:
        raw = self.barriers(self.member_energies([graph_of(hop) for hop in hops]))
        return self.calibration_.calibrated(raw)

    def barriers(self, energies: HopEnergies) -> Prediction:
        """Forward barriers (saddle minus initial site) from the members' energies, eV."""
        forward = energies.kra_eV + 0.5 * (energies.end_eV - energies.start_eV)
        return Prediction(
            energies.central_barrier_eV, energies.aleatoric_std_eV, forward.std(axis=0)
        )

    def interval(self, prediction: Prediction) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Calibrated interval (lower, upper) of what :meth:`predict` gave, eV."""
        return self.calibration_.interval(prediction, self.config.target)

    def to(self, device: str) -> HopEnsemble:
        """Move the networks to ``auto``, ``cpu`` or ``cuda``; predictions are made there."""
        self._check_fitted()
        for network in self.networks_:
            network.to(pick_device(device))
        return self

    @property
    def device(self) -> str:
        """Where the networks are: ``cpu`` or ``cuda``."""
        return next(self.networks_[0].parameters()).device.type

    def energies(self, records: Sequence[Hop]) -> HopEnergies:
        """The members' energies of (n,) hops, with calibrated spreads."""
        raw = self.member_energies([graph_of(hop) for hop in records])
        return raw.inflated(self.calibration_.inflation)

    def member_energies(self, graphs: Sequence[HopData]) -> HopEnergies:
        """Site energies and saddles of all hops of some graphs, in the order of the graphs.

        Spreads are not calibrated.

        Args:
            graphs: From :func:`ionbridge.structures.features.graph.hop_graph` or
                ``migration_graph_data``.
        """
        self._check_fitted()
        device = next(self.networks_[0].parameters()).device
        rows: list[list[NDArray[np.float64]]] = [[] for _ in range(5)]
        with torch.no_grad():
            for first in range(0, len(graphs), BATCH_SIZE):
                batch = HopData.batch_of(graphs[first : first + BATCH_SIZE]).to(device)
                outputs = [HopOutput(*(x.cpu() for x in net(batch))) for net in self.networks_]
                start = np.stack([o.start_eV.double().numpy() for o in outputs])
                end = np.stack([o.end_eV.double().numpy() for o in outputs])
                kra = np.stack([o.kra_eV.double().numpy() for o in outputs])
                kra = self._with_process(kra, end - start, batch.scalars.cpu().double().numpy())
                scale = np.exp(np.stack([o.log_scale.double().numpy() for o in outputs]))
                forward = np.median(kra + 0.5 * (end - start), axis=0)
                laplace_std = np.sqrt(2.0) * np.median(scale, axis=0)
                spread = self.config.target.inverse_std(forward, laplace_std)
                near = self.domain_.distance(outputs[0].embedding.double().numpy()) <= 1.0
                for store, value in zip(rows, (start, end, kra, spread, near), strict=True):
                    store.append(value)
        n = len(self.networks_)
        if not graphs:
            empty = np.zeros((n, 0))
            return HopEnergies(
                empty, empty, empty, np.zeros(0), np.zeros(0, dtype=bool), self.config.target
            )
        joined = [np.concatenate(values, axis=-1) for values in rows]
        start, end, kra, spread = joined[:4]
        return HopEnergies(start, end, kra, spread, joined[4].astype(bool), self.config.target)

    def _with_process(
        self,
        kra_eV: NDArray[np.float64],
        difference_eV: NDArray[np.float64],
        scalars: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """(n_members, n_hops) barriers averaged with each member's draw of the Gaussian process.

        The average is geometric (in the space of the target). The draws are quantiles of the
        posterior, the same for all hops, so that members disagree where the process is unsure.
        """
        if self.process_ is None:
            return kra_eV
        weight, target = self.config.process_weight, self.config.target
        mean, spread = self.process_.predict(scalars)
        n = len(kra_eV)
        quantile = ndtri((np.arange(n) + 0.5) / n)[:, None]
        t = (1.0 - weight) * target.forward(kra_eV) + weight * (mean + quantile * spread)
        return np.asarray(np.maximum(target.inverse(t), 0.5 * np.abs(difference_eV)))

    def crystal_energies(self, graphs: Sequence[MigrationGraph]) -> list[HopEnergies]:
        """The members' energies of the unique hops of each crystal, with calibrated spreads."""
        data = [migration_graph_data(graph) for graph in graphs]
        whole = self.member_energies(data).inflated(self.calibration_.inflation)
        parts = whole.divided([len(graph.hops) for graph in graphs])
        return [
            part._replace(in_domain=part.in_domain & self._known(graph))
            for part, graph in zip(parts, graphs, strict=True)
        ]

    def in_domain(self, records: Sequence[Hop]) -> NDArray[np.bool_]:
        """(n,) True where embedding, elements and length are like those of the training."""
        energies = self.member_energies([graph_of(hop) for hop in records])
        seen = [
            {hop.working_ion, *(k for s in hop.host_species for k in s)} <= self.domain_.elements
            and hop.distance_A <= LONGEST_HOP_A
            for hop in records
        ]
        found: NDArray[np.bool_] = energies.in_domain & np.array(seen, dtype=bool)
        return found

    def _state(self) -> tuple[Arrays, Mapping[str, Any]]:
        arrays = arrays_of("member", [network.state_dict() for network in self.networks_])
        if self.process_ is not None:
            inputs = {"inputs": self.process_.inputs, "target": self.process_.target}
            arrays |= named("process.", {**inputs, **self.process_.arrays()})
        domain = {k: v.astype(np.float32) for k, v in self.domain_.arrays().items()}
        return arrays | named("domain.", domain), {
            "quantity": self.quantity,
            "unit": "eV",
            **self.config.to_json(),
            "calibration": asdict(self.calibration_),
            "domain": {
                "threshold": self.domain_.threshold,
                "elements": sorted(self.domain_.elements),
            },
        }

    @classmethod
    def _restore(cls, arrays: Arrays, config: Mapping[str, Any]) -> Self:
        model = cls(HopEnsembleConfig.from_json(config))
        weights = weights_of("member", arrays)
        if len(weights) != model.config.n_members:
            raise ValueError(f"n_members {model.config.n_members}, weights of {len(weights)}")
        model.networks_ = [network_of(model.config.network, own).eval() for own in weights]
        model.process_ = None
        if model.config.process_weight > 0:
            process = under("process.", arrays)
            inputs, labels = process.pop("inputs"), process.pop("target")
            if "weights" in process:
                model.process_ = PathProcess.of_arrays(inputs, labels, process)
            else:  # saved by version 0.1
                model.process_ = PathProcess(inputs, labels, process["theta"])
        model.domain_ = Domain.of_arrays(under("domain.", arrays), **config["domain"])
        model.calibration_ = Calibration(**config["calibration"])
        return model

    def _known(self, graph: MigrationGraph) -> bool:
        elements = {k for s in graph.crystal.species for k in s} | {graph.working_ion}
        return elements <= self.domain_.elements

    def embedding(self, records: Sequence[Hop]) -> NDArray[np.float64]:
        """(n, n_features) what the first network makes of the paths."""
        return self._embedding([graph_of(hop) for hop in records])

    def points(self, records: Sequence[Hop]) -> NDArray[np.float64]:
        """(n, n_features) points in the space where nearness means likeness."""
        return self.embedding(records)

    def were_trained_on(self, records: Sequence[Hop]) -> NDArray[np.bool_]:
        """(n,) True for hops whose embedding is that of a training hop."""
        distance, _ = cKDTree(self.domain_.reference).query(super().points(records))
        return np.asarray(distance < SAME_HOP * self.domain_.threshold)

    def _embedding(self, graphs: Sequence[HopData]) -> NDArray[np.float64]:
        parts = []
        with torch.no_grad():
            for first in range(0, len(graphs), BATCH_SIZE):
                batch = HopData.batch_of(graphs[first : first + BATCH_SIZE])
                parts.append(self.networks_[0](batch).embedding.double().numpy())
        return np.concatenate(parts) if parts else np.zeros((0, len(self.domain_.center)))

    def _start(self, member: int, scalars: torch.Tensor) -> tuple[HopNetwork, ParameterGroups]:
        """A member before its training, and what of it will move."""
        seed = self.config.training.seed * 1009 + member
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = HopNetwork(self.config.network)
            network.scalar_mean.copy_(scalars.mean(dim=0))
            network.scalar_std.copy_(scalars.std(dim=0, correction=0) + 1e-3)
            if self.base and not isinstance(self.config.strategy, FromScratch):
                weights = dict(self.base[member % len(self.base)])
                knows_scalars = any(name.startswith("scalar_branch.") for name in weights)
                if not knows_scalars:
                    del weights["scalar_mean"], weights["scalar_std"]
                network.load_state_dict(weights, strict=False)
                if network.scalar_branch is not None and not knows_scalars:  # starts silent
                    for parameter in network.scalar_branch[-1].parameters():
                        torch.nn.init.zeros_(parameter)
            elif isinstance(self.config.strategy, HeadsOnly | LowRankAdapters):
                raise ValueError(
                    f"{type(self.config.strategy).__name__} needs a pretrained base; give one or "
                    "use the strategy 'scratch'"
                )
            groups = self.config.strategy.prepare(network)
        return network.to(pick_device(self.config.training.device)), groups


def without(groups: ParameterGroups, module: torch.nn.Module) -> ParameterGroups:
    """The optimiser groups less the parameters of a module, which stay as they are."""
    kept = {id(parameter) for parameter in module.parameters()}
    return [{**g, "params": [p for p in g["params"] if id(p) not in kept]} for g in groups]


def with_encoded_host(network: HopNetwork, graph: HopData) -> HopData:
    """The graph with its framework already encoded and cut down to the atoms the path sees.

    With a frozen host the encoding never changes, so it need not be done again every epoch.
    """
    with torch.no_grad():
        device = next(network.parameters()).device
        encoded = network.encode(graph.to(device)).cpu()
    atoms, local = torch.unique(graph.probe_index[0], return_inverse=True)
    small = graph.clone()
    small.x, small.encoded, small.weight = graph.x[atoms], encoded[atoms], graph.weight[atoms]
    small.probe_index = torch.stack([local, graph.probe_index[1]])
    small.edge_index = torch.zeros((2, 0), dtype=torch.long)
    small.edge_length = torch.zeros(0)
    return small
