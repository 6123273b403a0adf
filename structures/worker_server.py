"""Worker processes that are forked from a server, which never sees the caller's main module.

A script without a main guard can use them, and nothing in the current folder or beside the script
is imported by them: the server is started with a safe path and imports what the work needs once, so
that a new worker is there at once. A worker's messages are kept, so that what it said last is known
when it dies. The server ends with the process that started it, and its workers end with it.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import importlib
import os
import pickle
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, BinaryIO

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
"""A worker is one core of many: its linear algebra uses one thread."""

MESSAGE = struct.Struct("<cq")
NEW, KILL = b"n", b"k"
LONGEST_WORDS = 2**16

_in_worker = False


def in_worker() -> bool:
    """Whether this process is a worker."""
    return _in_worker


def safe_path() -> list[str]:
    """The import path without what Python put in front of it: the current or the script's folder.

    What PYTHONPATH or an installation names stays, wherever it is.
    """
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    if getattr(main, "__spec__", None) is not None or file is None:
        automatic = os.getcwd()
    else:
        automatic = str(Path(file).resolve().parent)
    path = [part for part in sys.path if part not in ("", ".")]
    if not sys.flags.safe_path and automatic in path:
        path.remove(automatic)
    return path


@dataclass
class Failure:
    """An error that the work raised, on its way to the caller.

    Attributes:
        error: As it was raised, or a RuntimeError with its text where it cannot be sent.
        text: Its traceback in the worker.
    """

    error: Exception
    text: str

    def reraise(self) -> None:
        """Raise the error here, the worker's traceback as its cause."""
        raise self.error from RuntimeError(f"in a worker:\n{self.text}")


@dataclass(eq=False)
class Worker:
    """A process that answers every list of items with an outcome.

    Attributes:
        pid: Its number.
        pipe: To it; readable when there is an outcome, or when it died.
        messages: What it writes to stderr.
        server: What it was forked from.
        n_shown: Bytes of the messages that were passed on.
    """

    pid: int
    pipe: Connection
    messages: BinaryIO
    server: WorkerServer
    n_shown: int = 0

    def send(self, value: Any) -> None:
        """Hand it something; one that died shows when its outcome is asked for."""
        data = pickle.dumps(value)
        with contextlib.suppress(OSError):
            self.pipe.send_bytes(data)

    def outcome(self) -> Any:
        """What came of the items sent last: what the work returned, or a `Failure`.

        Raises:
            EOFError: The worker died.
        """
        try:
            data = self.pipe.recv_bytes()
        except OSError as error:
            raise EOFError from error
        self._pass_on_messages()
        return pickle.loads(data)

    def ended(self) -> tuple[int | None, str]:
        """Exit status of one that died (negative: a signal; None: unknown), and its last words."""
        self.pipe.close()
        status = self.server.exit_status(self.pid)
        with self.messages:
            size = os.fstat(self.messages.fileno()).st_size
            words = os.pread(self.messages.fileno(), LONGEST_WORDS, max(0, size - LONGEST_WORDS))
        return status, words.decode("utf-8", "replace")

    def stop(self) -> None:
        """End it, whatever it is doing."""
        if self.pipe.closed:
            return
        self.pipe.close()
        self.server.kill(self.pid)
        self._pass_on_messages()
        self.messages.close()

    def _pass_on_messages(self) -> None:
        words = os.pread(self.messages.fileno(), LONGEST_WORDS, self.n_shown)
        self.n_shown += len(words)
        if words:
            sys.stderr.write(words.decode("utf-8", "replace"))


@dataclass(eq=False)
class WorkerServer:
    """A process that forks workers.

    Attributes:
        preload: Modules that it imports once.
    """

    preload: tuple[str, ...] = ()
    _ends: dict[int, int] = field(default_factory=dict)
    _new: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        ours, theirs = socket.socketpair()
        command = "from ionbridge.structures.worker_server import serve; serve()"
        environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(safe_path())}
        # an interrupt of the terminal is for the caller, who ends the workers
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-c", command, str(theirs.fileno()), *self.preload],
                    stdin=subprocess.DEVNULL,
                    env=environment,
                    pass_fds=(theirs.fileno(),),
                )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._control = ours
        self._reports = ours.makefile("r", encoding="ascii")
        self.is_open = True
        atexit.register(self.close)

    def start(self, work: Callable[[Any], Any]) -> Worker:
        """A new worker for a function."""
        with self._lock, contextlib.ExitStack() as undo:
            undo.callback(self.close)  # interrupted in between, its answers are out of step
            ours, theirs = socket.socketpair()
            messages = tempfile.TemporaryFile()  # noqa: SIM115
            with theirs:
                socket.send_fds(
                    self._control,
                    [MESSAGE.pack(NEW, 0)],
                    [theirs.fileno(), messages.fileno()],
                )
            while not self._new:
                self._read_report()
            worker = Worker(self._new.pop(), Connection(ours.detach()), messages, self)
            undo.pop_all()
        worker.send((dict(os.environ), os.getcwd(), safe_path()))
        worker.send(work)
        return worker

    def exit_status(self, pid: int) -> int | None:
        """Exit status of a worker that died; None where the server is gone, too."""
        with self._lock, contextlib.suppress(RuntimeError, OSError, ValueError):
            while pid not in self._ends:
                self._read_report()
            return self._ends.pop(pid)
        return None

    def kill(self, pid: int) -> None:
        """End a worker and wait for that."""
        with self._lock:
            if pid not in self._ends:
                with contextlib.suppress(OSError):
                    self._control.sendall(MESSAGE.pack(KILL, pid))
            self.exit_status(pid)

    def close(self) -> None:
        """End the server and all its workers."""
        with self._lock:
            if self.is_open:
                self.is_open = False
                atexit.unregister(self.close)
                self._reports.close()
                self._control.close()
                self._process.wait()

    def _read_report(self) -> None:
        line = self._reports.readline()
        if not line:
            self.close()
            raise RuntimeError(
                "the server of the worker processes has ended; what it said is above"
            )
        kind, pid, status = line.split()
        if kind == "new":
            self._new.append(int(pid))
        else:
            self._ends[int(pid)] = int(status)


@lru_cache(maxsize=8)
def _servers(preload: tuple[str, ...]) -> list[WorkerServer]:
    return []


def worker_server(preload: tuple[str, ...] = ()) -> WorkerServer:
    """The server of this process with these modules at hand; it is started once."""
    servers = _servers(preload)
    if not servers or not servers[0].is_open:
        servers[:] = [WorkerServer(preload)]
    return servers[0]


def map_in_workers(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    n_workers: int,
    preload: tuple[str, ...] = (),
) -> Iterator[tuple[int, Any]]:
    """Yield (index, function of the task) as they are ready.

    Args:
        function: Importable by its name.
        tasks: Its arguments.
        n_workers: Processes; 0 or 1 for none beside this one.
        preload: Modules that it needs.

    Raises:
        RuntimeError: A worker died; the message has its last words.
        Exception: What the function raised.
    """
    if n_workers <= 1:
        yield from enumerate(map(function, tasks))
        return
    server = worker_server(preload)
    waiting = list(range(len(tasks)))[::-1]
    busy: dict[Any, tuple[Worker, int]] = {}
    workers = [server.start(function) for _ in range(min(n_workers, len(tasks)))]
    idle = list(workers)
    try:
        while waiting or busy:
            while waiting and idle:
                worker, index = idle.pop(), waiting.pop()
                worker.send(tasks[index])
                busy[worker.pipe] = (worker, index)
            for pipe in wait(list(busy)):
                worker, index = busy.pop(pipe)
                try:
                    outcome = worker.outcome()
                except EOFError:
                    status, words = worker.ended()
                    raise RuntimeError(f"a worker died ({cause_of_death(status, words)})") from None
                if isinstance(outcome, Failure):
                    outcome.reraise()
                idle.append(worker)
                yield index, outcome
    finally:
        for worker in workers:
            worker.stop()


def cause_of_death(status: int | None, words: str) -> str:
    """How a worker ended: by the time limit, for memory, in a crash; where, and its last words.

    Args:
        status: Exit status; negative for a signal, None where it is not known.
        words: What it wrote to stderr, stacks of the fault handler included.
    """
    lines = [" ".join(line.split()) for line in words.splitlines() if line.strip()]
    stacks = [k for k, line in enumerate(lines) if line.endswith("(most recent call first):")]
    current = [k for k in stacks if lines[k].startswith("Current")] or stacks
    place = "".join(map(_place, lines[current[-1] + 1 : current[-1] + 2])) if current else ""
    if status == 1 and any(line.startswith("Timeout (") for line in lines):
        return f"the time limit passed in compiled code{place}"
    said = [line for line in lines if line.startswith("terminate called")] or lines[-1:]
    tail = place if stacks or not said else f": {said[0][:200]}"
    if status is None:
        return f"how is not known{tail}"
    if status == -signal.SIGKILL:
        return f"ended by SIGKILL, as when the machine runs out of memory{tail}"
    if status < 0:
        return f"crashed, {signal.Signals(-status).name}{tail}"
    return f"exit status {status}{tail}"


def _place(line: str) -> str:
    """`` in resonator.py, line 7 in step`` of a line of a stack."""
    file, _, rest = line.removeprefix('File "').partition('", ')
    return f" in {Path(file).name}, {rest}" if rest else ""


def serve() -> None:
    """Fork a worker for every request until the caller is gone; runs in the server."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    control = socket.socket(fileno=int(sys.argv[1]))
    for name in sys.argv[2:]:
        with contextlib.suppress(ImportError):  # whoever needs it says so
            importlib.import_module(name)
    woken, waker = socket.socketpair()
    for end in (woken, waker):
        end.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    children: set[int] = set()
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if woken in ready:
                with contextlib.suppress(BlockingIOError):
                    woken.recv(4096)
                _report_ends(control, children)
            if control in ready:
                message, descriptors, *_ = socket.recv_fds(control, MESSAGE.size, 2)
                if not message:
                    break
                kind, pid = MESSAGE.unpack(message)
                if kind == KILL and pid in children:
                    os.kill(pid, signal.SIGKILL)
                elif kind == NEW:
                    pid = os.fork()
                    if pid == 0:
                        signal.set_wakeup_fd(-1)
                        for end in (control, woken, waker):
                            end.close()
                        _work(*descriptors)
                    for descriptor in descriptors:
                        os.close(descriptor)
                    children.add(pid)
                    control.sendall(f"new {pid} 0\n".encode())
    signal.set_wakeup_fd(-1)  # nobody reads it any more when the children end
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def _report_ends(control: socket.socket, children: set[int]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        children.discard(pid)
        control.sendall(f"end {pid} {os.waitstatus_to_exitcode(status)}\n".encode())


def _work(pipe: int, messages: int) -> None:
    """Answer items with outcomes until the pipe closes; runs in a worker and ends it."""
    global _in_worker
    _in_worker = True
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(messages, 2)
    os.close(messages)
    faulthandler.enable()
    connection = Connection(pipe)
    status = 0
    try:
        environment, folder, path = pickle.loads(connection.recv_bytes())
        os.environ.clear()
        os.environ.update({**environment, **ONE_THREAD})
        with contextlib.suppress(OSError):
            os.chdir(folder)
        sys.path[:] = path
        _answer(connection)
    except (EOFError, OSError):
        pass  # the caller is gone
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _answer(connection: Connection) -> None:
    """Outcomes for items; a function that cannot be loaded is the outcome of all of them."""
    packed = connection.recv_bytes()
    work: Callable[[Any], Any] | None = None
    while True:
        items = connection.recv_bytes()
        outcome: Any
        try:
            if work is None:
                work = pickle.loads(packed)
                if "torch" in sys.modules:
                    sys.modules["torch"].set_num_threads(1)
            outcome = pickle.dumps(work(pickle.loads(items)))
        except Exception as error:
            outcome = pickle.dumps(_failure(error))
        connection.send_bytes(outcome)


def _failure(error: Exception) -> Failure:
    text = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # of a kind that cannot be sent
        return Failure(RuntimeError(f"{type(error).__name__}: {error}"), text)
    return Failure(error, text)
