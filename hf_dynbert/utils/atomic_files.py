# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Files that appear whole or not at all, and work that one process does at a time."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


try:
    import fcntl
except ImportError:  # Windows has none: there nobody is kept from working beside another
    fcntl = None


CONFIG = "config.json"


@contextmanager
def one_at_a_time(path: Path) -> Iterator[int | None]:
    """Lets one process through; it is the next one's turn when it ends, however it ends.

    Args:
        path (`Path`): a file, made if it is not there, that all of them know.

    Yields:
        `int` or `None`: the file descriptor, which children may inherit; `None` while another process is at work.
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
def replace_files(folder: Path) -> Iterator[Path]:
    """Gives a folder to write into; its files move to `folder` when all are written, and not at all if writing fails.

    Of a whole model `config.json` goes first and comes last: between, nothing loads, rather than a mixture of two models.

    Args:
        folder (`Path`): where the files shall be; made if it is not there. Other files in it stay.

    Yields:
        `Path`: an empty folder on the same disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
    try:
        yield beside
        paths = sorted(beside.iterdir(), key=lambda path: (path.name == CONFIG, path.name))
        if len(paths) > 1 and paths[-1].name == CONFIG:
            (folder / CONFIG).unlink(missing_ok=True)
        for path in paths:
            os.replace(path, folder / path.name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
