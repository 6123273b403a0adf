"""One prediction as a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ionbridge.screening.table import with_spread
from ionbridge.structures.quantities import QUANTITIES


def crystal_sentence(row: Mapping[str, Any]) -> str:
    """What was predicted of a crystal.

    Args:
        row: An ``ok`` row with the columns of ``ranked.csv``.
    """
    kind = ", ".join(filter(None, (row["family"], row["role"])))
    said = [
        f"ionic conductivity {_interval(row, 'conductivity')} S/cm",
        f"diffusivity {_interval(row, 'diffusivity')} cm²/s",
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
    value, std, *ends = (row[column] for column in QUANTITIES["migration_barrier"].columns())
    return (
        f"{row['id']}: migration barrier {' ± '.join(with_spread(value, std))} eV "
        f"(90 % interval {' to '.join(f'{end:.2f}' for end in ends)}). {_domain(row)}"
    )


def _interval(row: Mapping[str, Any], name: str) -> str:
    """A value known as its logarithm, with its 90 % interval."""
    value, _, lower, upper = QUANTITIES[name].columns("q05", "q95")
    return f"{10.0 ** row[value]:.1e} ({10.0 ** row[lower]:.0e} to {10.0 ** row[upper]:.0e})"


def _domain(row: Mapping[str, Any]) -> str:
    if row["in_domain"] is None:
        return ""
    return "The models know its like." if row["in_domain"] else "The models know nothing like it."
