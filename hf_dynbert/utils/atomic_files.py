# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Atomic writes of files, locks of folders, and checks of output folders."""

import errno
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
except ImportError:  # Windows has no fcntl: two processes may write at the same time
    fcntl = None


CONFIG = "config.json"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
WRITING = ".writing-"
MACHINE = re.sub(r"\W", "_", platform.node())  # process ids are valid on one machine only


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Locks an existing folder against other processes and threads that use this function. The lock leaves no file."""
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
    """Yields an empty folder; its files move to `folder` when all are written, and not at all if writing fails.

    In a model folder, `config.json` is removed first and moved last, so that a mixture of two models is never loaded.
    `folder` is made if it is missing; other files in it stay. Folders of killed processes are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _remove_stale_folders(folder)
    staging = Path(tempfile.mkdtemp(prefix=f"{WRITING}{MACHINE}-{os.getpid()}-", dir=folder))
    try:
        yield staging
        paths = sorted(staging.iterdir(), key=lambda path: (path.name == CONFIG, path.name))
        if len(paths) > 1 and paths[-1].name == CONFIG:
            (folder / CONFIG).unlink(missing_ok=True)
        for path in paths:
            os.replace(path, folder / path.name)
    except OSError as error:
        if error.errno in NO_ROOM and error.filename is None:  # a write, unlike an open, does not name its file
            raise OSError(error.errno, error.strerror, str(folder)) from error
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _remove_stale_folders(folder: Path) -> None:
    pattern = re.compile(rf"{re.escape(WRITING)}{MACHINE}-(\d+)-\w+")
    for path in folder.glob(f"{WRITING}*"):
        match = pattern.fullmatch(path.name)
        if match and path.is_dir() and not path.is_symlink() and not _is_running(int(match[1])):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(process: int) -> bool:
    if os.name == "nt":  # on Windows os.kill(pid, 0) ends the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # a process of another user, or a number that no process has
        pass
    return True


def check_writable(path: str | Path) -> None:
    """Refuses an output folder that cannot be written or made; nothing is made here."""
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
