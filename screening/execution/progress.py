"""Whether somebody watches a computation, so that a progress bar is worth drawing."""

from __future__ import annotations

import sys


def is_watched() -> bool:
    """True on a terminal and in a Jupyter notebook, False in a pipe or a script's log."""
    return sys.stderr.isatty() or _in_notebook()


def is_shown(progress: bool | None) -> bool:
    """What a caller asks for; None asks for a bar where somebody watches."""
    return is_watched() if progress is None else progress


def _in_notebook() -> bool:
    """Whether cells of a notebook are run by this process."""
    interactive = sys.modules.get("IPython")
    shell = interactive.get_ipython() if interactive is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"
