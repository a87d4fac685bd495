# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""`hf-dynbert push`: publishes a folder on the Hub."""

from dataclasses import dataclass, field


DESCRIPTION = "Publish a folder with model, tokenizer and card on the Hugging Face Hub, in one commit."
EXAMPLE = "hf-dynbert push --model outputs/model --repo USER/NAME"


@dataclass
class PushArguments:
    """Options of `push`."""

    model: str = field(metadata={"help": "Folder with model and tokenizer."})
    repo: str = field(metadata={"help": "Repository on the Hub, user/name; made if it does not exist."})
    private: bool = field(default=False, metadata={"help": "Make a new repository private."})
    revision: str | None = field(default=None, metadata={"help": "Branch; main when not given."})
    message: str = field(default="Upload model", metadata={"help": "Message of the commit."})
    clean: bool = field(
        default=False, metadata={"help": "Delete model files of the repository that the folder does not have."}
    )


def argument_classes() -> tuple[type, ...]:
    """Dataclasses whose fields are the options."""
    return (PushArguments,)


def run(args: PushArguments) -> None:
    """Publishes the folder and prints the address of the commit."""
    from ..hub.push import push_folder

    print(push_folder(args.model, args.repo, args.private or None, args.revision, args.message, clean=args.clean))
