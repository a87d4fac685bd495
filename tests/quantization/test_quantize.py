"""int8: the folder is whole, small, close to fp32, and says how it was made."""

import itertools
import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from conftest import make_batch, quantize, randomize_scorers
from transformers import AutoModelForQuestionAnswering, BertConfig, PreTrainedModel

from hf_dynbert import DynamicTinyBertConfig, DynamicTinyBertForQuestionAnswering
from hf_dynbert.commands import main as cli
from hf_dynbert.hub.model_card import PLACE
from hf_dynbert.int8_layers import Int8Linear
from hf_dynbert.loading import load
from hf_dynbert.quantization.arguments import BACKENDS, QuantizeArguments
from hf_dynbert.utils.atomic_files import replace_files


pytestmark = pytest.mark.intel
pytest.importorskip("optimum.intel", reason="needs the intel extra")

from optimum.intel import OVModelForQuestionAnswering  # noqa: E402  (after the skip above)

from hf_dynbert.openvino import cpu  # noqa: E402
from hf_dynbert.openvino.export import LENGTH_CONFIG  # noqa: E402
from hf_dynbert.openvino.modeling_openvino import OVDynamicTinyBertForQuestionAnswering  # noqa: E402
from hf_dynbert.quantization import quantize as quantize_module  # noqa: E402
from hf_dynbert.quantization.accuracy_control import keep_sensitive_layers_in_fp32  # noqa: E402
from hf_dynbert.quantization.calibration import calibration_calls, calibration_inputs  # noqa: E402
from hf_dynbert.quantization.nncf_static import graph_input  # noqa: E402
from hf_dynbert.tasks import QUESTION_ANSWERING, DataOptions  # noqa: E402


EXACT = {"INFERENCE_PRECISION_HINT": "f32"}  # OpenVINO's default is bf16 where the CPU has it
BUDGETS = {"fast": [0.8, 0.5, 0.5, 0.2]}
OPTIONS = DataOptions(max_length=120, stride=8)


@pytest.fixture(scope="module")
def checkpoint(sizes, tokenizer, tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("checkpoint")
    options = {"importance": "learned", "early_selection_until": 1, "budgets": BUDGETS, "length_config": BUDGETS["fast"]}
    config = DynamicTinyBertConfig(**sizes, **options, min_tokens_to_drop=0)
    randomize_scorers(DynamicTinyBertForQuestionAnswering(config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def quantized(checkpoint, squad_file, tmp_path_factory):
    return quantize(checkpoint, squad_file, tmp_path_factory.mktemp("int8"), accuracy_samples=4)


def logits(model, batch, **kwargs):
    with torch.no_grad():
        output = model(**batch, **kwargs)
    real = batch["attention_mask"].bool()
    return torch.stack([output.start_logits[real], output.end_logits[real]])


def test_calibration_covers_budgets(checkpoint, tokenizer, questions):
    config = DynamicTinyBertConfig.from_pretrained(checkpoint)
    calls = calibration_calls(config, calibration_inputs(QUESTION_ANSWERING, config, tokenizer, questions, OPTIONS, 9))
    assert len(calls) == 9
    length_configs = [length_config for _, length_config in calls]
    assert length_configs[0::3] == [[1.0] * 4] * 3
    assert length_configs[1::3] == [BUDGETS["fast"]] * 3
    assert len(set(map(tuple, length_configs[2::3]))) == 3
    assert [call[LENGTH_CONFIG].tolist() for call in itertools.starmap(graph_input, calls)][1] == [
        8000,
        5000,
        5000,
        2000,
    ]


def test_int8_is_close_to_fp32_at_every_budget(checkpoint, quantized):
    eager = DynamicTinyBertForQuestionAnswering.from_pretrained(checkpoint).eval()
    model = OVDynamicTinyBertForQuestionAnswering.from_pretrained(quantized, ov_config=EXACT)
    for seed in range(5):
        batch = make_batch((60,), seed=seed)
        exact = logits(eager, batch, length_config="full")
        # random weights in 8 bits, calibrated on 8 windows: 0.28 of the logits' spread measured; a wrong scale gives over 1
        assert (logits(model, batch, length_config="full") - exact).std() < 0.5 * exact.std()
        fast, full = (logits(model, batch, length_config=budget) for budget in ("fast", "full"))
        assert (fast - full).abs().max() > 0.01  # more than two graphs of the same weights differ


def test_all_tokens_without_the_state_are_the_same_int8(quantized):
    plain, with_state = (OVDynamicTinyBertForQuestionAnswering.from_pretrained(quantized, ov_config=EXACT) for _ in range(2))
    for node in with_state.model.get_ops():  # as a file from before there were names: the graph with the state answers
        node.set_friendly_name(f"node of {node.get_friendly_name()}")
    for seed in range(5):
        batch = make_batch((60, 37), seed=seed)
        found, expected = (logits(model, batch, length_config="full") for model in (plain, with_state))
        # the same products; a sum in another order may round to another of 256 steps
        torch.testing.assert_close(found, expected, rtol=0, atol=0.05 * expected.std().item())


def test_int8_weights_are_int8(quantized):
    model = OVDynamicTinyBertForQuestionAnswering.from_pretrained(quantized, compile=False)
    kinds = [
        node.get_output_element_type(0).get_type_name()
        for node in model.model.get_ops()
        if node.get_type_name() == "Constant"
    ]
    assert kinds.count("i8") + kinds.count("u8") >= 4 * 6 + 1  # six matrices a layer, and the words


def test_who_never_heard_of_us_gets_the_default_budget(quantized):
    batch = make_batch((50, 30))
    plain = OVModelForQuestionAnswering.from_pretrained(quantized, ov_config=EXACT)
    ours = OVDynamicTinyBertForQuestionAnswering.from_pretrained(quantized, ov_config=EXACT)
    assert torch.equal(logits(plain, batch), logits(ours, batch, length_config="fast"))


def test_the_file_remembers_for_which_cpus_it_is(quantized):
    model = OVDynamicTinyBertForQuestionAnswering.from_pretrained(quantized, compile=False).model
    assert model.get_rt_info(cpu.OVERFLOW_FIX).value == ("enable" if cpu.has_vnni() is False else "disable")


def test_layers_in_floats_are_not_smoothed(checkpoint, quantized):
    model = OVDynamicTinyBertForQuestionAnswering.from_pretrained(quantized, compile=False).model
    smoothed = [node for node in model.get_ops() if node.get_friendly_name().endswith("nncf_smooth_quant")]
    users = {port.get_node().get_type_name() for node in smoothed for port in node.output(0).get_target_inputs()}
    assert users == {"FakeQuantize"}  # and none goes to a multiplication in floats
    weights, compared = DynamicTinyBertForQuestionAnswering.from_pretrained(checkpoint).state_dict(), 0
    for node in model.get_ops():
        name = re.search(r"(bert\.encoder\.layer\.\d\.token_scorer\.\w+)/", node.get_friendly_name())
        if name and node.get_type_name() == "MatMul":
            found = torch.tensor(node.input_value(1).get_node().data)
            torch.testing.assert_close(found, weights[f"{name[1]}.weight"], rtol=1e-5, atol=0)  # scaled, and scaled back
            compared += 1
    assert compared == 4 * 4  # unit, key, query and term_weight of each layer


def test_record_says_how(quantized):
    record = json.loads((quantized / quantize_module.RECORD).read_text())
    assert record["arguments"]["calibration_samples"] == 8
    assert all("/" not in name for name in record["arguments"]["train_file"])  # names of files, not places
    assert set(record["f1_int8"]) == set(record["f1_fp32"]) == {"full", "fast"}
    config = json.loads((quantized / "config.json").read_text())
    assert record["length_configs"] == {"full": None, "fast": config["budgets"]["fast"]}
    assert {"openvino", "nncf", "optimum-intel"} <= set(record["versions"])
    assert (quantized / "openvino_config.json").exists()
    assert (quantized / "tokenizer.json").exists()


def test_card_says_how_and_its_snippet_runs(quantized, capsys):
    card = (quantized / "README.md").read_text().replace(PLACE, str(quantized))
    assert (
        "in int8 for OpenVINO" in card
        and "| smooth_quant_alpha | 0.85 |" in card
        and "| `fast` | 0.8, 0.5, 0.5, 0.2 |" in card
    )
    assert re.search(r"\| F1 of int8 \| full [\d.]+, fast [\d.]+ \(4 examples; in floats full ", card)
    code = re.search(r"```python\n(.*?)```", card, re.S)[1]
    exec(compile(code, "card", "exec"), {})  # noqa: S102 (our own text: that it runs is what is tested)
    assert capsys.readouterr().out.count("'answer'") == 2


def test_a_model_is_not_written_over_itself(checkpoint, squad_file, capsys):
    argv = ["quantize", "--model", str(checkpoint), "--output_dir", str(checkpoint), "--train_file", str(squad_file)]
    assert cli.main(argv) == 2 and "give the int8 model a folder of its own" in capsys.readouterr().err
    assert (checkpoint / "model.safetensors").exists()


def test_accuracy_control_keeps_layers_exact():
    made, reference = [], {"full": 70.0, "fast": 68.0}
    good = "layer.2.output.dense"

    class Model(list):
        config = BertConfig(num_hidden_layers=4)

    def build(kept):
        made.append(kept)
        return Model(kept)

    def measure(model):
        return {"full": 70.0, "fast": 67.8 if good in model else 67.0}

    assert keep_sensitive_layers_in_fp32(build, measure, reference, None)[1:] == ([], {"full": 70.0, "fast": 67.0})
    made.clear()
    model, kept, scores = keep_sensitive_layers_in_fp32(build, measure, reference, max_drop=0.5)
    assert kept == [good] == list(model)
    assert scores["fast"] == 67.8
    assert len(made) == 1 + 8  # one trial for each part, one round


def test_accuracy_control_gives_up_with_a_warning(caplog):
    class Model(list):
        config = BertConfig(num_hidden_layers=2)

    _, kept, _ = keep_sensitive_layers_in_fp32(Model, lambda _: {"full": 60.0}, {"full": 70.0}, 0.5)
    assert len(kept) == 4
    assert "int8 loses 10.00 points" in caplog.text


@pytest.mark.parametrize("backend", ["openvino", "pytorch"])
def test_kept_layers_stay_in_floats(backend, checkpoint, tokenizer, questions):
    args = QuantizeArguments(str(checkpoint), "x", backend=backend, calibration_samples=4, max_length=120, stride=8)
    config = DynamicTinyBertConfig.from_pretrained(checkpoint)
    inputs = calibration_inputs(QUESTION_ANSWERING, config, tokenizer, questions, OPTIONS, 4)
    maker = quantize_module.backend_class(backend)(args, QUESTION_ANSWERING, inputs)

    def int8_weights(model):
        if backend == "pytorch":
            return sum(parameter.dtype == torch.int8 for parameter in model.parameters())
        constants = [node for node in model.model.get_ops() if node.get_type_name() == "Constant"]
        return sum(node.get_output_element_type(0).get_type_name() in ("i8", "u8") for node in constants)

    kept = ["layer.1.output.dense", "layer.3.attention.output.dense"]
    assert int8_weights(maker.build([])) - int8_weights(maker.build(kept)) == 2


def test_pytorch_backend_makes_a_folder_for_auto_model(checkpoint, squad_file, tmp_path):
    argv = ["quantize", "--backend", "pytorch", "--model", str(checkpoint), "--output_dir", str(tmp_path / "int8")]
    windows = ["--accuracy_samples", "4", "--max_length", "120", "--stride", "8"]
    assert cli.main([*argv, "--train_file", str(squad_file), *windows]) == 0
    model = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "int8")
    assert model.bert.encoder.layer[0].output.dense.weight.dtype == torch.int8
    assert model.config.budgets == BUDGETS
    record = json.loads((tmp_path / "int8" / quantize_module.RECORD).read_text())
    assert record["arguments"]["backend"] == "pytorch"
    assert set(record["f1_int8"]) == {"full", "fast"}


def test_neural_compressor_tunes_and_saves_for_auto_model(checkpoint, squad_file, tokenizer, questions, tmp_path):
    pytest.importorskip("neural_compressor", reason="needs the neural-compressor extra")
    from hf_dynbert.quantization.neural_compressor import NeuralCompressorInt8

    argv = ["quantize", "--backend", "neural-compressor", "--model", str(checkpoint), "--output_dir", str(tmp_path / "int8")]
    options = ["--accuracy_samples", "4", "--calibration_samples", "6", "--max_length", "120", "--stride", "8"]
    assert cli.main([*argv, "--train_file", str(squad_file), *options]) == 0
    model = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "int8").eval()
    record = json.loads((tmp_path / "int8" / quantize_module.RECORD).read_text())
    assert record["versions"]["neural-compressor"]
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, Int8Linear)}
    assert len(layers) == 6 * model.config.num_hidden_layers and not record["kept_in_fp32"]
    assert all(layer.input_scale.item() > 0 for name, layer in layers.items() if "output.dense" not in name)
    exact = DynamicTinyBertForQuestionAnswering.from_pretrained(checkpoint).eval()
    batch = make_batch((60,))
    expected = logits(exact, batch, length_config="full")
    # random weights in 8 bits, calibrated on 6 windows; a wrong scale gives over 1
    assert (logits(model, batch, length_config="full") - expected).std() < 0.5 * expected.std()

    # What loses too much is not taken: here every way does that gives a layer of either kind a range
    args = QuantizeArguments(
        str(checkpoint), "x", backend="neural-compressor", calibration_samples=3, max_length=120, stride=8
    )

    def ranges(model):
        layers = [layer for name, layer in model.named_modules() if name.endswith("output.dense")]
        return sum(layer.input_scale.item() > 0 for layer in layers if isinstance(layer, Int8Linear))

    def measure(model):
        return {"full": 70.0 - ranges(model)}

    inputs = calibration_inputs(QUESTION_ANSWERING, exact.config, tokenizer, questions, OPTIONS, 3)
    tuned, kept, scores = NeuralCompressorInt8(args, QUESTION_ANSWERING, inputs).tune(measure, {"full": 70.0})
    assert ranges(tuned) == 0 and not kept
    assert scores == {"full": 70.0}


def test_a_killed_run_leaves_nothing_that_loads(checkpoint, squad_file, tmp_path, monkeypatch):
    def dies(self, folder, **kwargs):
        (Path(folder) / "model.safetensors").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", dies)
    args = QuantizeArguments(
        str(checkpoint),
        str(tmp_path / "out"),
        backend="pytorch",
        train_file=[str(squad_file)],
        calibration_samples=4,
        accuracy_samples=0,
        max_length=120,
        stride=8,
    )
    with pytest.raises(KeyboardInterrupt):
        quantize_module.quantize(args)
    assert list((tmp_path / "out").iterdir()) == []


def test_one_killed_among_its_moves_leaves_no_mixture(quantized, tmp_path, monkeypatch):
    """Over an earlier model: each file moves whole, but they do so one after the other."""
    shutil.copytree(quantized, tmp_path / "out")
    moved, replace = [], os.replace

    def dies(source, target):
        if len(moved) == 2:
            raise KeyboardInterrupt
        moved.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", dies)
    with pytest.raises(KeyboardInterrupt), replace_files(tmp_path / "out") as folder:
        for path in quantized.glob("*.*"):
            shutil.copy(path, folder)
    monkeypatch.undo()
    assert len(moved) == 2
    with pytest.raises(OSError, match=re.escape("config.json")):
        OVDynamicTinyBertForQuestionAnswering.from_pretrained(tmp_path / "out")


def test_fewer_layers_that_drop(checkpoint, squad_file, tmp_path, capsys):
    argv = ["quantize", "--backend", "pytorch", "--model", str(checkpoint), "--output_dir", str(tmp_path / "int8")]
    options = ["--train_file", str(squad_file), "--accuracy_samples", "0", "--calibration_samples", "4"]
    assert cli.main([*argv, *options, "--drop_layers", "0", "2"]) == 2
    assert "length_config drops in layer 2" in capsys.readouterr().err
    assert not (tmp_path / "int8").exists()
    options += ["--max_length", "120", "--stride", "8"]
    assert cli.main([*argv, *options, "--drop_layers", "0", "1", "3"]) == 0
    model = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "int8")
    assert model.config.drop_layers == [0, 1, 3]
    assert model.bert.encoder.layer[2].token_scorer is None
    record = json.loads((tmp_path / "int8" / quantize_module.RECORD).read_text())
    assert record["arguments"]["drop_layers"] == [0, 1, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--calibration_samples", "0"], "calibration_samples is 0; valid are numbers from 1 on"),
        (["--smooth_quant_alpha", "2"], "smooth_quant_alpha is 2.0; valid are numbers from 0 to 1"),
        (["--backend", "onnx"], "backend is 'onnx'; valid are 'openvino', 'pytorch', 'neural-compressor'"),
        (["--backend", "neural-compressor", "--max_drop", "1"], "takes no max_drop"),
        (["--backend", "neural-compressor", "--tolerable_loss", "2"], "tolerable_loss is 2.0"),
        (["--max_drop", "-1"], "max_drop is -1.0"),
        (["--calibration_sample", "3"], "nearest valid one is calibration_samples"),
    ],
)
def test_bad_options_are_refused(capsys, checkpoint, options, message):
    assert cli.main(["quantize", "--model", str(checkpoint), "--output_dir", "x", *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--max_drop", "0.5", "--backend", "pytorch"], ["--backend", "neural-compressor"]])
def test_tuning_without_examples_to_measure_is_refused(capsys, make_model, tokenizer, tmp_path, option):
    model = classifier(make_model, tokenizer, tmp_path / "model")
    data = write_rows(tmp_path / "row.jsonl", [0, 1, 2, 1])
    data.write_text(data.read_text().splitlines()[0] + "\n")
    argv = ["quantize", "--model", str(model), "--output_dir", str(tmp_path / "out"), "--train_file", str(data)]
    assert cli.main([*argv, *option]) == 2
    assert "left to measure accuracy on" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_another_architecture_is_refused(capsys, bert_folder, squad_file, tmp_path):
    argv = ["quantize", "--model", str(bert_folder), "--output_dir", str(tmp_path / "out"), "--train_file", str(squad_file)]
    assert cli.main(argv) == 2
    assert "holds a model of type 'bert'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_evaluate_and_ask_take_the_folder(capsys, quantized, squad_file, tmp_path):
    windows = ["--max_length", "120", "--stride", "8", "--latency_samples", "2"]
    argv = ["evaluate", "--model", str(quantized), "--data", str(squad_file), "--length-config", "fast", "--json", *windows]
    assert cli.main(argv) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["examples"] == 16
    assert 0 <= result["f1"] <= 100


TEXTS = ["ada wrote the song", "ben lit the tower by night", "who built the ship in 1907", "the house at the light"]


def classifier(make_model, tokenizer, folder, **config):
    """A saved classifier with a named budget."""
    make_model("text-classification", importance="learned", budgets=BUDGETS, **config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_rows(path, labels):
    """A JSONL file of texts with labels."""
    rows = [{"text": text, "label": label} for text, label in zip(TEXTS * 3, labels * 3, strict=True)]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_classifier_stays_a_classifier(backend, make_model, tokenizer, tmp_path):
    if backend == "neural-compressor":
        pytest.importorskip("neural_compressor", reason="needs the neural-compressor extra")
    model = classifier(make_model, tokenizer, tmp_path / "model")
    data = write_rows(tmp_path / "rows.jsonl", [0, 1, 2, 1])
    argv = ["quantize", "--backend", backend, "--model", str(model), "--output_dir", str(tmp_path / "int8")]
    options = ["--train_file", str(data), "--calibration_samples", "6", "--accuracy_samples", "4", "--max_length", "32"]
    assert cli.main([*argv, *options]) == 0
    config = json.loads((tmp_path / "int8" / "config.json").read_text())
    assert config["architectures"][0].endswith("ForSequenceClassification")
    record = json.loads((tmp_path / "int8" / quantize_module.RECORD).read_text())
    assert record["task"] == "text-classification" and record["metric"] == "accuracy" and record["examples"] == 4
    assert set(record["accuracy_int8"]) == set(record["accuracy_fp32"]) == {"full", "fast"}
    exact, quantized = load(model), load(tmp_path / "int8")
    inputs = [tokenizer(text, return_tensors="pt") for text in TEXTS]
    for budget in ("full", "fast"):
        expected, found = (
            torch.cat([torch.as_tensor(runs(**item, budget=budget).logits) for item in inputs]).detach()
            for runs in (exact, quantized)
        )
        assert found.shape == (len(TEXTS), 3)
        # random weights in 8 bits, calibrated on 6 texts; a random head gives over 1
        assert (found - expected).std() < 0.5 * expected.std()


@pytest.mark.parametrize(
    ("architectures", "options", "message"),
    [
        (
            ["DynamicTinyBertForSequenceClassification"],
            ["--task", "question-answering"],
            "is a model for text-classification",
        ),
        (["DynamicTinyBertModel"], [], "has no head for a task"),
        (["DynamicTinyBertModel"], ["--task", "text-classification"], "needs a model ForSequenceClassification"),
        (None, ["--task", "question-answering"], "needs a model ForQuestionAnswering"),
        (["DynamicTinyBertForSequenceClassification"], ["--task", "nonsense"], "valid are 'question-answering'"),
    ],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_no_head_is_invented(backend, make_model, tokenizer, tmp_path, capsys, architectures, options, message):
    model = classifier(make_model, tokenizer, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"architectures": architectures}))
    argv = ["quantize", "--backend", backend, "--model", str(model), "--output_dir", str(tmp_path / "int8")]
    assert cli.main([*argv, "--train_file", str(write_rows(tmp_path / "rows.jsonl", [0, 1, 2, 1])), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "int8").exists()


@pytest.mark.parametrize(
    ("name", "labels", "message"),
    [
        ("rows.jsonl", [0, 1, 2, 7], "label"),
        ("rows.jsonl", [0, 1, None, 1], "label"),
        ("rows.csv", None, "label"),
        ("nowhere.jsonl", None, "nowhere.jsonl"),
    ],
)
def test_bad_data_is_refused_before_work(make_model, tokenizer, tmp_path, capsys, name, labels, message):
    model, data = classifier(make_model, tokenizer, tmp_path / "model"), tmp_path / name
    if labels:
        write_rows(data, labels)
    elif name == "rows.csv":
        data.write_text("text,label\nada wrote,0\nben lit,\nthe song,1\nthe ship,2\n")
    argv = ["quantize", "--backend", "pytorch", "--model", str(model), "--output_dir", str(tmp_path / "int8")]
    assert cli.main([*argv, "--train_file", str(data), "--max_length", "32"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "int8").exists()


@pytest.mark.parametrize("file", ["model.safetensors", "openvino_model.xml"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_in_floats_are_not_deleted(backend, file, checkpoint, squad_file, tmp_path, capsys):
    (tmp_path / file).write_text("weights")
    argv = ["quantize", "--backend", backend, "--model", str(checkpoint), "--output_dir", str(tmp_path)]
    assert cli.main([*argv, "--train_file", str(squad_file)]) == 2
    assert "give the int8 model a folder of its own" in capsys.readouterr().err
    assert (tmp_path / file).read_text() == "weights"
