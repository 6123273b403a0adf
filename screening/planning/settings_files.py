"""JSON files that describe how an electrode is made, how a cell is used, and what it costs.

Where the adapters of models of others lie is known here, too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ionbridge.screening.errors import InputError
from ionbridge.structures.configuration import nearest

HEAD_KEYS = ("viscosity_Pa_s", "blade_length_mm", "head_Pa")
"""Of a head of slurry behind the blade: all of them, or none."""

ADAPTERS_VARIABLE = "IONBRIDGE_ADAPTERS"
USUAL_ADAPTERS = "~/.ionbridge/adapters"
ADAPTER = "adapter.yaml"


@dataclass(frozen=True)
class SettingsForm:
    """What a file of settings has.

    Attributes:
        keys: All of them, each a positive number; a fraction is below 1.
        options: Further ones.
    """

    keys: tuple[str, ...]
    options: tuple[str, ...] = ()


FORMS: Mapping[str, SettingsForm] = {
    "coating": SettingsForm(
        (
            "solids_mass_fraction",
            "active_mass_fraction",
            "active_density_g_cm3",
            "solvent_density_g_cm3",
            "gap_um",
            "line_speed_m_min",
        ),
        (*HEAD_KEYS, "particle_radius_um"),
    ),
    "calendering": SettingsForm(
        ("line_load_N_mm", "compaction_resistance_N_mm", "porosity_before", "porosity_limit")
    ),
    "electrode_design": SettingsForm(
        ("thickness_um", "porosity", "active_fraction", "particle_radius_um"), ("density_g_cm3",)
    ),
    "duty_cycle": SettingsForm(("energy_Wh_per_day", "cycles_per_day")),
    "prices": SettingsForm(("cell_price",)),
}
"""By the quantity that a file gives."""


def read_settings(path: Path) -> tuple[str, dict[str, float]] | None:
    """The quantity and the values of a file; None where it is no such file.

    Raises:
        InputError: An unknown key, or a value that is no positive number.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    for name, form in FORMS.items():
        if any(key in data for key in form.keys):
            return name, _checked(path, data, form)
    return None


def _checked(path: Path, data: Mapping[str, object], form: SettingsForm) -> dict[str, float]:
    known = (*form.keys, *form.options)
    for key in data:
        if key not in known:
            raise InputError(f"{path}: unknown key '{key}'; {nearest(key, known)}")
    found: dict[str, float] = {}
    for key in (*form.keys, *(o for o in form.options if o in data)):
        value = data.get(key)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 < float(value) < float("inf"):  # type: ignore[arg-type]
            raise InputError(f"{path}: {key}: expected a positive number, got {value!r}")
        found[key] = value  # type: ignore[assignment]
        is_fraction = key.startswith("porosity") or key.endswith("_fraction")
        if is_fraction and found[key] >= 1:
            raise InputError(f"{path}: {key}: expected less than 1, got {value!r}")
    return found


def adapter_folders() -> list[Path]:
    """Folders that hold an adapter of a model of others, those of the user alone."""
    stated = os.environ.get(ADAPTERS_VARIABLE) or USUAL_ADAPTERS
    roots = [Path(part).expanduser() for part in stated.split(os.pathsep) if part]
    return [path.parent for root in roots for path in sorted(root.glob(f"*/{ADAPTER}"))]
