# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""`hf-dynbert adapt`: makes a fine-tuned model length-adaptive and int8, with texts that have no labels."""

from ..adaptation.arguments import AdaptArguments
from ..utils.atomic_files import check_writable
from ..utils.tables import print_table
from .checks import check_model, need_packages


DESCRIPTION = "Make a fine-tuned model length-adaptive from texts without labels, then int8 with measured budgets."
EXAMPLE = "hf-dynbert adapt --model cross-encoder/ms-marco-MiniLM-L6-v2 --texts queries.jsonl --output_dir outputs/adapted"
ARGUMENTS = (AdaptArguments,)


def run(args: AdaptArguments) -> None:
    """Prints the estimate, runs the stages that are left, and prints the budgets."""
    need_packages("adapt", ("openvino", "nncf", "optimum"), "intel")
    need_packages("adapt", ("optuna", "matplotlib"), "search")
    check_writable(args.output_dir)
    check_model(args.model, "--model", revision=args.revision)
    from ..adaptation.run import Adaptation

    adaptation = Adaptation(args)
    print_table(["stage", "about"], adaptation.estimate(), title=adaptation.title)
    for number, stage in enumerate(adaptation.stages, start=1):
        if stage.name not in adaptation.done:
            print(f"{number} of {len(adaptation.stages)}: {stage.name}", flush=True)
            adaptation.run_stage(stage)
    print_table(*adaptation.results(), title=f"Agreement with {args.model}, in percent")
    print(f"Saved in {args.output_dir}: int8 (OpenVINO) and model (PyTorch).")
