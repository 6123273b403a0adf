"""Labels of several methods on the footing of one: whose values are asked for, and what others say.

Labels of different methods (DFT bands, bands of a universal potential, bond valences, experiments)
are never pooled as they are. One method is asked for; its labels alone are fitted and scored. The
others, and those of a base model, enter as the asked method would have given them: moved by the
difference that a :class:`ionbridge.models.adaptation.method_process.MethodProcess` finds between
the methods.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ionbridge.models.adaptation.method_process import MethodProcess
from ionbridge.models.regressors.gaussian_process import PathProcess, path_scalars
from ionbridge.models.transforms import LogShift
from ionbridge.structures.records import Hop, sides

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

SCALE = LogShift()
UNSTATED = "unstated"
TRUST = ("experiment", "dft_neb", "aimd", UNSTATED, "mlip_neb", "mlip_md", "bvse")
"""Methods, the most trusted first; any other name counts like one that is not stated."""


def asked_method(methods: Sequence[str], method: str | None = None) -> str:
    """The method whose values a model of these labels gives.

    Args:
        methods: Method of each label.
        method: The user's choice; None takes the most trusted.

    Raises:
        ValueError: No label is of the method chosen.
    """
    known = Counter(methods)
    if method is None:
        ranks = {m: TRUST.index(m if m in TRUST else UNSTATED) for m in known}
        return min(known, key=lambda m: (ranks[m], -known[m], m))
    if method not in known:
        counts = ", ".join(f"{name} ({n})" for name, n in sorted(known.items()))
        raise ValueError(f"no label is of method {method!r}; methods of the labels: {counts}")
    return method


@dataclass(frozen=True, eq=False)
class Footing:
    """Labels of the method that is asked for, and those of others.

    Attributes:
        method: What is asked for.
        hops: Hops with a label of it, a value or a bound.
        barrier_eV: (n,) those labels.
        others: Hops with labels of other methods.
        other_eV: (n_others,) those labels.
        other_methods: Method of each.
        base: Process of a base model, whose labels are kept; None where there is none.
        base_method: Method of its labels.
        n_other_bounds: Bounds by other methods, which say nothing of how methods differ and are
            left out.
    """

    method: str
    hops: tuple[Hop, ...]
    barrier_eV: Floats
    others: tuple[Hop, ...]
    other_eV: Floats
    other_methods: tuple[str, ...]
    base: PathProcess | None
    base_method: str
    n_other_bounds: int

    @classmethod
    def of(
        cls,
        hops: Sequence[Hop],
        barrier_eV: Floats,
        base: PathProcess | None,
        base_method: str | None,
        method: str | None = None,
    ) -> Footing:
        """From a user's labels and those of a base model.

        Args:
            hops: (n,) labelled hops; one without a method is taken to be of the base's.
            barrier_eV: (n,) labels.
            base: Process whose labels on SCALE are kept, None where there is none.
            base_method: Their method; None takes them to be of the method asked for.
            method: Whose values are asked for; None takes the most trusted among the hops.

        Raises:
            ValueError: No hop has a value of the method chosen.
        """
        labels = np.asarray(barrier_eV, dtype=float)
        each = [hop.method or base_method or UNSTATED for hop in hops]
        values = sides(hops) == 0
        asked = asked_method([m for m, known in zip(each, values, strict=True) if known], method)
        own = [i for i, m in enumerate(each) if m == asked]
        others = [i for i, m in enumerate(each) if m != asked and values[i]]
        return cls(
            asked,
            tuple(hops[i] for i in own),
            labels[own],
            tuple(hops[i] for i in others),
            labels[others],
            tuple(each[i] for i in others),
            base,
            base_method or asked,
            len(hops) - len(own) - len(others),
        )

    @property
    def counts(self) -> dict[str, int]:
        """Number of the user's labels of each other method."""
        return dict(sorted(Counter(self.other_methods).items()))

    def known(self, train: Rows, test: Rows) -> PathProcess | None:
        """Labels to keep beside those of some of the hops, all on the footing of the asked method.

        Args:
            train: Which of the hops are learnt from.
            test: Which are held out; labels of other methods in frameworks that only these have are
                held out with them.

        Returns:
            A process with those labels; None where there are none.
        """
        seen = {self.hops[i].framework for i in train}
        hidden = {self.hops[i].framework for i in test} - seen
        kept = [i for i, hop in enumerate(self.others) if hop.framework not in hidden]
        if not kept and (self.base is None or self.base_method == self.method):
            return self.base
        train = train[self._is_value[train]]
        rows, target, methods = self._labels(kept, train)
        whole = self._whole
        theta = whole.theta if set(methods) == set(whole.methods) else None
        process = MethodProcess.fit(rows, target, methods, theta)
        n_known = len(methods) - len(train)
        moved = process.translated(self.method)[:n_known]
        return PathProcess(rows[:n_known], moved, None if self.base is None else self.base.theta)

    @cached_property
    def _whole(self) -> MethodProcess:
        """All labels together: its hyperparameters serve every fold."""
        every = self._labels(range(len(self.others)), np.flatnonzero(self._is_value))
        return MethodProcess.fit(*every)

    @cached_property
    def _is_value(self) -> NDArray[np.bool_]:
        return np.asarray(sides(self.hops) == 0)

    def _labels(self, kept: Sequence[int], train: Rows) -> tuple[Floats, Floats, list[str]]:
        """Scalars, labels on SCALE and methods: of the base, of others, then of the asked one."""
        chosen = [self.others[i] for i in kept]
        inputs = [path_scalars(hops) for hops in (chosen, [self.hops[i] for i in train]) if hops]
        target = [SCALE.forward(self.other_eV[list(kept)]), SCALE.forward(self.barrier_eV[train])]
        methods = [self.other_methods[i] for i in kept] + [self.method] * len(train)
        if self.base is not None:
            inputs.insert(0, self.base.inputs)
            target.insert(0, self.base.target)
            methods = [self.base_method] * len(self.base.target) + methods
        return np.concatenate(inputs), np.concatenate(target), methods
