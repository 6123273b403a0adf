"""The tokens of HTTP clients: who each belongs to."""

from __future__ import annotations

import hmac
import stat
from pathlib import Path

from mcp.server.auth.provider import AccessToken

from ionbridge.screening.errors import InputError

SHORTEST_TOKEN = 24


class Tokens:
    """The tokens of a file: who each belongs to, compared in constant time.

    Args:
        path: One client a line, ``TOKEN`` or ``NAME TOKEN``; only its owner may read it.

    Raises:
        InputError: Missing, readable for others, or without a usable token.
    """

    def __init__(self, path: Path) -> None:
        make = f"python3 -c 'import secrets; print(secrets.token_urlsafe(32))' > {path}"
        try:
            mode = path.stat().st_mode
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"--token-file {path}: cannot be read; make one: (umask 077; {make})"
            ) from error
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise InputError(f"--token-file {path}: others can read it; chmod 600 {path}")
        self._clients: dict[bytes, str] = {}
        for number, line in enumerate(lines, start=1):
            parts = line.split()
            if not parts or parts[0].startswith("#"):
                continue
            name = parts[0] if len(parts) == 2 else f"client{number}"
            if len(parts) > 2 or len(parts[-1]) < SHORTEST_TOKEN or not name.isprintable():
                raise InputError(
                    f"--token-file {path}: line {number}: expected TOKEN or NAME TOKEN, with at "
                    f"least {SHORTEST_TOKEN} characters in the token"
                )
            self._clients[parts[-1].encode()] = name[:40]
        if not self._clients:
            raise InputError(f"--token-file {path}: holds no token; {make}")

    def client(self, token: str) -> str | None:
        """Whose token this is; None if nobody's. Takes the same time whichever it is."""
        given = token.encode("utf-8", "surrogateescape")
        found = None
        for known, name in self._clients.items():
            if hmac.compare_digest(known, given):
                found = name
        return found

    async def verify_token(self, token: str) -> AccessToken | None:
        """What the SDK asks of a verifier."""
        client = self.client(token)
        return None if client is None else AccessToken(token="", client_id=client, scopes=[])
