"""The starter data: a few hops and crystals that come with the package, to try everything on.

The labels are the project's own, computed by ``benchmarks/make/starter_hops.py`` (bond valences)
and ``benchmarks/make/starter_neb.py`` (CHGNet bands).
"""

from __future__ import annotations

from importlib import resources

from ionbridge.structures.frameworks.prototypes import reference_crystals
from ionbridge.structures.io.reading import read_records
from ionbridge.structures.records import Crystal, Hop

BVSE_HOPS_FILE = "starter_hops_bvse.jsonl.gz"
NEB_HOPS_FILE = "starter_hops_neb.jsonl.gz"


def starter_hops() -> list[Hop]:
    """Hops of the starter crystals with bond-valence barriers (``method`` is ``bvse``).

    ``extra`` says where a hop comes from (``source``, ``reference``), with which parameters its
    barrier was computed (``parameters``), and holds the bond-valence energies along its path
    (``bvse_profile_eV``).
    """
    return _hops(BVSE_HOPS_FILE)


def starter_neb_hops() -> list[Hop]:
    """Hops of many families with CHGNet climbing-image NEB barriers (``method`` is ``mlip_neb``).

    ``extra`` says how each was computed (``calculator``, ``calculator_version``, ``neb``,
    ``final_force_eV_A``, ``image_energies_eV``) and from which crystal (``prototype``,
    ``substituted``, ``reference``). How far they are from DFT: ``benchmarks/neb_labels_vs_dft.py``.
    """
    return _hops(NEB_HOPS_FILE)


def _hops(name: str) -> list[Hop]:
    with resources.as_file(resources.files("ionbridge.screening") / "data" / name) as path:
        return [record for record in read_records(path) if isinstance(record, Hop)]


def starter_crystals() -> list[Crystal]:
    """Well-known conductors and electrodes as measured: the prototypes of all frameworks."""
    return reference_crystals()
