"""Models on disk: safetensors weights, JSON config, YAML card. Nothing is pickled."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ionbridge.structures.configuration import plain_yaml

if TYPE_CHECKING:  # seconds that those who read a card do not need
    import torch

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "card.yaml"
FORMAT_VERSION = 1
LARGEST_TEXT = 2**25
"""Characters of a config or card; those that ship have thirty thousand."""
MAY_BE_UNKNOWN = ("view", "band", "short", "displacement")
"""Tensors that hold inputs of training rows, NaN where a row has none."""


class IncompatibleModelError(ValueError):
    """A folder that is not a whole, unaltered model of a known kind."""


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
    directory: Path,
    tensors: Mapping[str, torch.Tensor],
    config: Mapping[str, Any],
    card: Mapping[str, Any],
) -> None:
    """Write a model folder; files appear whole or not at all.

    Args:
        directory: Created if it is not there.
        tensors: Named tensors of any shape.
        config: JSON object with at least ``kind``.
        card: What the model predicts, was trained on and how well it does.
    """
    from safetensors.torch import save_file

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)

    def write(name: str, writer: Any) -> None:
        temporary = directory / f".{name}.tmp"
        writer(temporary)
        os.replace(temporary, directory / name)

    whole = {"format_version": FORMAT_VERSION, **config}
    settings = json.dumps(whole, indent=1, allow_nan=False) + "\n"
    write(WEIGHTS, lambda p: save_file({k: v.contiguous() for k, v in tensors.items()}, p))
    write(CONFIG, lambda p: p.write_text(settings, encoding="utf-8"))
    checksums = {name: sha256(directory / name) for name in (WEIGHTS, CONFIG)}
    text = yaml.safe_dump({**card, "checksums_sha256": checksums}, sort_keys=False, width=100)
    write(CARD, lambda p: p.write_text(text, encoding="utf-8"))


def load_arrays(directory: Path, kind: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays and config of a model folder of one kind; see :func:`load_model`.

    Raises:
        IncompatibleModelError: As :func:`load_model`.
        ValueError: A folder of another kind.
    """
    arrays, config, _ = read_model(Path(directory))
    if config.get("kind") != kind:
        raise ValueError(f"{directory} holds a {config.get('kind')!r}, not a {kind!r}")
    return arrays, config


def load_model(
    directory: Path,
) -> tuple[dict[str, torch.Tensor], dict[str, Any], dict[str, Any]]:
    """Tensors, config and card of a model folder; see :func:`read_model`."""
    import torch

    arrays, config, card = read_model(directory)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}, config, card


def read_model(
    directory: Path,
) -> tuple[dict[str, NDArray[Any]], dict[str, Any], dict[str, Any]]:
    """Read a model folder back; no code in it is run.

    Args:
        directory: A folder written by :func:`save_model`.

    Returns:
        Arrays, config and card.

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
    return arrays, config, card


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
