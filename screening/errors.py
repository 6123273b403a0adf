"""The two errors a caller of the screening package branches on."""


class InputError(ValueError):
    """Something the user gave cannot be used; one line that says what, and what to do (exit 2)."""


class MissingExtraError(InputError):
    """An optional part is not installed; the message is its install line."""

    def __init__(self, extra: str, needed_for: str) -> None:
        super().__init__(
            f"{needed_for} needs the optional part '{extra}': pip install 'ionbridge[{extra}]'"
        )
