"""Long work of agents: a job is a folder, and whatever happened to it can be read from there.

``job.json`` says what is to run; ``started.json``, ``ended.json`` and ``cancelled`` appear as it
goes on; a lock that the job's process holds says that it is alive. So jobs survive the client and
the server, and any server on the same workspace sees the same list.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ionbridge.screening.agents.workspace import JOBS, Workspace
from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.shards import write_json

State = Literal["queued", "running", "done", "failed", "cancelled"]
Command = Literal["ionbridge", "describe"]

JOB, STARTED, PROGRESS, ENDED = "job.json", "started.json", "progress.json", "ended.json"
CANCELLED, LOCK, LOG = "cancelled", "lock", "log.txt"

ID = re.compile(r"^[a-z]{1,16}-[0-9a-f]{10}$")
MOST_WAITING_EACH = 16
MOST_WAITING = 128
MOST_KEPT = 5000
LEAST_FREE_BYTES = 2**30
SECONDS_TO_END = 5.0
"""Between asking a cancelled job to end and ending it."""
BUSY_S, IDLE_S = 0.1, 1.0
SECRETS = ("IONBRIDGE_LLM_KEY",)
"""Environment that no job sees."""


@dataclass(frozen=True)
class Job:
    """What is to run.

    Attributes:
        id: Name of the job and of its folder.
        client: Whose it is.
        tool: Tool that asked for it.
        command: ``ionbridge``, or ``describe`` for the description of an input.
        arguments: Of the command; paths in them lie in the job's folder.
        inputs: What the client named, relative to the workspace.
        output: The main result, relative to the job's folder.
        cores: Processor cores that it uses.
        is_short: Whether it was promised to be over soon.
        submitted: Seconds since 1970.
    """

    id: str
    client: str
    tool: str
    command: Command
    arguments: tuple[str, ...]
    inputs: tuple[str, ...]
    output: str
    cores: int
    is_short: bool
    submitted: float

    def as_named(self, text: str) -> str:
        """A text in which inputs have the names that the client gave them."""
        for number, path in enumerate(self.inputs):
            name = path.rstrip("/").rpartition("/")[2]
            text = text.replace(f"input/{number}/{name}", path)
        return text


@dataclass(frozen=True)
class JobStatus:
    """How far a job is.

    Attributes:
        job: The job.
        state: What became of it.
        reason: One line, where it failed.
        done: Finished units of its current step.
        total: Units of that step, where they are known.
        label: Name of that step.
        started: Seconds since 1970, or None.
        ended: Seconds since 1970, or None.
    """

    job: Job
    state: State
    reason: str = ""
    done: float = 0.0
    total: float | None = None
    label: str = ""
    started: float | None = None
    ended: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ("done", "failed", "cancelled")


class Jobs:
    """The jobs of a workspace, and the thread that starts them.

    Every client may have one job running at any time; beyond that, jobs share the cores, those of
    the client with the fewest running first. Short jobs do not count, one a client.

    Args:
        workspace: Where the jobs lie.
        n_cores: Cores that are shared; by default those of this machine.

    Raises:
        InputError: The workspace cannot be written.
    """

    def __init__(self, workspace: Workspace, n_cores: int | None = None) -> None:
        self.folder = workspace.root / JOBS
        if self.folder.is_symlink():
            raise InputError(f"{self.folder}: is a link; the jobs must lie in the workspace")
        try:
            self.folder.mkdir(exist_ok=True)
            (self.folder / ".dispatch").touch()
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be written ({error.strerror})") from error
        self.n_cores = n_cores or len(os.sched_getaffinity(0))
        self._over: dict[str, JobStatus] = {}
        self._children: list[subprocess.Popen[bytes]] = []
        self._preparing: dict[Path, str] = {}  # folders of jobs to come, and whose they are
        self._one_at_a_time = threading.Lock()
        self._wake = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._dispatch, name="jobs", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Start no more jobs; those that run go on."""
        self._closed = True
        self._wake.set()
        self._thread.join()

    def new_folder(self, client: str, tool: str) -> Path:
        """An empty folder for a job that is being prepared, which counts as one that waits.

        Raises:
            InputError: Too many jobs wait or are kept, or the disk is full.
        """
        with self._one_at_a_time:
            folder = self._new_folder(client, tool)
            self._preparing[folder] = client
        return folder

    def _new_folder(self, client: str, tool: str) -> Path:
        self._preparing = {
            folder: whose
            for folder, whose in self._preparing.items()
            if folder.is_dir() and not (folder / JOB).exists()
        }
        statuses = self.all()
        waiting = Counter(s.job.client for s in statuses if s.state == "queued")
        waiting.update(self._preparing.values())
        if waiting[client] >= MOST_WAITING_EACH or waiting.total() >= MOST_WAITING:
            raise InputError(
                f"{waiting[client]} of your jobs are waiting ({waiting.total()} of all clients); "
                "wait until one has ended, or cancel one"
            )
        if len(statuses) >= MOST_KEPT:
            raise InputError(f"the workspace keeps {MOST_KEPT} jobs; remove old ones in {JOBS}/")
        if shutil.disk_usage(self.folder).free < LEAST_FREE_BYTES:
            raise InputError("less than 1 GiB is free on the disk of the workspace")
        folder = self.folder / f"{tool.replace('_', '')}-{secrets.token_hex(5)}"
        folder.mkdir(mode=0o700)
        (folder / "input").mkdir()
        (folder / "output").mkdir()
        return folder

    def submit(self, job: Job) -> Job:
        """Queue a job whose folder is ready."""
        write_json(self.folder / job.id / JOB, asdict(job))
        self._wake.set()
        return job

    def all(self) -> list[JobStatus]:
        """Every job of the workspace, the newest first."""
        ids = [name for name in os.listdir(self.folder) if ID.match(name)]
        found = [s for s in map(self._status, ids) if s is not None]
        return sorted(found, key=lambda s: (-s.job.submitted, s.job.id))

    def status(self, id: str) -> JobStatus:
        """How far a job is.

        Raises:
            InputError: No such job.
        """
        status = self._status(id) if ID.match(id) else None
        if status is None:
            raise InputError(f"no job {id[:40]!r}; job_status without a job lists them all")
        return status

    def cancel(self, id: str) -> JobStatus:
        """End a job, whether it waits or runs.

        Raises:
            InputError: No such job.
        """
        status = self.status(id)
        if status.is_over:
            return status
        (self.folder / id / CANCELLED).touch()
        begin = time.monotonic()
        while not (status := self.status(id)).is_over:
            elapsed = time.monotonic() - begin
            if elapsed > 2 * SECONDS_TO_END:
                break
            self._signal(id, signal.SIGKILL if elapsed > SECONDS_TO_END else signal.SIGTERM)
            time.sleep(BUSY_S)
        return status

    def log(self, id: str, n_bytes: int = 4000) -> str:
        """The end of what a job said."""
        try:
            with (self.folder / id / LOG).open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - n_bytes))
                return file.read(n_bytes).decode("utf-8", errors="replace")
        except OSError:
            return ""

    def wait(
        self, id: str, seconds: float, progress: Callable[[JobStatus], None] | None = None
    ) -> JobStatus:
        """How far a job is when it is over, or after some time.

        Args:
            id: The job.
            seconds: Longest wait.
            progress: Called at every look; what it raises ends the wait.
        """
        ends = time.monotonic() + seconds
        while True:
            status = self.status(id)
            if progress is not None:
                progress(status)
            if status.is_over or time.monotonic() >= ends:
                return status
            time.sleep(BUSY_S)

    def _status(self, id: str) -> JobStatus | None:
        """The state of a job, as its folder has it; None while it is being prepared."""
        if id in self._over:
            return self._over[id]
        folder = self.folder / id
        job = _job(folder / JOB)
        if job is None:
            return None
        # in this order: whoever has started keeps the lock until it has written how it ended
        started = (_json(folder / STARTED) or {}).get("time")
        is_alive = _is_locked(folder / LOCK)
        ended = _json(folder / ENDED)
        is_cancelled = (folder / CANCELLED).exists()
        if is_alive and ended is None:
            shown = _json(folder / PROGRESS) or {}
            known = {name: shown[name] for name in ("done", "total", "label") if name in shown}
            return JobStatus(job, "running", started=started, **known)
        if ended is not None:
            state: State = "done" if ended.get("status") == 0 else "failed"
            reason = "" if state == "done" else job.as_named(self._reason(id, ended.get("status")))
            over = JobStatus(job, state, reason, started=started, ended=ended.get("time"))
        elif is_cancelled:
            over = JobStatus(job, "cancelled", "cancelled", started=started)
        elif started is not None:
            reason = "its process was ended from outside (memory, processor time, or a restart)"
            over = JobStatus(job, "failed", reason, started=started)
        else:
            return JobStatus(job, "queued")
        self._over[id] = over
        return over

    def _reason(self, id: str, status: int | None) -> str:
        """Why a job failed: the last line it said."""
        lines = [line for line in self.log(id).splitlines() if line.strip()]
        said = [line for line in lines if line.startswith("ionbridge")] or lines or [""]
        if status == 2:
            return said[-1].removeprefix("ionbridge: ")[:400]
        return f"internal error (exit status {status}): {said[-1][:300]}"

    def _signal(self, id: str, number: signal.Signals) -> None:
        """Send a signal to the processes of a job; its lock proves that the number is still its."""
        folder = self.folder / id
        started = _json(folder / STARTED)
        if started is not None and _is_locked(folder / LOCK):
            with contextlib.suppress(OSError):
                os.killpg(int(started["pid"]), number)

    def _dispatch(self) -> None:
        while not self._closed:
            self._children = [child for child in self._children if child.poll() is None]
            try:
                is_busy = self._start_next()
            except OSError as error:  # a full disk, say: it may have room again
                print(f"ionbridge: no job can be started: {error}", file=sys.stderr)
                is_busy = False
            self._wake.wait(BUSY_S if is_busy or self._children else IDLE_S)
            self._wake.clear()

    def _start_next(self) -> bool:
        """Start what may start; True where jobs go on waiting."""
        with _locked(self.folder / ".dispatch"):
            while True:
                statuses = [s for s in self.all() if not s.is_over]
                chosen = next_job(statuses, self.n_cores)
                if chosen is None:
                    return any(s.state == "queued" for s in statuses)
                self._start(chosen)

    def _start(self, job: Job) -> None:
        """Start the process of a job; it alone keeps the lock."""
        folder = self.folder / job.id
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with (folder / LOG).open("ab") as log:
                try:
                    child = subprocess.Popen(
                        [
                            sys.executable,
                            "-P",  # nothing in the job's folder is ever imported
                            "-m",
                            "ionbridge.screening.agents.job_process",
                            str(folder),
                            str(lock),
                        ],
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        cwd=folder,
                        env=_environment(),
                        start_new_session=True,
                        pass_fds=(lock,),
                    )
                except OSError as error:
                    log.write(f"ionbridge: no process could be started ({error})\n".encode())
                    write_json(folder / ENDED, {"status": 2, "time": time.time()})
                    return
            write_json(folder / STARTED, {"pid": child.pid, "time": time.time()})
            self._children.append(child)
        finally:
            os.close(lock)


def next_job(statuses: Sequence[JobStatus], n_cores: int) -> Job | None:
    """The job that starts now, if one may.

    Args:
        statuses: Jobs that wait or run.
        n_cores: Cores that are shared.
    """
    running = [s.job for s in statuses if s.state == "running"]
    waiting = sorted((s.job for s in statuses if s.state == "queued"), key=lambda j: j.submitted)
    long = Counter(job.client for job in running if not job.is_short)
    short = Counter(job.client for job in running if job.is_short)
    used = sum(job.cores for job in running if not job.is_short)
    for job in sorted(waiting, key=lambda j: (not j.is_short, long[j.client], j.submitted)):
        if job.is_short:
            if not short[job.client]:
                return job
        elif not long[job.client] or used + job.cores <= n_cores:
            return job
    return None


def _environment() -> dict[str, str]:
    """Of a job: this package, one thread a process, no secrets."""
    root = str(Path(__file__).parents[3])
    return {
        **{name: value for name, value in os.environ.items() if name not in SECRETS},
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "PYBAMM_DISABLE_TELEMETRY": "true",
    }


def _job(path: Path) -> Job | None:
    """The job of a file; None where there is none, or one of another version."""
    try:
        data = _json(path) or {}
        lists = {name: tuple(data[name]) for name in ("arguments", "inputs")}
        return Job(**{**data, **lists})
    except (KeyError, TypeError):
        return None


def _json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _is_locked(path: Path) -> bool:
    """Whether another process holds a lock on a file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that only one process has at a time."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
