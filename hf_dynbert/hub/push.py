# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Uploads a model folder to the Hub in one commit."""

import logging
from fnmatch import fnmatch
from pathlib import Path

import yaml
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelCard
from huggingface_hub.errors import HfHubHTTPError, HTTPError, RepositoryNotFoundError

from ..utils.errors import InputError, reading
from ..utils.folder_config import load_config
from ..utils.model_folders import check_folder
from .model_card import MARKS, is_generated, make_card, write_card
from .records import EVALUATION, OF_A_MODEL, OPENVINO_FILES, QUANTIZATION, TOKENIZER_GRAPH, TRAINING, is_ours


# Names of the files that belong to a model. Checkpoints, logs, pickles, notes and secrets are not uploaded
WANTED = """LICENSE LICENSE.md LICENSE.txt README.md added_tokens.json benchmark.png chat_template.jinja config.json
config_sentence_transformers.json curve.png front*.png generation_config.json merges.txt model*.safetensors
model.safetensors.index.json modules.json sentence_bert_config.json sentencepiece.bpe.model sentencepiece.model
special_tokens_map.json spiece.model tokenizer.json tokenizer.model tokenizer_config.json vocab.json vocab.txt""".split()
WANTED += [*OPENVINO_FILES, *TOKENIZER_GRAPH, TRAINING, QUANTIZATION, EVALUATION]
WANTED += [path.name for path in Path(__file__).parents[1].glob("*.py")]  # the code that `save_pretrained` writes
ENTRIES = ".eval_results/squad.yaml"
LOG_IN = "log in with `hf auth login`, or give a token with the right to write."

logger = logging.getLogger(__name__)


def push_folder(
    folder: str | Path,
    repo_id: str,
    private: bool | None = None,
    revision: str | None = None,
    message: str = "Upload model",
    token: str | None = None,
    clean: bool = False,
) -> str:
    """Uploads the model in a folder: weights, configuration, tokenizer, card, plots.

    All files go into one commit, so that the repository is never incomplete. After a broken connection, the same call sends
    only the missing large files. A card in the repository that a person wrote stays.

    Args:
        folder (`str` or `Path`): a PyTorch model in safetensors, or an OpenVINO model, with its tokenizer.
        repo_id, message (`str`): `user/name`, which is made if it does not exist; message of the commit.
        private (`bool`, *optional*): whether a new repository is private; by default as its owner's settings say.
        revision, token (`str`, *optional*): branch, made from main if it does not exist; token with the right to write.
        clean (`bool`): whether to delete weights and records in the repository that the folder does not have.

    Returns:
        `str`: address of the commit.

    Raises:
        ValueError: a folder that could not be loaded as a model, before anything is sent.
        OSError: the Hub refused, or could not be reached.
    """
    folder = Path(folder)
    model_files(folder)  # raises before anything is written
    write_card(folder)
    paths = model_files(folder)
    api = HfApi(library_name="hf_dynbert", token=token)
    try:
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if private and not api.model_info(repo_id).private:
            raise ValueError(f"{repo_id} is public. Make it private on the Hub first, or leave out private.")
        if revision and not revision.startswith("refs/"):  # such branches exist, or cannot be made
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        there = api.list_repo_files(repo_id, revision=revision)
        if "README.md" in there:
            card = Path(api.hf_hub_download(repo_id, "README.md", revision=revision))
            if not is_generated(card.read_text(encoding="utf-8")):
                paths = [path for path in paths if path != folder / "README.md"]
        changes = [_added(path, folder, repo_id) for path in paths]
        if clean:
            left = {ENTRIES, *OF_A_MODEL} & set(there) - {change.path_in_repo for change in changes}
            changes += [CommitOperationDelete(name) for name in sorted(left)]
        return api.create_commit(repo_id, changes, commit_message=message, revision=revision).commit_url
    except RepositoryNotFoundError as error:
        raise OSError(f"{repo_id} does not exist, or you cannot write to it: {LOG_IN} ({_first_line(error)})") from error
    except HfHubHTTPError as error:
        refused = error.response is not None and error.response.status_code in (401, 403)
        raise OSError(f"The Hub refused {repo_id}: {_first_line(error)}{' ' + LOG_IN if refused else ''}") from error
    except (HTTPError, RuntimeError) as error:  # RuntimeError: from threads that upload large files
        raise OSError(
            f"{folder} did not reach {repo_id} ({_first_line(error)} {_first_line(error.__cause__ or '')}). Nothing was "
            "published; the same call sends the rest."
        ) from error


def _added(path: Path, folder: Path, repo_id: str) -> CommitOperationAdd:
    """A file as it will be in the repository. A generated card has the name of the repository."""
    name = path.relative_to(folder).as_posix()
    if name == "README.md" and is_ours(folder) and any(mark in path.read_text(encoding="utf-8") for mark in MARKS[:2]):
        return CommitOperationAdd(name, str(make_card(folder, repo_id)).encode())
    return CommitOperationAdd(name, path)


def model_files(folder: Path) -> list[Path]:
    """The files of a checked folder that make a model on the Hub. Links are left out: their targets may be private."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder. Give one that hf-dynbert train or save_pretrained wrote.")
    files = [path for path in [*sorted(folder.iterdir()), folder / ENTRIES] if path.is_file()]
    paths = [path for path in files if path == folder / ENTRIES or any(fnmatch(path.name, name) for name in WANTED)]
    links = [path for path in paths if folder.resolve() / path.relative_to(folder) != path.resolve()]
    for path in links:
        if path.name == "config.json" or fnmatch(path.name, "model*.safetensors") or path.name in OPENVINO_FILES:
            raise InputError(f"{path} is a link, which push does not follow: copy the file it points to into the folder.")
        logger.warning(f"{path} is a link: it is not uploaded.")
    check_folder(folder)
    if is_ours(folder):
        with reading(str(folder / "config.json")):
            load_config(folder)  # refuses impossible budgets
    try:
        if (folder / "README.md").is_file():
            ModelCard.load(folder / "README.md")
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise InputError(
            f"The metadata between the first two lines of --- in {folder / 'README.md'} is broken ({_first_line(error)}). "
            "Mend it, or delete the file and let hf-dynbert write it."
        ) from error
    return [path for path in paths if path not in links]


def _first_line(error: object) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")
