"""A goal in plain words: a language model of the user's choice drives the tools.

Any endpoint that speaks the chat-completions form of OpenAI with tool calls will do, a local one,
too. The model sees the same tools as a client of the MCP server, and reaches no more than they do.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ionbridge.screening.errors import InputError
from ionbridge.screening.orchestrator.caller import Caller
from ionbridge.screening.orchestrator.tools import INSTRUCTIONS, TOOLS, call_tool

URL, MODEL, KEY = "IONBRIDGE_LLM_URL", "IONBRIDGE_LLM_MODEL", "IONBRIDGE_LLM_KEY"
MOST_TURNS = 40
MOST_CALLS_A_TURN = 8
LARGEST_REPLY = 4 * 2**20
LONGEST_RESULT = 20_000
"""Characters of a tool's answer that the model is given."""
TIMEOUT_S = 300.0
LOOPBACK = ("localhost", "127.0.0.1", "::1")

Message = dict[str, Any]


@dataclass(frozen=True)
class Endpoint:
    """Where a language model answers.

    Attributes:
        url: Base address, such as ``http://localhost:11434/v1``.
        model: Name of the model there.
        key: Sent as bearer token, if there is one.
    """

    url: str
    model: str
    key: str = field(default="", repr=False)

    @classmethod
    def configured(cls, url: str | None, model: str | None) -> Endpoint:
        """From arguments and environment.

        Raises:
            InputError: None is configured, or it cannot be used; the message says what to set.
        """
        url = url or os.environ.get(URL, "")
        model = model or os.environ.get(MODEL, "")
        if not url or not model:
            raise InputError(
                "no language model is configured: pass --endpoint URL and --model NAME, or set "
                f"{URL} and {MODEL} (and {KEY} where a key is needed) for any OpenAI-compatible "
                f"endpoint with tool calls, e.g. {URL}=http://localhost:11434/v1"
            )
        key = os.environ.get(KEY, "")
        try:
            parts = urllib.parse.urlsplit(url)
            host = parts.hostname
        except ValueError as error:
            raise InputError(f"{url}: no usable address ({error})") from error
        if parts.scheme not in ("http", "https") or not host:
            raise InputError(f"{url}: expected an address beginning with http:// or https://")
        if key and parts.scheme == "http" and host not in LOOPBACK:
            raise InputError(f"{url}: the key in {KEY} is not sent unencrypted; use https://")
        return cls(url.rstrip("/"), model, key)

    def complete(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> Message:
        """The next message of the model.

        Raises:
            InputError: The endpoint cannot be reached, refuses, or answers in another form.
        """
        address = self.url.removesuffix("/chat/completions") + "/chat/completions"
        body = {"model": self.model, "messages": list(messages), "tools": list(tools)}
        headers = {"Content-Type": "application/json", "User-Agent": "ionbridge"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(address, json.dumps(body).encode(), headers)
        try:
            with self._opener().open(request, timeout=TIMEOUT_S) as reply:
                content = reply.read(LARGEST_REPLY + 1)
        except urllib.error.HTTPError as error:
            detail = error.read(300).decode("utf-8", errors="replace")
            raise InputError(f"{address}: {error.code} {error.reason}: {detail}") from None
        except (OSError, ValueError) as error:
            raise InputError(f"{address}: no answer ({error})") from None
        if len(content) > LARGEST_REPLY:
            raise InputError(f"{address}: answered more than {LARGEST_REPLY} bytes")
        try:
            message = json.loads(content)["choices"][0]["message"]
        except (ValueError, LookupError, TypeError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise InputError(f"{address}: its answer is no chat completion")
        return message

    def _opener(self) -> urllib.request.OpenerDirector:
        """No redirects, which would take the key elsewhere; no proxy to this machine."""
        handlers: list[Any] = [_NoRedirects]
        if urllib.parse.urlsplit(self.url).hostname in LOOPBACK:
            handlers.append(urllib.request.ProxyHandler({}))
        return urllib.request.build_opener(*handlers)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Follow none: the caller sees the status."""


def ask(
    question: str,
    endpoint: Endpoint,
    caller: Caller,
    say: Callable[[str], None],
    most_turns: int = MOST_TURNS,
) -> str:
    """Let a language model reach a goal with the tools.

    Args:
        question: The goal in plain words.
        endpoint: The language model.
        caller: Whose workspace the tools work in.
        say: Told every call, and in a line how it went.
        most_turns: Messages of the model.

    Returns:
        Its answer.

    Raises:
        InputError: The endpoint fails, or there is no answer within the turns.
    """
    messages: list[Message] = [
        {"role": "system", "content": INSTRUCTIONS},
        {"role": "user", "content": question},
    ]
    offered = functions()
    for _ in range(most_turns):
        message = endpoint.complete(messages, offered)
        calls = message.get("tool_calls")
        if not isinstance(calls, list) or not calls:
            return text_of(message.get("content"))
        messages.append(
            {"role": "assistant", "content": text_of(message.get("content")), "tool_calls": calls}
        )
        for number, call in enumerate(calls):
            is_too_much = number >= MOST_CALLS_A_TURN
            result = "too many calls at once" if is_too_much else _called(caller, call, say)
            name = call.get("id") if isinstance(call, dict) else None
            messages.append({"role": "tool", "tool_call_id": name or "", "content": result})
    raise InputError(
        f"no answer after {most_turns} turns; what was computed is kept in {caller.workspace.root}"
    )


def functions() -> list[dict[str, Any]]:
    """The tools in the form that the endpoint takes."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.about, "parameters": tool.schema},
        }
        for tool in TOOLS.values()
    ]


def text_of(content: Any) -> str:
    """Text of a message, which may come in parts."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _called(caller: Caller, call: Any, say: Callable[[str], None]) -> str:
    """The answer of one call, or why there is none, for the model to read."""
    try:
        function = call["function"]
        name, arguments = str(function["name"]), function.get("arguments") or {}
        if isinstance(arguments, str):
            arguments = json.loads(arguments)
        if not isinstance(arguments, dict):
            raise TypeError
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError):
        say("-> a call that is none")
        return "error: expected a function name and a JSON object of arguments"
    say(f"-> {name}({json.dumps(arguments, ensure_ascii=False)[:200]})")
    try:
        answer = call_tool(caller, name, arguments)
    except InputError as error:
        say(f"   {error}")
        return f"error: {error}"
    say(f"   {answer.summary}")
    for warning in answer.warnings:
        say(f"   {warning}")
    text = answer.to_text()
    return text if len(text) <= LONGEST_RESULT else text[:LONGEST_RESULT] + "... (cut)"
