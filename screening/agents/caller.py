"""Who calls a tool, and what they may reach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ionbridge.screening.agents.jobs import Jobs, JobStatus
from ionbridge.screening.agents.workspace import Workspace


@dataclass(frozen=True)
class Caller:
    """Who calls, and what they may reach.

    Attributes:
        workspace: The folder that they may read and write.
        jobs: Its jobs.
        client: Name under which their jobs are counted.
        is_owner: Whether they may end jobs of others, as the user of this machine may.
        progress: Told how far a job is that they wait for.
    """

    workspace: Workspace
    jobs: Jobs
    client: str
    is_owner: bool = True
    progress: Callable[[JobStatus], None] | None = field(default=None, compare=False)
