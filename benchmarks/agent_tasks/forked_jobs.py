"""Jobs that begin in a copy of this process, which has loaded everything already.

The job's own program runs as it does under a server; what is saved is half a minute of imports a
job, which would be most of the time of a benchmark.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time

from ionbridge.screening.agents import job_process
from ionbridge.screening.agents.jobs import LOCK, LOG, STARTED, Job, Jobs
from ionbridge.screening.execution.shards import write_json


class Copy:
    """A copy of this process.

    Args:
        pid: Its number.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status


class ForkedJobs(Jobs):
    """Jobs of a workspace, started by forking."""

    def _start(self, job: Job) -> None:
        folder = self.folder / job.id
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.setsid()
                job_process.NICENESS = 0  # there is no server here that it could be in the way of
                log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                os.dup2(log, 1)
                os.dup2(log, 2)
                sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", closefd=False)
                sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", closefd=False)
                status = job_process.main(folder, lock)
                sys.stdout.flush()
            finally:
                os._exit(status)
        write_json(folder / STARTED, {"pid": pid, "time": time.time()})
        os.close(lock)
        self._children.append(Copy(pid))  # type: ignore[arg-type]


def warmed() -> None:
    """Load what jobs load, once."""
    import pybamm  # noqa: F401

    from ionbridge.screening.cli import parser
    from ionbridge.screening.planning.entries import default_catalogue

    parser()
    default_catalogue()
