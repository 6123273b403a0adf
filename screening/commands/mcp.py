"""``ionbridge mcp``: the tools for language models, over the Model Context Protocol."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ionbridge.screening.commands.command import USABLE, add_command


def add(commands: Any) -> None:
    """Add the parser of this command to the others."""
    added = add_command(
        commands,
        "mcp",
        _run,
        "serve the tools to language models (Model Context Protocol), over stdio or loopback HTTP",
        "ionbridge mcp --workspace my-project\n"
        "  ionbridge mcp --workspace my-project --http 8765 --token-file ~/.ionbridge-token",
    )
    added.add_argument(
        "--workspace",
        type=Path,
        default=Path("workspace"),
        metavar="DIR",
        help="the only folder that clients read and write (default: ./workspace)",
    )
    added.add_argument(
        "--http", type=int, metavar="PORT", help="serve on 127.0.0.1:PORT instead of stdio"
    )
    added.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="of --http: one client a line, TOKEN or NAME TOKEN; readable by its owner only",
    )


def _run(args: argparse.Namespace) -> int:
    from ionbridge.screening.agents.workspace import Workspace
    from ionbridge.screening.errors import InputError, MissingExtraError

    try:
        from ionbridge.screening.agents.mcp_server import serve
        from ionbridge.screening.agents.tokens import Tokens
    except ModuleNotFoundError as error:
        raise MissingExtraError("mcp", f"ionbridge mcp ({error})") from error
    if (args.http is None) != (args.token_file is None):
        raise InputError("--http PORT and --token-file FILE belong together")
    if args.http is not None and not 0 <= args.http < 2**16:
        raise InputError(f"--http: expected a port from 0 to 65535, got {args.http}")
    workspace = Workspace(args.workspace)
    if args.token_file is not None and workspace.contains(args.token_file):
        raise InputError("--token-file: lies in the workspace, where clients could read it")
    tokens = None if args.token_file is None else Tokens(args.token_file)
    serve(workspace, args.http, tokens)
    return USABLE
