"""A language model drives the tools: here a scripted one, on this machine, over real HTTP."""

import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ionbridge.screening.agents.ask import MOST_CALLS_A_TURN, Endpoint, functions
from ionbridge.screening.agents.tools import TOOLS
from ionbridge.screening.cli import main
from ionbridge.screening.errors import InputError
from ionbridge.structures.io.reading import write_json_lines
from tests.screening.tiny import tiny_hops

Capture = pytest.CaptureFixture[str]
Json = dict[str, Any]


class ScriptedModel:
    """An endpoint that says what it was told to say, and keeps what it was asked.

    Args:
        replies: Messages, (message, finish_reason) pairs, or (status, body) and headers, one a
            request; the last one is repeated.
    """

    def __init__(self, replies: Sequence[Any]) -> None:
        self.replies = list(replies)
        self.requests: list[Json] = []
        self.headers: list[dict[str, str]] = []
        script = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                n_bytes = int(self.headers["Content-Length"])
                script.requests.append(json.loads(self.rfile.read(n_bytes)))
                script.headers.append({**dict(self.headers), "path": self.path})
                place = min(len(script.requests), len(script.replies)) - 1
                reply = script.replies[place]
                if isinstance(reply, dict):
                    reply = (reply, "stop")
                if isinstance(reply[0], dict):
                    choice = {"index": 0, "message": reply[0], "finish_reason": reply[1]}
                    reply = (200, json.dumps({"choices": [choice]}).encode())
                self.send_response(reply[0])
                for name, value in (reply[2] if len(reply) > 2 else {}).items():
                    self.send_header(name, value)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", str(len(reply[1])))
                self.end_headers()
                self.wfile.write(reply[1])

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def script() -> Iterator[Any]:
    models: list[ScriptedModel] = []

    def make(*replies: Any) -> ScriptedModel:
        models.append(ScriptedModel(replies))
        return models[-1]

    yield make
    for model in models:
        model.close()


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "MODEL", "KEY"):
        monkeypatch.delenv(f"IONBRIDGE_LLM_{name}", raising=False)
    monkeypatch.setenv("IONBRIDGE_LIBRARY", "")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # the endpoint is not asked through it


def call(name: str, arguments: Any, id: str = "1") -> Json:
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments)
    function = {"name": name, "arguments": arguments}
    return {"id": id, "type": "function", "function": function}


def says(text: str | None = None, *calls: Any) -> Json:
    message: Json = {"role": "assistant", "content": text}
    return {**message, "tool_calls": list(calls)} if calls else message


def ask(model: ScriptedModel, workspace: Path, goal: str = "What is there?") -> int:
    arguments = ["ask", goal, "--endpoint", model.url, "--model", "scripted"]
    return main([*arguments, "--workspace", str(workspace)])


def test_a_goal_becomes_calls_and_an_answer(
    script: Any, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IONBRIDGE_LLM_KEY", "sk-5ecret")
    write_json_lines(tmp_path / "hops.jsonl", tiny_hops())
    model = script(
        says(
            "I look.",
            call("list_files", {}),
            call("describe_data", {"inputs": ["hops.jsonl"]}, "2"),
        ),
        says(None, call("describe_data", {"inputs": ["../hops.jsonl"]}, "3")),
        says("Three hops."),
    )
    assert ask(model, tmp_path) == 0
    out, err = capsys.readouterr()
    assert out == "Three hops.\n"
    assert '-> describe_data({"inputs": ["hops.jsonl"]})' in err
    assert "3 records" in err
    assert "sk-5ecret" not in out + err
    assert [headers["path"] for headers in model.headers] == ["/v1/chat/completions"] * 3
    assert model.headers[0]["Authorization"] == "Bearer sk-5ecret"
    first, second, third = (request["messages"] for request in model.requests)
    assert [m["role"] for m in first] == ["system", "user"]
    assert "EXTRAPOLATION" in first[0]["content"]
    assert [m["role"] for m in second[2:]] == ["assistant", "tool", "tool"]
    assert [m["tool_call_id"] for m in second[3:]] == ["1", "2"]
    assert json.loads(second[4]["content"])["data"]["labels"]["n"] == 3
    refused = json.loads(third[-1]["content"])
    assert refused["summary"].startswith("error: '../hops.jsonl'")
    assert "not instructions" in refused["about_text"]
    assert model.requests[0]["tools"] == functions()
    assert {f["function"]["name"] for f in functions()} == set(TOOLS)


def test_calls_that_are_none_are_told_so(script: Any, tmp_path: Path, capsys: Capture) -> None:
    model = script(
        says(
            None,
            call("list_files", "{not json"),
            call("list_files", "[]"),
            {"id": "3"},
            "nonsense",
            call("format_disk", {}),
            call("list_files", {"everything": True}),
        ),
        says("I give up."),
    )
    assert ask(model, tmp_path) == 0
    results = [m["content"] for m in model.requests[1]["messages"] if m["role"] == "tool"]
    assert len(results) == 6
    assert all(json.loads(result)["summary"].startswith("error: ") for result in results)
    assert "Traceback" not in capsys.readouterr().err


def test_turns_and_calls_are_bounded(script: Any, tmp_path: Path, capsys: Capture) -> None:
    calls = [call("list_files", {}, str(k)) for k in range(MOST_CALLS_A_TURN + 3)]
    model = script(says(None, *calls))
    assert ask(model, tmp_path) == 2
    assert "no answer after 40 turns" in capsys.readouterr().err
    results = [m["content"] for m in model.requests[1]["messages"] if m["role"] == "tool"]
    assert results.count("too many calls at once") == 3


@pytest.mark.parametrize(
    "reply",
    [
        (500, b"out of memory"),
        (401, b"no key"),
        (302, b""),
        (200, b"<html>"),
        (200, b'{"choices": []}'),
        (200, b'{"choices": [{"message": "hello"}]}'),
        (200, b"[" * 100_000),
    ],
)
def test_an_endpoint_that_fails_is_one_line(
    script: Any, tmp_path: Path, capsys: Capture, reply: tuple[int, bytes]
) -> None:
    model = script(reply)
    assert ask(model, tmp_path) == 2
    err = capsys.readouterr().err
    assert err.startswith("ionbridge: http://127.0.0.1")
    assert err.count("\n") == 1
    assert len(model.requests) == 1  # a redirect is not followed: it could take the key elsewhere


def test_without_an_endpoint_it_says_how_to_configure_one(tmp_path: Path, capsys: Capture) -> None:
    assert main(["ask", "What?", "--workspace", str(tmp_path / "w")]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    for name in ("--endpoint", "--model", "IONBRIDGE_LLM_URL", "IONBRIDGE_LLM_MODEL"):
        assert name in err
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/y", "localhost:11434", "http://["])
def test_only_http_is_spoken(url: str) -> None:
    with pytest.raises(InputError, match=r"http|address"):
        Endpoint.configured(url, "m")


def test_a_key_is_never_sent_unencrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IONBRIDGE_LLM_KEY", "sk-5ecret")
    with pytest.raises(InputError, match="unencrypted") as caught:
        Endpoint.configured("http://models.example/v1", "m")
    assert "sk-5ecret" not in str(caught.value)
    assert "sk-5ecret" not in repr(Endpoint.configured("https://models.example/v1", "m"))


def assert_strict(messages: Sequence[Json]) -> None:
    """What a strict endpoint asks of a history: each call valid, with an id, and answered."""
    open_ids: list[str] = []
    seen: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] == open_ids.pop(0)
            continue
        assert not open_ids
        assert isinstance(message["content"], str)
        for one in message.get("tool_calls", ()):
            assert one["type"] == "function"
            assert isinstance(one["id"], str)
            assert one["id"] not in seen
            seen.add(one["id"])
            open_ids.append(one["id"])
            assert one["function"]["name"]
            assert isinstance(one["function"]["arguments"], str)
            assert isinstance(json.loads(one["function"]["arguments"]), dict)
    assert not open_ids


@pytest.mark.parametrize(
    "broken",
    [
        call("list_files", '{"folder": "a'),  # cut off
        call("list_files", json.dumps("{}")),  # encoded twice
        {"id": "1", "type": "function", "function": {"name": "list_files", "arguments": None}},
        {"id": "1", "type": "function", "function": {"name": "list_files", "arguments": {}}},
        {"type": "function", "function": {"name": "list_files", "arguments": "{}"}},
        {"id": None, "function": {"name": "list files!", "arguments": "{}"}},
        {"id": 7, "function": {"name": "list_files", "arguments": ""}},
        {"id": "", "function": {"arguments": "{}"}},
        {"id": "x" * 500, "function": {"name": "n" * 500, "arguments": "[1]"}},
        {"id": "1", "function": {"name": "list_files", "arguments": '{"folder": "\\udcfc"}'}},
        "nonsense",
        None,
    ],
)
def test_what_goes_into_the_history_is_valid(script: Any, tmp_path: Path, broken: Any) -> None:
    model = script(says(None, broken, broken), says(None, broken), says("Done."))
    assert ask(model, tmp_path) == 0
    assert_strict(model.requests[2]["messages"])


@pytest.mark.parametrize("arguments", [None, {}, "", json.dumps("{}"), "{}"])
def test_arguments_in_every_usual_form_are_understood(
    script: Any, tmp_path: Path, arguments: Any
) -> None:
    one = {"id": "1", "function": {"name": "list_files", "arguments": arguments}}
    model = script(says(None, one), says("Done."))
    assert ask(model, tmp_path) == 0
    assert "files and folders" in model.requests[1]["messages"][-1]["content"]


def test_the_older_form_of_a_call_is_understood(script: Any, tmp_path: Path) -> None:
    older = {**says(None), "function_call": {"name": "list_files", "arguments": "{}"}}
    model = script((older, "function_call"), says("Nothing there."))
    assert ask(model, tmp_path) == 0
    assert_strict(model.requests[1]["messages"])
    assert "files and folders" in model.requests[1]["messages"][-1]["content"]


@pytest.mark.parametrize(
    "reply",
    [
        says(None),
        says(""),
        says("  \n"),
        {**says(None), "reasoning_content": "The answer may be 3."},
        {**says(""), "reasoning": "I wonder."},
        says('<tool_call>\n{"name": "list_files", "arguments": {}}\n</tool_call>'),
        says('{"name": "list_files", "arguments": {}}'),
        says('```json\n[{"function": {"name": "list_files"}}]\n```'),
        says("<function=list_files></function>"),
    ],
)
def test_no_answer_is_said_to_the_model_and_then_to_the_user(
    script: Any, tmp_path: Path, capsys: Capture, reply: Json
) -> None:
    model = script(reply)
    assert ask(model, tmp_path) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "no answer: " in err.splitlines()[-1]
    assert model.requests[1]["messages"][-1]["role"] == "user"
    model = script(reply, says("Here it is."))
    assert ask(model, tmp_path) == 0
    assert capsys.readouterr().out == "Here it is.\n"


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (({**says(None), "refusal": "I must not."}, "stop"), "refuses: I must not."),
        ((says("The capacity is 2."), "length"), "cut off"),
        ((says(None, call("list_files", '{"fol')), "length"), "cut off"),
        ((says("The"), "content_filter"), "content filter"),
        ((200, b'{"error": {"message": "out of credits"}}'), "out of credits"),
        ((200, b'{"error": "out of credits", "choices": []}'), "out of credits"),
        ((200, b'{"choices": [{"message": {"content": ""}, "error": {"code": 502}}]}'), "502"),
    ],
)
def test_half_an_answer_is_an_error(
    script: Any, tmp_path: Path, capsys: Capture, reply: Any, told: str
) -> None:
    assert ask(script(reply), tmp_path) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_endpoint_is_asked_again(script: Any, tmp_path: Path, status: int) -> None:
    busy = (status, b"slow down", {"Retry-After": "0"})
    model = script(busy, busy, says("Yes."))
    assert ask(model, tmp_path) == 0
    assert len(model.requests) == 3


def test_an_endpoint_is_waited_for_as_it_asks(script: Any) -> None:
    waits: list[float] = []
    replies = [(429, b"", {"Retry-After": "7"}), (503, b""), (429, b"", {"Retry-After": "soon"})]
    model = script(*replies, says("Yes."))
    endpoint = Endpoint(model.url, "m", wait=waits.append)
    assert endpoint.complete([], []).message["content"] == "Yes."
    assert waits == [7.0, 2.0, 4.0]
    past = "Wed, 21 Oct 2015 07:28:00 GMT"
    model = script((503, b"", {"Retry-After": past}), says("Yes."))
    waits.clear()
    Endpoint(model.url, "m", wait=waits.append).complete([], [])
    assert waits == [0.0]


def test_waiting_has_an_end(script: Any) -> None:
    model = script((503, b"busy", {"Retry-After": "0"}))
    with pytest.raises(InputError, match=r"busy.*4 attempts"):
        Endpoint(model.url, "m", wait=lambda seconds: None).complete([], [])
    assert len(model.requests) == 4
    model = script((429, b"quota", {"Retry-After": "86400"}))
    with pytest.raises(InputError, match="try again in 86400 s"):
        Endpoint(model.url, "m").complete([], [])


def test_nothing_steers_the_terminal(script: Any, tmp_path: Path, capsys: Capture) -> None:
    evil = "\x1b]0;owned\x07Fine\x1b[2J\x1b[31m:\r\n\ttwo\x08\x00 \u202e3 \ud83d"
    model = script(says(None, call("list_files", {"folder": evil})), says(evil))
    assert ask(model, tmp_path) == 0
    out, err = capsys.readouterr()
    assert out == "Fine:\n\ttwo    3 \\ud83d\n"
    assert not any(ord(c) < 32 and c not in "\n\t" for c in out + err)
