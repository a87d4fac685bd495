"""OpenVINO: one file, any budget, and the same answers as eager."""

import json
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from conftest import IMPORTANCES, LENGTH_CONFIGS, make_batch, randomize_scorers
from transformers import (
    AutoTokenizer,
    RobertaConfig,
    RobertaForQuestionAnswering,
    pipeline,
)

import hf_dynbert
from hf_dynbert import (
    DynamicTinyBertConfig,
    DynamicTinyBertForQuestionAnswering,
    DynamicTinyBertForSequenceClassification,
    evaluate_squad,
)
from hf_dynbert.budgets.budget import Budget
from hf_dynbert.budgets.choosing import runtime_name, threads_of
from hf_dynbert.budgets.latency import machine_name
from hf_dynbert.budgets.search.arguments import SearchArguments
from hf_dynbert.budgets.search.run import run_search, save_budgets
from hf_dynbert.subnetwork import SubNetwork, encode_entry, token_count
from hf_dynbert.utils.folder_config import load_config


pytestmark = pytest.mark.intel
pytest.importorskip("optimum.intel", reason="needs the intel extra")

import openvino  # noqa: E402  (after the skip above)
from optimum.exporters.openvino import main_export  # noqa: E402
from optimum.intel import OVModelForQuestionAnswering, OVModelForSequenceClassification  # noqa: E402

from hf_dynbert.openvino import cpu  # noqa: E402
from hf_dynbert.openvino.export import add_length_config_state, has_length_config_state, without_drops  # noqa: E402
from hf_dynbert.openvino.graph import LengthAdaptiveGraph  # noqa: E402
from hf_dynbert.openvino.graph import token_counts as graph_token_counts  # noqa: E402
from hf_dynbert.openvino.modeling_openvino import (  # noqa: E402
    OVDynamicTinyBertForQuestionAnswering,
    OVDynamicTinyBertForSequenceClassification,
)


EXACT = {"INFERENCE_PRECISION_HINT": "f32"}  # OpenVINO's default is bf16 where the CPU has it
TOLERANCE = 1e-5  # two fp32 kernels on sums of at most 64 terms
BATCHES = [make_batch(), make_batch((7,)), make_batch((100, 50), width=110, seed=5), make_batch((1,), first=1)]
BUDGETS = {"fast": [0.8, 0.5, 0.5, 0.2], "few": [20, 9, 9, 3]}


@pytest.fixture(scope="session")
def checkpoints(sizes, tokenizer, tmp_path_factory):
    """Folders of PyTorch checkpoints by name."""
    folder = tmp_path_factory.mktemp("checkpoints")
    made = {
        "learned": (DynamicTinyBertForQuestionAnswering, {"protect_first_segment": True, "protect_first_segment_until": 2}),
        "early": (DynamicTinyBertForQuestionAnswering, {"early_selection_until": 2, "dropped_logits": "mask"}),
        "question": (DynamicTinyBertForQuestionAnswering, {"dropped_logits": "mask", "keep_cls": False}),
        "all": (DynamicTinyBertForQuestionAnswering, {}),
        "cls": (DynamicTinyBertForQuestionAnswering, {}),
        "classifier": (DynamicTinyBertForSequenceClassification, {"num_labels": 3, "early_selection_until": 1}),
    }
    for name, (model_class, options) in made.items():
        torch.manual_seed(0)
        importance = name if name in IMPORTANCES else "learned"
        defaults = {"importance": importance, "budgets": BUDGETS, "length_config": [0.9, 0.6, 0.6, 0.5]}
        defaults |= {"min_tokens_to_drop": 0}  # most inputs here are short
        model = randomize_scorers(model_class(DynamicTinyBertConfig(**sizes, **defaults, **options)))
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="session")
def exported(checkpoints, tmp_path_factory):
    """Folders of OpenVINO models by name."""
    folder = tmp_path_factory.mktemp("exported")
    for path in checkpoints.iterdir():
        model_class = ov_class(path.name)
        model_class.from_pretrained(path, export=True, compile=False).save_pretrained(folder / path.name)
        AutoTokenizer.from_pretrained(path).save_pretrained(folder / path.name)
    return folder


def ov_class(name):
    return OVDynamicTinyBertForSequenceClassification if name == "classifier" else OVDynamicTinyBertForQuestionAnswering


def eager_class(name):
    return DynamicTinyBertForSequenceClassification if name == "classifier" else DynamicTinyBertForQuestionAnswering


def outputs(model, batch, **kwargs):
    """What a model says of real tokens, or of examples."""
    with torch.no_grad():
        output = model(**batch, **kwargs)
    if "logits" in output:
        return output.logits
    real = batch["attention_mask"].bool()
    return torch.stack([output.start_logits[real], output.end_logits[real]])


def test_encoded_token_counts_equal_those_of_length_config():
    rng = random.Random(0)
    lengths = torch.arange(1, 513)
    for entry in [1.0, 0.5, 1 / 3, 0.0001, 0.00001, 0.9999, *(rng.random() for _ in range(200)), 1, 2, 77, 600]:
        encoded = torch.tensor([encode_entry(entry)], dtype=torch.int32)
        expected = [token_count(entry, length) for length in lengths.tolist()]
        assert graph_token_counts(encoded, lengths)[0].tolist() == expected
    assert SubNetwork().encode(DynamicTinyBertConfig(num_hidden_layers=2)) == [10_000, 10_000]


def test_token_counts_in_openvino_are_exact():
    class Counts(torch.nn.Module):
        def forward(self, encoded, lengths):
            return graph_token_counts(encoded, lengths)

    encoded = torch.arange(1, 10_001, dtype=torch.int32)
    lengths = torch.arange(1, 513)
    model = openvino.compile_model(openvino.convert_model(Counts(), example_input=(encoded, lengths)), "CPU")
    assert (model((encoded, lengths))[0] == graph_token_counts(encoded, lengths).numpy()).all()


@pytest.mark.parametrize("importance", IMPORTANCES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"keep_cls": False, "dropped_logits": "mask"},
        {"protect_first_segment": True},
        {"protect_first_segment": True, "protect_first_segment_until": 1, "importance_match_until": 1},
        {"early_selection_until": 1, "protect_first_segment": True},
        {"early_selection_until": 4, "dropped_logits": "mask"},
    ],
)
def test_graph_equals_eager(make_model, batch, importance, options):
    model = make_model(importance=importance, **options)
    for length_config in (None, *LENGTH_CONFIGS):
        model.config.length_config = length_config
        with torch.no_grad():
            start, end = LengthAdaptiveGraph(model)(**batch)
        real = batch["attention_mask"].bool()
        torch.testing.assert_close(torch.stack([start[real], end[real]]), outputs(model, batch), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["learned", "early", "question", "all", "cls", "classifier"])
def test_exported_equals_eager(checkpoints, exported, name):
    model = ov_class(name).from_pretrained(exported / name, ov_config=EXACT)
    eager = eager_class(name).from_pretrained(checkpoints / name).eval()
    for batch in BATCHES:
        for length_config in (None, "full", "fast", "few", *LENGTH_CONFIGS):
            torch.testing.assert_close(
                outputs(model, batch, length_config=length_config),
                outputs(eager, batch, length_config=length_config),
                rtol=0,
                atol=TOLERANCE,
            )


def test_who_never_heard_of_us_gets_the_default_budget(checkpoints, exported, tmp_path):
    script = f"""
import sys, torch
from optimum.intel import OVModelForQuestionAnswering
model = OVModelForQuestionAnswering.from_pretrained({str(exported / "learned")!r}, ov_config={EXACT})
output = model(**torch.load({str(tmp_path / "batch.pt")!r}))
assert "hf_dynbert" not in sys.modules
torch.save(torch.stack([output.start_logits, output.end_logits]), {str(tmp_path / "logits.pt")!r})
"""
    batch = make_batch()
    torch.save(batch, tmp_path / "batch.pt")
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
    logits = torch.load(tmp_path / "logits.pt")[:, batch["attention_mask"].bool()]
    eager = DynamicTinyBertForQuestionAnswering.from_pretrained(checkpoints / "learned").eval()
    torch.testing.assert_close(logits, outputs(eager, batch), rtol=0, atol=TOLERANCE)
    assert (logits - outputs(eager, batch, length_config="full")).abs().max() > 0.01


@pytest.mark.parametrize(
    ("name", "task", "plain_class"),
    [
        ("learned", "question-answering", OVModelForQuestionAnswering),
        ("classifier", "text-classification", OVModelForSequenceClassification),
    ],
)
def test_optimums_own_export_works(checkpoints, tmp_path, name, task, plain_class):
    main_export(str(checkpoints / name), tmp_path, task=task)
    eager = eager_class(name).from_pretrained(checkpoints / name).eval()
    plain = plain_class.from_pretrained(tmp_path, ov_config=EXACT)
    ours = ov_class(name).from_pretrained(tmp_path, ov_config=EXACT)
    for batch in BATCHES:
        torch.testing.assert_close(outputs(plain, batch), outputs(eager, batch), rtol=0, atol=TOLERANCE)
        torch.testing.assert_close(
            outputs(ours, batch, length_config="fast"), outputs(eager, batch, length_config="fast"), rtol=0, atol=TOLERANCE
        )


def test_roberta_in_openvino(sizes, tmp_path):
    """One token type, and positions that begin after that of the padding. A converted DistilBERT has the graph of a BERT."""
    source = RobertaForQuestionAnswering(RobertaConfig(**sizes | {"type_vocab_size": 1, "pad_token_id": 1}))
    eager = DynamicTinyBertForQuestionAnswering.from_backbone(source).eval()
    eager.save_pretrained(tmp_path)
    model = OVDynamicTinyBertForQuestionAnswering.from_pretrained(tmp_path, export=True, ov_config=EXACT)
    for batch in BATCHES:
        del (inputs := dict(batch))["token_type_ids"]
        inputs["input_ids"] = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, eager.config.pad_token_id or 0)
        for length_config in ("full", [0.8, 0.5, 0.5, 0.2]):
            torch.testing.assert_close(
                outputs(model, inputs, length_config=length_config),
                outputs(eager, inputs, length_config=length_config),
                rtol=0,
                atol=TOLERANCE,
            )


def test_a_search_on_the_runtime_that_serves(exported, tokenizer, articles_file, tmp_path):
    shutil.copytree(exported / "learned", tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    sizes = {"search_samples": 8, "confirm_samples": 4, "num_evaluations": 4, "latency_samples": 1, "method": "tpe"}
    options = {"train_file": [str(articles_file)], "validation_fraction": 0.99, "max_length": 128, "stride": 16, **sizes}
    folders = {"model": str(tmp_path / "model"), "output_dir": str(tmp_path / "found")}
    found = json.loads((run_search(SearchArguments(**folders, **options)) / "front.json").read_text())
    assert found["budgets"]["full"]["runtime"].startswith("OpenVINO")
    model = OVDynamicTinyBertForQuestionAnswering.from_pretrained(tmp_path / "model", compile=False)
    assert set(found["budgets"]) <= set(model.config.budgets)


def test_int8_of_a_cpu_with_vnni_is_told_on_one_without(exported, cpuinfo, tmp_path, caplog):
    assert cpu.has_vnni() is None and cpu.overflow_fix() == "disable"
    cpuinfo("flags : avx512_vnni")
    assert cpu.has_vnni() and cpu.overflow_fix() == "disable" and not caplog.text
    model = OVDynamicTinyBertForQuestionAnswering.from_pretrained(exported / "learned", compile=False)
    model.model.set_rt_info(cpu.overflow_fix(), cpu.OVERFLOW_FIX)  # as quantize_graph leaves it
    model.save_pretrained(tmp_path / "int8")
    OVDynamicTinyBertForQuestionAnswering.from_pretrained(tmp_path / "int8", compile=False)
    assert "VNNI" not in caplog.text
    cpuinfo("flags : avx2")
    OVDynamicTinyBertForQuestionAnswering.from_pretrained(tmp_path / "int8", compile=False)
    assert "made on a CPU with VNNI, and this CPU has none" in caplog.text
    caplog.clear()
    assert cpu.overflow_fix() == "enable" and "get 7-bit weights" in caplog.text


@pytest.mark.parametrize(("importance", "early"), [("learned", 1), ("question", 0)])
def test_a_model_that_drops_in_few_layers(make_model, importance, early, tmp_path):
    options = {"drop_layers": [0, 2], "importance_match_until": 1, "early_selection_until": early}
    eager = make_model(importance=importance, budgets={"fast": [0.6, 0.6, 0.3, 0.3]}, **options)
    eager.save_pretrained(tmp_path)
    model = OVDynamicTinyBertForQuestionAnswering.from_pretrained(tmp_path, export=True, ov_config=EXACT)
    for batch in BATCHES:
        for length_config in ("full", "fast", [1.0, 1.0, 0.4, 0.4], [30, 30, 9, 9]):
            expected = outputs(eager, batch, length_config=length_config)
            got = outputs(model, batch, length_config=length_config)
            torch.testing.assert_close(got, expected, rtol=0, atol=TOLERANCE)
    with pytest.raises(ValueError, match="drops in layers 1, 3 only"):
        model(**BATCHES[0], length_config=[0.6, 0.5, 0.3, 0.3])


def test_many_threads_get_the_sequential_answers(exported):
    model = OVDynamicTinyBertForQuestionAnswering.from_pretrained(exported / "learned", compile=False, ov_config=EXACT)
    rng = random.Random(0)
    budgets = (None, "full", "fast", "few", *LENGTH_CONFIGS)
    work = [
        (make_batch((rng.randint(4, 60), rng.randint(4, 60)), seed=index), rng.choice(budgets)) for index in range(64 * 50)
    ]

    def call(item):
        return outputs(model, item[0], length_config=item[1])

    with ThreadPoolExecutor(64) as pool:
        together = list(pool.map(call, work))
    for item, answer in zip(work, together, strict=True):
        assert torch.equal(call(item), answer)


def test_numpy_missing_mask_and_one_token(exported):
    model = OVDynamicTinyBertForQuestionAnswering.from_pretrained(exported / "learned", ov_config=EXACT)
    batch = make_batch((30,))
    arrays = model(**{name: value.numpy() for name, value in batch.items()}, length_config="fast")
    tensors = model(**batch, length_config="fast")
    assert (torch.from_numpy(arrays.start_logits) == tensors.start_logits).all()
    unmasked = model(batch["input_ids"], token_type_ids=batch["token_type_ids"], length_config="fast")
    assert torch.equal(unmasked.start_logits, tensors.start_logits)
    assert model(torch.tensor([[2]]), length_config="fast").start_logits.shape == (1, 1)


@pytest.mark.parametrize("name", ["learned", "early", "question", "classifier"])
def test_all_tokens_are_a_plain_models_work(exported, name):
    model = ov_class(name).from_pretrained(exported / name, compile=False, ov_config=EXACT)
    plain = without_drops(model.model)
    kinds = {node.get_type_name() for node in plain.get_ops()}
    assert not plain.get_variables() and not kinds & {"TopK", "ReadValue", "ScatterElementsUpdate", "CumSum"}
    assert has_length_config_state(model.model)  # the model's own is as it was
    for node in model.model.get_ops():  # as a file from before there were names
        node.set_friendly_name(f"node of {node.get_friendly_name()}")
    assert without_drops(model.model) is None
    again = ov_class(name).from_pretrained(exported / name, ov_config=EXACT)
    for batch in BATCHES:  # two graphs, one answer; without names the graph with the state answers
        both = [outputs(one, batch, length_config="full") for one in (model, again)]
        torch.testing.assert_close(*both, rtol=0, atol=TOLERANCE)


def test_fixed_shapes_are_filled(exported):
    model = OVDynamicTinyBertForQuestionAnswering.from_pretrained(exported / "learned", ov_config=EXACT)
    batch = make_batch((40,), width=70)
    before = {budget: outputs(model, batch, length_config=budget) for budget in ("full", "fast")}
    model.reshape(1, 70)
    for budget, expected in before.items():
        torch.testing.assert_close(outputs(model, batch, length_config=budget), expected, rtol=0, atol=TOLERANCE)


def test_a_compiled_file_without_the_state_is_refused(checkpoints, tmp_path):
    main_export(str(checkpoints / "learned"), tmp_path, task="question-answering")
    model = OVDynamicTinyBertForQuestionAnswering.from_pretrained(tmp_path, compile_only=True)
    with pytest.raises(ValueError, match="has its default budget alone"):
        model(**make_batch(), length_config="fast")


def test_inputs_of_other_shapes_are_refused(exported):
    model = OVDynamicTinyBertForQuestionAnswering.from_pretrained(exported / "learned", ov_config=EXACT)
    batch = make_batch((20,))
    for name in ("attention_mask", "token_type_ids"):
        with pytest.raises(ValueError, match=rf"{name} has the shape \(1, 10\), input_ids \(1, 20\)"):
            model(**batch | {name: batch[name][:, :10]})


@pytest.mark.parametrize("length_config", ["full", "fast"])
def test_padding_behind_all_texts_is_not_computed(exported, length_config):
    model = OVDynamicTinyBertForQuestionAnswering.from_pretrained(exported / "learned", ov_config=EXACT)
    batch, lowest = make_batch((40, 23), width=40), torch.finfo(torch.float32).min
    wide = {name: torch.nn.functional.pad(values, (0, 70)) for name, values in batch.items()}
    short, long = (model(**inputs, length_config=length_config) for inputs in (batch, wide))
    assert torch.equal(long.start_logits[:, :40], short.start_logits) and torch.equal(
        long.end_logits[:, :40], short.end_logits
    )
    assert long.start_logits.shape == (2, 110) and (long.start_logits[:, 48:] == lowest).all()  # 40 tokens run as 48
    arrays = model(**{name: values.numpy() for name, values in wide.items()}, length_config=length_config)
    assert torch.equal(torch.from_numpy(arrays.end_logits), long.end_logits)
    nothing = batch | {"attention_mask": torch.zeros_like(batch["attention_mask"])}
    with pytest.raises(ValueError, match="is 0 everywhere"):
        model(**nothing, length_config=length_config)


def test_evaluation_and_pipeline_take_the_openvino_model(exported, questions, tokenizer):
    model = OVDynamicTinyBertForQuestionAnswering.from_pretrained(exported / "learned", ov_config=EXACT)
    result = evaluate_squad(model, tokenizer, questions, length_config="fast", latency_samples=2)
    assert result.examples == len(questions)
    assert 0 < result.macs_ratio < 1
    answer = pipeline("extractive-qa", model=model, tokenizer=tokenizer)(
        question=questions[0]["question"], context=questions[0]["context"], length_config="fast"
    )
    assert questions[0]["context"][answer["start"] : answer["end"]] == answer["answer"]


def test_save_and_load_is_bit_equal(exported, tmp_path):
    model = OVDynamicTinyBertForQuestionAnswering.from_pretrained(exported / "learned", ov_config=EXACT)
    model.save_pretrained(tmp_path)
    again = OVDynamicTinyBertForQuestionAnswering.from_pretrained(tmp_path, ov_config=EXACT)
    assert again.config.budgets == BUDGETS
    for batch in BATCHES:
        assert torch.equal(outputs(model, batch, length_config="few"), outputs(again, batch, length_config="few"))


def test_searched_budgets_survive_and_are_asked(exported, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    shutil.copytree(exported / "learned", tmp_path / "model")
    model = OVDynamicTinyBertForQuestionAnswering.from_pretrained(tmp_path / "model")
    place = {"tokens": 24, "machine": machine_name(threads_of(model)), "runtime": runtime_name(model), "sample": "test"}
    fast = Budget("fast", [0.6, 0.5, 0.4, 0.3], 77.0, 1e6, 3.0, **place)
    save_budgets(tmp_path / "model", {"fast": fast.entry(), "full": Budget("full", None, 80.0, 5e6, 10.0, **place).entry()})
    model = OVDynamicTinyBertForQuestionAnswering.from_pretrained(tmp_path / "model")
    model.save_pretrained(tmp_path / "again")
    again = OVDynamicTinyBertForQuestionAnswering.from_pretrained(tmp_path / "again")
    assert again.config.budgets == model.config.budgets and again.config.budgets["fast"] == fast.entry()
    assert again.choose_budget(speedup=3) == again.choose_budget(max_macs=2e6) == fast.length_config
    assert again.choose_budget(min_score=79) == again.choose_budget(speedup=1) == "full"
    inputs = {"input_ids": torch.arange(5, 25)[None], "attention_mask": torch.ones(1, 20, dtype=torch.long)}
    by_name, by_list = (again(**inputs, length_config=config).start_logits for config in ("fast", fast.length_config))
    assert torch.equal(by_name, by_list)
    assert (by_name - again(**inputs, length_config="full").start_logits).abs().max() > 0.01  # more than two graphs differ


@pytest.mark.parametrize("name", ["learned", "early"])
def test_equal_scores_keep_the_same_tokens_as_eager(checkpoints, tmp_path, name):
    """Ties go to the earlier token in both."""
    eager = eager_class(name).from_pretrained(checkpoints / name, importance_match=0, min_tokens_to_drop=0).eval()
    for layer in eager.bert.encoder.layer:
        torch.nn.init.zeros_(layer.token_scorer.unit.weight)
    eager.save_pretrained(tmp_path)
    model = ov_class(name).from_pretrained(tmp_path, export=True, ov_config=EXACT)
    for batch in BATCHES:
        for length_config in ("few", "fast", [0.5] * 4):
            one, two = (outputs(each, batch, length_config=length_config) for each in (eager, model))
            torch.testing.assert_close(one, torch.as_tensor(two), atol=TOLERANCE, rtol=0)


def test_short_examples_keep_their_tokens_in_the_graph(checkpoints, tmp_path):
    eager = eager_class("cls").from_pretrained(checkpoints / "cls", min_tokens_to_drop=24).eval()
    eager.save_pretrained(tmp_path)
    model = ov_class("cls").from_pretrained(tmp_path, export=True, ov_config=EXACT)
    free = eager_class("cls").from_pretrained(checkpoints / "cls", min_tokens_to_drop=0).eval()
    for batch in BATCHES:
        one, two = (outputs(each, batch, length_config="fast") for each in (eager, model))
        torch.testing.assert_close(one, torch.as_tensor(two), atol=TOLERANCE, rtol=0)
    assert (
        outputs(free, BATCHES[0], length_config="fast") - outputs(eager, BATCHES[0], length_config="fast")
    ).abs().max() > 0.01


def test_bad_budgets_name_the_good(exported):
    model = OVDynamicTinyBertForQuestionAnswering.from_pretrained(exported / "learned")
    with pytest.raises(ValueError, match="valid are full, fast, few"):
        model(**make_batch(), length_config="slow")
    with pytest.raises(ValueError, match="has 2 entries, the model has 4 layers"):
        model(**make_batch(), length_config=[0.5, 0.5])


def test_a_budget_that_changes_is_heard(exported):
    model, batch = ov_class("learned").from_pretrained(exported / "learned"), make_batch((60,))
    before = outputs(model, batch, length_config="fast")
    model.config.budgets["fast"] = [1.0] * len(model.config.budgets["fast"])
    assert torch.equal(outputs(model, batch, length_config="fast"), outputs(model, batch, length_config="full"))
    assert not torch.equal(before, outputs(model, batch, length_config="fast"))
    whole = [1] * len(model.config.budgets["fast"])  # equal to shares of 1.0 in Python, but one token
    with_tokens = outputs(model, batch, length_config=whole)
    assert not torch.equal(with_tokens, outputs(model, batch, length_config=[1.0] * len(whole)))


def test_precision_is_that_of_pytorch_unless_asked_otherwise(exported):
    model_class, key = ov_class("learned"), "INFERENCE_PRECISION_HINT"
    assert model_class.from_pretrained(exported / "learned", compile=False).ov_config[key] == "f32"
    other = model_class.from_pretrained(exported / "learned", compile=False, ov_config={key: "bf16"})
    assert other.ov_config[key] == "bf16"


def test_damaged_and_foreign_files_are_refused(exported, bert_folder, tmp_path):
    for name in ("config.json", "openvino_model.xml", "openvino_model.bin"):
        (tmp_path / name).write_bytes((exported / "learned" / name).read_bytes())
    weights = (tmp_path / "openvino_model.bin").read_bytes()
    (tmp_path / "openvino_model.bin").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ValueError, match="damaged or incomplete"):
        OVDynamicTinyBertForQuestionAnswering.from_pretrained(tmp_path)
    (tmp_path / "openvino_model.xml").write_bytes((tmp_path / "openvino_model.xml").read_bytes()[:999])
    with pytest.raises(ValueError, match="damaged or incomplete"):
        OVDynamicTinyBertForQuestionAnswering.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds a model of type 'bert'"):
        OVDynamicTinyBertForQuestionAnswering.from_pretrained(bert_folder, export=True)


OTHER_SIZES = {
    "hidden_size": 64,
    "num_attention_heads": 8,
    "num_hidden_layers": 6,
    "intermediate_size": 32,
    "vocab_size": 60,
    "max_position_embeddings": 512,
    "type_vocab_size": 5,
}


@pytest.mark.parametrize("name", ["learned", "classifier"])
def test_sizes_of_another_model_are_refused(exported, tmp_path, name):
    shutil.copytree(exported / name, tmp_path, dirs_exist_ok=True)
    values = json.loads((tmp_path / "config.json").read_text())
    wrong = {field: ({field: value}, f"{field} is {value}") for field, value in OTHER_SIZES.items()}
    if name == "classifier":
        wrong["labels"] = (
            {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}},
            "num_labels is 2, the graph has 3",
        )
    for change, message in wrong.values():
        (tmp_path / "config.json").write_text(json.dumps(values | {"budgets": None, "length_config": None} | change))
        with pytest.raises(ValueError, match=f"config.json does not belong to the OpenVINO graph: {message}"):
            ov_class(name).from_pretrained(tmp_path, compile=False)


@pytest.mark.parametrize(("name", "other"), [("learned", "classifier"), ("classifier", "learned")])
@pytest.mark.parametrize("model_type", ["ours", "plain"])
def test_the_head_of_another_task_is_refused(exported, tmp_path, name, other, model_type):
    """The graph of one task beside the config.json of another, as after copying files by hand."""
    shutil.copytree(exported / name, tmp_path, dirs_exist_ok=True)
    if model_type == "plain":
        values = json.loads((tmp_path / "config.json").read_text())
        del values["dynamic_model_type"]
        (tmp_path / "config.json").write_text(json.dumps(values))
    for file in ("openvino_model.xml", "openvino_model.bin"):
        shutil.copy(exported / other / file, tmp_path / file)
    message = {"learned": "reads start_logits, end_logits", "classifier": "reads logits"}[name]
    with pytest.raises(ValueError, match=message):
        hf_dynbert.load(tmp_path)
    with pytest.raises(ValueError, match=message):
        ov_class(name).from_pretrained(tmp_path, config=load_config(exported / name), compile_only=True)


def test_a_graph_without_the_state_is_refused(bert_folder, exported, tmp_path):
    OVModelForQuestionAnswering.from_pretrained(bert_folder, export=True, compile=False).save_pretrained(tmp_path)
    foreign = openvino.Core().read_model(tmp_path / "openvino_model.xml")
    assert not has_length_config_state(foreign)
    with pytest.raises(ValueError, match="not exported from a length-adaptive model"):
        add_length_config_state(foreign)
    (tmp_path / "config.json").write_bytes((exported / "learned" / "config.json").read_bytes())
    with pytest.raises(ValueError, match="not exported from a length-adaptive model"):
        OVDynamicTinyBertForQuestionAnswering.from_pretrained(tmp_path)


def test_config_names_a_type_that_transformers_knows(exported):
    values = json.loads((exported / "learned" / "config.json").read_text())
    assert (values["model_type"], values["dynamic_model_type"]) == ("bert", "dynamic_tinybert")


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "hf_dynbert.openvino.modeling_openvino", None)
    monkeypatch.delattr(hf_dynbert.openvino, "modeling_openvino", raising=False)
    with pytest.raises(ImportError, match=r'pip install "hf_dynbert\[intel\]"'):
        _ = hf_dynbert.OVDynamicTinyBertForQuestionAnswering
