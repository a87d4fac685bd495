# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Files that appear whole or not at all, outputs that are tried before work, and work that one process does at a time."""

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError


try:
    import fcntl
except ImportError:  # Windows has none: there, two processes may work at the same time
    fcntl = None


CONFIG = "config.json"
WRITING = ".writing-"
MACHINE = re.sub(r"\W", "_", platform.node())  # a number of a process means something on its own machine only


@contextmanager
def one_at_a_time(path: Path) -> Iterator[int | None]:
    """Lets one process through. The lock ends with that process, however the process ends.

    Args:
        path (`Path`): a file that all processes use, made if it is missing.

    Yields:
        `int` or `None`: the file descriptor, which child processes may inherit; `None` while another process works.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield None
        else:
            yield file.fileno()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Waits until no other process or thread is inside for the same folder. The lock leaves no file.

    Args:
        folder (`Path`): a folder that exists.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def replace_files(folder: Path) -> Iterator[Path]:
    """Gives a folder to write into. Its files move to `folder` when all are written, and not at all if writing fails.

    In a model folder, `config.json` is removed first and moved last: until then nothing loads, rather than a mixture of two
    models. Folders that killed processes left behind are removed.

    Args:
        folder (`Path`): where the files belong; made if it is missing. Other files in it stay.

    Yields:
        `Path`: an empty folder on the same disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_stale_folders(folder)
    beside = Path(tempfile.mkdtemp(prefix=f"{WRITING}{MACHINE}-{os.getpid()}-", dir=folder))
    try:
        yield beside
        paths = sorted(beside.iterdir(), key=lambda path: (path.name == CONFIG, path.name))
        if len(paths) > 1 and paths[-1].name == CONFIG:
            (folder / CONFIG).unlink(missing_ok=True)
        for path in paths:
            os.replace(path, folder / path.name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def remove_stale_folders(folder: Path) -> None:
    """Removes the folders that killed processes of this machine left while they wrote into `folder`."""
    pattern = re.compile(rf"{re.escape(WRITING)}{MACHINE}-(\d+)-\w+")
    for path in folder.glob(f"{WRITING}*"):
        match = pattern.fullmatch(path.name)
        if match and path.is_dir() and not path.is_symlink() and not _is_running(int(match[1])):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(process: int) -> bool:
    if os.name == "nt":  # there, os.kill(pid, 0) ends the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # a process of another user, or a number that no process has
        return True
    return True


def check_writable(path: str | Path) -> None:
    """Tries whether a folder can be written, or could be made, without making it.

    Args:
        path (`str` or `Path`): a folder that is there or that the work will make.

    Raises:
        InputError: the folder, or the nearest one above it that exists, cannot be written.
    """
    path = Path(path)
    nearest = path.absolute()
    try:
        while not nearest.exists():
            nearest = nearest.parent
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(b"-")
    except OSError as error:
        reason = "is a file, not a folder" if nearest.is_file() else f"cannot be written ({error.strerror or error})"
        raise InputError(f"Output folder {path}: {nearest} {reason}. Give another folder.") from error
