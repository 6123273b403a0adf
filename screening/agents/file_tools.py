"""Tools that show the files of the workspace."""

from __future__ import annotations

from ionbridge.screening.agents import tool_arguments as given
from ionbridge.screening.agents.answers import LARGEST_TABLE, Answer, read_table, table_answer
from ionbridge.screening.agents.caller import Caller


def list_files(caller: Caller, a: given.ListFiles) -> Answer:
    """Names and sizes in a folder."""
    entries = caller.workspace.entries(a.folder)
    page = entries[a.offset : a.offset + a.limit]
    return Answer(
        summary=f"{len(entries)} files and folders in {a.folder or 'the workspace'}.",
        units={"bytes": "B"},
        data={
            "entries": [
                {"path": e.path + "/"} if e.is_folder else {"path": e.path, "bytes": e.n_bytes}
                for e in page
            ],
            **({"next_offset": a.offset + a.limit} if a.offset + a.limit < len(entries) else {}),
        },
    )


def read_rows(caller: Caller, a: given.ReadTable) -> Answer:
    """A page of a table."""
    with caller.workspace.open(a.path, LARGEST_TABLE) as file:
        table = read_table(file, a.path)
    return table_answer(
        table, a.path, a.columns, a.offset, a.limit, a.sort_by, a.descending, a.only_ok
    )
