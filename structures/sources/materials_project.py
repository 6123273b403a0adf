"""Crystals and properties of the Materials Project, in five sets of different vintage.

Formation energies of the bulk set and of the electrode materials differ by 0.03 eV/atom on common
ids: ``Crystal.source`` tells which set a label is from, and the sets are never pooled as one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ionbridge.structures.io.tables import read_table
from ionbridge.structures.records import Crystal
from ionbridge.structures.sources.source import Loaded, Source

POOL_FILE = "materials_project/structures_69k.jsonl.gz"
BULK_FILE = "materials_project/bulk_36k.jsonl.gz"
ELASTIC_FILE = "materials_project/elastic_3k.jsonl.gz"
ELECTRODE_FILE = "materials_project/electrode_materials_7k.jsonl.gz"
PAIRS_FILE = "materials_project/electrode_pairs_4k.csv.gz"
PAIR_STRUCTURES_FILE = "materials_project/electrode_structures_8k.jsonl.gz"

MAX_FORMATION_ENERGY_EV = 5.0
MAX_BAND_GAP_EV = 12.0
MODULUS_RANGE_GPA = (0.0, 800.0)
"""Diamond, the stiffest, has 440 to 540 GPa; what lies outside is no modulus."""
VOLTAGE_RANGE_V = (0.0, 7.0)

Row = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class ElectrodePair:
    """A charged and a discharged host with the voltage between them.

    Attributes:
        id: Of the pair.
        working_ion: Inserted ion.
        voltage_V: Average voltage against the metal of the ion.
        charged: Structure without (or with less of) the ion, where known.
        discharged: Structure with the ion, where known.
        framework: Formula of the charged host; one framework occurs in many pairs, split by it.
        extra: Capacities (mAh/g, mAh/cm^3), relative volume change, stabilities (eV/atom).
    """

    id: str
    working_ion: str
    voltage_V: float
    charged: Crystal | None
    discharged: Crystal | None
    framework: str
    extra: Mapping[str, float]


def load_pool(data_dir: str | Path) -> Loaded[Crystal]:
    """The candidate pool: structures without labels. It holds all of the bulk set."""
    return _load(data_dir, POOL_FILE, "materials_project/pool", lambda row: None)


def load_bulk(data_dir: str | Path) -> Loaded[Crystal]:
    """Formation energies, gaps, Fermi energies and moments, without impossible values."""

    def fault(row: Row) -> str | None:
        if not abs(row["formation_energy_per_atom_eV"]) <= MAX_FORMATION_ENERGY_EV:
            return f"formation energy beyond {MAX_FORMATION_ENERGY_EV:g} eV/atom"
        if not row["band_gap_eV"] <= MAX_BAND_GAP_EV:
            return f"band gap above {MAX_BAND_GAP_EV:g} eV"
        return None

    return _load(data_dir, BULK_FILE, "materials_project/bulk", fault)


def load_elastic(data_dir: str | Path) -> Loaded[Crystal]:
    """Bulk and shear moduli (GPa) and Poisson ratios."""
    return _load(data_dir, ELASTIC_FILE, "materials_project/elastic", _modulus_fault)


def load_electrode_materials(data_dir: str | Path) -> Loaded[Crystal]:
    """Formation energies and energies above the hull of electrode materials.

    Rows with moduli that are none lose the moduli, not the row.
    """
    loaded = _load(data_dir, ELECTRODE_FILE, "materials_project/electrode", lambda row: None)
    return replace(loaded, records=tuple(map(_without_bad_moduli, loaded.records)))


def load_electrode_pairs(data_dir: str | Path) -> Loaded[ElectrodePair]:
    """Voltages of charged and discharged pairs, with structures where they are known."""
    from ionbridge.structures.io.reading import (
        iter_records,  # which those who list sources do not need
    )

    data = Path(data_dir)
    structures = {
        record.id: record
        for record in iter_records(data / PAIR_STRUCTURES_FILE)
        if isinstance(record, Crystal)
    }
    low, high = VOLTAGE_RANGE_V
    pairs: list[ElectrodePair] = []
    dropped: Counter[str] = Counter()
    for row in read_table(data / PAIRS_FILE)[1]:
        voltage = float(row["average_voltage_V"] or "nan")
        if not low <= voltage <= high:
            dropped[f"voltage outside {low:g} to {high:g} V"] += 1
            continue
        pairs.append(
            ElectrodePair(
                id=row["battery_id"],
                working_ion=row["working_ion"],
                voltage_V=voltage,
                charged=structures.get(row["charged_id"]),
                discharged=structures.get(row["discharged_id"]),
                framework=row["charged_formula"],
                extra=_numbers(row),
            )
        )
    return Loaded(tuple(pairs), dict(dropped))


def _load(
    data_dir: str | Path, file: str, source: str, fault: Callable[[Row], str | None]
) -> Loaded[Crystal]:
    from ionbridge.structures.io.reading import (
        iter_records,  # which those who list sources do not need
    )

    crystals: list[Crystal] = []
    dropped: Counter[str] = Counter()
    for record in iter_records(Path(data_dir) / file):
        if not isinstance(record, Crystal):
            dropped["unreadable or duplicate id"] += 1
        elif reason := fault(record.extra):
            dropped[reason] += 1
        else:
            crystals.append(replace(record, source=source))
    return Loaded(tuple(crystals), dict(dropped))


def _modulus_fault(row: Row) -> str | None:
    low, high = MODULUS_RANGE_GPA
    moduli = [row.get("K_VRH_GPa"), row.get("G_VRH_GPa")]
    if any(m is not None and not low < m <= high for m in moduli):
        return f"modulus outside {low:g} to {high:g} GPa"
    return None


def _without_bad_moduli(crystal: Crystal) -> Crystal:
    if _modulus_fault(crystal.extra) is None:
        return crystal
    kept = {k: v for k, v in crystal.extra.items() if not k.endswith("_VRH_GPa")}
    return replace(crystal, extra=kept)


def _numbers(row: Mapping[str, str]) -> dict[str, float]:
    """The numeric columns that hold something finite; stabilities get their unit in the name."""
    names = {
        "Stability Charge": "charged_above_hull_eV_per_atom",
        "Stability Discharge": "discharged_above_hull_eV_per_atom",
    }
    columns = [k for k in row if k.startswith(("capacity", "energy", "max_delta"))] + [*names]
    values = {names.get(k, k): float(row[k]) for k in columns if row.get(k)}
    return {k: v for k, v in values.items() if math.isfinite(v)}


def _source(name: str, title: str, files: tuple[str, ...], load: Callable[..., Any]) -> Source:
    return Source(
        name=f"materials_project/{name}",
        title=title,
        home="https://materialsproject.org",
        licence="CC BY 4.0",
        citation="10.1063/1.4812323",
        files=files,
        load=load,
    )


SOURCES = (
    _source("pool", "Structures without labels: the candidate pool", (POOL_FILE,), load_pool),
    _source("bulk", "Formation energies, gaps, Fermi energies, moments", (BULK_FILE,), load_bulk),
    _source("elastic", "Bulk and shear moduli", (ELASTIC_FILE,), load_elastic),
    _source(
        "electrode_materials",
        "Formation energies and hull distances of electrode materials",
        (ELECTRODE_FILE,),
        load_electrode_materials,
    ),
    _source(
        "electrode_pairs",
        "Voltages of charged and discharged pairs",
        (PAIRS_FILE, PAIR_STRUCTURES_FILE),
        load_electrode_pairs,
    ),
)
