"""The Model Context Protocol server: the tools over stdio, or over HTTP on loopback with a token.

Everything of substance is in :mod:`ionbridge.screening.agents.tools`; here are the
transports, who a client is, and what keeps one client from being in the way of another. Tools run
in threads, a few for each client; jobs run in processes.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any, TypeVar, cast
from urllib.parse import quote, unquote

import anyio
import anyio.from_thread
import anyio.to_thread
import mcp_types as types
import uvicorn
from mcp.server.auth.settings import AuthSettings
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from pydantic import AnyHttpUrl

from ionbridge.screening.agents.answers import (
    ANSWER_SCHEMA,
    DATA_NOTE,
    LONGEST_CELL,
    Answer,
    refusal,
)
from ionbridge.screening.agents.bounded_lines import BoundedLines
from ionbridge.screening.agents.caller import Caller
from ionbridge.screening.agents.description import SHIPPED
from ionbridge.screening.agents.jobs import Jobs, JobStatus
from ionbridge.screening.agents.rate_limit import Turnstile
from ionbridge.screening.agents.results import files_below
from ionbridge.screening.agents.skills import PAGE, skills
from ionbridge.screening.agents.tokens import Tokens
from ionbridge.screening.agents.tools import INSTRUCTIONS, TOOLS, call_tool
from ionbridge.screening.agents.workspace import JOBS, MODELS, Workspace, WorkspaceError
from ionbridge.screening.errors import InputError
from ionbridge.structures.plain_text import for_terminal, one_line

NAME = "ionbridge"
HOST = "127.0.0.1"
PATH = "/mcp"
LARGEST_MESSAGE = 2**20
"""Bytes of one message of a client."""
LARGEST_RESOURCE = 8 * 2**20
MOST_RESOURCES = 200
LOCAL = "local"

T = TypeVar("T")

WORKSPACE_URI = "workspace:///"
MODEL_URI = "model:///"
SKILL_URI = "skill:///"
MIME_TYPES = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".yaml": "application/yaml",
    ".cif": "chemical/x-cif",
    ".md": "text/markdown",
    ".txt": "text/plain",
    ".log": "text/plain",
}
"""Kinds of files that can be read as resources."""


def build_server(workspace: Workspace, jobs: Jobs) -> Server[Any]:
    """The protocol's server over a workspace."""
    turnstile = Turnstile()

    async def list_tools(
        context: ServerRequestContext[Any, Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_described(name) for name in TOOLS])

    async def run_tool(
        context: ServerRequestContext[Any, Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        caller = _caller(context, workspace, jobs)
        caller = replace(caller, progress=_Reporter(context))
        try:
            async with turnstile.through(caller.client):
                answer = await _in_thread(call_tool, caller, params.name, params.arguments or {})
        except InputError as error:
            return _result(refusal(str(error)), is_error=True)
        except Exception as error:  # its text stays here: it may tell of files outside
            print(f"ionbridge mcp: {params.name[:60]!r} failed: {error!r}", file=sys.stderr)
            return _result(refusal("internal; the server's stderr says more"), is_error=True)
        return _result(answer)

    async def list_resources(
        context: ServerRequestContext[Any, Any], params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        try:
            async with turnstile.through(_client(context)):
                found = await _in_thread(_resources, workspace, jobs)
        except InputError as error:
            raise _protocol_error(types.INVALID_REQUEST, error) from None
        return types.ListResourcesResult(resources=found, _meta={"about_text": DATA_NOTE})

    async def list_templates(
        context: ServerRequestContext[Any, Any], params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        template = types.ResourceTemplate(
            name="workspace file",
            uri_template=WORKSPACE_URI + "{+path}",
            description="A table, report, card or other text file of the workspace.",
        )
        return types.ListResourceTemplatesResult(resource_templates=[template])

    async def read_resource(
        context: ServerRequestContext[Any, Any], params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        uri = str(params.uri)
        try:
            async with turnstile.through(_client(context)):
                text, kind = await _in_thread(_resource, workspace, uri)
        except InputError as error:
            raise _protocol_error(types.INVALID_PARAMS, error) from None
        return types.ReadResourceResult(
            contents=[
                types.TextResourceContents(
                    uri=uri,
                    text=for_terminal(text),
                    mime_type=kind,
                    _meta={"about_text": DATA_NOTE},
                )
            ]
        )

    async def list_prompts(
        context: ServerRequestContext[Any, Any], params: types.PaginatedRequestParams | None
    ) -> types.ListPromptsResult:
        question = types.PromptArgument(name="question", description="what you want to know")
        return types.ListPromptsResult(
            prompts=[
                types.Prompt(name=s.name, description=s.description, arguments=[question])
                for s in skills().values()
            ]
        )

    async def get_prompt(
        context: ServerRequestContext[Any, Any], params: types.GetPromptRequestParams
    ) -> types.GetPromptResult:
        skill = skills().get(params.name)
        if skill is None:
            known = ", ".join(skills())
            raise MCPError(code=types.INVALID_PARAMS, message=f"no such prompt; known: {known}")
        asked = (params.arguments or {}).get("question", "").strip()
        text = f"{skill.text}\nThe question: {asked}\n" if asked else skill.text
        message = types.PromptMessage(
            role="user", content=types.TextContent(type="text", text=text)
        )
        return types.GetPromptResult(description=skill.description, messages=[message])

    return Server(
        NAME,
        version=_version(),
        title="IonBridge",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=run_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
    )


def serve(workspace: Workspace, port: int | None, tokens: Tokens | None) -> None:
    """Serve until the client closes stdin, or until interrupted.

    Args:
        workspace: The folder that clients may use.
        port: Of loopback; None for stdio.
        tokens: Of the clients over HTTP.
    """
    workspace.become_library()
    jobs = Jobs(workspace)
    server = build_server(workspace, jobs)
    try:
        if port is None:
            anyio.run(_serve_stdio, server)
        else:
            assert tokens is not None
            with contextlib.suppress(KeyboardInterrupt):
                anyio.run(_serve_http, server, port, tokens)
    finally:
        jobs.close()


async def _serve_stdio(server: Server[Any]) -> None:
    """One client on stdin and stdout; whatever else prints goes to stderr."""
    stdin, stdout = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    lines = BoundedLines(os.fdopen(stdin, "rb"), LARGEST_MESSAGE)
    messages = anyio.wrap_file(cast(IO[str], lines))
    answers = anyio.wrap_file(os.fdopen(stdout, "w", encoding="utf-8"))
    async with stdio_server(messages, answers) as (read, write):
        await server.run(read, write, server.create_initialization_options())


async def _serve_http(server: Server[Any], port: int, tokens: Tokens) -> None:
    """Clients with a token, on loopback; hosts and origins are checked, no sessions are kept."""
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=True,
        max_request_body_size=LARGEST_MESSAGE,
        host=HOST,
        auth=AuthSettings(issuer_url=AnyHttpUrl(f"http://{HOST}:{port}"), resource_server_url=None),
        token_verifier=tokens,
    )
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise InputError(f"--http {port}: cannot be used ({error.strerror})") from error
    print(
        f"ionbridge mcp: http://{HOST}:{listener.getsockname()[1]}{PATH}",
        file=sys.stderr,
        flush=True,
    )
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    await uvicorn.Server(config).serve(sockets=[listener])


class _Reporter:
    """Tells a client how far the job is that it waits for, and ends the wait when it has left."""

    def __init__(self, context: ServerRequestContext[Any, Any]) -> None:
        self._context = context
        self._before: tuple[float, str] | None = None

    def __call__(self, status: JobStatus) -> None:
        anyio.from_thread.check_cancelled()
        told = (status.done, one_line(f"{status.state} {status.label}", LONGEST_CELL))
        if told != self._before and not status.is_over:
            self._before = told
            report = self._context.session.report_progress
            anyio.from_thread.run(report, status.done, status.total, told[1])


async def _in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Run beside the event loop; a client that leaves keeps its place until the thread ends."""
    return await anyio.to_thread.run_sync(
        partial(function, *arguments), limiter=anyio.CapacityLimiter(1)
    )


def _client(context: ServerRequestContext[Any, Any]) -> str:
    """Who asks: the owner of the token over HTTP, a program of this machine's user over stdio."""
    if context.request is not None:
        return str(context.request.scope["user"].access_token.client_id)
    told = context.session.client_params
    name = re.sub(r"[^\w.-]+", "-", told.client_info.name)[:40] if told is not None else ""
    return f"{LOCAL}:{name}"


def _caller(context: ServerRequestContext[Any, Any], workspace: Workspace, jobs: Jobs) -> Caller:
    return Caller(workspace, jobs, _client(context), is_owner=context.request is None)


def _described(name: str) -> types.Tool:
    tool = TOOLS[name]
    return types.Tool(
        name=name,
        description=tool.about,
        input_schema=tool.schema,
        output_schema=ANSWER_SCHEMA,
        annotations=types.ToolAnnotations(
            read_only_hint=tool.only_reads,
            destructive_hint=name == "cancel_job",
            open_world_hint=False,
        ),
    )


def _result(answer: Answer, is_error: bool = False) -> types.CallToolResult:
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=answer.to_text())],
        structured_content=answer.to_dict(),
        is_error=is_error,
    )


def _protocol_error(code: int, error: InputError) -> MCPError:
    """An error of a resource; its message may quote files, and says that such text is data."""
    told = refusal(str(error)).to_dict()
    return MCPError(code=code, message=told["summary"], data={"about_text": told["about_text"]})


def _resources(workspace: Workspace, jobs: Jobs) -> list[types.Resource]:
    """Cards of models, and the tables, reports and cards that jobs have made."""
    found = [
        types.Resource(
            name=f"card of {card.parent.name}",
            uri=f"{MODEL_URI}{card.parent.name}/card.yaml",
            mime_type=MIME_TYPES[".yaml"],
        )
        for card in sorted(SHIPPED.glob("*/card.yaml"))
    ]
    for skill in skills().values():
        page = types.Resource(
            name=f"skill {skill.name}",
            uri=f"{SKILL_URI}{skill.name}/{PAGE}",
            description=skill.description,
            mime_type=MIME_TYPES[".md"],
        )
        found.append(page)
    with contextlib.suppress(WorkspaceError):
        for model in workspace.entries(MODELS):
            uri = f"{WORKSPACE_URI}{quote(model.path)}/card.yaml"
            card = types.Resource(
                name=f"card of {model.path}", uri=uri, mime_type="application/yaml"
            )
            found.append(card)
    for status in jobs.all():
        if status.state != "done" or len(found) >= MOST_RESOURCES:
            continue
        with contextlib.suppress(WorkspaceError):
            for entry in files_below(workspace, f"{JOBS}/{status.job.id}/output"):
                kind = MIME_TYPES.get(Path(entry.path).suffix)
                if kind is not None and entry.n_bytes <= LARGEST_RESOURCE:
                    uri = WORKSPACE_URI + quote(entry.path)
                    found.append(
                        types.Resource(name=entry.path, uri=uri, mime_type=kind, size=entry.n_bytes)
                    )
    return found[:MOST_RESOURCES]


def _resource(workspace: Workspace, uri: str) -> tuple[str, str]:
    """Text and kind of a resource."""
    if uri.startswith(MODEL_URI):
        name = unquote(uri.removeprefix(MODEL_URI)).removesuffix("/card.yaml")
        if name not in {card.parent.name for card in SHIPPED.glob("*/card.yaml")}:
            raise InputError("no such model; list_models names them")
        return (SHIPPED / name / "card.yaml").read_text(encoding="utf-8"), MIME_TYPES[".yaml"]
    if uri.startswith(SKILL_URI):
        name = unquote(uri.removeprefix(SKILL_URI)).removesuffix(f"/{PAGE}")
        if name not in skills():
            raise InputError(f"no such skill; known: {', '.join(skills())}")
        return skills()[name].text, MIME_TYPES[".md"]
    if not uri.startswith(WORKSPACE_URI):
        raise InputError(f"resources begin with {WORKSPACE_URI}, {MODEL_URI} or {SKILL_URI}")
    path = unquote(uri.removeprefix(WORKSPACE_URI), errors="replace")
    kind = MIME_TYPES.get(Path(path).suffix)
    if kind is None:
        raise InputError(f"only texts can be read as resources: {', '.join(MIME_TYPES)}")
    return workspace.read(path, LARGEST_RESOURCE).decode("utf-8", errors="replace"), kind


def _version() -> str:
    try:
        return version(NAME)
    except PackageNotFoundError:
        return ""
