"""The pages for language models: whole, short, and every call in them is one that is understood."""

import json
import re
from pathlib import Path

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from ionbridge.screening.agents.skills import skills
from ionbridge.screening.agents.tools import INSTRUCTIONS, TOOLS
from ionbridge.screening.planning.inputs import read_given
from tests.screening.agents.test_mcp_server import answer, over_stdio, refusal

LONGEST = 60
CALL = re.compile(r"^(\w+) (\{.*\})$", re.MULTILINE)


def test_there_are_pages_for_what_the_project_is_about() -> None:
    assert set(skills()) == {
        "ask-for-labels",
        "judge-a-number",
        "material-to-cell",
        "read-domain-flags",
        "screen-materials",
    }
    assert all(name in INSTRUCTIONS for name in skills())


@pytest.mark.parametrize("name", skills())
def test_a_page_is_short_and_its_session_can_be_called(name: str) -> None:
    skill = skills()[name]
    assert len(skill.text.splitlines()) <= LONGEST
    assert "Use " in skill.description
    calls = CALL.findall(skill.text)
    assert len(calls) >= 2
    for tool, text in calls:
        arguments = TOOLS[tool].arguments.model_validate(json.loads(text))
        for value in getattr(arguments, "values", ()):
            assert read_given(value).tables
    for word in re.findall(r"`([a-z]+_[a-z_]+)`", skill.text):
        known = {*TOOLS, *_names()}
        assert word in known, word


def _names() -> set[str]:
    """Names that a page may use: goals, columns, arguments."""
    from ionbridge.screening.planning.settings_files import FORMS
    from ionbridge.structures.quantities import QUANTITIES

    arguments = {n for tool in TOOLS.values() for n in tool.arguments.model_fields}
    keys = {key.split("_")[0] for form in FORMS.values() for key in form.keys}
    columns = {quantity.column for quantity in QUANTITIES.values()}
    more = {"wanted_labels", "in_domain", "log10_", "cell_price", "cycles_per_day", "rank_by"}
    return arguments | set(QUANTITIES) | columns | keys | more


def test_the_server_gives_them_as_prompts_resources_and_by_a_tool(tmp_path: Path) -> None:
    async def session(client: Client) -> None:
        prompts = (await client.list_prompts()).prompts
        assert {p.name for p in prompts} == set(skills())
        found = await client.get_prompt("judge-a-number", {"question": "Is 3 eV much?"})
        text = found.messages[0].content.text  # type: ignore[union-attr]
        assert text.startswith("# Judge a number")
        assert text.endswith("Is 3 eV much?\n")
        with pytest.raises(MCPError):
            await client.get_prompt("judge")
        uris = [str(r.uri) for r in (await client.list_resources()).resources]
        page = "skill:///screen-materials/SKILL.md"
        assert page in uris
        read = await client.read_resource(page)
        assert read.contents[0].text == skills()["screen-materials"].text  # type: ignore[union-attr]
        with pytest.raises(MCPError):
            await client.read_resource("skill:///../ask.py")
        told = await answer(client, "read_skill", name="ask-for-labels")
        assert told["data"]["page"] == skills()["ask-for-labels"].text
        assert "ask-for-labels" in await refusal(client, "read_skill", name="ask-for-label")

    async def main() -> None:
        async with over_stdio(tmp_path) as client:
            await session(client)

    anyio.run(main)
