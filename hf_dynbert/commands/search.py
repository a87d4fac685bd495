# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""`hf-dynbert search`: finds the budgets of a model."""

from ..budgets.search.arguments import SearchArguments
from ..utils.atomic_files import check_writable
from .checks import check_model, need_packages


DESCRIPTION = "Find the budgets of a model that are worth keeping on this machine, and save them (needs the search extra)."
EXAMPLE = "hf-dynbert search --model outputs/model --output_dir outputs/search --train_file train-v1.1.json"
ARGUMENTS = (SearchArguments,)


def run(args: SearchArguments) -> None:
    """Searches, and prints the results."""
    need_packages("search", ("optuna", "matplotlib"), "search")
    for folder in (args.output_dir, *(args.save_to or [args.model])):
        check_writable(folder)
    check_model(args.model, "--model")
    from ..budgets.search.run import run_search

    folder = run_search(args)
    if folder is None:
        print(f"Other processes still work on {args.output_dir}; the last of them writes the results.")
        return
    print((folder / "front.md").read_text(encoding="utf-8"))
    print(f"Written: {folder}/front.json, front.md and front.png; budgets in {', '.join(args.save_to or [args.model])}.")
