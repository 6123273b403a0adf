"""A language model drives the tools: here a scripted one, on this machine, over real HTTP."""

import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ionbridge.screening.cli import main
from ionbridge.screening.errors import InputError
from ionbridge.screening.orchestrator.ask import MOST_CALLS_A_TURN, Endpoint, functions
from ionbridge.screening.orchestrator.tools import TOOLS
from ionbridge.structures.io import write_json_lines
from tests.screening.tiny import tiny_hops

Capture = pytest.CaptureFixture[str]
Json = dict[str, Any]


class ScriptedModel:
    """An endpoint that says what it was told to say, and keeps what it was asked.

    Args:
        replies: Messages, or (status, body) pairs, one a request; the last one is repeated.
    """

    def __init__(self, replies: Sequence[Json | tuple[int, bytes]]) -> None:
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
                    choice = {"index": 0, "message": reply, "finish_reason": "stop"}
                    reply = (200, json.dumps({"choices": [choice]}).encode())
                self.send_response(reply[0])
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

    def make(*replies: Json | tuple[int, bytes]) -> ScriptedModel:
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
    assert third[-1]["content"].startswith("error: '../hops.jsonl'")
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
    assert all(result.startswith("error: ") for result in results)
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
