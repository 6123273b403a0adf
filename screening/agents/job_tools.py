"""Tools that ask after jobs and end them."""

from __future__ import annotations

from ionbridge.screening.agents import tool_arguments as given
from ionbridge.screening.agents.answers import Answer
from ionbridge.screening.agents.caller import Caller
from ionbridge.screening.agents.results import N_LISTED, listed, result_answer, status_answer
from ionbridge.screening.errors import InputError


def job_status(caller: Caller, a: given.JobStatusOf) -> Answer:
    """How far a job is, or all jobs."""
    if a.job is not None:
        return status_answer(caller.jobs.wait(a.job, a.wait_s, caller.progress))
    statuses = caller.jobs.all()
    mine = [s for s in statuses if s.job.client == caller.client]
    others = [s for s in statuses if s.job.client != caller.client]
    return Answer(
        summary=f"{len(mine)} jobs of yours, {len(others)} of other clients.",
        data={"jobs": [listed(status) for status in [*mine, *others][:N_LISTED]]},
    )


def job_result(caller: Caller, a: given.JobResultOf) -> Answer:
    """What came out of a job."""
    return result_answer(caller, caller.jobs.status(a.job), a.limit)


def cancel_job(caller: Caller, a: given.CancelJob) -> Answer:
    """End a job of one's own."""
    status = caller.jobs.status(a.job)
    if not caller.is_owner and status.job.client != caller.client:
        raise InputError(f"{a.job} belongs to another client")
    return status_answer(caller.jobs.cancel(a.job))
