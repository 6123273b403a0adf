"""Models of others: a folder with ``adapter.yaml`` becomes an entry of the catalogue.

A scikit-learn estimator (stored by skops), a TorchScript or an ONNX file is loaded in a process of
its own and sees numbers only; nothing is unpickled. A REST endpoint is asked at an address that the
user allows. Any ASE calculator gives barriers by nudged elastic band. No plan may choose one before
``ionbridge models validate`` has measured it on rows of the user; the error found there is listed.

Folders are those of the environment variable ``IONBRIDGE_ADAPTERS``, by default
``~/.ionbridge/adapters``: never the workspace of an agent, since a calculator is named by what is
imported.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ionbridge.models.checkpoint import sha256
from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.shards import write_json
from ionbridge.screening.planning.catalogue import (
    Entry,
    EntryDomain,
    Kind,
    StepContext,
    Tables,
    ValidatedError,
    quantity,
)
from ionbridge.screening.planning.formulas import hop_row
from ionbridge.screening.planning.inputs import plan_row_of_composition, read_given
from ionbridge.screening.planning.records import composition_of, failed, hop_of, usable
from ionbridge.screening.planning.settings_files import ADAPTER, adapter_folders
from ionbridge.screening.table import Row, given_table
from ionbridge.screening.temperatures import check_temperature
from ionbridge.structures.features.descriptors import (
    composition_descriptors,
    composition_feature_names,
)
from ionbridge.structures.io.tables import ConductivityRow, conductivity_row
from ionbridge.structures.plain_text import one_line
from ionbridge.structures.quantities import QUANTITIES
from ionbridge.structures.records import WORKING_IONS

ALLOWED_VARIABLE = "IONBRIDGE_REST"
"""Addresses that may be asked, divided by spaces: ``http://127.0.0.1:8000``."""
VALIDATION = "validation.json"
FEWEST_ROWS = 8
"""Labelled rows on which a model of others must have been measured."""
PATIENCE_S = 600.0
LARGEST_REPLY = 16 * 2**20
LOOPBACK = ("localhost", "127.0.0.1", "::1")

Floats = NDArray[np.float64]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileModel(_Settings):
    """A file that maps numbers to one number.

    Attributes:
        kind: ``sklearn`` (skops), ``onnx`` or ``torchscript``.
        file: Beside ``adapter.yaml``.
        features: What it is given, in its order: Magpie statistics by matminer's names,
            ``fraction of X`` for an element X, or ``temperature_K``.
    """

    kind: Literal["sklearn", "onnx", "torchscript"]
    file: str = Field(pattern=r"^[A-Za-z0-9][\w.-]{0,120}$")
    features: list[str] = Field(min_length=1, max_length=2000)


class RestModel(_Settings):
    """An endpoint that takes ``{"quantity", "unit", "temperature_K", "rows": [...]}`` by POST.

    It answers ``{"values": [...]}``, one number or null a row, with ``"stds"`` beside them where it
    knows them, all in the unit of the adapter.

    Attributes:
        kind: ``rest``.
        url: Must begin with an address that the user allows.
    """

    kind: Literal["rest"]
    url: str


class AseModel(_Settings):
    """An ASE calculator.

    Attributes:
        kind: ``ase``.
        calculator: Import path, ``package.module:Class``.
        arguments: Its keyword arguments.
    """

    kind: Literal["ase"]
    calculator: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class Adapter(_Settings):
    """What ``adapter.yaml`` holds.

    Attributes:
        name: Of the entry.
        about: What it does, in a line.
        quantity: What it gives, a numeric quantity of a crystal; of ``ase``: migration_barrier.
        unit: Of what it gives, as a value of the quantity may be given.
        is_log10: Whether it gives the logarithm to base ten of that.
        working_ions: For which ions; empty for all.
        temperature_K: (lowest, highest) that it is made for; empty where temperature means nothing.
        cost_s: Seconds a row.
        licence: Its own.
        model: Where it is.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{1,60}$")
    about: str = Field(max_length=200)
    quantity: str
    unit: str
    is_log10: bool = False
    working_ions: list[str] = Field(default_factory=list)
    temperature_K: tuple[float, float] | None = None
    cost_s: float = Field(default=0.05, gt=0)
    licence: str = "not stated"
    model: Annotated[FileModel | RestModel | AseModel, Field(discriminator="kind")]


KINDS: Mapping[str, Kind] = {
    "sklearn": "trees",
    "onnx": "network",
    "torchscript": "network",
    "rest": "simulation",
    "ase": "potential",
}


def read_adapter(folder: Path) -> Adapter:
    """The adapter of a folder.

    Raises:
        InputError: It cannot be read, or what it says makes no sense.
    """
    path = folder / ADAPTER
    try:
        found = Adapter.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read ({one_line(str(error), 160)})") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: {place}: {first['msg']}") from error
    known = quantity(found.quantity)
    if known.carrier != ("hop" if found.model.kind == "ase" else "crystal") or not known.is_number:
        wanted = "migration_barrier" if found.model.kind == "ase" else "a number of a crystal"
        raise InputError(f"{path}: quantity: expected {wanted}, got {found.quantity}")
    if found.unit not in QUANTITIES[found.quantity].units:
        units = ", ".join(u or "none" for u in QUANTITIES[found.quantity].units)
        raise InputError(f"{path}: unit: expected {units} for {found.quantity}, got '{found.unit}'")
    if isinstance(found.model, FileModel):
        if not (folder / found.model.file).is_file():
            raise InputError(f"{path}: model.file: there is no {found.model.file} beside it")
        for name in found.model.features:
            _feature(name, {}, np.zeros(0), 300.0)
    if isinstance(found.model, RestModel):
        check_allowed(found.model.url)
    return found


def foreign_entries(folders: Sequence[Path]) -> tuple[list[Entry], list[tuple[str, str]]]:
    """Entries of adapters, and the folders that could not become one, with the reason."""
    entries, broken = [], []
    for folder in folders:
        try:
            entries.append(_entry(folder, read_adapter(folder)))
        except InputError as error:
            broken.append((folder.name, str(error)))
    return entries, broken


def _entry(folder: Path, adapter: Adapter) -> Entry:
    checksum = adapter_checksum(folder, adapter)
    stated = _validation(folder, checksum)
    is_hop = adapter.model.kind == "ase"
    error = {}
    if stated is not None:
        basis = f"{stated['n']} rows of yours ({stated['rows']}), mean error {stated['bias']:+.2g}"
        error = {"all": ValidatedError(float(stated["rmse"]), int(stated["n"]), basis)}
    missing = _not_installed(adapter)
    if not missing and stated is None:
        missing = f"not measured on your rows: ionbridge models validate {adapter.name} --rows FILE"
    needs = "hop" if is_hop else "composition"
    ranges = {} if adapter.temperature_K is None else {"temperature_K": adapter.temperature_K}
    return Entry(
        name=adapter.name,
        kind=KINDS[adapter.model.kind],
        about=adapter.about,
        inputs=(needs,),
        outputs=(adapter.quantity,),
        fidelity="not stated",
        cost_s=adapter.cost_s,
        errors={adapter.quantity: error} if error else {},
        domain=EntryDomain(frozenset(adapter.working_ions), ranges=ranges),
        conditions=("temperature_K",) if ranges else (),
        licence=adapter.licence,
        missing=missing,
        checksum=checksum[:16],
        folder=folder,
        origin=str(folder),
        run=partial(_run, folder, adapter),
    )


PACKAGES = {"sklearn": "skops", "onnx": "onnxruntime"}
"""What loads a kind of file."""


def _not_installed(adapter: Adapter) -> str:
    package = PACKAGES.get(adapter.model.kind)
    if package is None or find_spec(package) is not None:
        return ""
    return "needs the optional part 'models': pip install 'ionbridge[models]'"


def adapter_checksum(folder: Path, adapter: Adapter) -> str:
    """Of the adapter and, where there is one, of its file."""
    text = adapter.model_dump_json()
    if isinstance(adapter.model, FileModel):
        text += sha256(folder / adapter.model.file)
    return hashlib.sha256(text.encode()).hexdigest()


def _validation(folder: Path, checksum: str) -> dict[str, Any] | None:
    """What ``models validate`` found; None where it is another model's or not there."""
    try:
        found = json.loads((folder / VALIDATION).read_text(encoding="utf-8"))
        ok = found["checksum"] == checksum and found["n"] >= FEWEST_ROWS
        return dict(found) if ok and math.isfinite(found["rmse"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _run(
    folder: Path, adapter: Adapter, tables: Tables, context: StepContext
) -> Mapping[str, list[Row]]:
    needs = "hop" if adapter.model.kind == "ase" else "composition"
    rows = tables[needs]
    good = usable(rows)
    values, stds = predicted(folder, adapter, good, context.at.temperature_K, context.folder)
    stated = _validation(folder, adapter_checksum(folder, adapter))
    spread = float(stated["rmse"]) if stated is not None else math.nan
    column = QUANTITIES[adapter.quantity].column
    found = iter(zip(values, stds, strict=True))
    result = []
    for row in rows:
        if row.get("status", "ok") != "ok":
            result.append(failed(row, row.get("reason", "")))
            continue
        value, std = next(found)
        if not math.isfinite(value):
            result.append(failed(row, f"{adapter.name} gives no number"))
            continue
        std = std if math.isfinite(std) else spread
        if needs == "hop":
            result.append(hop_row(row, value, std, True))
        else:
            own = {"id": row["id"], column: value, "std": std, "in_domain": _knows(adapter, row)}
            result.append({**own, "working_ion": row.get("working_ion"), "status": "ok"})
    return {adapter.quantity: result}


def _knows(adapter: Adapter, row: Row) -> bool:
    elements = {str(e) for e in composition_of(row).composition}
    ions = [ion for ion in WORKING_IONS if ion in elements]
    return not adapter.working_ions or bool(set(ions) & set(adapter.working_ions))


def predicted(
    folder: Path, adapter: Adapter, rows: Sequence[Row], temperature_K: float, work: Path
) -> tuple[Floats, Floats]:
    """(n,) values and spreads in the unit of the quantity; NaN where there is none.

    Args:
        folder: Of the adapter.
        adapter: What it says.
        rows: (n,) rows of ``composition``, or of ``hop`` for a calculator.
        temperature_K: Of the plan.
        work: Where a calculator keeps what it has finished.

    Raises:
        InputError: The model cannot be loaded, asked, or answers in another form.
    """
    if not rows:
        return np.zeros(0), np.zeros(0)
    model = adapter.model
    if isinstance(model, AseModel):
        return _bands(model, rows, work)
    if isinstance(model, RestModel):
        raw, spread = _asked(adapter, model, rows, temperature_K)
    else:
        x = np.array([_features(model.features, row, temperature_K) for row in rows])
        raw, spread = _computed(folder / model.file, model.kind, x), np.full(len(rows), np.nan)
    return _converted(adapter, raw, spread)


def _converted(adapter: Adapter, raw: Floats, spread: Floats) -> tuple[Floats, Floats]:
    """From the unit of the model to that of the quantity."""
    factor = QUANTITIES[adapter.quantity].units[adapter.unit]
    if not QUANTITIES[adapter.quantity].is_log10:
        return raw * factor, spread * factor
    if adapter.is_log10:
        return raw + math.log10(factor), spread
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.where(raw > 0, np.log10(np.where(raw > 0, raw, 1.0) * factor), np.nan)
        return values, spread / (np.where(raw > 0, raw, np.nan) * math.log(10.0))


def _features(names: Sequence[str], row: Row, temperature_K: float) -> list[float]:
    composition = composition_of(row).composition
    amounts = {str(e): float(composition.get_atomic_fraction(e)) for e in composition}
    magpie = composition_descriptors(composition)
    return [_feature(name, amounts, magpie, temperature_K) for name in names]


def _feature(
    name: str, amounts: Mapping[str, float], magpie: Floats, temperature_K: float
) -> float:
    """One number of a composition by its name.

    Raises:
        InputError: Nobody knows a feature of this name.
    """
    if name == "temperature_K":
        return temperature_K
    if name.startswith("fraction of "):
        return amounts.get(name.removeprefix("fraction of "), 0.0)
    known = composition_feature_names()
    if name in known:
        return float(magpie[known.index(name)]) if len(magpie) else 0.0
    raise InputError(
        f"unknown feature '{name[:60]}'; known are 'fraction of X', 'temperature_K' and matminer's "
        f"Magpie statistics such as '{known[0]}'"
    )


def _computed(file: Path, kind: str, x: Floats) -> Floats:
    """(n,) numbers that a file gives, in a process of its own."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "ionbridge.screening.planning.foreign_process",
        kind,
        str(file.resolve()),
    ]
    root = str(Path(__file__).parents[3])
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
        "OMP_NUM_THREADS": "1",
    }
    try:
        done = subprocess.run(
            command,
            input=json.dumps(x.tolist()).encode(),
            capture_output=True,
            timeout=PATIENCE_S,
            env=environment,
            cwd=os.sep,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"{file}: no answer within {PATIENCE_S:g} s") from None
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", errors="replace").strip().splitlines() or [""]
        raise InputError(f"{file}: {one_line(said[-1], 300)}")
    return _numbers(done.stdout, len(x), str(file))


def _numbers(content: bytes, n: int, what: str) -> Floats:
    """(n,) numbers of a JSON list; null is NaN."""
    try:
        values = np.array(json.loads(content), dtype=float)
    except (ValueError, TypeError, RecursionError):
        raise InputError(f"{what}: its answer is no list of numbers") from None
    if values.shape != (n,):
        raise InputError(f"{what}: {n} rows were given, values of shape {values.shape} came back")
    return values


def check_allowed(url: str) -> None:
    """Refuse an address that the user has not allowed.

    Raises:
        InputError: It is not among those of ``IONBRIDGE_REST``, or unencrypted beyond this machine.
    """
    allowed = os.environ.get(ALLOWED_VARIABLE, "").split()
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{url}: expected an address beginning with http:// or https://")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise InputError(f"{url}: rows are not sent unencrypted beyond this machine; use https://")
    for one in allowed:
        own = urllib.parse.urlsplit(one)
        if (own.scheme, own.netloc) == (parts.scheme, parts.netloc):
            return
    raise InputError(
        f"{url}: this address is not allowed; set {ALLOWED_VARIABLE}={parts.scheme}://"
        f"{parts.netloc} to allow it"
    )


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Follow none: what is allowed is this address."""


def _asked(
    adapter: Adapter, model: RestModel, rows: Sequence[Row], temperature_K: float
) -> tuple[Floats, Floats]:
    """Values and spreads of an endpoint, in its own unit."""
    check_allowed(model.url)
    keys = ("id", "formula", "cell", "space_group")
    body = {
        "quantity": adapter.quantity,
        "unit": adapter.unit,
        "temperature_K": temperature_K,
        "rows": [{key: row.get(key) for key in keys} for row in rows],
    }
    headers = {"Content-Type": "application/json", "User-Agent": "ionbridge"}
    request = urllib.request.Request(model.url, json.dumps(body).encode(), headers)
    handlers: list[Any] = [_NoRedirects]
    if urllib.parse.urlsplit(model.url).hostname in LOOPBACK:
        handlers.append(urllib.request.ProxyHandler({}))
    try:
        opener = urllib.request.build_opener(*handlers)
        with opener.open(request, timeout=PATIENCE_S) as reply:
            content = reply.read(LARGEST_REPLY + 1)
        data = json.loads(content) if len(content) <= LARGEST_REPLY else None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{model.url}: no answer ({one_line(str(error), 200)})") from None
    if not isinstance(data, dict) or "values" not in data:
        raise InputError(f'{model.url}: expected {{"values": [...]}}')
    values = _numbers(json.dumps(data["values"]).encode(), len(rows), model.url)
    if data.get("stds") is None:
        return values, np.full(len(rows), np.nan)
    return values, _numbers(json.dumps(data["stds"]).encode(), len(rows), model.url)


def _bands(model: AseModel, rows: Sequence[Row], work: Path) -> tuple[Floats, Floats]:
    """Barriers by nudged elastic band with a calculator; NaN where a band fails."""
    from ionbridge.screening.execution.executor import ThisProcess
    from ionbridge.screening.labelling.bands.calculators import CalculatorChoice
    from ionbridge.screening.labelling.bands.neb_labels import NebLabeller, label_neb, neb_tasks

    labeller = NebLabeller(CalculatorChoice(model.calculator, model.arguments))
    tasks = neb_tasks([hop_of(row) for row in rows])
    by_id = {r["id"]: r for r in label_neb(tasks, labeller, work / "neb.jsonl", ThisProcess())}
    values = [
        float(by_id[row["id"]]["barrier_eV"]) if by_id[row["id"]]["status"] == "ok" else math.nan
        for row in rows
    ]
    return np.array(values), np.full(len(rows), np.nan)


def validate(name: str, rows: Path, work: Path, temperature_K: float = 300.0) -> dict[str, Any]:
    """Measure an adapter on labelled rows of the user, and keep what was found beside it.

    Args:
        name: Of the adapter.
        rows: Hops with ``barrier_eV`` for a calculator; else a table with ``Formula`` and the
            column of the quantity, in its unit.
        work: Where a calculator keeps what it has finished.
        temperature_K: At which the labels were measured.

    Returns:
        ``n``, ``mae``, ``rmse``, ``bias`` in the unit of the quantity, and checksums.

    Raises:
        InputError: Unknown name, no ions move at the temperature, too few rows, or the model
            cannot be used.
    """
    check_temperature(temperature_K)
    known = {read_adapter(folder).name: folder for folder in adapter_folders()}
    if name not in known:
        raise InputError(f"no adapter '{name}'; known: {', '.join(known) or 'none'}")
    folder = known[name]
    adapter = read_adapter(folder)
    given, labels = _labelled(adapter, rows)
    if len(given) < FEWEST_ROWS:
        raise InputError(
            f"{rows}: {len(given)} labelled rows, bounds apart; at least {FEWEST_ROWS} are needed"
        )
    values, _ = predicted(folder, adapter, given, temperature_K, work)
    gaps = (values - labels)[np.isfinite(values)]
    if len(gaps) < FEWEST_ROWS:
        raise InputError(f"{name} gives a number for {len(gaps)} of {len(labels)} labelled rows")
    found = {
        "n": len(gaps),
        "n_without_a_number": len(labels) - len(gaps),
        "mae": float(np.mean(np.abs(gaps))),
        "rmse": float(np.sqrt(np.mean(gaps**2))),
        "bias": float(np.mean(gaps)),
        "mae_of_the_mean": float(np.mean(np.abs(labels - labels.mean()))),
        "unit": QUANTITIES[adapter.quantity].unit,
        "rows": rows.name,
        "rows_sha256": sha256(rows),
        "checksum": adapter_checksum(folder, adapter),
    }
    write_json(folder / VALIDATION, found)
    return found


def _labelled(adapter: Adapter, path: Path) -> tuple[list[Row], Floats]:
    """Rows of an adapter's input, and their labels in the unit of the quantity; no bounds."""
    if adapter.model.kind == "ase":
        labelled = read_given(path).tables.get("hop_labels", ())
        hops = [row for row in labelled if hop_of(row).bound == "="]
        return hops, np.array([float(row["barrier_eV"]) for row in hops])
    column = QUANTITIES[adapter.quantity].column
    found, labels = [], []
    _, table = given_table(path, (column,))
    for k, given in enumerate(table):
        record = conductivity_row({key: v for key, v in given.items() if key}, f"row {k + 1}")
        try:
            label = float(given[column])
        except (TypeError, ValueError):
            continue
        if isinstance(record, ConductivityRow) and math.isfinite(label):
            found.append(plan_row_of_composition(record))
            labels.append(label)
    return found, np.array(labels)
