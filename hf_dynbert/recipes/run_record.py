# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The record of the run that made a folder: `train` writes it at the start, and compares it before it resumes."""

import hashlib
import json
import shutil
import zipfile
from dataclasses import asdict
from pathlib import Path

from datasets import Dataset
from safetensors import SafetensorError, safe_open
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import logging

from ..training.arguments import DistillationArguments
from ..training.cache import fingerprint
from ..utils.atomic_files import replace_files
from .arguments import DataArguments, ModelArguments


RUN = "_run.json"  # it has local paths, so the name begins with an underscore: the Trainer does not upload such files
# Settings that do not change what is trained: where things go, how progress is shown, how data are loaded
OPERATIONAL = """output_dir overwrite_output_dir resume_from_checkpoint teacher_cache_dir run_name report_to disable_tqdm
push_to_hub prediction_loss_only per_device_eval_batch_size local_rank project eval_accumulation_steps
torch_empty_cache_steps debug trackio_space_id use_cpu""".split()
OPERATIONAL_PREFIXES = ("logging_", "log_", "save_", "hub_", "push_to_hub_", "dataloader_", "ddp_", "do_", "skip_memory_")
OPTIMIZER, STATE = "optimizer.pt", "trainer_state.json"

logger = logging.get_logger(__name__)


def run_settings(model_args: ModelArguments, data_args: DataArguments, args: DistillationArguments) -> dict:
    """The settings that decide what is trained, as JSON stores them."""
    settings = {**args.to_dict(), **asdict(data_args), **asdict(model_args), "processes": args.world_size}
    return {
        name: json.loads(json.dumps(value, default=str))
        for name, value in settings.items()
        if name not in OPERATIONAL and not name.startswith(OPERATIONAL_PREFIXES)
    }


def run_contents(model, tokenizer, data, teacher=None) -> dict:
    """Fingerprints of the contents that the settings only name: weights, tokenizer and rows."""
    contents = {"starting weights and tokenizer": fingerprint(model, [tokenizer], [])}
    if teacher is not None:
        contents["teacher's weights"] = fingerprint(teacher, [], [])
    for split, rows in data.items():
        if isinstance(rows, Dataset):
            contents[f"{split} rows"] = _rows_fingerprint(rows)
    return contents


def check_run(folder: Path, settings: dict, contents: dict | None = None) -> bool:
    """Refuses a folder that another run made; returns whether the run has finished."""
    found = sorted(path.name for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"))
    found += [name for name in ("model.safetensors", "openvino_model.xml") if (folder / name).exists()]
    if not found:  # the run ended before its first checkpoint
        return False
    known = _read(folder)
    if known is None:
        raise ValueError(
            f"{folder} holds {', '.join(found)}, but no {RUN}, the record of their run. Give another --output_dir, or "
            "--overwrite_output_dir true to start anew there."
        )
    known_settings = known.get("settings", {})
    differences = [
        f"{name}: {known_settings[name]!r} there, {value!r} now"
        for name, value in settings.items()
        if name in known_settings and known_settings[name] != value
    ]
    if contents is not None:
        recorded = known.get("contents", {})
        changed = [name for name in sorted({*recorded, *contents}) if recorded.get(name) != contents.get(name)]
        differences += [f"{name}: other contents" for name in changed]
    if differences:
        raise ValueError(
            f"{folder} holds another run; it differs in {'; '.join(differences)}. Give another --output_dir, the same "
            "settings to resume it, or --overwrite_output_dir true to start anew there."
        )
    return bool(known.get("finished"))


def begin_run(folder: Path, settings: dict, contents: dict, overwrite: bool) -> bool:
    """Records the run that starts; returns whether it has finished before."""
    if overwrite:
        (folder / RUN).unlink(missing_ok=True)
        for checkpoint in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
            shutil.rmtree(checkpoint)
    elif check_run(folder, settings, contents):
        return True
    _write(folder, {"settings": settings, "contents": contents, "finished": False})
    return False


def finish_run(folder: Path) -> None:
    """Records that the run's model is saved."""
    _write(folder, {**_read(folder), "finished": True})


def checkpoint_to_resume(folder: Path, requested: str | None = None) -> str | None:
    """The checkpoint that training resumes from: the requested one, or the last complete one in the folder."""
    paths = [path for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*") if path.name.rpartition("-")[2].isdigit()]
    paths.sort(key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    if requested:
        if not Path(requested).is_dir():
            valid = ", ".join(map(str, paths)) or "none in the output folder"
            raise ValueError(f"resume_from_checkpoint is {requested}, which is no folder; valid are checkpoints: {valid}.")
        paths = [Path(requested)]
    for path in paths:
        damaged = _damaged_file(path)
        if damaged is None and not (path / OPTIMIZER).exists():
            raise ValueError(
                f"{path} holds the model alone (save_only_model): without {OPTIMIZER} its training cannot resume. Use "
                "--overwrite_output_dir true to start anew, or the checkpoint as model_name_or_path of another run."
            )
        if damaged is None:
            logger.warning(f"Training resumes from {path}.")
            return str(path)
        if requested:
            raise ValueError(f"{path / damaged} is damaged or missing: training cannot resume from this checkpoint.")
        logger.warning(f"{path / damaged} is damaged or missing: this checkpoint is skipped.")
    return None


def _damaged_file(checkpoint: Path) -> str | None:
    """Name of a file that cannot be read; `None` if the checkpoint is complete."""
    path = checkpoint / STATE
    try:
        json.loads(path.read_text(encoding="utf-8"))
        if not (checkpoint / "model.safetensors").exists() and not (checkpoint / "model.safetensors.index.json").exists():
            return "model.safetensors"
        for path in sorted(checkpoint.glob("*.safetensors")):
            with safe_open(path, "pt") as file:
                file.keys()
        for path in sorted([*checkpoint.glob("*.pt"), *checkpoint.glob("*.pth")]):
            with zipfile.ZipFile(path) as archive:  # torch saves archives with checksums
                if archive.testzip() is not None:
                    return path.name
    except (OSError, ValueError, SafetensorError, zipfile.BadZipFile):
        return path.name  # the file that was read
    return None


def _rows_fingerprint(rows: Dataset) -> str:
    digest = hashlib.sha256(json.dumps(rows.column_names).encode())
    for batch in rows.iter(1000):
        digest.update(json.dumps(batch, default=str).encode())
    return digest.hexdigest()[:32]


def _read(folder: Path) -> dict | None:
    path = folder / RUN
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return record | {name: dict(record.get(name, {})) for name in ("settings", "contents")}
    except (ValueError, TypeError, AttributeError):
        raise ValueError(
            f"{path} cannot be read. Give another --output_dir, or --overwrite_output_dir true to start anew there."
        ) from None


def _write(folder: Path, record: dict) -> None:
    with replace_files(folder) as staging:
        (staging / RUN).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
