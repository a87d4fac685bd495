"""int8: the folder is whole, small, close to fp32, and says how it was made."""

import json

import pytest
import torch
from conftest import make_batch, randomize_scorers

from hf_dynbert import DynamicTinyBertConfig, DynamicTinyBertForQuestionAnswering, cli
from hf_dynbert.intel.arguments import QuantizeArguments


pytestmark = pytest.mark.intel
pytest.importorskip("optimum.intel", reason="needs the intel extra")

from optimum.intel import OVModelForQuestionAnswering  # noqa: E402  (after the skip above)

from hf_dynbert.intel import quantize as quantize_module  # noqa: E402
from hf_dynbert.intel.calibration import calibration_inputs  # noqa: E402
from hf_dynbert.intel.modeling_openvino import OVDynamicTinyBertForQuestionAnswering  # noqa: E402


EXACT = {"INFERENCE_PRECISION_HINT": "f32"}  # OpenVINO's default is bf16 where the CPU has it
BUDGETS = {"fast": [0.8, 0.5, 0.5, 0.2]}


@pytest.fixture(scope="module")
def checkpoint(sizes, tokenizer, tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("checkpoint")
    config = DynamicTinyBertConfig(**sizes, importance="learned", budgets=BUDGETS, length_config=BUDGETS["fast"])
    randomize_scorers(DynamicTinyBertForQuestionAnswering(config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def squad_file(questions, tmp_path_factory):
    paragraphs = [
        {"context": row["context"], "qas": [{"id": row["id"], "question": row["question"], "answers": answers(row)}]}
        for row in questions
    ]
    path = tmp_path_factory.mktemp("squad") / "train.json"
    path.write_text(json.dumps({"version": "1.1", "data": [{"title": "tiny", "paragraphs": paragraphs}]}))
    return path


def answers(row):
    return [{"text": row["answers"]["text"][0], "answer_start": row["answers"]["answer_start"][0]}]


@pytest.fixture(scope="module")
def quantized(checkpoint, squad_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8")
    argv = ["quantize", "--model", str(checkpoint), "--output_dir", str(folder), "--train_file", str(squad_file)]
    assert (
        cli.main([*argv, "--calibration_samples", "8", "--accuracy_samples", "4", "--max_length", "120", "--stride", "8"])
        == 0
    )
    return folder


def logits(model, batch, **kwargs):
    with torch.no_grad():
        output = model(**batch, **kwargs)
    real = batch["attention_mask"].bool()
    return torch.stack([output.start_logits[real], output.end_logits[real]])


def test_calibration_covers_budgets(checkpoint, tokenizer, questions):
    config = DynamicTinyBertConfig.from_pretrained(checkpoint)
    inputs = calibration_inputs(config, tokenizer, questions, samples=9, max_length=120, stride=8)
    assert len(inputs) == 9
    dials = [tuple(sample["length_config"]) for sample in inputs]
    assert dials[0::3] == [(1_000_000,) * 4] * 3
    assert dials[1::3] == [(800_000, 500_000, 500_000, 200_000)] * 3
    assert len(set(dials[2::3])) == 3


def test_int8_is_close_to_fp32_at_every_budget(checkpoint, quantized):
    eager = DynamicTinyBertForQuestionAnswering.from_pretrained(checkpoint).eval()
    model = OVDynamicTinyBertForQuestionAnswering.from_pretrained(quantized, ov_config=EXACT)
    for seed in range(5):
        batch = make_batch((60,), seed=seed)
        exact = logits(eager, batch, length_config="full")
        # random weights in 8 bits, calibrated on 8 windows: 0.28 of the logits' spread measured; a wrong scale gives over 1
        assert (logits(model, batch, length_config="full") - exact).std() < 0.5 * exact.std()
        assert not torch.equal(logits(model, batch, length_config="fast"), logits(model, batch, length_config="full"))


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


def test_record_says_how(quantized):
    record = json.loads((quantized / quantize_module.RECORD).read_text())
    assert record["calibration_windows"] == 8
    assert set(record["f1_int8"]) == set(record["f1_fp32"]) == {"full", "fast"}
    assert {"openvino", "nncf", "optimum-intel"} <= set(record["versions"])
    assert (quantized / "openvino_config.json").exists()
    assert (quantized / "tokenizer.json").exists()


def test_accuracy_control_keeps_layers_exact(checkpoint, squad_file, tmp_path, monkeypatch):
    made = []

    def pretend(checkpoint, inputs, args, kept):
        made.append(kept)
        return kept

    monkeypatch.setattr(quantize_module, "static_quantize", pretend)
    args = QuantizeArguments(str(checkpoint), str(tmp_path), max_f1_drop=0.5)
    reference = {"full": 70.0, "fast": 68.0}
    good = r".*layer\.2\.output.dense/.*"

    def measure(kept):
        return {"full": 70.0, "fast": 67.8 if good in kept else 67.0}

    class Model:
        config = DynamicTinyBertConfig.from_pretrained(checkpoint)

    model, kept, scores = quantize_module._protect(args, [], measure, reference, Model, measure([]))
    assert kept == [good] == model
    assert scores["fast"] == 67.8
    assert len(made) == 8  # one trial for each part, one round


def test_a_killed_run_leaves_nothing_that_loads(checkpoint, squad_file, tmp_path, monkeypatch):
    def dies(self, folder, **kwargs):
        (folder / "openvino_model.xml").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(OVDynamicTinyBertForQuestionAnswering, "save_pretrained", dies)
    monkeypatch.setattr(quantize_module, "static_quantize", lambda *args: quantize_module._export(str(checkpoint)))
    args = QuantizeArguments(
        str(checkpoint),
        str(tmp_path / "out"),
        [str(squad_file)],
        calibration_samples=4,
        accuracy_samples=0,
        max_length=120,
        stride=8,
    )
    with pytest.raises(KeyboardInterrupt):
        quantize_module.quantize(args)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--calibration_samples", "0"], "calibration_samples is 0; valid are 1 and more"),
        (["--smooth_quant_alpha", "2"], "smooth_quant_alpha is 2.0; valid are numbers in"),
        (["--max_f1_drop", "-1"], "max_f1_drop is -1.0"),
        (["--calibration_sample", "3"], "nearest valid one is calibration_samples"),
    ],
)
def test_bad_options_are_refused(capsys, checkpoint, options, message):
    assert cli.main(["quantize", "--model", str(checkpoint), "--output_dir", "x", *options]) == 2
    assert message in capsys.readouterr().err


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
