# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""`hf-dynbert push`: publishes a folder on the Hub."""

from dataclasses import dataclass


DESCRIPTION = "Publish a folder with model, tokenizer and card on the Hugging Face Hub, in one commit."
EXAMPLE = "hf-dynbert push --model outputs/model --repo USER/NAME"


@dataclass
class PushArguments:
    """Options of `push`.

    Args:
        model (`str`): folder with model and tokenizer.
        repo (`str`): repository on the Hub, user/name; made if it does not exist.
        private (`bool`): make a new repository private.
        revision (`str`, *optional*): branch; main when not given.
        message (`str`): message of the commit.
        clean (`bool`): delete model files of the repository that the folder does not have.
    """

    model: str
    repo: str
    private: bool = False
    revision: str | None = None
    message: str = "Upload model"
    clean: bool = False


ARGUMENTS = (PushArguments,)


def run(args: PushArguments) -> None:
    """Publishes the folder and prints the address of the commit."""
    from ..hub.push import push_folder

    print(push_folder(args.model, args.repo, args.private or None, args.revision, args.message, clean=args.clean))
