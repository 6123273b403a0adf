"""What decides: campaigns over thousands of candidates, ranking and the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from screening.campaign import Campaign

__all__ = ["Campaign"]


def __getattr__(name: str) -> Any:
    """Import `Campaign`, and with it torch, on first use: ``ionbridge --help`` needs neither."""
    if name == "Campaign":
        from screening.campaign import Campaign

        return Campaign
    raise AttributeError(f"module 'screening' has no attribute '{name}'")
