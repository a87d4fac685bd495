"""Compares torchao's dynamic int8 with this package's int8 in PyTorch, on one checkpoint: accuracy, latency, loading, size.

python recipes/quala-minilm-squad/to_floats.py recipes/quala-minilm-squad/checkpoint outputs/quala-minilm-squad-floats
python recipes/quala-minilm-squad/compare_torchao.py --model outputs/quala-minilm-squad-floats --data train.json ...

The questions are those of the validation split of training. All forms are timed in turns. Prints Markdown;
latencies are also given as ratios to this package's int8, which a busy machine changes less.
"""

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from hf_dynbert import DynamicInt8Config
from hf_dynbert.budgets.latency import machine_name, time_in_turns
from hf_dynbert.int8_quantizer import KEPT_EXACT
from hf_dynbert.tasks import QuestionAnsweringEvaluator
from hf_dynbert.tasks.question_answering.squad import load_squad, split_by_article
from hf_dynbert.utils.tables import markdown_table


FP32, OURS, TORCHAO = "PyTorch fp32", "int8, this package", "int8, torchao"
EAGER = (FP32, OURS, TORCHAO)
BUDGETS = ("full", "half")
BATCHES = (1, 8)
LENGTH = 160  # tokens: about the mean of SQuAD's questions with their paragraphs
HELD_OUT = 0.1  # as in distil.yaml and length_drop.yaml


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a float32 checkpoint for question answering")
    parser.add_argument("--data", nargs="+", required=True, help="SQuAD training files")
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--turns", type=int, default=8, help="bursts of timed calls of each form")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--skip_compiled", action="store_true", help="leave torch.compile out")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    _, held_out = split_by_article(load_squad(args.data), HELD_OUT)
    sample = QuestionAnsweringEvaluator(tokenizer, held_out.shuffle(seed=0).select(range(args.questions)))
    with tempfile.TemporaryDirectory() as folder:
        models, megabytes, seconds = load_models(args.model, Path(folder))
    scores = {}
    for name in EAGER:  # a compiled model computes the same as the eager one
        scores[name] = [sample(models[name], budget)["f1"] for budget in BUDGETS]
        print(f"{name}: F1 {scores[name]}, {megabytes[name]:.1f} MB, loaded in {seconds[name]:.2f} s", flush=True)
    if not args.skip_compiled:
        torch._dynamo.config.recompile_limit = 64  # each batch size and budget is a graph of its own; the default is 8
        for name in (OURS, TORCHAO):
            compiled = f"{name}, compiled"
            models[compiled] = torch.compile(models[name], dynamic=True)
            scores[compiled], megabytes[compiled], seconds[compiled] = scores[name], megabytes[name], seconds[name]
    latencies = time_models(models, args.turns)
    rows = []
    for name in models:
        cells = [f"{score:.2f} ({score - full:+.2f})" for score, full in zip(scores[name], scores[FP32], strict=True)]
        for batch in BATCHES:
            for budget in BUDGETS:
                latency = latencies[name, batch, budget]
                cells.append(f"{latency:.1f} ({latency / latencies[OURS, batch, budget]:.2f})")
        rows.append([name, f"{megabytes[name]:.1f}", f"{seconds[name]:.2f}", *cells])
    timed = [f"batch {batch}, {budget}: ms (÷ ours)" for batch in BATCHES for budget in BUDGETS]
    print(f"{machine_name(args.threads)}, PyTorch {torch.__version__}; {args.questions} questions, {LENGTH} tokens\n")
    print(markdown_table(["form", "MB", "load, s", *(f"F1 {budget}" for budget in BUDGETS), *timed], rows))


def load_models(checkpoint: str, folder: Path) -> tuple[dict, dict[str, float], dict[str, float]]:
    """Models by form, with the size of their files in MB and the seconds that loading them takes."""
    models, megabytes, seconds = {}, {}, {}
    exact = AutoModelForQuestionAnswering.from_pretrained(checkpoint)
    exact.save_pretrained(folder / "fp32")
    ours = AutoModelForQuestionAnswering.from_pretrained(checkpoint, quantization_config=DynamicInt8Config())
    ours.save_pretrained(folder / "ours")
    for name, place in ((FP32, folder / "fp32"), (OURS, folder / "ours")):
        begin = time.perf_counter()
        models[name] = AutoModelForQuestionAnswering.from_pretrained(place).eval()
        seconds[name] = time.perf_counter() - begin
        megabytes[name] = sum(path.stat().st_size for path in place.glob("*.safetensors")) / 1e6
    begin = time.perf_counter()  # torchao has no files of its own that our classes load: it rounds the floats anew
    models[TORCHAO] = quantized_by_torchao(AutoModelForQuestionAnswering.from_pretrained(checkpoint).eval())
    seconds[TORCHAO] = time.perf_counter() - begin
    megabytes[TORCHAO] = sum(stored_bytes(tensor) for tensor in models[TORCHAO].state_dict().values()) / 1e6
    return models, megabytes, seconds


def stored_bytes(tensor: torch.Tensor) -> int:
    """Bytes of a tensor; of a rounded one, those of its integers and scales."""
    if not is_traceable_wrapper_subclass(tensor):
        return tensor.nbytes
    names, _ = tensor.__tensor_flatten__()
    return sum(stored_bytes(getattr(tensor, name)) for name in names)


def quantized_by_torchao(model):
    """The same model with torchao's int8 in the linear layers that this package rounds too."""
    warnings.simplefilter("ignore")  # torchao warns of its own deprecations
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, PerRow, quantize_

    def is_rounded(module: nn.Module, name: str) -> bool:
        return isinstance(module, nn.Linear) and not any(part in name for part in KEPT_EXACT)

    quantize_(model, Int8DynamicActivationInt8WeightConfig(granularity=PerRow()), filter_fn=is_rounded)
    return model


def time_models(models: dict, turns: int) -> dict[tuple[str, int, str], float]:
    """Milliseconds of a call by form, batch size and budget."""
    variants = [(name, batch, budget) for batch in BATCHES for budget in BUDGETS for name in models]
    ids = torch.from_numpy(np.random.default_rng(0).integers(1000, 30000, (max(BATCHES), LENGTH)))
    types = (torch.arange(LENGTH) >= 14).long().expand(len(ids), -1)

    def call(variant: tuple[str, int, str]) -> None:
        name, batch, budget = variant
        with torch.inference_mode():
            models[name](
                input_ids=ids[:batch],
                attention_mask=torch.ones_like(ids[:batch]),
                token_type_ids=types[:batch],
                length_config=budget,
            )

    latencies = time_in_turns(call, variants, turns)
    return {variant: latency.median_ms for variant, latency in zip(variants, latencies, strict=True)}


if __name__ == "__main__":
    main()
