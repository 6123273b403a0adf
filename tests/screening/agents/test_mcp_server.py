"""The server as agents meet it: the SDK's own client, both transports, good and bad manners."""

import csv
import json
import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from ionbridge.screening.agents.answers import EXTRAPOLATION
from ionbridge.screening.agents.bounded_lines import BoundedLines
from ionbridge.screening.agents.mcp_server import LARGEST_MESSAGE
from ionbridge.screening.agents.rate_limit import CALLS_EACH, WAITING_EACH, Turnstile
from ionbridge.screening.agents.tokens import Tokens
from ionbridge.screening.agents.tools import TOOLS
from ionbridge.screening.cli import main
from ionbridge.screening.errors import InputError
from ionbridge.structures.io.reading import write_json_lines
from tests.screening.tiny import layered, rocksalt, tiny_hops

ROOT = Path(__file__).parents[3]
TOKENS = {"ann": "a" * 40, "bob": "b" * 40}
PATIENCE_S = 50.0


@pytest.fixture
def workspace(tmp_path: Path, tiny_model: Path) -> Path:
    root = tmp_path / "workspace"
    (root / "crystals").mkdir(parents=True)
    crystals = [layered(), layered("NaCoO2", ion="Na"), rocksalt()]
    write_json_lines(root / "crystals" / "all.jsonl", crystals)
    write_json_lines(root / "labels.jsonl", tiny_hops())
    shutil.copytree(tiny_model, root / "tiny")
    return root


def environment() -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    return {"PYTHONPATH": str(ROOT), **{n: os.environ[n] for n in names if n in os.environ}}


def command(workspace: Path, *more: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "ionbridge.screening.cli",
        "mcp",
        "--workspace",
        str(workspace),
        *more,
    ]


@asynccontextmanager
async def over_stdio(workspace: Path) -> AsyncIterator[Client]:
    program, *arguments = command(workspace)
    parameters = StdioServerParameters(command=program, args=arguments, env=environment())
    async with Client(parameters, read_timeout_seconds=4 * PATIENCE_S) as client:
        yield client


@contextmanager
def http_server(workspace: Path, tmp_path: Path) -> Iterator[str]:
    """Address of a server for Ann and Bob."""
    path = tmp_path / "tokens"
    path.write_text("".join(f"{name} {token}\n" for name, token in TOKENS.items()), "utf-8")
    path.chmod(0o600)
    with subprocess.Popen(
        command(workspace, "--http", "0", "--token-file", str(path)),
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment()},
    ) as server:
        try:
            assert server.stderr is not None
            found = re.search(r"http://\S+", server.stderr.readline())
            assert found is not None
            yield found[0]
        finally:
            server.terminate()


@asynccontextmanager
async def over_http(address: str, token: str) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=4 * PATIENCE_S) as http:
        transport = streamable_http_client(address, http_client=http)
        async with Client(transport, read_timeout_seconds=4 * PATIENCE_S) as client:
            yield client


async def answer(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """What a tool answers; its text says the same as its structure."""
    result = await client.call_tool(tool, arguments)
    text = result.content[0].text  # type: ignore[union-attr]
    assert not result.is_error, text
    assert json.loads(text) == result.structured_content
    found: dict[str, Any] = result.structured_content
    return found


async def refusal(client: Client, tool: str, **arguments: Any) -> str:
    """Why a tool refuses: one short line, beside the word that text of files is data."""
    result = await client.call_tool(tool, arguments)
    whole: str = result.content[0].text  # type: ignore[union-attr]
    assert result.is_error, whole
    assert json.loads(whole) == result.structured_content
    assert "not instructions" in result.structured_content["about_text"]
    text: str = result.structured_content["summary"]
    assert text.startswith("error: ")
    assert text.isprintable()
    assert "Traceback" not in text
    assert len(text) < 1000
    return text


async def finished(client: Client, found: dict[str, Any]) -> dict[str, Any]:
    """The result of a call, awaited as an agent would where it became a job."""
    while found["data"].get("state") in ("queued", "running"):
        await answer(client, "job_status", job=found["data"]["job"], wait_s=PATIENCE_S)
        found = await answer(client, "job_result", job=found["data"]["job"])
    return found


def test_a_session_from_crystals_to_a_ranking(workspace: Path) -> None:
    """Over stdio: look, predict, page through the table, read it as a resource."""
    told: list[tuple[float, float | None, str | None]] = []

    async def tell(done: float, total: float | None, message: str | None) -> None:
        told.append((done, total, message))

    async def session() -> None:
        async with over_stdio(workspace) as client:
            assert client.instructions is not None
            assert EXTRAPOLATION in client.instructions
            listed = (await client.list_tools()).tools
            assert [tool.name for tool in listed] == list(TOOLS)
            for tool in listed:
                assert tool.input_schema["additionalProperties"] is False
                assert "$ref" not in json.dumps(tool.input_schema)
            files = await answer(client, "list_files")
            assert {"path": "crystals/"} in files["data"]["entries"]
            found = await finished(
                client, await answer(client, "describe_data", inputs=["labels.jsonl"])
            )
            assert found["data"]["labels"]["n"] == 3
            result = await client.call_tool(
                "predict",
                {"inputs": ["crystals"], "model": "./tiny", "wait_s": PATIENCE_S},
                progress_callback=tell,
            )
            assert not result.is_error
            found = await finished(client, result.structured_content)
            rows = {row["id"]: row for row in found["data"]["rows"]}
            assert set(rows) == {"LiCoO2", "NaCoO2", "LiCl"}
            assert " ± " in rows["LiCoO2"]["log10_diffusivity_cm2_s"]
            assert found["units"]["log10_diffusivity_cm2_s"] == "log10 of cm^2/s"
            path = found["data"]["files"][0]
            best = await answer(
                client,
                "read_table",
                path=path,
                columns=["id", "log10_diffusivity_cm2_s"],
                sort_by="log10_diffusivity_cm2_s",
                descending=True,
                limit=1,
            )
            assert best["data"]["next_offset"] == 1
            with (workspace / path).open(newline="", encoding="utf-8") as file:
                table = list(csv.DictReader(file))
            first = max(table, key=lambda row: float(row["log10_diffusivity_cm2_s"]))
            assert best["data"]["rows"][0]["id"] == first["id"]
            outside = [row["id"] for row in table if row["in_domain"] == "false"]
            for id in outside:
                assert EXTRAPOLATION in rows[id]["note"]
            assert any(EXTRAPOLATION in w for w in found.get("warnings", [])) == bool(outside)
            uris = [str(r.uri) for r in (await client.list_resources()).resources]
            assert f"workspace:///{path}" in uris
            resource = await client.read_resource(f"workspace:///{path}")
            assert resource.contents[0].text == (workspace / path).read_text("utf-8")  # type: ignore[union-attr]
            card = await client.read_resource("model:///hop-barrier/card.yaml")
            assert "licence" in card.contents[0].text  # type: ignore[union-attr]
            with pytest.raises(MCPError):  # a giant is answered and forgotten
                await client.call_tool("list_files", {"folder": "x" * (LARGEST_MESSAGE + 1)})
            assert (await answer(client, "list_files"))["data"]["entries"]

    anyio.run(session)
    assert told
    assert all(total is None or done <= total for done, total, _ in told)


HOSTILE_PATHS = (
    "../secret.jsonl",
    "/etc/passwd",
    "link.jsonl",
    "crystals/../../secret.jsonl",
    "pipe",
)

HOSTILE_CALLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("predict", {"inputs": ["crystals"], "shell": "rm -rf /"}),
    ("predict", {"inputs": ["crystals"], "temperature_K": 1e308}),
    ("predict", {"inputs": ["crystals"], "temperature_K": -1.0}),
    ("predict", {"inputs": ["crystals"], "cores": 10**30}),
    ("predict", {"inputs": ["crystals"] * 1000}),
    ("predict", {"inputs": []}),
    ("predict", {"inputs": "crystals"}),
    ("predict", {"inputs": ["crystals"], "model": "../tiny"}),
    ("predict", {"inputs": ["--model=x"]}),
    ("predict", {}),
    ("finetune", {"labels": "labels.jsonl", "strategy": "__import__('os')"}),
    ("finetune", {"labels": "labels.jsonl", "name": "../../evil"}),
    ("label", {"method": "neb", "inputs": ["crystals"], "calculator": "os:system"}),
    ("label", {"method": "md", "inputs": ["crystals"], "steps": 10**12}),
    ("plan", {"goal": "diffusivity; rm", "files": ["crystals"]}),
    ("plan", {"goal": "diffusivity", "values": ["--out=/tmp/x"]}),
    ("plan", {"goal": "diffusivity"}),
    ("screen", {"campaign_file": "campaign.yaml"}),
    ("screen", {"campaign_file": "object.yaml"}),
    ("screen", {"campaign_file": "bomb.yaml"}),
    ("screen", {"campaign": {"name": "x", "candidates": {"files": ["../secret.jsonl"]}}}),
    ("screen", {"campaign": {"name": "x", "candidates": {}, "n_draws": 10**9}}),
    ("screen", {}),
    ("job_status", {"job": "../../etc"}),
    ("job_result", {"job": "predict-0000000000"}),
    ("cancel_job", {"job": "predict-0000000000"}),
    ("read_table", {"path": "labels.jsonl", "limit": 10**9}),
    ("read_table", {"path": "labels.jsonl", "columns": ["nothing"]}),
    ("read_table", {"path": "crystals"}),
    ("read_table", {"path": "giant.csv"}),
    ("show_model", {"name": "../outside"}),
    ("shell", {"command": "ls"}),
    ("list_files", {"folder": ".."}),
)


@pytest.fixture
def trapped(workspace: Path, tmp_path: Path) -> Path:
    """A workspace with everything in it that a client could try to get out with."""
    secret = tmp_path / "secret.jsonl"
    write_json_lines(secret, [rocksalt("5ecret")])
    (workspace / "link.jsonl").symlink_to(secret)
    os.mkfifo(workspace / "pipe")
    with (workspace / "giant.csv").open("wb") as file:
        file.truncate(2**40)
    texts = {
        "campaign.yaml": "name: x\ncandidates: {files: [../secret.jsonl]}\n",
        "object.yaml": "name: !!python/object/apply:os.system ['touch ran']\ncandidates: {}\n",
        "bomb.yaml": "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in pairwise("abcdefghi")),
    }
    for name, text in texts.items():
        (workspace / name).write_text(text, encoding="utf-8")
    return workspace


class Mine:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (self.path, "w"))


def test_a_hostile_session(trapped: Path, tmp_path: Path) -> None:
    """Over HTTP: nothing is read outside, nothing is run, each refusal is one line."""
    ran = tmp_path / "ran"
    (trapped / "pickled").mkdir()
    for name in ("config.json", "card.yaml"):
        (trapped / "pickled" / name).write_bytes((trapped / "tiny" / name).read_bytes())
    (trapped / "pickled" / "model.safetensors").write_bytes(pickle.dumps(Mine(str(ran))))

    async def session(address: str) -> None:
        async with over_http(address, TOKENS["ann"]) as ann:
            refused = [await refusal(ann, tool, **arguments) for tool, arguments in HOSTILE_CALLS]
            for path in HOSTILE_PATHS:
                refused.append(await refusal(ann, "predict", inputs=[path]))
                refused.append(await refusal(ann, "read_table", path=path))
                refused.append(await refusal(ann, "describe_data", inputs=["crystals", path]))
                with pytest.raises(MCPError) as caught:
                    await ann.read_resource(f"workspace:///{path}")
                assert caught.value.error.message.isprintable()
                assert "not instructions" in caught.value.error.data["about_text"]
            assert not any("5ecret" in text or "root:" in text for text in refused)
            for uri in (
                "file:///etc/passwd",
                "model:///../x/card.yaml",
                "workspace:///%2e%2e/x.csv",
            ):
                with pytest.raises(MCPError):
                    await ann.read_resource(uri)
            assert (await answer(ann, "job_status"))["data"]["jobs"] == []
            assert not list((trapped / "jobs").glob("[a-z]*"))

            # many jobs of one client: the surplus is refused, another client's runs
            greedy = []

            async def ask_for_one() -> None:
                arguments = {"inputs": ["crystals"], "model": "./pickled", "wait_s": 0.0}
                greedy.append(await ann.call_tool("predict", arguments))

            async with anyio.create_task_group() as calls:
                for _ in range(24):
                    calls.start_soon(ask_for_one)
            greedy.sort(key=lambda result: result.is_error)
            jobs = (await answer(ann, "job_status"))["data"]["jobs"]
            unfinished = sum(job["state"] in ("queued", "running") for job in jobs)
            assert unfinished <= 16 + (os.cpu_count() or 1)  # how many ended is the machine's
            async with over_http(address, TOKENS["bob"]) as bob:
                found = await answer(bob, "describe_data", inputs=["labels.jsonl"])
                assert (await finished(bob, found))["data"]["n_records"] == 3
                listed = (await answer(bob, "job_status"))["data"]["jobs"]
                anns = next(job["job"] for job in listed if job["tool"] == "predict")
                assert "another client" in await refusal(bob, "cancel_job", job=anns)
            first = greedy[0].structured_content["data"]["job"]
            for result in greedy[1:]:
                if not result.is_error:
                    job = result.structured_content["data"]["job"]
                    await ann.call_tool("cancel_job", {"job": job})
            status = {"data": {"state": "running"}}
            while status["data"]["state"] in ("queued", "running"):
                status = await answer(ann, "job_status", job=first, wait_s=PATIENCE_S)
            assert "pickled weights are refused" in await refusal(ann, "job_result", job=first)
            assert not ran.exists()

    with http_server(trapped, tmp_path) as address:
        anyio.run(session, address)
        hostile_requests(address)
    assert not (trapped / "ran").exists()


def hostile_requests(address: str) -> None:
    """Wrong tokens, hosts, origins and sizes never reach a tool."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).encode()
    good = {
        "Authorization": f"Bearer {TOKENS['ann']}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
    }

    def status(body: bytes = body, **headers: str | None) -> int:
        sent = {k: v for k, v in {**good, **headers}.items() if v is not None}
        try:
            with urllib.request.urlopen(urllib.request.Request(address, body, sent)) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            return int(error.code)
        except urllib.error.URLError as error:
            hung_up = isinstance(error.reason, BrokenPipeError | ConnectionResetError)
            if not (hung_up and len(body) > LARGEST_MESSAGE):
                raise
            return 413  # it hung up while the rest was still being sent

    assert status() == 200
    assert status(Authorization=None) == 401
    assert status(Authorization="Bearer " + "c" * 40) == 401
    assert status(Authorization="Bearer " + TOKENS["ann"][:-1]) == 401
    assert status(Authorization="Bearer ") == 401
    assert status(Host="evil.example") == 421
    assert status(Origin="https://evil.example") == 403
    assert status(body=b"[" * (LARGEST_MESSAGE + 1)) == 413
    assert status(body=b"[" * 1000) == 400


def test_calls_of_one_client_wait_for_each_other_and_not_for_those_of_another() -> None:
    async def crowd() -> None:
        turnstile, inside, refused = Turnstile(), Counter[str](), Counter[str]()

        async def call(client: str) -> None:
            try:
                async with turnstile.through(client):
                    inside[client] += 1
                    await anyio.sleep_forever()
            except InputError:
                refused[client] += 1

        async with anyio.create_task_group() as tasks:
            for _ in range(CALLS_EACH + WAITING_EACH + 5):
                tasks.start_soon(call, "greedy")
            tasks.start_soon(call, "modest")
            await anyio.wait_all_tasks_blocked()
            assert inside == {"greedy": CALLS_EACH, "modest": 1}
            assert refused == {"greedy": 5}
            tasks.cancel_scope.cancel()
        assert not any(turnstile.present.values())

    anyio.run(crowd)


def test_lines_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(
        b'{"id": 1}\n{"id": 7, "x": "' + b"y" * 100 + b'"}\n' + b"z" * 100 + b"\n{}\nend"
    )
    with path.open("rb") as stream:
        lines = BoundedLines(stream, 40)
        assert lines.readline() == '{"id": 1}\n'
        assert json.loads(lines.readline())["id"] == 7
        assert lines.readline() == "null\n"
        assert [lines.readline() for _ in range(3)] == ["{}\n", "end", ""]


def test_tokens(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"# agents\nann {'a' * 40}\n{'b' * 40}\n", encoding="utf-8")
    path.chmod(0o600)
    tokens = Tokens(path)
    assert tokens.client("a" * 40) == "ann"
    assert tokens.client("b" * 40) == "client3"
    assert tokens.client("a" * 39) is None
    assert tokens.client("") is None
    path.chmod(0o640)
    with pytest.raises(InputError, match="chmod 600"):
        Tokens(path)
    for text in ("", "short\n", f"a b {'c' * 40}\n"):
        path.unlink(missing_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        with pytest.raises(InputError, match="token"):
            Tokens(path)
    with pytest.raises(InputError, match="cannot be read"):
        Tokens(tmp_path / "nowhere")


def test_bad_arguments_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace, tokens = tmp_path / "workspace", tmp_path / "tokens"
    tokens.write_text("a" * 40, encoding="utf-8")
    tokens.chmod(0o600)
    inside = workspace / "tokens"
    workspace.mkdir()
    shutil.copy(tokens, inside)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for arguments, expected in (
            (["--http", "8765"], "belong together"),
            (["--token-file", str(tokens)], "belong together"),
            (["--http", "70000", "--token-file", str(tokens)], "65535"),
            (["--http", "0", "--token-file", str(inside)], "lies in the workspace"),
            (["--http", "0", "--token-file", str(tmp_path / "nowhere")], "cannot be read"),
            (["--http", port, "--token-file", str(tokens)], "cannot be used"),
            (["--workspace", str(tokens)], "no usable workspace"),
        ):
            assert main(["mcp", "--workspace", str(workspace), *arguments]) == 2
            err = capsys.readouterr().err
            assert expected in err
            assert err.count("\n") == 1


@pytest.mark.slow
def test_twelve_barriers_of_a_new_family_make_a_ranking_of_cells(workspace: Path) -> None:
    """I have these crystals and these 12 barriers of a new family; which ones make a cell with the
    best 3C capacity?
    """
    pytest.importorskip("pybamm")
    hops = tiny_hops()
    labels = [
        replace(hops[k % 3], id=f"hop{k}", barrier_eV=0.3 + 0.02 * k, family="new family")
        for k in range(12)
    ]
    write_json_lines(workspace / "labels.jsonl", labels)

    async def session() -> None:
        async with over_stdio(workspace) as client:
            found = await finished(
                client, await answer(client, "describe_data", inputs=["labels.jsonl"])
            )
            assert found["data"]["labels"]["n"] == 12
            assert any(EXTRAPOLATION in w and "new family" in w for w in found["warnings"])
            way = {"base": "./tiny", "strategy": "frozen", "name": "new-family"}
            found = await answer(client, "finetune", labels="labels.jsonl", **way)
            found = await finished(client, found)
            assert found["data"]["model"] == "models/new-family"
            assert any("12 labels" in w for w in found["warnings"])
            known = (await answer(client, "list_models"))["data"]["models"]
            assert "new-family" in [model["name"] for model in known]

            # by diffusivity, with the adapted model and on the safe side
            campaign = {
                "name": "mine",
                "candidates": {"files": ["crystals"]},
                "model": "new-family",
                "rank_by": "lcb",
            }
            found = await finished(client, await answer(client, "screen", campaign=campaign))
            ranks = [row["rank"] for row in found["data"]["rows"]]
            assert ranks == [str(k + 1) for k in range(len(ranks))]
            report = next(path for path in found["data"]["files"] if path.endswith("report.html"))
            page = await client.read_resource(f"workspace:///{report}")
            assert "LiCoO2" in page.contents[0].text  # type: ignore[union-attr]

            # by what a cell of each delivers in 20 minutes
            goal: dict[str, Any] = {"goal": "cell_capacity", "files": ["crystals"], "c_rate": 3.0}
            found = await finished(client, await answer(client, "execute_plan", **goal))
            table = next(path for path in found["data"]["files"] if path.endswith("result.csv"))
            ranked = await answer(
                client, "read_table", path=table, sort_by="capacity_Ah", descending=True
            )
            best = ranked["data"]["rows"][0]
            assert best["id"] == "LiCoO2"
            assert " ± " in best["capacity_Ah"]
            assert ranked["units"]["capacity_Ah"] == "Ah"

    anyio.run(session)
