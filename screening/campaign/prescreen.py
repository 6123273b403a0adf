"""The first stage of a campaign: what costs next to nothing to know may discard a candidate.

A candidate is discarded only by what is known of it. One of whose elements no oxidation states are
known, or whose ion or role measured conductivities say nothing of, goes on to the hops, as do the
well-known crystals that show where a ranking stands. What a threshold costs in good ones is
measured by ``benchmarks.screening_power``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pymatgen.core import Composition

from ionbridge.models.conductors.conductivity import ConductivityTrees
from ionbridge.screening.campaign.settings import PrescreenSettings
from ionbridge.screening.prediction.estimate import REFERENCE_SOURCE, measured_compositions
from ionbridge.structures.chemistry.composition import charge_imbalance
from ionbridge.structures.features.conductor_descriptors import conductor_ion
from ionbridge.structures.io.tables import ConductivityRow
from ionbridge.structures.records import Crystal, UnusableStructureError


@dataclass(frozen=True)
class Prescreen:
    """The thresholds of a first stage, ready to be asked.

    Attributes:
        settings: The thresholds.
    """

    settings: PrescreenSettings = field(default_factory=PrescreenSettings)

    def refusals(self, crystals: Sequence[Crystal]) -> list[str | None]:
        """Why each crystal is discarded, in their order; None for those that go on.

        Args:
            crystals: Working ion and role known.
        """
        reasons = [self._unbalanced(crystal) for crystal in crystals]
        least = self.settings.min_log10_conductivity_S_cm
        if least is None:
            return reasons
        model = measured_compositions()
        asked = [
            i
            for i, crystal in enumerate(crystals)
            if reasons[i] is None and _is_judged(crystal, model)
        ]
        if not asked:
            return reasons
        expected = model.predict([formula_row(crystals[i]) for i in asked]).mean
        for i, value in zip(asked, expected, strict=True):
            if value < least:
                reasons[i] = (
                    f"prescreen: conductivity by its composition 10^{value:.2f} S/cm "
                    f"(min_log10_conductivity_S_cm is {least:g})"
                )
        return reasons

    def _unbalanced(self, crystal: Crystal) -> str | None:
        most = self.settings.max_charge_imbalance
        if most is None or crystal.source == REFERENCE_SOURCE:
            return None
        try:
            left = abs(charge_imbalance(crystal.composition))
        except UnusableStructureError:
            return None
        if left <= most:
            return None
        return (
            f"prescreen: usual oxidation states leave {100 * left:.3g} % of the anions' charge "
            f"(max_charge_imbalance is {most:g})"
        )


def formula_row(crystal: Crystal) -> ConductivityRow:
    """The crystal as a table without cells gives it: its formula, the same for any cell of it."""
    return ConductivityRow(crystal.id, crystal.formula, Composition(crystal.formula))


def _is_judged(crystal: Crystal, model: ConductivityTrees) -> bool:
    """Whether measured conductivities say something of a crystal: an electrolyte of their ions."""
    if crystal.role != "electrolyte" or crystal.source == REFERENCE_SOURCE:
        return False
    ion = conductor_ion(formula_row(crystal))
    return ion == crystal.working_ion and ion in model.domains_
