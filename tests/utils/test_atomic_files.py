import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import hf_dynbert
from hf_dynbert.utils.atomic_files import check_writable, replace_files
from hf_dynbert.utils.errors import InputError


PACKAGE = Path(hf_dynbert.__file__).parent
KILLED = """
import sys, time, types
package = types.ModuleType("hf_dynbert")  # without the imports of its __init__, which take seconds
package.__path__ = [sys.argv[2]]
sys.modules["hf_dynbert"] = package
from pathlib import Path
from hf_dynbert.utils.atomic_files import replace_files
with replace_files(Path(sys.argv[1])) as folder:
    (folder / "weights").write_text("half")
    print("writing", flush=True)
    time.sleep(600)
"""


def writing_folders(folder):
    return list(folder.glob(".writing-*"))


def test_what_a_killed_process_left_goes_and_what_a_running_one_writes_stays(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), str(PACKAGE)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert "writing" in process.stdout.readline()
        with replace_files(tmp_path) as folder:
            (folder / "a").write_text("whole")
        assert len(writing_folders(tmp_path)) == 1  # its process still runs
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with replace_files(tmp_path) as folder:
        assert writing_folders(tmp_path) == [folder]
        (folder / "a").write_text("again")
    assert not writing_folders(tmp_path) and (tmp_path / "a").read_text() == "again"
    assert not (tmp_path / "weights").exists()


@pytest.mark.parametrize("name", [".writing-notes", ".writing-elsewhere-999999999-abc"])
def test_folders_of_others_stay(tmp_path, name):
    (tmp_path / name).mkdir()
    with replace_files(tmp_path) as folder:
        (folder / "a").write_text("b")
    assert (tmp_path / name).is_dir()


def test_check_writable_makes_nothing(tmp_path):
    check_writable(tmp_path / "new" / "newer")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("below", ["", "inner"])
def test_a_file_is_no_output_folder(tmp_path, below):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file, not a folder"):
        check_writable(tmp_path / "file" / below)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="a folder that nobody can write, root neither")
def test_a_folder_that_cannot_be_written_is_refused():
    with pytest.raises(InputError, match="cannot be written"):
        check_writable("/proc/self/new")
