"""What everything that learns shares: parameters, folders on disk, its look in a notebook."""

from __future__ import annotations

import html
import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from ionbridge.models.checkpoint import (
    Arrays,
    IncompatibleModelError,
    Stored,
    belonging_together,
    read_model,
    save_model,
)

SHOWN_OF_CARD = ("predicts", "inputs", "working_ions", "validation", "limits", "licence")
"""Parts of a card that a notebook shows."""
LONGEST_SHOWN = 400


class NotFittedError(ValueError, AttributeError):
    """A model was asked to predict, or to be saved, before it was fitted or loaded."""


class Estimator(ABC):
    """Parameters by name, and a folder on disk.

    Verbs on parameters are those of ``sklearn.base.BaseEstimator``, as ``sklearn.base.clone`` and
    searches want them; importing it would cost every worker a second. The constructor stores its
    arguments under their names, fitting adds names that end in an underscore. A clone has the same
    parameters, shared, and is not fitted: what is learnt from (a fitted source among them) stays as
    it is.

    On disk a model is a folder of weights, settings and a card. A subclass says what its arrays and
    its settings are (``_state``) and makes a fitted model of them (``_restore``); kind, card and
    the ions that it learnt from are kept here. :data:`ionbridge.models.library.KINDS` names the
    module of each kind.

    Attributes:
        kind: Its name on disk.
        quantity: What it predicts, as its card names it.
        inputs: Kind of record that ``predict`` takes, as the catalogue of plans names it (``hop``,
            ``composition``, ...); empty for models that are asked in another way.
        card_: The card that it was loaded with or that adaptation wrote.
        ions_: Working ions that it learnt from, where it keeps them.
    """

    kind: ClassVar[str]
    inputs: ClassVar[str] = ""
    quantity: str
    card_: dict[str, Any]
    ions_: list[str]

    def save(self, directory: str | Path, card: Mapping[str, Any] | None = None) -> None:
        """Write the model folder: weights, settings and the card; nothing is pickled.

        Args:
            directory: Created if it is not there; its name is the model's unless the card has one.
            card: None keeps ``card_``; where there is none, what holds for all of this kind.

        Raises:
            NotFittedError: There is nothing to write.
        """
        self._check_fitted()
        arrays, config = self._state()
        ions = {"ions": self.ions_} if hasattr(self, "ions_") else {}
        if card is None:
            card = getattr(self, "card_", None) or self._card()
        folder = Path(directory)
        save_model(
            folder, arrays, {"kind": self.kind, **ions, **config}, {"name": folder.name, **card}
        )

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """Read a model folder that :meth:`save` wrote; no code in it is run.

        Raises:
            IncompatibleModelError: A file is missing or altered, the folder holds another kind, or
                settings and weights do not belong together.
        """
        folder = Path(directory)
        stored = read_model(folder)
        if stored.config.get("kind") != cls.kind:
            raise IncompatibleModelError(
                f"{folder} holds a {str(stored.config.get('kind'))[:60]!r}, not a {cls.kind!r}"
            )
        return cls.of_stored(folder, stored)

    @classmethod
    def of_stored(cls, folder: Path, stored: Stored) -> Self:
        """The fitted model of what a folder holds.

        Raises:
            IncompatibleModelError: Settings and weights do not belong together.
        """
        arrays, config, card = stored
        with belonging_together(folder, cls.kind):
            model = cls._restore(arrays, config)
            if "ions" in config:
                model.ions_ = list(config["ions"])
        model.card_ = card
        return model

    @abstractmethod
    def _state(self) -> tuple[Arrays, Mapping[str, Any]]:
        """Arrays and further settings (plain values) that make the fitted model again."""

    @classmethod
    @abstractmethod
    def _restore(cls, arrays: Arrays, config: Mapping[str, Any]) -> Self:
        """The fitted model of what :meth:`_state` gave.

        Raises:
            Exception: Whatever does not fit together.
        """

    def _card(self) -> dict[str, Any]:
        """What can be said of any model of this kind."""
        return {"quantity": self.quantity}

    def __sklearn_is_fitted__(self) -> bool:
        return any(name.endswith("_") for name in vars(self))

    def _check_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(f"{type(self).__name__} is not fitted; call fit() or load() first")

    def _settings(self) -> dict[str, Any]:
        """The constructor's arguments as plain values, dataclasses among them as mappings."""
        own = self.get_params(deep=False).items()
        return {
            name: asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
            for name, value in own
        }

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments by name, with those of estimators among them if ``deep``."""
        names = list(inspect.signature(type(self)).parameters)
        found = {name: getattr(self, name) for name in names}
        for name, value in list(found.items()) if deep else []:
            if hasattr(value, "get_params") and not isinstance(value, type):
                found |= {f"{name}__{key}": own for key, own in value.get_params().items()}
        return found

    def set_params(self, **parameters: Any) -> Self:
        """Change some of them; ``name__key`` is the parameter ``key`` of the estimator ``name``.

        Raises:
            ValueError: Unknown name; the message names the valid ones.
        """
        known = self.get_params(deep=False)
        for name, value in parameters.items():
            own, _, key = name.partition("__")
            if own not in known:
                raise ValueError(
                    f"Invalid parameter {name!r} for {type(self).__name__}; valid ones are "
                    f"{', '.join(known) or 'none'}"
                )
            if key:
                getattr(self, own).set_params(**{key: value})
            else:
                setattr(self, own, value)
        return self

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import Tags, TargetTags

        return Tags(estimator_type=None, target_tags=TargetTags(required=False))

    def __sklearn_clone__(self) -> Self:
        return type(self)(**self.get_params(deep=False))

    def __repr__(self) -> str:
        own = (f"{name}={_short(value)}" for name, value in self.get_params(deep=False).items())
        return f"{type(self).__name__}({', '.join(own)})"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}

    def _repr_html_(self) -> str:
        card = getattr(self, "card_", None) or {}
        rows = {key: card[key] for key in SHOWN_OF_CARD if key in card}
        if not rows:
            rows = {name: repr(value) for name, value in self.get_params(deep=False).items()}
        return table_html(f"{card.get('name', '')} {type(self).__name__}".strip(), rows)


def table_html(title: str, rows: Mapping[str, Any]) -> str:
    """A small table for a notebook, names before values; everything is escaped.

    Args:
        title: Above it.
        rows: Name -> text, number, or what holds such.
    """
    lines = "".join(
        f"<tr><th style='text-align:left;vertical-align:top'>{html.escape(name)}</th>"
        f"<td style='text-align:left'>{html.escape(_short(value))}</td></tr>"
        for name, value in rows.items()
    )
    return f"<div><b>{html.escape(title)}</b><table>{lines}</table></div>"


def _short(value: Any) -> str:
    """A value in one line."""
    if isinstance(value, Mapping):
        plain = {k: v for k, v in value.items() if not isinstance(v, Mapping)}
        text = ", ".join(f"{name} {_short(v)}" for name, v in plain.items())
    elif isinstance(value, list | tuple):
        text = ", ".join(map(_short, value))
    else:
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"
