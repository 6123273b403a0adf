"""Which program this is: the checksum of its own code, and versions of what it stands on."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ionbridge import models, screening, structures

CODE = (".py", ".yaml", ".json")
SHIPPED_MODELS = "library"
"""Folder of the models; each has a checksum of its own."""


@lru_cache(maxsize=1)
def code_checksum() -> str:
    """SHA-256 over the program's own modules and tables: which code makes the rows."""
    digest = hashlib.sha256()
    for package in (structures, models, screening):
        root = Path(str(package.__file__)).parent
        for path in sorted(p for p in root.rglob("*") if p.suffix in CODE):
            name = path.relative_to(root)
            if name.parts[0] != SHIPPED_MODELS:
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                digest.update(f"{name} {content}\n".encode())
    return digest.hexdigest()


def installed_version(name: str) -> str:
    """Version of a distribution; ``not installed`` where the code is run from a bare checkout."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
