"""Coverage-guided fuzzing of every reader of files (needs ``pip install 'ionbridge[fuzz]'``).

    python -m tests.fuzz.fuzz_readers CORPUS -max_total_time=3600

CORPUS is a folder that grows; the files of ``tests/data/ugly`` are copied into it at the start.
The first byte of an input chooses the form, the rest is the file. A reader may answer with records
and reasons only: an exception, a reason of several lines, a crystal that is none, or more than
twenty seconds for a small file is a finding.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ionbridge.structures", "ase.io.ulm", "ase.io.extxyz"]):
    from ionbridge.structures.io.reading import read_records

from ionbridge.structures.io.json_records import check_geometry as check_lattice
from ionbridge.structures.io.json_records import checked_species
from ionbridge.structures.plain_text import clean_text
from ionbridge.structures.records import Crystal, FailedRecord

UGLY = Path(__file__).parents[1] / "data" / "ugly"
ENDINGS = (".cif", ".vasp", ".extxyz", ".json", ".jsonl", ".csv", ".traj", ".cif.gz", ".mcif")
LARGEST_BYTES = 20_000

_FOLDER = Path(tempfile.mkdtemp(prefix="fuzz_readers"))


def check(data: bytes) -> None:
    """Read one input and check what comes out."""
    if not data:
        return
    file = _FOLDER / f"a{ENDINGS[data[0] % len(ENDINGS)]}"
    file.write_bytes(data[1:])
    records = read_records(file, max_file_MB=5)
    assert records, "no row"
    for record in records:
        assert clean_text(record.id) == record.id
        if isinstance(record, FailedRecord):
            assert record.reason
            assert clean_text(record.reason) == record.reason, record.reason
        elif isinstance(record, Crystal):
            check_lattice(record.lattice, frac=record.frac)
            checked_species(record.species)
            assert record.frac.min() >= 0
            assert record.frac.max() < 1
            assert all(clean_text(note) == note for note in record.notes), record.notes
            assert record.formula


def seeded(folder: Path) -> None:
    """Copy the ugly files into a corpus, each behind the byte of its form."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(UGLY.iterdir()):
        data = file.read_bytes()
        for k, ending in enumerate(ENDINGS):
            if file.name.endswith(ending) and len(data) < LARGEST_BYTES:
                (folder / hashlib.sha1(data).hexdigest()).write_bytes(bytes([k]) + data)


def main() -> None:
    """Run atheris with the arguments given."""
    warnings.simplefilter("ignore")
    corpus = next((Path(a) for a in sys.argv[1:] if not a.startswith("-")), None)
    if corpus is not None:
        seeded(corpus)
    limits = [f"-max_len={LARGEST_BYTES}", "-timeout=20", "-rss_limit_mb=4096"]
    given = {a.split("=")[0] for a in sys.argv[1:]}
    atheris.Setup(sys.argv + [x for x in limits if x.split("=")[0] not in given], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
