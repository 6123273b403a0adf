"""IonBridge: battery-materials screening that carries knowledge to chemistries with almost no data.

The folders ``structures``, ``models`` and ``screening`` of the repository are the subpackages
``ionbridge.structures``, ``ionbridge.models`` and ``ionbridge.screening``: links beside this file
point to them, so that interpreters, type checkers, editors and wheels find one package under one
name.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ionbridge.screening.campaign import Campaign

__all__ = ["Campaign", "__version__"]

try:
    __version__ = version("ionbridge")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    """Import the public names, and with them torch, on first use."""
    if name == "Campaign":
        from ionbridge.screening.campaign import Campaign

        return Campaign
    raise AttributeError(f"module 'ionbridge' has no attribute {name!r}")
