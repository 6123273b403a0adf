"""Files of public sources onto the disk: gone on with where they broke off, checked, kept."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

from ionbridge.structures.sources.source import Remote, Source, checksum
from ionbridge.structures.sources.web import (
    ATTEMPTS,
    FIRST_WAIT_S,
    TIMEOUT_S,
    FetchError,
    PassingError,
    blocks,
    opened,
    persistently,
)

Show = Callable[[int, int | None], None]
"""Told how many bytes of a file are there, and of how many where the server says so."""

_FOUND, _PART_OF_IT, _BEYOND_ITS_END = 200, 206, 416


def fetch(
    source: Source,
    data_dir: str | Path,
    show: Callable[[str], Show] = lambda name: lambda done, of: None,
    attempts: int = ATTEMPTS,
    first_wait_s: float = FIRST_WAIT_S,
    timeout_s: float = TIMEOUT_S,
) -> list[str]:
    """Bring the files of a source into a data folder; what is there already is checked and kept.

    A file that broke off stays as ``.NAME.part`` and is gone on with, now or the next time. The
    checksum of every served file lies beside it as ``NAME.sha256``: as published with this program,
    else as found when it was fetched first.

    Args:
        source: What is wanted.
        data_dir: Folder of the data sets.
        show: Given a name, what is told of its progress.
        attempts: How often a server may fail in a row.
        first_wait_s: Before it is asked again; it doubles with each time.
        timeout_s: Longest silence of a server.

    Returns:
        One line a file: what was done with it.

    Raises:
        FetchError: A file cannot be had, is not the published one, or was changed since.
    """
    if not source.remotes:
        raise FetchError(
            f"{source.name}: no file of it is served at a fixed address; {source.how_to_get}"
        )
    data = Path(data_dir)
    whole = not source.missing(data)
    said = []
    for remote in source.remotes:
        file = data / remote.path
        if whole and not file.is_file():
            continue  # its records are there already, from elsewhere
        if _is_there(remote, file):
            said.append(f"{remote.path}: there already, whole")
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        told = show(remote.path)
        digest = _retrieve(remote, file, told, attempts, first_wait_s, timeout_s)
        known = "as published" if remote.sha256 else "recorded now: none is published for it"
        said.append(f"{remote.path}: {file.stat().st_size} bytes, sha256 {digest[:16]} ({known})")
    if whole:
        return said or [f"{name}: there already" for name in source.files]
    if source.arrange is not None:
        try:
            source.arrange(data)
        except (OSError, EOFError, ValueError, KeyError, IndexError, tarfile.TarError) as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())
            raise FetchError(
                f"{source.name}: what is served there has another form than expected ({why})"
            ) from error
        said += [f"{name}: made of them" for name in source.files]
    if source.missing(data):
        raise FetchError(f"{source.name}: still missing: {', '.join(source.missing(data))}")
    return said


def changed(source: Source, data_dir: str | Path) -> str:
    """The fetched file of a source that is another one by now, as a line; empty if none is."""
    for remote in source.remotes:
        try:
            _is_there(remote, Path(data_dir) / remote.path)
        except FetchError as error:
            return str(error)
    return ""


def _record(file: Path) -> Path:
    return file.with_name(f"{file.name}.sha256")


def _is_there(remote: Remote, file: Path) -> bool:
    """Whether a served file is there as it was fetched.

    Raises:
        FetchError: It is there, but another one.
    """
    if not file.is_file():
        return False
    known = remote.sha256
    if known is None and _record(file).is_file():
        known = (_record(file).read_text(encoding="utf-8").split() or [""])[0]
    if known is not None and (found := checksum(file)) != known:
        raise FetchError(
            f"{file}: not the file that was fetched (sha256 {found[:16]}, expected {known[:16]}); "
            f"remove it{'' if remote.sha256 else f' and {_record(file).name}'} to fetch it again"
        )
    return True


def _write_record(file: Path, digest: str) -> None:
    _record(file).write_text(f"{digest}  {file.name}\n", encoding="utf-8")


def _retrieve(
    remote: Remote, file: Path, told: Show, attempts: int, first_wait_s: float, timeout_s: float
) -> str:
    """Fetch one file; its SHA-256."""
    part = file.with_name(f".{file.name}.part")
    persistently(
        lambda: _go_on(remote.url, part, told, timeout_s),
        remote.url,
        lambda: part.stat().st_size if part.is_file() else 0,
        attempts,
        first_wait_s,
    )
    part.with_suffix(".json").unlink(missing_ok=True)
    digest = checksum(part)
    if remote.sha256 not in (None, digest):
        part.unlink()
        raise FetchError(
            f"{remote.url}: not the published file (sha256 {digest[:16]}, expected "
            f"{str(remote.sha256)[:16]})"
        )
    os.replace(part, file)
    _write_record(file, digest)
    return digest


def _go_on(url: str, part: Path, told: Show, timeout_s: float) -> None:
    """Add to a part of a file what is still missing; all of it where the server has no parts.

    Raises:
        PassingError: It broke off again.
        FetchError: There is no such file.
    """
    marks = part.with_suffix(".json")
    have = part.stat().st_size if part.is_file() else 0
    headers = {}
    if have:
        headers["Range"] = f"bytes={have}-"
        version = json.loads(marks.read_text()).get("version") if marks.is_file() else None
        if version:  # the whole file again where it is another one by now
            headers["If-Range"] = version
    with opened(url, headers, timeout_s) as answer:
        code = answer.status_code
        if code == _BEYOND_ITS_END:
            whole = answer.headers.get("Content-Range", "").rpartition("/")[2]
            if whole == str(have):
                return
            part.unlink(missing_ok=True)
            raise PassingError("serves a shorter file than before")
        if code not in (_FOUND, _PART_OF_IT):
            raise FetchError(f"{url}: answers {code} {answer.reason}")
        begun = answer.headers.get("Content-Range", "")
        if code == _PART_OF_IT and not begun.startswith(f"bytes {have}-"):
            part.unlink(missing_ok=True)
            raise PassingError(f"serves another part than asked for ({begun[:60]})")
        have = have if code == _PART_OF_IT else 0
        tag = answer.headers.get("ETag", "")
        version = tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified")
        marks.write_text(json.dumps({"version": version}))
        rest = answer.headers.get("Content-Length")
        of = have + int(rest) if rest and rest.isdigit() else None
        with part.open("ab" if have else "wb") as stream:
            for block in blocks(answer):
                stream.write(block)
                have += len(block)
                told(have, of)
        if of is not None and have < of:
            raise PassingError(f"breaks off after {have} of {of} bytes")


def unpacked(archive: Path, folder: Path, suffix: str) -> None:
    """The files of a kind in a tar archive into a new folder, without the folders they lay in.

    Args:
        archive: Packed or not.
        folder: Made whole by a rename; two members of one name are refused.
        suffix: Of the files, for example ``.cif``.

    Raises:
        ValueError: No such file, or two of one name.
    """
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    part.mkdir(parents=True)
    seen: set[str] = set()
    with tarfile.open(archive) as members:
        for member in members:
            name = Path(member.name).name
            if not member.isfile() or not name.endswith(suffix) or name.startswith("."):
                continue
            if name in seen:
                raise ValueError(f"{archive.name}: two files are called {name}")
            seen.add(name)
            stream = members.extractfile(member)
            assert stream is not None
            (part / name).write_bytes(stream.read())
    if not seen:
        raise ValueError(f"{archive.name}: holds no {suffix} file")
    os.replace(part, folder)
