"""Calls of the OpenVINO classes: arguments, short examples, fixed shapes, raw OpenVINO and model servers."""

import json
import logging
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from conftest import make_batch, randomize_scorers

from hf_dynbert import (
    DynamicTinyBertConfig,
    DynamicTinyBertForQuestionAnswering,
    DynamicTinyBertForSequenceClassification,
)
from hf_dynbert.subnetwork import SubNetwork


pytestmark = pytest.mark.intel
pytest.importorskip("optimum.intel", reason="needs the intel extra")

import openvino  # noqa: E402  (after the skip above)

from hf_dynbert.openvino.modeling_openvino import (  # noqa: E402
    OVDynamicTinyBertForQuestionAnswering,
    OVDynamicTinyBertForSequenceClassification,
)


TOLERANCE = 1e-5  # two fp32 kernels on sums of at most 64 terms
FAST = [0.8, 0.5, 0.5, 0.2]
KINDS = {
    "answers": (DynamicTinyBertForQuestionAnswering, OVDynamicTinyBertForQuestionAnswering),
    "classes": (DynamicTinyBertForSequenceClassification, OVDynamicTinyBertForSequenceClassification),
}


@pytest.fixture(scope="module")
def folders(sizes, tmp_path_factory):
    """OpenVINO folders by name, with the PyTorch checkpoint in `pytorch`; their graphs drop at every length."""
    folder = tmp_path_factory.mktemp("models")
    for name, (eager_class, ov_class) in KINDS.items():
        torch.manual_seed(0)
        config = DynamicTinyBertConfig(**sizes, importance="learned", budgets={"fast": FAST}, min_tokens_to_drop=0)
        randomize_scorers(eager_class(config)).save_pretrained(folder / name / "pytorch")
        ov_class.from_pretrained(folder / name / "pytorch", export=True, compile=False).save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="module")
def models(folders):
    """Pairs of an eager and an OpenVINO model, which no test changes."""
    return {name: load(folders, name) for name in KINDS}


def load(folders, name, **options):
    eager_class, ov_class = KINDS[name]
    return eager_class.from_pretrained(folders / name / "pytorch").eval(), ov_class.from_pretrained(
        folders / name, **options
    )


def logits(model, batch, **arguments):
    """The logits of each example's real tokens, or of the example: a list of tensors."""
    with torch.no_grad():
        output = model(**batch, **arguments)
    if "logits" in output:
        return list(output.logits)
    both = torch.stack([output.start_logits, output.end_logits], dim=1)
    return [found[:, : int(mask.sum())] for found, mask in zip(both, batch["attention_mask"], strict=True)]


def assert_close(found, expected):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=TOLERANCE)


def assert_equal(found, expected):
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", KINDS)
def test_every_form_of_a_budget_gives_the_same_answer(models, name):
    eager, model = models[name]
    batch = make_batch((60, 33))
    expected = logits(eager, batch, budget="fast")
    forms = ["fast", FAST, tuple(FAST), {"length_config": FAST}, SubNetwork(length_config=tuple(FAST))]
    for arguments in [*({"budget": form} for form in forms), {"length_config": "fast"}, {"length_config": FAST}]:
        assert_close(logits(model, batch, **arguments), expected)
    for full in ("full", SubNetwork(), {}, None):
        assert_close(logits(model, batch, budget=full), logits(eager, batch, budget="full"))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"budget": "fast", "length_config": "fast"}, ValueError, "takes one of them"),
        ({"budget": {"layers": [0, 1]}}, ValueError, "runs layers"),
        ({"budget": "fats"}, ValueError, "fast"),
        ({"budget": [0.5]}, ValueError, "4 layers"),
        ({"budget": {"lenght_config": FAST}}, ValueError, "length_config"),
        ({"lenght_config": "fast"}, TypeError, "Did you mean 'length_config'"),
        ({"bugdet": "fast"}, TypeError, "Did you mean 'budget'"),
        ({"output_attentions": True}, TypeError, "output_attentions"),
        ({"position_ids": torch.arange(20)[None]}, TypeError, "position_ids"),
    ],
)
def test_wrong_arguments_of_a_call_are_refused(models, name, arguments, error, message):
    _, model = models[name]
    with pytest.raises(error, match=message):
        model(**make_batch((20,)), **arguments)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("wrong", ["length_config", "budget", "subfolders", "ovconfig", "dtype", "attn_implementation"])
def test_wrong_arguments_of_from_pretrained_are_refused(folders, name, wrong):
    with pytest.raises(TypeError, match=wrong):
        KINDS[name][1].from_pretrained(folders / name, **{wrong: "fast"})


@pytest.mark.parametrize("name", KINDS)
def test_return_dict(models, name):
    _, model = models[name]
    batch = make_batch((20,))
    as_tuple, as_dict = model(**batch, return_dict=False), model(**batch, return_dict=True)
    assert isinstance(as_tuple, tuple) and len(as_tuple) == len(as_dict)
    assert all(torch.equal(one, other) for one, other in zip(as_tuple, as_dict.to_tuple(), strict=True))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("compile_only", [False, True])
def test_short_examples_keep_all_their_tokens(folders, name, compile_only):
    """The graph has no such rule, as graphs of earlier releases; the rule is one of the example alone."""
    eager, model = load(folders, name, compile_only=compile_only)
    eager.config.min_tokens_to_drop = model.config.min_tokens_to_drop = 30
    lengths = (12, 64, 29, 30, 5, 31)
    batch = make_batch(lengths, width=70)
    found = logits(model, batch, budget="fast")
    assert_close(found, logits(eager, batch, budget="fast"))
    rows = [{key: values[index : index + 1] for key, values in batch.items()} for index in range(len(lengths))]
    alone = [logits(model, row, budget="fast")[0] for row in rows]
    for length, one, other, row in zip(lengths, found, alone, rows, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=TOLERANCE)  # batch mates and padding change nothing
        difference = (other - logits(model, row, budget="full")[0]).abs().max()
        assert difference == 0 if length < 30 else difference > 0.01
    arrays = model(**{key: values.numpy() for key, values in batch.items()}, budget="fast")
    tensors = model(**batch, budget="fast")
    for key in tensors:
        assert np.array_equal(arrays[key], tensors[key].numpy()) and tensors[key].shape == arrays[key].shape
    unmasked = {key: values[:, :5] for key, values in batch.items() if key != "attention_mask"}  # 5 tokens each
    with torch.no_grad():
        for key, values in model(**unmasked, budget="fast").items():
            assert torch.equal(values, model(**unmasked, budget="full")[key])
    with ThreadPoolExecutor(4) as pool:
        for again in pool.map(lambda _: logits(model, batch, budget="fast"), range(8)):
            assert_equal(again, found)


@pytest.mark.parametrize("name", KINDS)
def test_fixed_shapes_are_filled_or_refused(folders, name):
    _, model = load(folders, name)
    batch, one = make_batch((40, 12), width=50), make_batch((40,))
    pair = {key: values.numpy() for key, values in batch.items()}
    expected = {budget: logits(model, batch, budget=budget) for budget in ("full", "fast")}
    model.reshape(2, 96)
    for budget, values in expected.items():
        assert_close(logits(model, batch, budget=budget), values)
    assert all(values.shape[1] in (3, 2, 50) for values in model(**pair).values())  # labels, or the input's length
    model.config.min_tokens_to_drop = 30
    assert_close(logits(model, batch, budget="fast"), [expected["fast"][0], expected["full"][1]])
    for wrong in (one, make_batch((100, 100)), make_batch((20, 20, 20))):
        with pytest.raises(ValueError, match="do not fit.*shape 2 x 96.*reshape"):
            logits(model, wrong, budget="fast")
    model.config.min_tokens_to_drop = 0
    model.reshape(-1, 64)
    assert_close(logits(model, batch, budget="fast"), expected["fast"])
    with pytest.raises(ValueError, match="do not fit.*shape any x 64"):
        logits(model, make_batch((65,)))


@pytest.mark.parametrize("name", KINDS)
def test_precision_and_subfolder(folders, name, tmp_path):
    _, model = load(folders, name, compile_only=True)
    assert model.model.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32
    expected = logits(model, make_batch((40,)), budget="fast")
    shutil.copytree(folders / name, tmp_path / "root" / "openvino", ignore=shutil.ignore_patterns("pytorch"))
    shutil.move(tmp_path / "root" / "openvino" / "config.json", tmp_path / "root" / "config.json")
    model = KINDS[name][1].from_pretrained(tmp_path / "root", subfolder="openvino")
    assert_equal(logits(model, make_batch((40,)), budget="fast"), expected)
    with pytest.raises(OSError, match="no config.json|config.json"):
        KINDS[name][1].from_pretrained(tmp_path, subfolder="openvino")


def test_folders_of_earlier_releases_drop_at_every_length(folders, tmp_path):
    shutil.copytree(folders / "answers", tmp_path / "old", ignore=shutil.ignore_patterns("pytorch"))
    config = json.loads((tmp_path / "old" / "config.json").read_text())
    del config["min_tokens_to_drop"]
    (tmp_path / "old" / "config.json").write_text(json.dumps(config))
    model = OVDynamicTinyBertForQuestionAnswering.from_pretrained(tmp_path / "old")
    assert model.config.min_tokens_to_drop == 0


def test_offline_loads_print_no_false_alarm(folders, monkeypatch, caplog):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with caplog.at_level(logging.WARNING):
        for place in (folders / "answers", str(folders / "answers")):
            OVDynamicTinyBertForQuestionAnswering.from_pretrained(place, compile=False)
    assert [record.message for record in caplog.records if "Timed" not in record.message] == []


@pytest.mark.parametrize("name", KINDS)
def test_the_length_configuration_as_an_input(folders, name, tmp_path):
    eager, model = load(folders, name)
    model.save_pretrained(tmp_path, length_config_as_input=True)
    compiled = openvino.Core().compile_model(tmp_path / "openvino_model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert "length_config" in compiled.inputs[-1].get_names() and len(compiled.inputs) == 4
    assert not compiled.create_infer_request().query_state()
    for batch in (make_batch((60,)), make_batch((60, 33, 5)), make_batch((9, 8))):
        for budget in ("full", "fast", [20, 12, 12, 3], [0.5] * 4):
            encoded = np.array(SubNetwork.parse(model.config, budget).encode(model.config), dtype=np.int32)
            arrays = {key: values.numpy() for key, values in batch.items()} | {"length_config": encoded}
            raw = {node.any_name: torch.from_numpy(value) for node, value in compiled(arrays).items()}
            with torch.no_grad():
                expected = eager(**batch, budget=budget)
            real = batch["attention_mask"].bool() if name == "answers" else slice(None)
            for key, values in raw.items():
                torch.testing.assert_close(values[real], expected[key][real], rtol=0, atol=TOLERANCE)
    again = KINDS[name][1].from_pretrained(tmp_path)  # our class turns the input into a state again
    assert_equal(logits(again, batch, budget="fast"), logits(model, batch, budget="fast"))
    assert_close(logits(again, batch), logits(eager, batch))


@pytest.mark.parametrize(
    ("state", "means"),
    [
        ([0, 0, 0, 0], "full"),
        ([10_000] * 4, "full"),
        ([20_000] * 4, "full"),
        ([0, 5_000, 0, 0], [1.0, 0.5, 0.5, 0.5]),
        ([2_000, 5_000, 8_000, 10_000], [0.2] * 4),
        ([-9, -20, -100, -30], [9] * 4),
        ([-100_000] * 4, "full"),
        ([8_000, 5_000, 5_000, 2_000], FAST),
    ],
)
def test_raw_states_that_no_budget_has_are_harmless(folders, models, state, means):
    eager, _ = models["answers"]
    batch = make_batch((60, 33))
    model = openvino.Core().read_model(folders / "answers" / "openvino_model.xml")
    request = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
    [variable] = [found for found in request.query_state() if found.name == "length_config"]
    variable.state = openvino.Tensor(np.array(state, dtype=np.int32))
    found = request.infer({key: values.numpy() for key, values in batch.items()})
    with torch.no_grad():
        expected = eager(**batch, budget=means)
    real = batch["attention_mask"].bool()
    for node, values in found.items():
        torch.testing.assert_close(torch.from_numpy(values)[real], expected[node.any_name][real], rtol=0, atol=TOLERANCE)
