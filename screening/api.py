"""What a notebook or a script needs: predict, evaluate, adapt and plan in one call each.

Each function takes what people have at hand and calls what the command of the same name calls, so
that numbers agree to the last digit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from ionbridge.models.adaptation.adapt import adapt as adapt_to
from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.executors import executor_from
from ionbridge.screening.execution.progress import is_shown
from ionbridge.screening.prediction.conduction import Conditions
from ionbridge.screening.prediction.conductivities import why_not_learnable
from ionbridge.screening.prediction.evaluation import evaluate as evaluate_predictions
from ionbridge.screening.prediction.files import Input, Quantity, read_input
from ionbridge.screening.prediction.files import predict as predict_input
from ionbridge.structures.features.diffusivity_labels import (
    is_diffusivity_file,
    read_diffusivities,
)
from ionbridge.structures.io.tables import ConductivityRow
from ionbridge.structures.records import Crystal, FailedRecord, Hop

STRUCTURE_COLUMNS = ("structure", "crystal", "atoms")
"""Columns of a DataFrame that hold structures; under another name, the only one that does."""


def predict(
    given: Any,
    quantity: Quantity | None = None,
    *,
    model: str | PathLike[str] | None = None,
    temperature_K: float = 300.0,
    cifs: str | PathLike[str] | None = None,
    workers: int = 0,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Predict crystals, hops or rows of a conductivity table.

    Args:
        given: A pymatgen Structure, ASE Atoms, a Crystal or Hop of this package, a path to a file
            or folder, a list of any of these, or a DataFrame with a column of structures.
        quantity: ``migration_barrier``, ``diffusivity`` or ``conductivity``; by default what the
            input is good for.
        model: Name of a model or a model folder; by default the best shipped one.
        temperature_K: T of diffusivity and conductivity.
        cifs: Folder with CIFs of the rows of a conductivity table.
        workers: Worker processes; 0 works in this one.
        progress: Show a progress bar; by default on a terminal and in a notebook.

    Returns:
        One row for each record, in order, with the columns of ``ionbridge predict``; the unit
        stands in each name. ``status`` and ``reason`` say what could not be predicted.

    Raises:
        InputError: Nothing that can be read, or a quantity that it does not give.
    """
    conditions = Conditions(temperature_K=temperature_K)
    name = None if model is None else str(model)
    data = _input(given, None if cifs is None else Path(cifs))
    executor = executor_from("local", workers)
    found = predict_input(data, quantity, name, conditions, executor, progress=is_shown(progress))
    return pd.DataFrame(found.rows, columns=list(found.columns))


def evaluate(
    labels: Any, *, model: str | PathLike[str] | None = None, workers: int = 0
) -> dict[str, Any]:
    """Compare predictions with labelled hops or a conductivity table, beside simple baselines.

    Args:
        labels: A path, or a list of hops with ``barrier_eV``, values or bounds.
        model: Name of a model or a model folder; by default the best shipped one.
        workers: Worker processes; 0 works in this one.

    Raises:
        InputError: Nothing that can be read, or no labels in it.
    """
    data = _input(labels, None)
    name = None if model is None else str(model)
    executor = executor_from("local", workers)
    return evaluate_predictions(data, predict_input(data, None, name, Conditions(), executor))


def adapt(
    labels: Any,
    *,
    quantity: str | None = None,
    base: str | PathLike[str] | None = None,
    strategy: str = "auto",
    method: str | None = None,
    cifs: str | PathLike[str] | None = None,
    trials: int = 0,
    study: str | PathLike[str] | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> tuple[Any, dict[str, Any]]:
    """Adapt a shipped model to labelled hops, or to conductivities or diffusivities.

    Args:
        labels: A path, or a list of hops with ``barrier_eV``, values or bounds.
        quantity: ``migration_barrier``, ``conductivity`` or ``diffusivity``, refused where the
            labels are of another.
        base: Model to start from; by default the best shipped one for these labels.
        strategy: ``auto`` compares ways by cross-validation on the labels and takes what wins.
        method: Of labels by several methods, the one whose values are wanted.
        cifs: Folder with CIFs of the rows of a conductivity table.
        trials: Settings that are tried in a search, judged on host frameworks held out of it, and
            taken only where they win there; 0 for the defaults.
        study: Journal of that search, an Optuna study; with it the search goes on where it was.
        seed: Of folds and fits.
        progress: Show a progress bar; by default on a terminal and in a notebook.

    Returns:
        The model, which has ``predict`` and ``save``, and its card: what it learnt from and what
        was left out for which reason, what was compared, and the errors found.

    Raises:
        InputError: Nothing that can be read, or no labels in it that can be learnt from.
    """
    given = labels
    if not isinstance(given, Labelled):
        given = labelled(labels, quantity, None if cifs is None else Path(cifs))
    try:
        model, card = adapt_to(
            given.records,
            None if base is None else str(base),
            None if strategy == "auto" else (strategy,),
            method=method,
            trials=trials,
            study=None if study is None else Path(study),
            seed=seed,
            progress=is_shown(progress),
        )
    except ValueError as error:
        raise InputError(str(error)) from error
    if given.failed:
        card["trained_on"]["left_out"] = dict(Counter(f.reason for f in given.failed).most_common())
    return model, card


@dataclass(frozen=True)
class Labelled:
    """Records that can be learnt from.

    Attributes:
        quantity: What their labels are of.
        records: Hops, or rows of compositions, each with its label.
        failed: What cannot be learnt from, with the reason.
        found: One line that says what was found.
    """

    quantity: str
    records: Sequence[Any]
    failed: Sequence[FailedRecord]
    found: str


def labelled(given: Any, quantity: str | None = None, cifs: Path | None = None) -> Labelled:
    """Labels to learn from; see :func:`adapt` for the arguments.

    Raises:
        InputError: Nothing that can be read, no labels in it, or labels of another quantity.
    """
    path = Path(given) if isinstance(given, str | PathLike) else None
    records: Sequence[Any]
    failed: Sequence[FailedRecord]
    if quantity in (None, "diffusivity") and path is not None and is_diffusivity_file(path):
        own, data = "diffusivity", read_diffusivities(path)
        records, failed = data.rows, data.failed
        found = f"found {len(records) + len(failed)} diffusivities"
        missing = "no diffusivity with a composition and a temperature"
    else:
        read = _input(given, cifs)
        found = read.found
        if read.kind == "conductivity_table":
            own, why_not = "conductivity", why_not_learnable
            missing = (
                "no row with a working ion and a conductivity at room temperature; columns "
                "'Formula' and 'Ionic conductivity (S/cm)' are needed"
            )
        else:
            own, why_not = "migration_barrier", _why_no_barrier
            missing = "no hop with a barrier_eV to learn from"
        reasons = [why_not(r) for r in read.records]
        pairs = list(zip(read.records, reasons, strict=True))
        records = [r for r, reason in pairs if not reason]
        failed = [FailedRecord(r.id, reason) for r, reason in pairs if reason]
    if quantity not in (None, own):
        raise InputError(f"these labels are of {own}, not {quantity}")
    if not records:
        raise InputError(missing)
    return Labelled(own, records, failed, found)


def _why_no_barrier(record: Any) -> str:
    """Why a record teaches no barrier; empty for one that does."""
    if isinstance(record, FailedRecord):
        return record.reason
    if isinstance(record, Hop) and record.barrier_eV is not None:
        return ""
    return "no barrier_eV"


def plan(goal: str, given: str | PathLike[str] | Sequence[str | PathLike[str]], **at: float) -> Any:
    """The chain of models with the least error from what is given to a goal.

    Args:
        goal: A quantity, for example ``conductivity`` or ``cell_energy``.
        given: Paths, ``chemistry:NAME`` or ``quantity=VALUE UNIT``; one or several.
        at: Conditions, for example ``temperature_K=318.15`` or ``c_rate=2``.

    Raises:
        InputError: Nothing that can be read, or an unknown goal or condition.
    """
    from ionbridge.screening.planning.catalogue import Conditions as PlanConditions
    from ionbridge.screening.planning.entries import default_catalogue
    from ionbridge.screening.planning.inputs import read_givens
    from ionbridge.screening.planning.planner import plan as made

    texts = [given] if isinstance(given, str | PathLike) else list(given)
    try:
        conditions = PlanConditions(**at)  # type: ignore[arg-type]
    except TypeError as error:
        raise InputError(f"plan: {error}; known conditions: temperature_K, c_rate") from None
    return made(goal, read_givens([str(t) for t in texts]), default_catalogue(), conditions)


def crystal_of(given: Any) -> Crystal:
    """The one crystal in a Structure, Atoms, Crystal, path or a list of one of them.

    Raises:
        InputError: Nothing that can be read, or not one crystal.
    """
    records = _input(given, None).records
    if len(records) == 1 and isinstance(records[0], FailedRecord):
        raise InputError(records[0].reason)
    if len(records) != 1 or not isinstance(records[0], Crystal):
        raise InputError(f"expected one crystal, got {len(records)} records")
    return records[0]


def _input(given: Any, cifs: Path | None) -> Input:
    """Records of whatever was given."""
    if isinstance(given, str | PathLike):
        return read_input([Path(given)], cifs)
    if isinstance(given, pd.DataFrame):
        column = _structure_column(given)
        if column is None:
            raise InputError(
                f"a DataFrame needs a column {' or '.join(STRUCTURE_COLUMNS)} (columns: "
                f"{', '.join(map(str, given.columns))}); a table of compositions is given by its "
                "path"
            )
        items = given[column].tolist()
        ids = given["id"].tolist() if "id" in given else [str(i) for i in given.index]
        return _records([_record(item, str(i)) for i, item in zip(ids, items, strict=True)])
    if isinstance(given, list | tuple):
        if given and all(isinstance(item, str | PathLike) for item in given):
            return read_input([Path(item) for item in given], cifs)
        records: list[Any] = []
        for i, item in enumerate(given):
            if isinstance(item, str | PathLike):
                records += read_input([Path(item)], cifs).records
            else:
                records.append(_record(item, str(i)))
        return _records(records)
    return _records([_record(given, "0")])


def _structure_column(table: pd.DataFrame) -> Any:
    """The column that holds structures: by its name, else the only one with nothing but them."""
    for name in STRUCTURE_COLUMNS:
        if name in table:
            return name
    whole = [c for c in table if len(table) and all(map(_is_structure, table[c]))]
    return whole[0] if len(whole) == 1 else None


def _is_structure(item: Any) -> bool:
    return isinstance(item, Structure | Crystal) or hasattr(item, "get_chemical_symbols")


def _records(records: list[Any]) -> Input:
    usable = [r for r in records if not isinstance(r, FailedRecord)]
    if not usable:
        raise InputError("nothing was given")
    if all(isinstance(r, Hop) for r in usable):
        return Input("hops", records, f"{len(records)} hops")
    if all(isinstance(r, ConductivityRow) for r in usable):
        return Input("conductivity_table", records, f"{len(records)} rows")
    if all(isinstance(r, Crystal) for r in usable):
        return Input("crystals", records, f"{len(records)} crystals")
    raise InputError("expected records of one kind: all crystals, all hops, or all table rows")


def _record(item: Any, id: str) -> Any:
    """A crystal or hop; structures get the id."""
    if isinstance(item, Crystal | Hop | ConductivityRow | FailedRecord):
        return item
    if isinstance(item, Structure):
        return _crystal(item, id)
    if hasattr(item, "get_chemical_symbols"):  # ASE Atoms, without importing ASE for others
        return _crystal(AseAtomsAdaptor.get_structure(item), id)
    raise InputError(
        f"cannot predict a {type(item).__name__}; give a pymatgen Structure, ASE Atoms, a Crystal, "
        "a Hop, a path, a list of these, or a DataFrame with a column 'structure'"
    )


def _crystal(structure: Structure, id: str) -> Crystal:
    crystal = Crystal.from_pymatgen(structure, id)
    return replace(crystal, frac=crystal.frac % 1.0)
