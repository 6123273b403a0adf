"""The calculators that label: CHGNet and SevenNet, ready to use, or any of ASE by import path."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ase.calculators.calculator import Calculator

from ionbridge.screening.errors import InputError, MissingExtraError

READY = {
    "chgnet": ("chgnet_calculator", "ChgnetCalculator", "chgnet"),
    "sevennet": ("sevennet_calculator", "SevennetCalculator", "sevenn"),
}
"""Module beside this one, class and package of each calculator that has a name; the name is that of
its optional part too."""


@dataclass(frozen=True)
class CalculatorChoice:
    """Which calculator, made with which keyword arguments.

    Attributes:
        name: One of READY, or the import path of an ASE calculator, ``package.module:Class`` (any
            callable that returns one will do).
        arguments: Its keyword arguments.
    """

    name: str = "chgnet"
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parsed(cls, name: str, arguments: str | None) -> CalculatorChoice:
        """From the command line.

        Args:
            name: See the class.
            arguments: A JSON object, or None.

        Raises:
            InputError: The arguments are no JSON object.
        """
        try:
            parsed = json.loads(arguments) if arguments else {}
        except json.JSONDecodeError as error:
            raise InputError(f"--calculator-arguments: {error} in {arguments!r}") from error
        if not isinstance(parsed, dict):
            raise InputError(
                f"--calculator-arguments: expected a JSON object such as "
                f'{{"cutoff": 6.0}}, got {arguments!r}'
            )
        return cls(name, parsed)

    def make(self) -> Calculator:
        """The calculator itself.

        Raises:
            MissingExtraError: A ready calculator whose package is not installed.
            InputError: No such calculator, or it cannot be made with these arguments.
        """
        maker = self._maker()
        try:
            made = maker(**self.arguments)
        except Exception as error:
            raise InputError(
                f"calculator '{self.name}' cannot be made with arguments "
                f"{json.dumps(dict(self.arguments))}: {type(error).__name__}: {error}"
            ) from error
        if not hasattr(made, "get_property"):
            raise InputError(
                f"calculator '{self.name}' made a {type(made).__name__}, which is no ASE calculator"
            )
        found: Calculator = made
        return found

    @property
    def version(self) -> str:
        """Version of the package that the calculator comes from, empty where it has none.

        One that cannot be imported has none, either; asking for the calculator says so.
        """
        package = self.name.partition(":")[0].partition(".")[0]
        if self.name in READY:
            package = READY[self.name][2]
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            with contextlib.suppress(ImportError):
                return str(getattr(importlib.import_module(package), "__version__", ""))
            return ""

    def _maker(self) -> Any:
        if self.name in READY:
            module, attribute, _ = READY[self.name]
            try:
                found = importlib.import_module(f"ionbridge.screening.labelling.bands.{module}")
            except ImportError as error:
                raise MissingExtraError(self.name, f"calculator '{self.name}'") from error
            return getattr(found, attribute)
        path, colon, attribute = self.name.partition(":")
        if not (path and colon and attribute):
            raise InputError(
                f"unknown calculator '{self.name}'; known: {', '.join(READY)}, or an import path "
                "such as ase.calculators.emt:EMT"
            )
        try:
            return getattr(importlib.import_module(path), attribute)
        except ImportError as error:
            raise InputError(
                f"calculator '{self.name}' cannot be imported ({error}); install its package"
            ) from error
        except AttributeError as error:
            raise InputError(
                f"calculator '{self.name}': module {path} has no {attribute}"
            ) from error
