"""What another group needs to repeat a campaign or a plan: an RO-Crate; and cells as linked data.

``ro-crate-metadata.json`` (RO-Crate 1.1, https://w3id.org/ro/crate/1.1) lies in the folder and
names what was run with which settings, on which inputs, with which model and versions, and every
file with its checksum. ``cells.jsonld`` describes cells in the vocabulary of the EMMO battery
domain, which BattINFO is part of; the few terms that it uses are written out beside them, so that
no network is needed to read it (terms of domain-battery, CC BY 4.0).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ionbridge.models.checkpoint import sha256
from ionbridge.screening.execution.shards import write_json
from ionbridge.structures.plain_text import readable_name
from ionbridge.structures.quantities import beside

CRATE_FILE, CELLS_FILE = "ro-crate-metadata.json", "cells.jsonld"
CRATE_CONTEXT = "https://w3id.org/ro/crate/1.1/context"
CRATE_PROFILE = "https://w3id.org/ro/crate/1.1"
TERMS_SHA256 = {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}
MEDIA_TYPES = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".jsonld": "application/ld+json",
    ".html": "text/html",
    ".yaml": "application/yaml",
    ".cif": "chemical/x-cif",
    ".extxyz": "text/plain",
}
CONDITION_KEYS = ("c_rate", "temperature_K", "base_cell", "in_domain")
EMMO = "https://w3id.org/emmo#"
ELECTROCHEMISTRY = "https://w3id.org/emmo/domain/electrochemistry#electrochemistry_"
CELL_CONTEXT: Mapping[str, Any] = {
    "schema": "https://schema.org/",
    "emmo": EMMO,
    "ElectrochemicalCell": f"{ELECTROCHEMISTRY}6f2c88c9_5c04_4953_a298_032cc3ab9b77",
    "DischargeCapacity": f"{ELECTROCHEMISTRY}0141b5c2_9f15_46f4_82e6_92a104faa476",
    "DischargeEnergy": f"{ELECTROCHEMISTRY}ca36cbf3_1fed_4b88_9177_b4e16ad00cf7",
    "DischargeVoltage": f"{ELECTROCHEMISTRY}c7b26177_21bf_4787_b656_8e78edf27f88",
    "hasPositiveElectrode": {
        "@id": f"{ELECTROCHEMISTRY}8e9cf965_9f92_46e8_b678_b50410ce3616",
        "@type": "@id",
    },
    "hasModelledProperty": {
        "@id": f"{EMMO}EMMO_b8f79e53_2ad4_441d_87ff_284a5c419e46",
        "@type": "@id",
    },
    "hasNumericalPart": {
        "@id": f"{EMMO}EMMO_8ef3cd6d_ae58_4a8d_9fc0_ad8f49015cd0",
        "@type": "@id",
    },
    "hasNumberValue": f"{EMMO}EMMO_faf79f53_749d_40b2_807c_d34244c192f4",
    "hasMeasurementUnit": {
        "@id": f"{EMMO}EMMO_bed1d005_b04e_4a90_94cf_02bc678a8569",
        "@type": "@id",
    },
    "hasMetrologicalUncertainty": {
        "@id": f"{EMMO}EMMO_662c64e7_fc72_49b3_a161_f50fd42deafa",
        "@type": "@id",
    },
}
"""Terms of https://w3id.org/emmo/domain/battery/context that are used here, as they stand there."""
CELL_PROPERTIES = (
    ("capacity_Ah", "DischargeCapacity", "emmo:AmpereHour"),
    ("energy_Wh", "DischargeEnergy", "emmo:WattHour"),
    ("mean_voltage_V", "DischargeVoltage", "emmo:Volt"),
)
"""Column, class of the property, unit."""


def write_crate(
    folder: Path,
    name: str,
    description: str,
    record: Mapping[str, Any],
    inputs: Sequence[Path] = (),
) -> Path:
    """Describe a finished folder.

    Args:
        folder: Of a campaign or a plan; every file in it is listed with its checksum.
        name: Of what was run.
        description: In a line.
        record: What decides what came out: ``settings``, ``model``, ``versions``, and whatever else
            the folder states of itself.
        inputs: Files and folders that were read.

    Returns:
        The file that was written.
    """
    files = [_file(folder, path) for path in _files(folder)]
    read = [_input(path) for given in inputs for path in _inputs(given)]
    software = [
        {"@id": f"#{package}", "@type": "SoftwareApplication", "name": package, "version": version}
        for package, version in dict(record.get("versions", {})).items()
    ]
    model = record.get("model")
    models = [{"@id": "#model", "@type": "CreativeWork", **_flat(model)}] if model else []
    settings = [
        {
            "@id": f"#setting-{key}",
            "@type": "PropertyValue",
            "name": key,
            "value": json.dumps(value, sort_keys=True, ensure_ascii=False),
        }
        for key, value in dict(record.get("settings", {})).items()
    ]
    day = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": name,
        "description": description,
        "datePublished": day,
        "license": "that of the inputs; the program is MIT",
        "hasPart": _references(files),
        "mentions": [{"@id": "#run"}],
    }
    run = {
        "@id": "#run",
        "@type": "CreateAction",
        "name": name,
        "endTime": day,
        "instrument": [{"@id": "#ionbridge"}, *_references(models)],
        "object": _references([*read, *settings]),
        "result": _references(files),
    }
    metadata = {
        "@id": CRATE_FILE,
        "@type": "CreativeWork",
        "conformsTo": {"@id": CRATE_PROFILE},
        "about": {"@id": "./"},
    }
    if not any(one["@id"] == "#ionbridge" for one in software):
        software.append({"@id": "#ionbridge", "@type": "SoftwareApplication", "name": "ionbridge"})
    graph = [metadata, root, run, *software, *models, *settings, *read, *files]
    path = folder / CRATE_FILE
    write_json(path, {"@context": [CRATE_CONTEXT, TERMS_SHA256], "@graph": graph})
    return path


def write_cells(folder: Path, rows: Iterable[Mapping[str, Any]]) -> Path | None:
    """Cells as linked data; None where there is not one.

    Args:
        folder: Takes ``cells.jsonld``.
        rows: With ``id`` and any of ``capacity_Ah``, ``energy_Wh``, ``mean_voltage_V`` and their
            ``_std``; ``formula`` of the positive electrode, ``c_rate``, ``temperature_K``; columns
            ``cell_*`` of a campaign go along under their own names, which carry the unit.
    """
    graph = [found for row in rows if (found := _cell(row)) is not None]
    if not graph:
        return None
    path = folder / CELLS_FILE
    write_json(path, {"@context": CELL_CONTEXT, "@graph": graph})
    return path


def _cell(row: Mapping[str, Any]) -> dict[str, Any] | None:
    properties = []
    for column, kind, unit in CELL_PROPERTIES:
        if row.get(column) is None:
            continue
        value: dict[str, Any] = {"@type": kind, **_number(float(row[column]), unit)}
        spread = row.get(beside(column, "std"))
        if spread is not None:
            value["hasMetrologicalUncertainty"] = _number(float(spread), unit)
        properties.append(value)
    under = [
        {"@type": "schema:PropertyValue", "schema:name": key, "schema:value": value}
        for key, value in row.items()
        if value not in (None, "") and (key in CONDITION_KEYS or key.startswith("cell_"))
    ]
    if not properties and not under:
        return None
    cell: dict[str, Any] = {
        "@id": f"#{readable_name(str(row['id']))}",
        "@type": "ElectrochemicalCell",
        "schema:name": str(row["id"]),
        "hasModelledProperty": properties,
        "schema:additionalProperty": under,
    }
    if row.get("formula"):
        cell["hasPositiveElectrode"] = {"schema:name": str(row["formula"])}
    return cell


def _number(value: float, unit: str) -> dict[str, Any]:
    return {"hasNumericalPart": {"hasNumberValue": value}, "hasMeasurementUnit": unit}


def _files(folder: Path) -> list[Path]:
    """Files of the folder but for unfinished ones and the crate itself."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not path.is_symlink()
        and not path.name.startswith(".")
        and path.name != CRATE_FILE
    ]


def _inputs(path: Path) -> list[Path]:
    if path.is_dir():
        return [p for p in sorted(path.rglob("*")) if p.is_file() and not p.name.startswith(".")]
    return [path] if path.is_file() else []


def _file(folder: Path, path: Path) -> dict[str, Any]:
    return {**_described(path), "@id": readable_name(path.relative_to(folder).as_posix())}


def _input(path: Path) -> dict[str, Any]:
    return {**_described(path), "@id": f"#input-{sha256(path)[:16]}-{readable_name(path.name)}"}


def _described(path: Path) -> dict[str, Any]:
    kind = MEDIA_TYPES.get(path.suffix)
    return {
        "@type": "File",
        "name": readable_name(path.name),
        "contentSize": path.stat().st_size,
        "sha256": sha256(path),
        **({"encodingFormat": kind} if kind else {}),
    }


def _flat(model: Any) -> dict[str, Any]:
    return dict(model) if isinstance(model, Mapping) else {"name": str(model)}


def _references(entities: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    return [{"@id": str(one["@id"])} for one in entities]
