"""``ionbridge ask``: a goal in plain words, through a language model that the user configures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ionbridge.screening.commands.command import USABLE, add_command, say
from ionbridge.structures.plain_text import for_terminal


def add(commands: Any) -> None:
    """Add the parser of this command to the others."""
    added = add_command(
        commands,
        "ask",
        _run,
        "state a goal in plain words; a language model that you configure drives the tools",
        'ionbridge ask "Which of the crystals in my-crystals conducts Na best?" \\\n'
        "      --endpoint http://localhost:11434/v1 --model qwen3",
    )
    added.add_argument("question", metavar="GOAL", help="what you want to know")
    added.add_argument(
        "--workspace",
        type=Path,
        default=Path("workspace"),
        metavar="DIR",
        help="the only folder that the model reads and writes (default: ./workspace)",
    )
    added.add_argument(
        "--endpoint",
        metavar="URL",
        help="OpenAI-compatible endpoint with tool calls (default: $IONBRIDGE_LLM_URL); its key is "
        "taken from $IONBRIDGE_LLM_KEY",
    )
    added.add_argument(
        "--model", metavar="NAME", help="model of the endpoint (default: $IONBRIDGE_LLM_MODEL)"
    )


def _run(args: argparse.Namespace) -> int:
    from ionbridge.screening.errors import InputError, MissingExtraError

    try:
        from ionbridge.screening.agents.ask import Endpoint, ask
        from ionbridge.screening.agents.caller import Caller
        from ionbridge.screening.agents.jobs import Jobs
        from ionbridge.screening.agents.workspace import Workspace
    except ModuleNotFoundError as error:
        raise MissingExtraError("mcp", f"ionbridge ask ({error})") from error
    if not args.question.strip():
        raise InputError("ask: the goal is empty")
    endpoint = Endpoint.configured(args.endpoint, args.model)
    workspace = Workspace(args.workspace)
    workspace.become_library()
    jobs = Jobs(workspace)
    try:
        answer = ask(args.question, endpoint, Caller(workspace, jobs, client="local:ask"), say)
        for status in jobs.all():
            if not status.is_over:
                say(f"{status.job.id} is {status.state}; see {jobs.folder / status.job.id}")
    finally:
        jobs.close()
    print(for_terminal(answer))
    return USABLE
