# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Files that appear whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replace_files(folder: Path) -> Iterator[Path]:
    """Gives a folder to write into; its files move to `folder` when all are written, and not at all if writing fails.

    Args:
        folder (`Path`): where the files shall be; made if it is not there. Other files in it stay.

    Yields:
        `Path`: an empty folder on the same disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
    try:
        yield beside
        for path in sorted(beside.iterdir()):
            os.replace(path, folder / path.name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
