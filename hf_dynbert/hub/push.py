# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""A folder on the Hub: in one commit, or not at all."""

import json
import re
from fnmatch import fnmatch
from pathlib import Path
from xml.etree import ElementTree

import yaml
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelCard
from huggingface_hub.errors import HfHubHTTPError, HTTPError, RepositoryNotFoundError
from safetensors import SafetensorError, safe_open

from ..configuration_dynamic_tinybert import DynamicTinyBertConfig
from .model_card import EVALUATION, OF_A_MODEL, QUANTIZATION, TRAINING, for_repository, is_generated, is_ours, write_card


# What belongs to a model; checkpoints, logs, pickles and a person's notes stay where they are
WANTED = (
    "*.jinja",
    "*.png",
    "LICENSE*",
    "README.md",
    "added_tokens.json",
    "config.json",
    "generation_config.json",
    "merges.txt",
    "model*.safetensors",
    "model.safetensors.index.json",
    "openvino_*.bin",
    "openvino_*.xml",
    "openvino_config.json",
    "sentence*.model",
    "special_tokens_map.json",
    "token*.json",
    "tokenizer.model",
    "vocab.*",
    TRAINING,
    QUANTIZATION,
    EVALUATION,
    *(path.name for path in Path(__file__).parent.glob("*.py")),  # the code that `save_pretrained` puts beside the weights
)
ENTRIES = ".eval_results/squad.yaml"
CONSTANT = re.compile(r'offset="(\d+)"[^>]*? size="(\d+)"')
FORBIDDEN, UNAUTHORIZED = 403, 401


def push_folder(
    folder: str | Path,
    repo_id: str,
    private: bool | None = None,
    revision: str | None = None,
    message: str = "Upload model",
    token: str | None = None,
) -> str:
    """Uploads a folder that a verb of ours or `save_pretrained` wrote: model, tokenizer, budgets, card, plots.

    All files come with one commit, so that nobody ever pulls half of them; a push that broke off is repeated with the same
    call and sends large files that arrived no second time. What an earlier model left in the repository goes with it; a card
    that a person wrote there stays.

    Args:
        folder (`str` or `Path`): a PyTorch model in safetensors, or an OpenVINO one, with its tokenizer.
        repo_id (`str`): `user/name`; made if it is not there.
        private (`bool`, *optional*): whether a new repository is private; else what its owner's default is.
        revision (`str`, *optional*): branch, made from main if it is not there.
        message (`str`, *optional*): of the commit.
        token (`str`, *optional*): with the right to write; that of `hf auth login` or `HF_TOKEN` when not given.

    Returns:
        `str`: address of the commit.

    Raises:
        ValueError: a folder that could not be pulled as a model, before anything is sent.
        OSError: the Hub refused, or could not be reached.
    """
    folder = Path(folder)
    model_files(folder)  # or an error, before anything is written
    write_card(folder)
    paths = model_files(folder)
    api = HfApi(library_name="hf_dynbert", token=token)
    try:
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if private and not api.model_info(repo_id).private:
            raise ValueError(f"{repo_id} is public. Make it private on the Hub first, or leave out private.")
        if revision and not revision.startswith("refs/"):  # those are there, or cannot be made
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        there = api.list_repo_files(repo_id, revision=revision)
        if "README.md" in there and not _is_our_card(api, repo_id, revision):
            paths = [path for path in paths if path != folder / "README.md"]
        changes = [_added(path, folder, repo_id) for path in paths]
        left = {ENTRIES, *OF_A_MODEL} & set(there) - {change.path_in_repo for change in changes}
        changes += [CommitOperationDelete(name) for name in sorted(left)]
        return api.create_commit(repo_id, changes, commit_message=message, revision=revision).commit_url
    except RepositoryNotFoundError as error:
        raise OSError(f"{repo_id} is not there, or not yours to write: {_who()} ({_first_line(error)})") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        hint = f" {_who()}" if status in (UNAUTHORIZED, FORBIDDEN) else ""
        raise OSError(f"The Hub refused {repo_id}: {_first_line(error)}{hint}") from error
    except (HTTPError, RuntimeError) as error:  # RuntimeError: of one of the threads that upload large files
        raise OSError(
            f"{folder} did not reach {repo_id} ({_first_line(error)} {_first_line(error.__cause__ or '')}). Nothing was "
            "published; the same call goes on with what is missing."
        ) from error


def _is_our_card(api: HfApi, repo_id: str, revision: str | None) -> bool:
    """Whether the card in the repository is none of a person's."""
    path = api.hf_hub_download(repo_id, "README.md", revision=revision)
    return is_generated(Path(path).read_text(encoding="utf-8"))


def _added(path: Path, folder: Path, repo_id: str) -> CommitOperationAdd:
    """A file as it will be there; the card says where."""
    name = path.relative_to(folder).as_posix()
    if name != "README.md":
        return CommitOperationAdd(name, path)
    return CommitOperationAdd(name, for_repository(path.read_text(encoding="utf-8"), repo_id).encode())


def model_files(folder: Path) -> list[Path]:
    """The files of a folder that make a model on the Hub.

    Raises:
        ValueError: no configuration, no weights that are safe to load, damaged ones, or no tokenizer.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder. Give one that hf-dynbert train or save_pretrained wrote.")
    paths = [path for path in sorted(folder.iterdir()) if path.is_file() and any(fnmatch(path.name, one) for one in WANTED)]
    names = {path.name for path in paths}
    if "config.json" not in names:
        raise ValueError(f"{folder} holds no config.json: it is no model. A checkpoint-* folder in it may be one.")
    _check_config(folder / "config.json")
    weights = [path for path in paths if fnmatch(path.name, "model*.safetensors")]
    if not weights and not {"openvino_model.xml", "openvino_model.bin"} <= names:
        pickles = [path.name for path in folder.iterdir() if path.name in ("pytorch_model.bin", "model.pt", "model.pkl")]
        said = f"only {pickles[0]}, a pickle, which is not safe to load" if pickles else "no weights"
        raise ValueError(f"{folder} holds {said}: save the model with save_pretrained, which writes model.safetensors.")
    _check_shards(folder, names)
    for path in weights:
        try:
            with safe_open(path, "numpy") as file:
                file.keys()
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged or incomplete ({error}); save the model again.") from error
    if "openvino_model.bin" in names:
        _check_openvino(folder)
    if not names & {"tokenizer.json", "vocab.txt", "tokenizer.model"}:
        raise ValueError(
            f"{folder} holds no tokenizer, without which nobody can ask: tokenizer.save_pretrained({str(folder)!r})"
        )
    _check_card(folder / "README.md")
    return paths + [folder / ENTRIES] * (folder / ENTRIES).exists()


def _check_shards(folder: Path, names: set[str]) -> None:
    index = folder / "model.safetensors.index.json"
    if index.exists():
        missing = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()) - names
        if missing:
            raise ValueError(f"{index} names {', '.join(sorted(missing))}, which is not there; save the model again.")


def _check_config(path: Path) -> None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); save the model again.") from error
    if not isinstance(values, dict) or "model_type" not in values:
        raise ValueError(f"{path} says no model_type: it is no configuration of transformers.")
    if is_ours(path.parent):
        DynamicTinyBertConfig.from_dict(values)  # refuses impossible budgets


def _check_openvino(folder: Path) -> None:
    """OpenVINO's graph says where in the weights each constant lies."""
    graph, weights = folder / "openvino_model.xml", folder / "openvino_model.bin"
    try:
        ElementTree.parse(graph)
    except ElementTree.ParseError as error:
        raise ValueError(f"{graph} is damaged or incomplete ({error}). Save the model again.") from error
    ends = [int(begin) + int(size) for begin, size in CONSTANT.findall(graph.read_text(encoding="utf-8"))]
    if max(ends, default=0) > weights.stat().st_size:
        raise ValueError(f"{weights} is incomplete: {graph.name} names {max(ends)} bytes. Save the model again.")


def _check_card(path: Path) -> None:
    if not path.exists():
        return
    try:
        ModelCard.load(path)
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise ValueError(
            f"The metadata between the first two lines of --- in {path} is broken ({_first_line(error)}). Mend it, or "
            "delete the file and let hf-dynbert write it."
        ) from error


def _who() -> str:
    return "log in with `hf auth login`, or give a token with the right to write."


def _first_line(error: object) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")
