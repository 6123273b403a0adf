"""Models on disk: safetensors weights, JSON config, YAML card. Nothing is pickled."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from ionbridge.structures.configuration import plain_yaml

Arrays = Mapping[str, NDArray[Any]]

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "card.yaml"
FORMAT_VERSION = 1
LARGEST_TEXT = 2**25
"""Characters of a config or card; those that ship have thirty thousand."""
MAY_BE_UNKNOWN = ("view", "band", "short", "displacement")
"""Tensors that hold inputs of training rows, NaN where a row has none."""


class IncompatibleModelError(ValueError):
    """A folder that is not a whole, unaltered model of a known kind."""


class Stored(NamedTuple):
    """What a model folder holds.

    Attributes:
        arrays: Weights by name.
        config: Settings; ``kind`` names the class that reads them.
        card: What the model predicts, from what, how well, under which licence.
    """

    arrays: dict[str, NDArray[Any]]
    config: dict[str, Any]
    card: dict[str, Any]


def sha256(path: Path) -> str:
    """Hex checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_checksum(folder: Path) -> str:
    """SHA-256 over all files of a model folder, hidden ones apart: weights, settings, card, rows.

    Raises:
        IncompatibleModelError: A file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
        for name in sorted(files):
            if not any(part.startswith(".") for part in name.split("/")):
                digest.update(f"{name} {sha256(files[name])}\n".encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise IncompatibleModelError(f"{folder}: cannot be read ({error.strerror})") from None
    return digest.hexdigest()


def save_model(
    directory: Path, arrays: Arrays, config: Mapping[str, Any], card: Mapping[str, Any]
) -> None:
    """Write a model folder; files appear whole or not at all.

    Args:
        directory: Created if it is not there.
        arrays: Weights of any shape by name.
        config: JSON object with at least ``kind``.
        card: What the model predicts, was trained on and how well it does.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)

    def write(name: str, writer: Any) -> None:
        temporary = directory / f".{name}.tmp"
        writer(temporary)
        os.replace(temporary, directory / name)

    whole = {"format_version": FORMAT_VERSION, **config}
    settings = json.dumps(whole, indent=1, allow_nan=False) + "\n"
    rows_first = {name: np.asarray(values, order="C") for name, values in arrays.items()}
    write(WEIGHTS, lambda p: save_file(rows_first, p))
    write(CONFIG, lambda p: p.write_text(settings, encoding="utf-8"))
    checksums = {name: sha256(directory / name) for name in (WEIGHTS, CONFIG)}
    text = yaml.safe_dump({**card, "checksums_sha256": checksums}, sort_keys=False, width=100)
    write(CARD, lambda p: p.write_text(text, encoding="utf-8"))


@contextmanager
def belonging_together(folder: Path, kind: str) -> Iterator[None]:
    """Whatever settings and weights of a folder raise becomes one line: it may be anybody's.

    Raises:
        IncompatibleModelError: In place of any other exception.
    """
    try:
        yield
    except IncompatibleModelError:
        raise
    except Exception as error:
        why = " ".join(str(error).split())[:300]
        raise IncompatibleModelError(
            f"{folder}: {CONFIG} and {WEIGHTS} make no {kind} ({type(error).__name__}: {why})"
        ) from error


def named(prefix: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
    """The arrays of a part of a model under names that start with a prefix."""
    return {f"{prefix}{name}": values for name, values in arrays.items()}


def under(prefix: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Inverse of :func:`named`: the arrays whose names start with a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def read_model(directory: Path) -> Stored:
    """Read a model folder back; no code in it is run.

    Args:
        directory: A folder written by :func:`save_model`.

    Raises:
        IncompatibleModelError: A file is missing, altered, of a newer format, or not what it
            says it is (a pickle offered as weights, for example).
    """
    directory = Path(directory)
    for name in (WEIGHTS, CONFIG, CARD):
        if not (directory / name).is_file():
            raise IncompatibleModelError(
                f"{directory}: {name} is missing; a model folder holds {WEIGHTS}, {CONFIG}, {CARD}"
            )
    card = read_mapping(directory / CARD)
    config = read_mapping(directory / CONFIG, partial(json.loads, parse_constant=_no_number))
    if config.get("format_version") != FORMAT_VERSION:
        raise IncompatibleModelError(
            f"{directory}: format_version {config.get('format_version')!r}, this version reads "
            f"{FORMAT_VERSION}"
        )
    checksums = card.get("checksums_sha256")
    if not isinstance(checksums, dict):
        raise IncompatibleModelError(f"{directory / CARD}: checksums_sha256 is missing")
    try:
        arrays = load_file(directory / WEIGHTS)
    except SafetensorError as error:
        raise IncompatibleModelError(
            f"{directory / WEIGHTS}: not a safetensors file ({error}); pickled weights are refused"
        ) from None
    for name, array in arrays.items():
        bad = np.isinf(array) if name in MAY_BE_UNKNOWN else ~np.isfinite(array)
        if bad.any():
            raise IncompatibleModelError(
                f"{directory / WEIGHTS}: {int(bad.sum())} of {bad.size} values of {name[:60]!r} "
                "are NaN or infinite; the model was saved broken, fit it again"
            )
    for name in (WEIGHTS, CONFIG):
        if checksums.get(name) != sha256(directory / name):
            raise IncompatibleModelError(
                f"{directory / name}: checksum differs from the one in {CARD}; the file was "
                "altered after the model was saved"
            )
    return Stored(arrays, config, card)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number that a model can have")


def read_mapping(path: Path, parser: Callable[[str], Any] = plain_yaml) -> dict[str, Any]:
    """The mapping in a card or config.

    Raises:
        IncompatibleModelError: It cannot be read, is too long, nested too deep, or no mapping.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LARGEST_TEXT + 1)
        if len(text) > LARGEST_TEXT:
            raise ValueError(f"more than {LARGEST_TEXT // 2**20} MiB of text")
        value = parser(text)
    except RecursionError:
        raise IncompatibleModelError(f"{path}: cannot be read (nested too deep)") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise IncompatibleModelError(f"{path}: cannot be read ({first[:200]})") from None
    if not isinstance(value, dict):
        raise IncompatibleModelError(f"{path}: holds {type(value).__name__}, no mapping")
    return value
