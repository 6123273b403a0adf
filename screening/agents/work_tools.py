"""Tools that compute: each becomes a job, a fixed command line on copies of the inputs."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ionbridge.screening.agents import tool_arguments as given
from ionbridge.screening.agents.answers import Answer
from ionbridge.screening.agents.bounded_yaml import plain_mapping
from ionbridge.screening.agents.caller import Caller
from ionbridge.screening.agents.jobs import Command, Job
from ionbridge.screening.agents.results import result_answer, status_answer
from ionbridge.screening.agents.screen_arguments import Screen
from ionbridge.screening.agents.workspace import MODELS, Allowance
from ionbridge.screening.campaign.settings import CampaignSettings
from ionbridge.screening.errors import InputError
from ionbridge.structures.configuration import nearest

LARGEST_CAMPAIGN = 64 * 2**10
MOST_COMPLAINTS = 5


@dataclass
class Preparation:
    """A job that is being put together: its folder, and what is copied into it.

    Attributes:
        caller: Whose it is.
        tool: Tool that asked for it.
        folder: The job's folder.
        inputs: What the client named, as named.
        allowance: What may still be copied.
    """

    caller: Caller
    tool: str
    folder: Path
    inputs: list[str] = field(default_factory=list)
    allowance: Allowance = field(default_factory=Allowance)

    def stage(self, path: str) -> str:
        """Copy an input into the job's folder; its path there."""
        target = self.folder / "input" / str(len(self.inputs))
        target.mkdir()
        copy = self.caller.workspace.stage(path, target, self.allowance)
        self.inputs.append(path)
        return copy.relative_to(self.folder).as_posix()

    def model(self, name: str | None) -> str | None:
        """A model of the library by its name, or the copy of a model folder of the workspace.

        Raises:
            InputError: Neither.
        """
        if name is None:
            return None
        if "/" in name:
            if not self.caller.workspace.is_folder(name):
                raise InputError(f"{name!r}: no model folder of the workspace")
            return self.stage(name)
        from ionbridge.models.library import names

        if name not in names():
            raise InputError(
                f"unknown model '{name[:60]}'; {nearest(name[:60], names())} A model folder of "
                "the workspace works, too, such as jobs/finetune-.../output/model"
            )
        return name

    def submit(
        self,
        arguments: Sequence[str],
        output: str,
        cores: int = 1,
        is_short: bool = False,
        command: Command = "ionbridge",
    ) -> Job:
        """Queue it.

        Args:
            arguments: Of the command.
            output: Main result, relative to the job's folder.
            cores: Processor cores.
            is_short: Whether it is over soon.
            command: Which program.
        """
        job = Job(
            id=self.folder.name,
            client=self.caller.client,
            tool=self.tool,
            command=command,
            arguments=tuple(arguments),
            inputs=tuple(self.inputs),
            output=output,
            cores=min(cores, self.caller.jobs.n_cores),
            is_short=is_short,
            submitted=time.time(),
        )
        return self.caller.jobs.submit(job)


def describe_data(caller: Caller, a: given.DescribeData) -> Answer:
    """Say what an input holds: kind, number of records, ions, what failed."""
    with _prepared(caller, "describe") as job:
        paths = [job.stage(path) for path in a.inputs]
        cifs = None if a.cifs is None else job.stage(a.cifs)
        output = "output/description.json"
        arguments = [*_options(cifs=cifs, out=output), "--", *paths]
        made = job.submit(arguments, output, is_short=True, command="describe")
    return _waited(caller, made, a.wait_s)


def plan(caller: Caller, a: given.Plan) -> Answer:
    """A way from what is given to a goal."""
    return _planned(caller, a, [])


def execute_plan(caller: Caller, a: given.ExecutePlan) -> Answer:
    """The same, gone; with labels that are computed on the way where these are allowed."""
    labels = _options(max_labels=a.max_labels, label_budget_min=a.label_budget_min)
    return _planned(
        caller, a, ["--execute", *(["--allow-labels", *labels] if a.allow_labels else [])]
    )


def _planned(caller: Caller, a: given.Plan, run: Sequence[str]) -> Answer:
    if not a.files and not a.values:
        raise InputError("nothing is given: name files or values to plan from")
    with _prepared(caller, "execute_plan" if run else "plan") as job:
        givens = [*(job.stage(path) for path in a.files), *a.values]
        options = _options(
            goal=a.goal, temperature_K=a.temperature_K, c_rate=a.c_rate, out="output/plan"
        )
        arguments = ["plan", *options, *run, "--given", *givens]
        made = job.submit(arguments, "output/plan", is_short=not run)
    return _waited(caller, made, a.wait_s)


def predict(caller: Caller, a: given.Predict) -> Answer:
    """One row for each hop, crystal or table row."""
    with _prepared(caller, "predict") as job:
        paths = [job.stage(path) for path in a.inputs]
        output = "output/predictions.csv"
        options = _options(
            quantity=a.quantity,
            model=job.model(a.model),
            cifs=None if a.cifs is None else job.stage(a.cifs),
            temperature_K=a.temperature_K,
            workers=a.cores,
            out=output,
        )
        made = job.submit(["predict", *options, "--", *paths], output, a.cores)
    return _waited(caller, made, a.wait_s)


def screen(caller: Caller, a: Screen) -> Answer:
    """A ranked table and a report."""
    if (a.campaign is None) == (a.campaign_file is None):
        raise InputError("screen: give either campaign (its settings) or campaign_file")
    campaign, base = a.campaign, ""
    if a.campaign_file is not None:
        content = caller.workspace.read(a.campaign_file, LARGEST_CAMPAIGN)
        given_there = {"campaign": plain_mapping(content, a.campaign_file)}
        campaign = checked(Screen, given_there, a.campaign_file).campaign
        base = a.campaign_file.rpartition("/")[0]
    assert campaign is not None
    with _prepared(caller, "screen") as job:
        text = staged_campaign(job, campaign, base).to_yaml()
        (job.folder / "campaign.yaml").write_text(text, encoding="utf-8")
        options = _options(limit=a.limit, workers=a.cores, out="output/campaign")
        made = job.submit(
            ["screen", *options, "--", "campaign.yaml"], "output/campaign/ranked.csv", a.cores
        )
    return _waited(caller, made, a.wait_s)


def staged_campaign(job: Preparation, campaign: CampaignSettings, base: str) -> CampaignSettings:
    """A campaign, every path in it replaced by a copy in the job's folder.

    Args:
        job: Takes the copies.
        campaign: As the client gave it.
        base: Folder of the workspace that its paths are relative to.
    """

    def inside(path: str) -> str:
        return f"{base}/{path}" if base else path

    model = campaign.model
    if model is not None and "/" in model:
        model = inside(model)
    staged = campaign.with_files(lambda path: job.stage(inside(path)))
    return dataclasses.replace(staged, model=job.model(model))


def finetune(caller: Caller, a: given.Finetune) -> Answer:
    """A model adapted to labels."""
    library = caller.workspace.root / MODELS
    if a.name is not None:
        from ionbridge.models.library import names

        if a.name in names() or (library / a.name).exists():
            raise InputError(f"there is a model called '{a.name}' already; choose another name")
        if library.is_symlink():
            raise InputError(f"{MODELS}: is a link; the library must lie in the workspace")
    output = "output/model" if a.name is None else f"../../{MODELS}/{a.name}"
    if a.name is not None and any(
        s.job.output == output and not s.is_over for s in caller.jobs.all()
    ):
        raise InputError(f"a job that makes '{a.name}' is under way; choose another name")
    with _prepared(caller, "finetune") as job:
        options = _options(
            labels=job.stage(a.labels),
            quantity=a.quantity,
            cifs=None if a.cifs is None else job.stage(a.cifs),
            method=a.method,
            base=job.model(a.base),
            strategy=a.strategy,
            seed=a.seed,
            out=output,
        )
        made = job.submit(["finetune", *options], output)
    return _waited(caller, made, a.wait_s)


def label(caller: Caller, a: given.Label) -> Answer:
    """Start a job that computes labels: bands, dynamics, Monte Carlo or bond valences."""
    with _prepared(caller, "label") as job:
        paths = [job.stage(path) for path in a.inputs]
        of_ions = a.method in ("md", "kmc")
        output = "output/labels.json" if of_ions else "output/labels.jsonl"
        options: list[str] = []
        if a.method == "neb":
            options = _options(
                calculator=a.calculator,
                images=a.images,
                fmax_eV_A=a.fmax_eV_A,
                max_hops=a.max_hops,
                time_limit_min=a.time_limit_min,
            )
        elif a.method == "kmc":
            options = _options(
                temperatures_K=",".join(f"{t:g}" for t in a.temperatures_K),
                vacancy_fraction=a.vacancy_fraction,
            )
        elif a.method == "md":
            options = _options(
                calculator=a.calculator,
                temperatures_K=",".join(f"{t:g}" for t in a.temperatures_K),
                steps=a.steps,
            )
        made = job.submit(["label", a.method, *options, f"--out={output}", "--", *paths], output)
    return _waited(caller, made, a.wait_s)


def checked(kind: type[given.T], values: object, what: str) -> given.T:
    """Arguments that fit their model.

    Raises:
        InputError: They do not; one line that names the places and repeats no values.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        found = []
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        for problem in problems[:MOST_COMPLAINTS]:
            place = ".".join(str(part)[:40] for part in problem["loc"]) or "arguments"
            is_unknown = problem["type"] == "extra_forbidden"
            message = problem["msg"].removeprefix("Value error, ")
            found.append(f"{place}: {'unknown argument' if is_unknown else message}")
        n_more = len(problems) - len(found)
        more = f"; and {n_more} more" if n_more else ""
        if any(len(p["loc"]) == 1 and p["type"] == "extra_forbidden" for p in problems):
            more += f" (known: {', '.join(kind.model_fields)})"
        raise InputError(f"{what}: {'; '.join(found)}{more}") from None


@contextmanager
def _prepared(caller: Caller, tool: str) -> Iterator[Preparation]:
    """A job's folder, which goes away again if the job cannot be put together."""
    folder = caller.jobs.new_folder(caller.client, tool)
    try:
        yield Preparation(caller, tool, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _options(**values: Any) -> list[str]:
    """``--name=value`` of every value that is given."""
    return [f"--{name.replace('_', '-')}={v}" for name, v in values.items() if v is not None]


def _waited(caller: Caller, job: Job, seconds: float) -> Answer:
    """The result of a job if it ends in time, else how far it is."""
    status = caller.jobs.wait(job.id, seconds, caller.progress)
    return result_answer(caller, status) if status.is_over else status_answer(status)
