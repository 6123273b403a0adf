"""What every estimator here shares with those of scikit-learn, and how it looks in a notebook."""

from __future__ import annotations

import html
import inspect
from collections.abc import Mapping
from typing import Any, Self

SHOWN_OF_CARD = ("predicts", "inputs", "working_ions", "validation", "limits", "licence")
"""Parts of a card that a notebook shows."""
LONGEST_SHOWN = 400


class Estimator:
    """Parameters by name, as ``sklearn.base.clone`` and searches over parameters want them.

    These verbs are those of ``sklearn.base.BaseEstimator``; importing it would cost every worker a
    second.

    The constructor stores its arguments under their names, fitting adds names that end in an
    underscore. A clone has the same parameters, shared, and is not fitted: what is learnt from
    (a fitted source among them) stays as it is.
    """

    card_: dict[str, Any]

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
