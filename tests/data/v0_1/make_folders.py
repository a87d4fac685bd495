"""Makes the folders beside this file, with the answers of their models. Tests read the folders and never run this script.

It was run with commit bcd713d, the last one before `budget=` and `min_tokens_to_drop`, on a CPU with AVX512-VNNI, with torch
2.13.0, transformers 5.5.4 and OpenVINO 2026.4.1. At a later commit it would make other folders, so it refuses to run there.

Each folder holds a checkpoint as `save_pretrained` or `hf-dynbert quantize` wrote it, without the copies of the package's
code (only `qa_learned` keeps them), without the tokenizer and without the card. `expected.safetensors` holds the inputs
`<batch>.<input>` and the outputs `<batch>.<call>.<output>`; its metadata holds the calls: `{call: value of length_config}`.
"""

import json
import shutil
import string
import subprocess
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (
    AutoModel,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertTokenizerFast,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    RobertaConfig,
    RobertaForQuestionAnswering,
)

from hf_dynbert import (
    DynamicInt8Config,
    DynamicTinyBertConfig,
    DynamicTinyBertForQuestionAnswering,
    DynamicTinyBertForSequenceClassification,
    DynamicTinyBertModel,
    OVDynamicTinyBertForQuestionAnswering,
    OVDynamicTinyBertForSequenceClassification,
    cli,
)


HERE = Path(__file__).parent
CHECKPOINT = HERE.parents[2] / "recipes" / "quala-minilm-squad" / "checkpoint"
COMMIT = "bcd713d"
WORDS = "who what where when keeps wrote lit built ada ben cleo dan light house tower song ship in at by the a".split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CLS, SEP = 2, 3
LETTERS = [*string.ascii_lowercase, *string.digits, ".", "?"]
VOCABULARY = list(dict.fromkeys([*SPECIAL, *LETTERS, *(f"##{x}" for x in LETTERS), *WORDS]))
SIZES = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 96,
    "initializer_range": 0.3,  # fifteen times the usual, so that different tokens give clearly different answers
}
FAST, HALF, FEW = [0.8, 0.6, 0.6, 0.3], [1.0, 0.5, 0.5, 0.5], [20, 9, 9, 3]
MEASURED = {
    "length_config": [0.9, 0.5, 0.5, 0.4],
    "f1": 81.25,
    "macs": 123456.5,
    "latency_ms": 1.25,
    "tokens": 48,
    "machine": "a CPU, 2 threads",
    "runtime": "PyTorch fp32",
    "sample": "64 held-out questions",
    "f1_error": 0.5,
}
FULL = {**MEASURED, "length_config": None, "f1": 84.0, "macs": 234567.5, "latency_ms": 2.5, "f1_error": None}
BUDGETS = {"fast": FAST, "few": FEW, "balanced": MEASURED, "front-1": {**MEASURED, "length_config": HALF}, "full": FULL}
LEARNED = {
    "importance": "learned",
    "importance_match": 8,
    "importance_windows": [0, 4],
    "early_selection_until": 1,
    "protect_first_segment": True,
    "protect_first_segment_until": 2,
    "budgets": BUDGETS,
}
# With drop_layers [0, 1, 3], entries of the third layer repeat those of the second, as in all budgets above
DROP_LAYERS = [0, 1, 3]
EXTRA_CALLS = {"floats": [0.7, 0.7, 0.7, 0.25], "ints": [12, 4, 4, 2]}

QUESTIONS = (
    ("Who lit it?", "The lamp was lit by Ada."),
    (
        "When was the bridge opened?",
        "The old bridge over the river was begun in 1871 by the town's engineer, Maria Lund. After three floods and one "
        "strike it was opened in May 1878, and it has carried the road to the harbour ever since.",
    ),
    ("What does the keeper grow?", "Behind the lighthouse the keeper grows beans, onions and a few rows of potatoes."),
    (
        "Where did the ship sail from?",
        "In the autumn of 1902 the ship Aurora sailed from Bergen with a cargo of dried fish. Storms drove her west, and "
        "she reached Hull nine days late. Her captain, Jon Dahl, sold the cargo there and returned by train.",
    ),
    ("How many steps has the tower?", "The tower is 31 metres high. A stair of 152 steps leads to its bell."),
)


def spread_scorers(model):
    """Random scorers: learned importance starts with zeros, which rank by matches alone."""
    generator = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        if "token_scorer" in name:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def make(model_class, seed=0, **options):
    """A model with random weights."""
    torch.manual_seed(seed)
    return spread_scorers(model_class(DynamicTinyBertConfig(**SIZES, **options))).eval()


def make_batches(pad_token_id=0, token_types=True) -> dict[str, dict[str, torch.Tensor]]:
    """Inputs by name: alone and padded, from 5 tokens to 60; two segments."""
    generator, batches = torch.Generator().manual_seed(3), {}
    for name, lengths, first in (
        ("short", [5], 3), ("medium", [17], 5), ("long", [60], 8), ("padded", [31, 5, 60, 12], 4), ("wider", [40, 33], 6),
    ):  # fmt: skip
        width = max(lengths) + (3 if name == "wider" else 0)  # padding behind every text of the batch
        ids = torch.randint(len(SPECIAL), len(VOCABULARY), (len(lengths), width), generator=generator)
        real = torch.arange(width) < torch.tensor(lengths)[:, None]
        ids[:, 0], ids[:, first - 1] = CLS, SEP
        batches[name] = {"input_ids": ids.masked_fill(~real, pad_token_id), "attention_mask": real.long()}
        if token_types:
            batches[name]["token_type_ids"] = ((torch.arange(width) >= first) & real).long()
    return batches


def write_answers(folder: Path, model, **inputs) -> None:
    """Writes what the model answers at each budget; stops where budgets make no difference."""
    calls = {"default": None, "full": "full", **{name: name for name in model.config.length_configs}, **EXTRA_CALLS}
    tensors = {}
    for batch_name, batch in make_batches(**inputs).items():
        for name, values in batch.items():
            tensors[f"{batch_name}.{name}"] = values
        for call, length_config in calls.items():
            with torch.no_grad():
                output = model(**batch) if length_config is None else model(**batch, length_config=length_config)
            for name, values in output.items():
                if name in ("start_logits", "end_logits", "logits", "last_hidden_state", "pooler_output"):
                    tensors[f"{batch_name}.{call}.{name}"] = torch.as_tensor(values).contiguous().clone()
        output_name = next(name for name in ("start_logits", "logits", "last_hidden_state") if name in output)
        full = tensors[f"{batch_name}.full.{output_name}"]
        for call in calls:
            found = tensors[f"{batch_name}.{call}.{output_name}"]
            # "few" drops from 5 tokens in the last layer only, after the attention that a classifier's answer comes from;
            # the default is full length where the configuration names none
            if call not in ("full", "default", "few"):
                assert (found - full).abs().max() > 1e-3, f"{folder.name}: {call} answers {batch_name} as full length does"
    save_file(tensors, folder / "expected.safetensors", metadata={"calls": json.dumps(calls)})


def save(name: str, model, code=False) -> Path:
    """Saves a PyTorch model as `save_pretrained` does, by default without the code."""
    folder = HERE / name
    model.save_pretrained(folder)
    for path in folder.glob("*.py"):
        if not code:
            path.unlink()
    return folder


def reload(folder: Path, auto_class=AutoModelForQuestionAnswering):
    """The saved model, as tests load it."""
    return auto_class.from_pretrained(folder).eval()


def make_pytorch_folders() -> None:
    """fp32, int8, and converted checkpoints."""
    qa, classifier = DynamicTinyBertForQuestionAnswering, DynamicTinyBertForSequenceClassification
    learned = {**LEARNED, "drop_layers": DROP_LAYERS, "length_config": HALF, "dropped_logits": "mask"}
    lists = {"fast": FAST, "few": FEW}
    with_head = AutoModelForSequenceClassification
    for name, model, auto_class in (
        ("qa_learned", make(qa, **learned), AutoModelForQuestionAnswering),
        ("qa_all", make(qa, importance="all", dropped_logits="restore", budgets=lists), AutoModelForQuestionAnswering),
        ("qa_question", make(qa, importance="question", budgets=lists, keep_cls=False), AutoModelForQuestionAnswering),
        ("qa_cls", make(qa, importance="cls", budgets=lists, length_config=FAST), AutoModelForQuestionAnswering),
        ("classifier", make(classifier, num_labels=3, importance="cls", budgets=lists, length_config=HALF), with_head),
        ("regression", make(classifier, num_labels=1, problem_type="regression", budgets=lists), with_head),
        ("multi_label", make(classifier, num_labels=4, problem_type="multi_label_classification", budgets=lists), with_head),
        ("encoder", make(DynamicTinyBertModel, budgets=lists, length_config=FEW), AutoModel),
    ):
        folder = save(name, model, code=name == "qa_learned")
        write_answers(folder, reload(folder, auto_class))

    torch.manual_seed(0)
    sizes = {**SIZES, "type_vocab_size": 1, "pad_token_id": 1, "eos_token_id": SEP, "max_position_embeddings": 98}
    roberta = RobertaForQuestionAnswering(RobertaConfig(**sizes))
    folder = save("roberta_qa", qa.from_backbone(roberta, importance="question", budgets=lists))
    write_answers(folder, reload(folder), pad_token_id=1, token_types=False)

    torch.manual_seed(0)
    names = {"hidden_size": "dim", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads"}
    sizes = {{**names, "intermediate_size": "hidden_dim"}.get(name, name): value for name, value in SIZES.items()}
    distilbert = DistilBertForSequenceClassification(DistilBertConfig(**sizes, num_labels=3))
    folder = save("distilbert_classifier", classifier.from_backbone(distilbert, importance="cls", budgets=lists))
    write_answers(folder, reload(folder, AutoModelForSequenceClassification), token_types=False)

    int8 = AutoModelForQuestionAnswering.from_pretrained(
        HERE / "qa_learned", quantization_config=DynamicInt8Config(modules_to_not_convert=["layer.1.output.dense"])
    )
    folder = save("qa_pytorch_int8", int8)
    write_answers(folder, reload(folder))


def make_openvino_folders() -> None:
    """fp32 exports."""
    qa, classifier = DynamicTinyBertForQuestionAnswering, DynamicTinyBertForSequenceClassification
    learned = {**LEARNED, "drop_layers": DROP_LAYERS, "length_config": HALF}
    for name, model, ov_class in (
        ("qa_openvino_mask", make(qa, **learned, dropped_logits="mask"), OVDynamicTinyBertForQuestionAnswering),
        ("qa_openvino_restore", make(qa, **learned, dropped_logits="restore"), OVDynamicTinyBertForQuestionAnswering),
        (
            "classifier_openvino",
            make(classifier, num_labels=3, importance="cls", budgets={"fast": FAST, "few": FEW}),
            OVDynamicTinyBertForSequenceClassification,
        ),
    ):
        with tempfile.TemporaryDirectory() as checkpoint:
            model.save_pretrained(checkpoint)
            ov_class.from_pretrained(checkpoint, export=True, compile=False).save_pretrained(HERE / name)
        write_answers(HERE / name, ov_class.from_pretrained(HERE / name))


def make_quantized_folders() -> None:
    """int8 from `hf-dynbert quantize`, each with the option or the budgets that its folder is for."""
    with tempfile.TemporaryDirectory() as temporary:
        checkpoint, data, vocabulary = (Path(temporary) / name for name in ("model", "train.json", "vocab.txt"))
        model = make(DynamicTinyBertForQuestionAnswering, **LEARNED, dropped_logits="mask", length_config=HALF)
        model.save_pretrained(checkpoint)
        vocabulary.write_text("\n".join(VOCABULARY), encoding="utf-8")
        BertTokenizerFast(vocab=str(vocabulary), model_max_length=96).save_pretrained(checkpoint)
        data.write_text(json.dumps({"version": "1.1", "data": [{"title": "tiny", "paragraphs": paragraphs()}]}))
        windows = ["--max_length", "80", "--stride", "8", "--calibration_samples", "8", "--accuracy_samples", "4"]
        for name, options in (
            ("qa_openvino_int8", ["--drop_layers", "0", "1", "3", "--importance_match_until", "2"]),
            ("qa_neural_compressor_int8", ["--backend", "neural-compressor"]),
        ):
            argv = ["quantize", "--model", str(checkpoint), "--output_dir", str(HERE / name), "--train_file", str(data)]
            assert cli.main([*argv, *windows, *options]) == 0
            kept = ("config.json", "generation_config.json", "model.safetensors", "quantization.json")
            for path in (HERE / name).iterdir():
                if path.name not in kept and not path.name.startswith("openvino_"):
                    path.unlink()
        ov_folder, torch_folder = HERE / "qa_openvino_int8", HERE / "qa_neural_compressor_int8"
        write_answers(ov_folder, OVDynamicTinyBertForQuestionAnswering.from_pretrained(ov_folder))
        write_answers(torch_folder, reload(torch_folder))


def write_checkpoint_answers() -> None:
    """What the committed checkpoint answers to some questions, with 3 decimals; `null` for a token that was dropped."""
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    model = OVDynamicTinyBertForQuestionAnswering.from_pretrained(CHECKPOINT)
    lowest, examples = torch.finfo(torch.float32).min, []
    for question, context in QUESTIONS:
        inputs = tokenizer(question, context, return_tensors="pt")
        answers = {}
        for budget in ("full", *model.config.length_configs):
            output = model(**inputs, length_config=budget)
            both = [output.start_logits[0].tolist(), output.end_logits[0].tolist()]
            answers[budget] = [[None if value == lowest else round(value, 3) for value in values] for values in both]
        examples.append({"inputs": {name: values[0].tolist() for name, values in inputs.items()}, "answers": answers})
    (HERE / "quala_minilm_squad.json").write_text(json.dumps(examples) + "\n", encoding="utf-8")


def paragraphs() -> list[dict]:
    """Questions in SQuAD's form, 16 of them."""
    made = []
    for index, person in enumerate(("ada", "ben", "cleo", "dan")):
        for thing in ("light", "house", "tower", "song"):
            context = f"{person} wrote the {thing} in 19{index}1. the ship lit the tower by the house."
            answers = [{"text": person, "answer_start": 0}]
            question = {"id": f"{person} {thing}", "question": f"who wrote the {thing}?", "answers": answers}
            made.append({"context": context, "qas": [question]})
    return made


def main() -> None:
    """Makes all folders anew."""
    package = Path(cli.__file__).parent
    changed = subprocess.run(["git", "diff", "--quiet", COMMIT, "--", str(package)], cwd=package, check=False).returncode
    if changed:
        raise SystemExit(f"hf_dynbert is not that of commit {COMMIT}: check that commit out, these folders are its own.")
    for folder in HERE.iterdir():
        if folder.is_dir():
            shutil.rmtree(folder)
    make_pytorch_folders()
    make_openvino_folders()
    make_quantized_folders()
    write_checkpoint_answers()


if __name__ == "__main__":
    main()
