"""One process at a time works in a folder, and a dead one is not waited for."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ionbridge.screening.errors import InputError
from ionbridge.screening.execution.folder_lock import LOCK_FILE, locked_folder

HOLDER = """
import sys, time
from pathlib import Path
from ionbridge.screening.execution.folder_lock import locked_folder
with locked_folder(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_one_is_told_who_holds_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"process {holder.pid} on"), locked_folder(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL)
    with locked_folder(tmp_path):  # the lock died with its process; the file is still there
        assert (tmp_path / LOCK_FILE).is_file()
        with pytest.raises(InputError, match="another process"), locked_folder(tmp_path):
            pass


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_a_lock_file_that_is_none_is_one_line(tmp_path: Path, kind: str) -> None:
    place = tmp_path / LOCK_FILE
    if kind == "folder":
        place.mkdir()
    else:
        (tmp_path / "precious").write_text("mine")
        place.symlink_to(tmp_path / "precious")
    with pytest.raises(InputError, match="cannot be opened"), locked_folder(tmp_path):
        pass
    if kind == "link":
        assert (tmp_path / "precious").read_text() == "mine"
