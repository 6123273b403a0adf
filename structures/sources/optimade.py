"""Structures of any OPTIMADE provider: the filter goes there, page after page comes here.

Entries are kept as the provider gives them, one a line, which is a form that every command reads.
OPTIMADE: Andersen et al., Scientific Data 8, 217 (2021); https://specs.optimade.org.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from ionbridge.structures.plain_text import well_formed
from ionbridge.structures.sources.source import checksum
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

FIELDS = (
    "id",  # some leave it out where it is not asked for
    "chemical_formula_reduced",
    "elements",
    "lattice_vectors",
    "cartesian_site_positions",
    "species",
    "species_at_sites",
    "structure_features",
)
MATERIALS_PROJECT = "https://optimade.materialsproject.org"
PROVIDERS = {"materials_project": MATERIALS_PROJECT}
"""Providers that may be named instead of their address."""
OWN_FIELDS = {MATERIALS_PROJECT: ("_mp_stability",)}
"""What a provider has beyond the standard and is read: energies above hull."""
MAX_PAGE_MB = 256.0
_PAGE_TIMEOUTS = 10
"""A page may take this many times the longest silence."""


@dataclass(frozen=True)
class OptimadeQuery:
    """What is asked of a provider.

    Attributes:
        provider: Its base address, for example ``https://optimade.materialsproject.org``, or one
            of `PROVIDERS`; kept as the address.
        filter: In the language of OPTIMADE, for example ``elements HAS ALL "Li","S"``; empty for
            everything.
        max_count: At most so many entries.
        page_limit: Entries a page; a provider may give fewer.
    """

    provider: str
    filter: str = ""
    max_count: int | None = None
    page_limit: int = 100

    def __post_init__(self) -> None:
        object.__setattr__(self, "provider", PROVIDERS.get(self.provider, self.provider))
        parts = urlsplit(self.provider)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query:
            raise FetchError(
                f"{self.provider!r}: no base address of a provider, such as {MATERIALS_PROJECT}, "
                f"and none of {', '.join(PROVIDERS)}"
            )
        if min(self.max_count or 1, self.page_limit) < 1 or self.max_count == 0:
            raise FetchError("at least one entry, and one a page, must be asked for")

    @property
    def first_page(self) -> str:
        """Address of the first page."""
        base = self.provider.rstrip("/")
        version = "" if re.search(r"/v\d+(\.\d+)*$", base) else "/v1"
        limit = min(self.page_limit, self.max_count or self.page_limit)
        fields = (*FIELDS, *OWN_FIELDS.get(base, ()))
        asked = {"page_limit": str(limit), "response_fields": ",".join(fields)}
        if self.filter:
            asked["filter"] = self.filter
        return f"{base}{version}/structures?{urlencode(asked)}"


@dataclass(frozen=True)
class _Page:
    entries: list[Mapping[str, Any]]
    following: str | None
    n_in_all: int | None


def fetch_structures(
    query: OptimadeQuery,
    out: str | Path,
    show: Callable[[int, int | None], None] = lambda n, of: None,
    attempts: int = ATTEMPTS,
    first_wait_s: float = FIRST_WAIT_S,
    timeout_s: float = TIMEOUT_S,
) -> int:
    """Write the entries that a provider has for a query; a query that broke off is gone on with.

    Whole pages are kept in ``.NAME.part`` until the last one is there; the same query to the same
    file goes on after them. What was asked, when, and the SHA-256 of the answer lie beside the file
    as ``NAME.query.json``.

    Args:
        query: What is asked.
        out: File of JSON lines, an entry each as the provider gives it.
        show: Told how many entries are there, and of how many where the provider says so.
        attempts: How often the provider may fail in a row.
        first_wait_s: Before it is asked again; it doubles with each time.
        timeout_s: Longest silence of the provider.

    Returns:
        The number of entries.

    Raises:
        FetchError: The provider refuses the query, or fails again and again.
    """
    file = Path(out)
    file.parent.mkdir(parents=True, exist_ok=True)
    part, place = (file.with_name(f".{file.name}.{end}") for end in ("part", "part.json"))
    asked = asdict(query)
    n, n_bytes, url = _place_of(place, part, asked)
    of: int | None = None
    seen: set[str] = set()
    with part.open("r+b" if n_bytes else "wb") as stream:
        stream.truncate(n_bytes)
        stream.seek(n_bytes)
        following: str | None = url or query.first_page
        while following is not None:
            url = following
            seen.add(url)
            page = persistently(
                lambda url=url: _page(url, timeout_s),  # type: ignore[misc]
                query.provider,
                attempts=attempts,
                first_wait_s=first_wait_s,
            )
            of = page.n_in_all if page.n_in_all is not None else of
            entries = page.entries
            if query.max_count is not None:
                entries = entries[: query.max_count - n]
                of = min(of, query.max_count) if of is not None else None
            stream.write("".join(map(_line, entries)).encode())
            stream.flush()
            os.fsync(stream.fileno())
            n, n_bytes, following = n + len(entries), stream.tell(), page.following
            if n == query.max_count:
                following = None
            if following is not None and (following in seen or not entries):
                raise FetchError(f"{query.provider}: its pages lead round and round ({following})")
            if following is not None:
                _keep_place(place, {"query": asked, "n": n, "bytes": n_bytes, "next": following})
            show(n, of)
    record = {
        **asked,
        "entries": n,
        "entries_at_the_provider": of,
        "fetched": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "sha256": checksum(part),
    }
    _keep_place(file.with_name(f"{file.name}.query.json"), record)
    os.replace(part, file)
    place.unlink(missing_ok=True)
    return n


def _line(entry: Mapping[str, Any]) -> str:
    return well_formed(json.dumps(entry, ensure_ascii=False)) + "\n"


def _place_of(place: Path, part: Path, asked: Mapping[str, Any]) -> tuple[int, int, str | None]:
    """Entries and bytes that are there of a query, and the next page; nothing of another query."""
    try:
        kept = json.loads(place.read_text(encoding="utf-8"))
        n, n_bytes, following = int(kept["n"]), int(kept["bytes"]), str(kept["next"])
        if kept["query"] == asked and part.stat().st_size >= n_bytes:
            return n, n_bytes, following
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return 0, 0, None


def _keep_place(file: Path, content: Mapping[str, Any]) -> None:
    part = file.with_name(f"{file.name}.partial")
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(part, file)


def _page(url: str, timeout_s: float) -> _Page:
    """One page of entries.

    Raises:
        PassingError: It does not come, breaks off, or is no page.
        FetchError: The provider refuses the query.
    """
    ends = time.monotonic() + _PAGE_TIMEOUTS * timeout_s
    content = bytearray()
    with opened(url, {"Accept": "application/vnd.api+json, application/json"}, timeout_s) as answer:
        for block in blocks(answer):
            content += block
            if time.monotonic() > ends:
                raise PassingError(f"a page takes longer than {_PAGE_TIMEOUTS * timeout_s:g} s")
            if len(content) > MAX_PAGE_MB * 1e6:
                raise FetchError(f"{url}: a page of more than {MAX_PAGE_MB:g} MB; ask for fewer")
        status, reason = answer.status_code, answer.reason
    try:
        page = json.loads(content)
    except (ValueError, RecursionError) as error:
        if status >= 400:
            raise FetchError(f"{url}: answers {status} {reason}") from error
        raise PassingError("sends a page that is no JSON") from error
    errors = page.get("errors") if isinstance(page, dict) else None
    if status >= 400 or errors:
        raise FetchError(f"{url}: answers {status} {reason}{_said(errors)}")
    try:
        entries, meta = page["data"], page.get("meta") or {}
        link = (page.get("links") or {}).get("next")
        link = link.get("href") if isinstance(link, dict) else link
        in_all = meta.get("data_returned")
        whole = isinstance(entries, list) and all(
            isinstance(e, dict) and "id" in e for e in entries
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise PassingError("sends a page without entries") from error
    if not whole:
        raise PassingError("sends a page of something else than entries")
    if not link and meta.get("more_data_available") is True:
        raise PassingError("says that there is more, but not where")
    following = urljoin(url, str(link)) if link else None
    if following is not None and urlsplit(following).scheme not in ("http", "https"):
        raise FetchError(f"{url}: the next page is no address ({following[:80]})")
    return _Page(entries, following, in_all if isinstance(in_all, int) else None)


def _said(errors: Any) -> str:
    """What a provider says about a query that it refuses."""
    if not isinstance(errors, list) or not errors or not isinstance(errors[0], dict):
        return ""
    text = " ".join(str(errors[0].get("detail") or errors[0].get("title") or "").split())
    return f": {text[:300]}" if text else ""
