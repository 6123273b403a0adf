"""One prediction as a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ionbridge.screening.table import with_spread


def crystal_sentence(row: Mapping[str, Any]) -> str:
    """What was predicted of a crystal.

    Args:
        row: An ``ok`` row with the columns of ``ranked.csv``.
    """
    kind = ", ".join(filter(None, (row["family"], row["role"])))
    said = [
        f"ionic conductivity {_interval(row, 'log10_conductivity', '_S_cm')} S/cm",
        f"diffusivity {_interval(row, 'log10_diffusivity', '_cm2_s')} cm²/s",
    ]
    if row["percolation_barrier_eV"] is not None:
        barrier = with_spread(row["percolation_barrier_eV"], row["percolation_barrier_std_eV"])
        said.append(f"barrier of the way through it {' ± '.join(barrier)} eV")
    named = f"{row['formula']} ({kind})" if kind else row["formula"]
    return (
        f"{named} with mobile {row['working_ion']} at {row['temperature_K']:g} K: "
        f"{'; '.join(said)} (in brackets 90 % intervals; ± is one sigma). {_domain(row)}"
    )


def hop_sentence(row: Mapping[str, Any]) -> str:
    """What was predicted of a hop; an ``ok`` row of barriers."""
    barrier = with_spread(row["migration_barrier_eV"], row["migration_barrier_std_eV"])
    ends = (f"{row[f'migration_barrier_{end}_eV']:.2f}" for end in ("lower", "upper"))
    return (
        f"{row['id']}: migration barrier {' ± '.join(barrier)} eV "
        f"(90 % interval {' to '.join(ends)}). {_domain(row)}"
    )


def _interval(row: Mapping[str, Any], name: str, unit: str) -> str:
    """A value known as its logarithm, with its 90 % interval."""
    ends = (f"{10.0 ** row[f'{name}_{end}']:.0e}" for end in ("q05", "q95"))
    return f"{10.0 ** row[f'{name}{unit}']:.1e} ({' to '.join(ends)})"


def _domain(row: Mapping[str, Any]) -> str:
    if row["in_domain"] is None:
        return ""
    return "The models know its like." if row["in_domain"] else "The models know nothing like it."
