"""A goal in plain words: a language model of the user's choice drives the tools.

Any endpoint that speaks the chat-completions form of OpenAI with tool calls will do, a local one,
too. The model sees the same tools as a client of the MCP server, and reaches no more than they do.
What comes from the endpoint is looked at before anything is done with it: a reply that is no whole
answer ends in an error that says why, and a call goes into the history as valid JSON with an id.
"""

from __future__ import annotations

import email.utils
import json
import math
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ionbridge.screening.agents.answers import refusal
from ionbridge.screening.agents.caller import Caller
from ionbridge.screening.agents.tools import INSTRUCTIONS, TOOLS, call_tool
from ionbridge.screening.errors import InputError
from ionbridge.structures.plain_text import one_line, well_formed

URL, MODEL, KEY = "IONBRIDGE_LLM_URL", "IONBRIDGE_LLM_MODEL", "IONBRIDGE_LLM_KEY"
MOST_TURNS = 40
MOST_CALLS_A_TURN = 8
MOST_EMPTY_TURNS = 2
"""Replies without a call and without a word, one after the other, that the model is asked about."""
LARGEST_REPLY = 4 * 2**20
LONGEST_RESULT = 20_000
"""Characters of a tool's answer that the model is given."""
LONGEST_ID = 64
TIMEOUT_S = 300.0
BUSY = (429, 503)
"""Statuses after which an endpoint is asked again."""
MOST_ATTEMPTS = 4
LONGEST_PAUSE_S = 60.0
"""An endpoint that asks for a longer pause is not waited for."""
FIRST_PAUSE_S = 1.0
"""Where it does not say how long; doubled each time."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
CALL_MARKS = ("<tool_call>", "<function=", "<|tool_call", "[TOOL_CALLS]", "<|python_tag|>")
"""What models write where their server does not understand that they call a tool."""
UNFINISHED = {
    "length": "it was cut off at the endpoint's limit of tokens; raise that limit",
    "content_filter": "the endpoint's content filter withheld it",
    "error": "the endpoint says that it failed",
}
"""Reasons for the end of a reply that make it no answer."""

Message = dict[str, Any]
Wait = Callable[[float], None]


@dataclass(frozen=True)
class Reply:
    """One reply of an endpoint.

    Attributes:
        message: As it came.
        finish_reason: Why it ended, in the endpoint's words; empty where it does not say.
    """

    message: Message
    finish_reason: str = ""


@dataclass(frozen=True)
class Endpoint:
    """Where a language model answers.

    Attributes:
        url: Base address, such as ``http://localhost:11434/v1``.
        model: Name of the model there.
        key: Sent as bearer token, if there is one.
        wait: Lets time pass between two attempts.
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    wait: Wait = field(default=time.sleep, repr=False, compare=False)

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
        if not (key.isascii() and key.isprintable()):
            raise InputError(f"the key in {KEY} holds characters that no HTTP header carries")
        return cls(url.rstrip("/"), model, key)

    @property
    def address(self) -> str:
        """Where chat completions are asked for."""
        return self.url.removesuffix("/chat/completions") + "/chat/completions"

    def complete(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> Reply:
        """The next message of the model; a busy endpoint is asked again, as it asks for.

        Raises:
            InputError: The endpoint cannot be reached, refuses, or answers in another form.
        """
        body = {"model": self.model, "messages": list(messages), "tools": list(tools)}
        content = self._answered(json.dumps(body).encode())
        try:
            data = json.loads(content)
        except (ValueError, RecursionError):
            raise self._fault("its answer is no chat completion") from None
        if isinstance(data, dict) and data.get("error"):
            raise self._fault(f"the endpoint answers with an error: {_error_text(data['error'])}")
        try:
            choice = data["choices"][0]
            message = choice["message"]
        except (LookupError, TypeError):
            raise self._fault("its answer is no chat completion") from None
        if not isinstance(message, dict):
            raise self._fault("its answer is no chat completion")
        if choice.get("error"):
            raise self._fault(f"the endpoint answers with an error: {_error_text(choice['error'])}")
        return Reply(message, str(choice.get("finish_reason") or ""))

    def _answered(self, body: bytes) -> bytes:
        """The body of the reply of the first attempt that succeeds."""
        for attempt in range(1, MOST_ATTEMPTS + 1):
            try:
                return self._sent(body)
            except urllib.error.HTTPError as error:
                detail = error.read(300).decode("utf-8", errors="replace")
                pause = _pause(error.headers.get("Retry-After"), attempt)
                told = f"{error.code} {error.reason}: {detail}"
                if error.code not in BUSY or attempt == MOST_ATTEMPTS:
                    tried = f" ({attempt} attempts)" if attempt > 1 else ""
                    raise self._fault(told + tried) from None
                if pause > LONGEST_PAUSE_S:
                    raise self._fault(f"{told}; try again in {pause:.0f} s") from None
                self.wait(pause)
            except (OSError, ValueError) as error:
                raise self._fault(f"no answer ({error})") from None
        raise AssertionError("every attempt returns, raises or is followed by another")

    def _sent(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json", "User-Agent": "ionbridge"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(self.address, body, headers)
        with self._opener().open(request, timeout=TIMEOUT_S) as reply:
            content: bytes = reply.read(LARGEST_REPLY + 1)
        if len(content) > LARGEST_REPLY:
            raise ValueError(f"more than {LARGEST_REPLY} bytes")
        return content

    def _fault(self, text: str) -> InputError:
        return InputError(one_line(f"{self.address}: {text}", 600))

    def _opener(self) -> urllib.request.OpenerDirector:
        """No redirects, which would take the key elsewhere; no proxy to this machine."""
        handlers: list[Any] = [_NoRedirects]
        if urllib.parse.urlsplit(self.url).hostname in LOOPBACK:
            handlers.append(urllib.request.ProxyHandler({}))
        return urllib.request.build_opener(*handlers)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Follow none: the caller sees the status."""


def _pause(stated: str | None, attempt: int) -> float:
    """Seconds to wait before the next attempt: as ``Retry-After`` states, else growing."""
    if stated:
        try:
            seconds = float(stated)
        except ValueError:
            try:
                seconds = email.utils.parsedate_to_datetime(stated).timestamp() - time.time()
            except (ValueError, TypeError, OverflowError):
                seconds = math.nan
        if math.isfinite(seconds):
            return max(seconds, 0.0)
    return FIRST_PAUSE_S * 2.0 ** (attempt - 1)


def _error_text(error: Any) -> str:
    told = error.get("message") or error if isinstance(error, Mapping) else error
    return one_line(told if isinstance(told, str) else json.dumps(told, default=str), 300)


@dataclass(frozen=True)
class Call:
    """A call as it goes into the history: valid JSON with an id.

    Attributes:
        id: Of the call; unique in the conversation.
        name: Of the tool.
        arguments: What it takes; None where what came is no call.
        trouble: Why it is none, for the model to read.
    """

    id: str
    name: str
    arguments: dict[str, Any] | None
    trouble: str = ""

    def to_message(self) -> dict[str, Any]:
        """In the form of chat completions."""
        arguments = json.dumps(self.arguments or {})
        return {
            "id": self.id,
            "type": "function",
            "function": {"name": self.name, "arguments": arguments},
        }


UNNAMED = "unnamed_call"


def calls_of(message: Message, taken: set[str]) -> list[Call]:
    """The calls of a message, also of the older form with one ``function_call``.

    Args:
        message: A reply.
        taken: Ids of earlier calls; those of these calls are added.
    """
    stated = message.get("tool_calls")
    found = stated if isinstance(stated, list) else [stated] if isinstance(stated, dict) else []
    older = message.get("function_call")
    if not found and isinstance(older, dict):
        found = [{"function": older}]
    return [_call(one, taken) for one in found]


def _call(given: Any, taken: set[str]) -> Call:
    stated = given.get("id") if isinstance(given, dict) else None
    usable = isinstance(stated, str) and stated.isascii() and stated.isprintable()
    id = stated[:LONGEST_ID] if usable and stated else f"call_{len(taken) + 1}"
    while id in taken:
        id = f"call_{len(taken) + 1}" if id == stated else f"{id}_"
    taken.add(id)
    function = given.get("function") if isinstance(given, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str) or not name.strip():
        return Call(id, UNNAMED, None, "expected a function name and a JSON object of arguments")
    shown = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in name)[:64]
    arguments = function.get("arguments")
    for _ in range(2):  # some servers encode the text of the arguments once more
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments) if arguments.strip() else {}
            except (ValueError, RecursionError) as error:
                told = f"its arguments are no JSON ({error}); send one whole JSON object"
                return Call(id, shown, None, told)
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        told = f"expected a JSON object of arguments, got {type(arguments).__name__}"
        return Call(id, shown, None, told)
    return Call(id, shown, well_formed(arguments))


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
        Its answer: whole, and not empty.

    Raises:
        InputError: The endpoint fails, refuses, is cut off, or there is no answer within the turns.
    """
    messages: list[Message] = [
        {"role": "system", "content": INSTRUCTIONS},
        {"role": "user", "content": well_formed(question)},
    ]
    offered = functions()
    taken: set[str] = set()
    n_empty = 0
    for _ in range(most_turns):
        reply = endpoint.complete(messages, offered)
        text = text_of(reply.message.get("content"))
        _check_whole(endpoint, reply, text)
        calls = calls_of(reply.message, taken)
        if not calls:
            complaint = _no_answer(reply.message, text)
            if not complaint:
                return text
            n_empty += 1
            if n_empty > MOST_EMPTY_TURNS:
                raise InputError(f"{endpoint.address}: no answer: {complaint}")
            say(f"-> no answer: {complaint}")
            messages.append({"role": "assistant", "content": text or "(nothing)"})
            messages.append({"role": "user", "content": f"That was no answer: {complaint}."})
            continue
        n_empty = 0
        sent = [call.to_message() for call in calls]
        messages.append({"role": "assistant", "content": text, "tool_calls": sent})
        for number, call in enumerate(calls):
            is_too_much = number >= MOST_CALLS_A_TURN
            result = "too many calls at once" if is_too_much else _called(caller, call, say)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    raise InputError(
        f"no answer after {most_turns} turns; what was computed is kept in {caller.workspace.root}"
    )


def _check_whole(endpoint: Endpoint, reply: Reply, text: str) -> None:
    """Refuse what is no whole reply.

    Raises:
        InputError: The model refused, or the endpoint ended the reply early.
    """
    refusal = reply.message.get("refusal")
    if isinstance(refusal, str) and refusal.strip():
        raise InputError(f"{endpoint.address}: the model refuses: {one_line(refusal, 400)}")
    why = UNFINISHED.get(reply.finish_reason)
    if why is not None:
        begun = f"; it begins: {one_line(text, 200)}" if text.strip() else ""
        raise InputError(f"{endpoint.address}: no whole answer: {why}{begun}")


def _no_answer(message: Message, text: str) -> str:
    """Why a reply without calls is no answer; empty where it is one."""
    if any(mark in text for mark in CALL_MARKS) or _is_written_call(text):
        return "a tool call written as text; make it through the tools of the endpoint"
    if text.strip():
        return ""
    if any(text_of(message.get(key)).strip() for key in ("reasoning_content", "reasoning")):
        return "only reasoning, no answer; write the answer as content"
    return "it is empty; answer in words, or call a tool"


def _is_written_call(text: str) -> bool:
    """Whether a text is nothing but the JSON of a call of one of the tools."""
    bare = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```").strip()
    try:
        data = json.loads(bare)
    except (ValueError, RecursionError):
        return False
    first = data[0] if isinstance(data, list) and data else data
    if not isinstance(first, dict):
        return False
    function = first.get("function")
    named = function.get("name") if isinstance(function, dict) else first.get("name") or function
    return isinstance(named, str) and named in TOOLS


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
    """Text of a message, which may come in parts; what is no valid text is replaced."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return well_formed("".join(part for part in parts if isinstance(part, str)))
    return well_formed(content) if isinstance(content, str) else ""


def _called(caller: Caller, call: Call, say: Callable[[str], None]) -> str:
    """The answer of one call, or why there is none, for the model to read."""
    if call.arguments is None:
        say(f"-> a call that is none ({one_line(call.trouble, 160)})")
        return refusal(call.trouble).to_text()
    say(f"-> {call.name}({json.dumps(call.arguments, ensure_ascii=False)[:200]})")
    try:
        answer = call_tool(caller, call.name, call.arguments)
    except InputError as error:
        say(f"   {error}")
        return refusal(str(error)).to_text()
    say(f"   {answer.summary}")
    for warning in answer.warnings:
        say(f"   {warning}")
    text = answer.to_text()
    return text if len(text) <= LONGEST_RESULT else text[:LONGEST_RESULT] + "... (cut)"
