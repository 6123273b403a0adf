"""The examples of the documentation, run as they are printed."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Structure

from ionbridge.screening.campaign.starter import starter_neb_hops
from ionbridge.screening.cli import main
from ionbridge.structures.frameworks.prototypes import reference_crystals
from ionbridge.structures.io.json_records import hop_to_json
from ionbridge.structures.io.reading import iter_records, write_cif, write_json_lines

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(p.name for p in DOCS.glob("*.md") if "```sh\n" in p.read_text(encoding="utf-8"))
DESIGNS = re.compile(r"```\n(design_id,.*?)```", re.S)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the pages take for granted: a crystal, a folder of them, hops with barriers."""
    known = {crystal.formula: crystal for crystal in reference_crystals()}
    write_cif(known["LiFePO4"], tmp_path / "LiFePO4.cif")
    for formula in ("LiCoO2", "LiFePO4"):
        write_cif(known[formula], tmp_path / "my-crystals" / f"{formula}.cif")
    hops = [hop_to_json(hop) for hop in starter_neb_hops()[:6]]
    write_json_lines(tmp_path / "my-hops.jsonl", hops)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_every_example_of_a_page_runs(page: str, folder: Path) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    for table in DESIGNS.findall(text):
        (folder / "designs.csv").write_text(table, encoding="utf-8")
    for block in re.findall(r"```sh\n(.*?)```", text, re.S):
        for line in block.splitlines():
            program, *arguments = shlex.split(line, comments=True)
            assert program == "ionbridge"
            assert main(arguments) == 0, line


def test_python_of_the_first_page_runs(folder: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (DOCS / "start.md").read_text(), re.S)
    names: dict[str, object] = {}
    exec(block, names)
    assert len(names["table"]) == 1  # type: ignore[arg-type]


def test_images_of_a_band_become_a_hop_record(folder: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (DOCS / "own_labels.md").read_text(), re.S)
    hop = starter_neb_hops()[0]
    along = np.linspace(hop.path_frac[0], hop.path_frac[-1], 7)
    species = [hop.working_ion, *(next(iter(site)) for site in hop.host_species)]
    for k, position in enumerate(along):
        image = Structure(hop.lattice, species, [position % 1.0, *hop.host_frac])
        (folder / "neb" / f"{k:02d}").mkdir(parents=True)
        image.to(str(folder / "neb" / f"{k:02d}" / "POSCAR"), fmt="poscar")
    (folder / "my-hops.jsonl").unlink()
    exec(block, {})
    (made,) = iter_records([folder / "my-hops.jsonl"])
    assert made.distance_A == pytest.approx(hop.distance_A, abs=1e-3)
    assert (made.barrier_eV, made.method, made.working_ion) == (0.31, "dft_neb", hop.working_ion)
    assert len(made.host_species) == len(hop.host_species)


def test_every_link_between_pages_leads_somewhere() -> None:
    for page in (*DOCS.glob("*.md"), DOCS.parent / "README.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            made_at_build = target.startswith("_generated/")
            assert made_at_build or (page.parent / target).exists(), f"{page.name}: {target}"
