"""IonBridge: battery-materials screening that carries knowledge to chemistries with almost no data.

    import ionbridge as ib

    ib.predict("LiFePO4.cif")          # crystals, hops, tables, folders, lists -> a DataFrame
    ib.evaluate("my-hops.jsonl")       # your labels against the model and simple baselines
    ib.adapt("my-hops.jsonl")          # a model adapted to your chemistry, and its card
    ib.plan("conductivity", "LiFePO4.cif")   # the chain of models with the least error
    ib.Campaign("campaign.yaml").run("results/mine").results   # thousands of candidates, ranked
    ib.load_model("hop-barrier")       # a shipped model, or your own, by name or folder
    ib.plots.hop_network("LiFePO4.cif").show()   # and ranking, against_stability, ...

The folders ``structures``, ``models`` and ``screening`` of the repository are the subpackages
``ionbridge.structures``, ``ionbridge.models`` and ``ionbridge.screening``: links beside this file
point to them, so that interpreters, type checkers, editors and wheels find one package under one
name.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ionbridge.models.library import load as load_model
    from ionbridge.screening.api import adapt, evaluate, plan, predict
    from ionbridge.screening.campaign.campaign import Campaign
    from ionbridge.screening.report import plots

__version__: str

__all__ = [
    "Campaign",
    "__version__",
    "adapt",
    "evaluate",
    "load_model",
    "plan",
    "plots",
    "predict",
]

_HOMES: dict[str, tuple[str, str | None]] = {
    "Campaign": ("ionbridge.screening.campaign.campaign", "Campaign"),
    "adapt": ("ionbridge.screening.api", "adapt"),
    "evaluate": ("ionbridge.screening.api", "evaluate"),
    "load_model": ("ionbridge.models.library", "load"),
    "plan": ("ionbridge.screening.api", "plan"),
    "plots": ("ionbridge.screening.report.plots", None),
    "predict": ("ionbridge.screening.api", "predict"),
}


def __getattr__(name: str) -> Any:
    """Import the public names, and with them torch, on first use."""
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("ionbridge")
        except PackageNotFoundError:  # a checkout that is not installed
            return "0+unknown"
    if name in _HOMES:
        home, attribute = _HOMES[name]
        module = import_module(home)
        return module if attribute is None else getattr(module, attribute)
    raise AttributeError(f"module 'ionbridge' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
