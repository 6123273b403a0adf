"""The process of one job: ``python -m ionbridge.screening.agents.job_process FOLDER LOCK``.

It runs a command of ``ionbridge`` in the job's folder and leaves there what became of it. Nothing
of it depends on the server that started it: that may end, the job goes on.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import TextIO

from ionbridge.screening.agents.jobs import CANCELLED, ENDED, JOB, PROGRESS, STARTED
from ionbridge.screening.execution.shards import write_json

LARGEST_OUTPUT = 4 * 2**30
"""Bytes of a file that a job may write."""
SHORT_CPU_S = 300
"""Processor time of a job that was promised to be short."""
NICENESS = 5
FIRST_TO_KILL = "600"
"""Added to the job's badness where memory runs out, so that it ends rather than the server."""


class ProgressLog(io.TextIOBase):
    """A stderr that shows no bars: what ``tqdm`` draws goes into a small file, the rest to a log.

    Args:
        log: Takes whole lines.
        progress: File that holds the newest ``{"label", "done", "total"}``.
    """

    BAR = re.compile(r"^(?P<label>[^\t]*)\t(?P<done>[\d.]+)\t(?P<total>[\d.]+|None)\s*$")
    STEP = re.compile(r"^step (?P<done>\d+) of (?P<total>\d+): (?P<label>.+)$")
    FORMAT = "{desc}\t{n}\t{total}"
    SECONDS_BETWEEN = 0.5

    def __init__(self, log: TextIO, progress: Path) -> None:
        self._log = log
        self._progress = progress
        self._text = ""
        self._written = 0.0

    def isatty(self) -> bool:
        """True, as commands show their progress on terminals only."""
        return True

    def writable(self) -> bool:
        """True: text can be written to it."""
        return True

    def write(self, text: str) -> int:
        """Take text; lines end in a newline or, those of bars, in a carriage return."""
        *lines, self._text = re.split(r"[\r\n]", self._text + text)
        for line in lines:
            self._line(line)
        bar = self.BAR.match(self._text)
        if bar:
            self._show(bar)
        return len(text)

    def flush(self) -> None:
        """Write to the log file what is still held back."""
        self._log.flush()

    def _line(self, line: str) -> None:
        bar = self.BAR.match(line)
        if bar is None and line.strip():
            self._log.write(line + "\n")
            self._log.flush()
        shown = bar or self.STEP.match(line)
        if shown is not None:
            self._show(shown)

    def _show(self, bar: re.Match[str]) -> None:
        done, total = float(bar["done"]), bar["total"]
        ended = total != "None" and done >= float(total)
        if time.monotonic() - self._written < self.SECONDS_BETWEEN and not ended:
            return
        self._written = time.monotonic()
        known = None if total == "None" else float(total)
        label = bar["label"].rstrip(": ")
        with contextlib.suppress(OSError):  # progress is a comfort, a full disk shows elsewhere
            write_json(self._progress, {"label": label, "done": done, "total": known})


def main(folder: Path, lock: int) -> int:
    """Run the job of a folder.

    Args:
        folder: Holds ``job.json``; becomes the working folder.
        lock: Descriptor of the locked file that says that the job runs; held until the end.
    """
    os.set_inheritable(lock, False)
    os.chdir(folder)
    write_json(Path(STARTED), {"pid": os.getpid(), "time": time.time()})
    if Path(CANCELLED).exists():
        return 130
    job = json.loads(Path(JOB).read_text(encoding="utf-8"))
    _restrain(bool(job["is_short"]))
    os.environ["TQDM_BAR_FORMAT"] = ProgressLog.FORMAT
    log = sys.stderr
    sys.stderr = ProgressLog(log, Path(PROGRESS))
    try:
        status = _run(job["command"], job["arguments"])
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stderr.flush()
    sys.stderr = log
    write_json(Path(ENDED), {"status": status, "time": time.time()})
    return status


def _run(command: str, arguments: list[str]) -> int:
    """The two things a job may be; nothing else can be named."""
    if command == "describe":
        from ionbridge.screening.agents.description import main as describe

        return describe(arguments)
    if command == "ionbridge":
        from ionbridge.screening.cli import main as ionbridge

        return ionbridge(arguments)
    raise ValueError(f"unknown command {command!r}")


def _restrain(is_short: bool) -> None:
    """Keep the job behind the server in everything the machine shares."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_FSIZE, LARGEST_OUTPUT)
    if is_short:
        _lower(resource.RLIMIT_CPU, SHORT_CPU_S)
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    with contextlib.suppress(OSError):  # Linux only
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_KILL, encoding="ascii")


def _lower(kind: int, limit: int) -> None:
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
