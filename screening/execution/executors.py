"""The executor that a command line names."""

from __future__ import annotations

from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.dask_executor import QUEUES, DaskCluster, QueuedWorkers
from ionbridge.screening.execution.executor import Executor, LocalProcesses, ThisProcess


def executor_from(name: str, workers: int | None) -> Executor:
    """The executor that a command line names.

    Args:
        name: ``local``, ``dask://HOST:PORT``, ``slurm`` or ``kubernetes``.
        workers: Local processes; None for one a core, 0 for none (everything in this process). Of
            a queue, how many are asked for.
    """
    if name.startswith("dask://"):
        return DaskCluster(name.removeprefix("dask://"))
    if name in QUEUES:
        if workers is None or workers < 1:
            raise InputError(f"--executor {name}: say how many workers to ask for, --workers N")
        return QueuedWorkers(name, workers)
    if name != "local":
        known = ", ".join(("local", "dask://HOST:PORT", *QUEUES))
        raise InputError(f"unknown executor '{name}'; known: {known}")
    if workers is None:
        return LocalProcesses()
    if workers < 0:
        raise InputError(f"--workers: expected 0 or more, got {workers}")
    return LocalProcesses(workers) if workers else ThisProcess()
