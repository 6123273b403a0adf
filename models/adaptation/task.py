"""Labels of one quantity as a task: which strategies there are, how they are fitted and scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ionbridge.models.calibration import ENOUGH_GROUPS
from ionbridge.models.cross_validation import CLEARLY, WORTHWHILE, choose

Rule = Callable[[Mapping[str, float]], str]
"""Cross-validated errors by strategy -> the strategy that is taken."""


class Task(ABC):
    """Labelled records beside the model that they start from.

    Attributes:
        quantity: Of the labels.
        candidates: Names of the strategies that are compared where none is asked for.
        known: All names that may be asked for.
        simple: Those preferred unless another is better by a margin.
        slow: Those that tune networks; compared with fewer of them than are fitted.
        stands: The one taken unless another is better beyond doubt; None where there is none.
        suffix: Of the names of errors in the card: their unit, where it is not decades.
    """

    quantity: ClassVar[str]
    candidates: ClassVar[tuple[str, ...]]
    known: ClassVar[tuple[str, ...]]
    simple: ClassVar[frozenset[str]] = frozenset()
    slow: ClassVar[frozenset[str]] = frozenset()
    suffix: ClassVar[str] = ""
    stands: str | None = None

    def rule(self, errors: Mapping[str, float]) -> str:
        """The strategy of least cross-validated error, unless a simple one is as good."""
        return choose(errors, self.simple, self.stands)

    def why(self, chosen: str) -> str:
        """Why :attr:`rule` took a strategy whose error is not the least."""
        if chosen == self.stands:
            return (
                f"with labels of fewer than {ENOUGH_GROUPS} frameworks it stays unless another's "
                f"error is {100 * CLEARLY:.0f} % less"
            )
        return f"it is simple, and no other's error is {100 * WORTHWHILE:.0f} % less"

    @abstractmethod
    def out_of_fold(self, strategy: str, final: bool = True) -> Any:
        """What models of a strategy say of every label without having seen its group.

        Args:
            strategy: Its name.
            final: With as many networks as calibration needs, or with one, to compare.
        """

    @abstractmethod
    def error(self, found: Any) -> float:
        """Mean absolute error of what :meth:`out_of_fold` found, in the unit of the labels."""

    @abstractmethod
    def fitted(self, strategy: str, found: Any, progress: bool) -> tuple[Any, dict[str, Any]]:
        """A model of all labels, calibrated on what was found out of fold, and its card."""

    def search(
        self, candidates: Sequence[str], rule: Rule, trials: int, study: Path | None, progress: bool
    ) -> tuple[str, dict[str, Any]]:
        """The strategy whose settings a search found best, and its report for the card.

        Raises:
            ValueError: There is nothing to search.
        """
        raise ValueError(f"a search of settings is for barriers; {self.quantity} has none")
