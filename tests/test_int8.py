"""int8 in PyTorch: exact integer arithmetic, one call to load, and answers that depend on nobody else."""

import copy
import json

import pytest
import torch
from conftest import IMPORTANCES, LENGTH_CONFIGS, make_batch
from torch import nn
from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification, BertForQuestionAnswering

from hf_dynbert import DynamicInt8Config, DynamicTinyBertForQuestionAnswering
from hf_dynbert.int8_kernels import FbgemmKernel, FloatKernel, is_exact, kernel_for
from hf_dynbert.int8_layers import Int8Embedding, Int8Linear, quantize_rows


TOLERANCE = 1e-5  # float rounding after exact integer sums


@pytest.fixture
def folder(make_model, tmp_path):
    make_model(importance="learned", budgets={"fast": LENGTH_CONFIGS[0]}).save_pretrained(tmp_path / "float")
    return tmp_path / "float"


@pytest.fixture(params=["row by row", "fixed ranges"])
def quantized(request, folder):
    model = AutoModelForQuestionAnswering.from_pretrained(folder, quantization_config=DynamicInt8Config())
    if request.param == "fixed ranges":
        for layer in model.modules():
            if isinstance(layer, Int8Linear):
                layer.set_input_range(-5.0, 5.0)
    return model


@pytest.fixture
def saved(quantized, tmp_path):
    quantized.save_pretrained(tmp_path / "int8")
    return tmp_path / "int8"


def logits(model, batch, **kwargs):
    with torch.no_grad():
        output = model.eval()(**batch, **kwargs)
    return torch.stack([output.start_logits, output.end_logits])


def test_rows_are_rounded_to_the_nearest_step():
    values = torch.randn(50, 30)
    integers, scale = quantize_rows(values)
    assert integers.abs().amax(dim=1).eq(127).all()
    assert ((integers * scale - values).abs() <= scale / 2 * (1 + TOLERANCE)).all()
    zeros, _ = quantize_rows(torch.zeros(2, 3))
    assert not zeros.any()


@pytest.mark.parametrize("rows", [0, 1, 7, 3000])
def test_linear_row_by_row_is_integer_arithmetic(rows):
    linear = nn.Linear(96, 40)
    layer, integers = Int8Linear.from_float(linear), torch.randint(-126, 127, (2, rows, 96))
    integers[..., 5] = 127
    scale = torch.rand(2, rows, 1) + 0.1
    values = (integers + 0.25 * torch.randint(-1, 2, integers.shape) * (integers < 127)) * scale  # nothing is near a half
    weight, weight_scale = quantize_rows(linear.weight.data)
    expected = (integers @ weight.long().T) * scale.double() * weight_scale[:, 0].double() + linear.bias
    torch.testing.assert_close(layer(values), expected.float(), rtol=TOLERANCE, atol=100 * TOLERANCE)  # sums are hundreds


@pytest.mark.parametrize("rows", [0, 1, 7, 3000])
def test_linear_with_a_fixed_range_is_integer_arithmetic(rows):
    linear = nn.Linear(96, 40)
    layer, integers = Int8Linear.from_float(linear), torch.randint(-120, 221, (2, rows, 96))
    layer.set_input_range(-1.0, 2.0)
    scale, zero_point = layer.input_scale.item(), round(255 / 3)
    assert layer.input_zero_point.item() == zero_point
    values = (integers + 0.25 * torch.randint(-1, 2, integers.shape)) * scale
    integers = integers.clamp(-zero_point, 255 - zero_point)  # values beyond are cut off
    weight, weight_scale = quantize_rows(linear.weight.data)
    expected = (integers @ weight.long().T) * scale * weight_scale[:, 0].double() + linear.bias
    torch.testing.assert_close(layer(values), expected.float(), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("fixed", [False, True])
def test_a_row_does_not_depend_on_its_place(fixed):
    layer, values = Int8Linear.from_float(nn.Linear(1100, 40)), torch.randn(300, 1100)
    if fixed:
        layer.set_input_range(-2.0, 2.5)
    together = layer(values)
    for start, count in ((0, 1), (1, 1), (7, 3), (100, 16), (199, 101)):
        assert torch.equal(layer(values[start : start + count]), together[start : start + count])


@pytest.mark.parametrize("bias", [torch.randn(40), None], ids=["bias", "no bias"])
def test_the_kernel_of_any_device_computes_the_same(bias):
    if not is_exact(FbgemmKernel):
        pytest.skip("FBGEMM is not exact on this CPU, or not in this PyTorch")
    weight, scale = quantize_rows(torch.randn(40, 1100))
    rows = 0.03 * (torch.randint(-120, 136, (300, 1100)) + 0.25 * torch.randint(-1, 2, (300, 1100)))  # none near a half
    on_cpu, anywhere = (kernel(weight, scale[:, 0], bias)(rows, 0.03, 120) for kernel in (FbgemmKernel, FloatKernel))
    torch.testing.assert_close(anywhere, on_cpu, rtol=TOLERANCE, atol=0.001)  # sums are thousands
    alone = FloatKernel(weight, scale[:, 0], bias)(rows[7:10], 0.03, 120)
    assert torch.equal(alone, anywhere[7:10])


def test_the_kernel_is_exact_and_overflow_is_noticed():
    assert is_exact(kernel_for(torch.device("cpu"))) and is_exact(FloatKernel)

    class Overflows(FloatKernel):
        def __call__(self, rows, scale, zero_point):
            return super().__call__(rows, scale, zero_point).clamp(-(2**15), 2**15 - 1)  # what 16 bits hold

    assert not is_exact(Overflows)


def test_packing_leaves_the_process_as_it_was():
    before = torch.backends.quantized.engine
    Int8Linear.from_float(nn.Linear(8, 8))(torch.ones(1, 8))
    assert torch.backends.quantized.engine == before


@pytest.mark.parametrize("low, high", [(0.5, 2.0), (-3.0, -1.0), (0.0, 0.0), (-0.17, 40.0)])
def test_zero_stays_zero_in_every_range(low, high):
    layer = Int8Linear.from_float(nn.Linear(4, 3, bias=False))
    layer.set_input_range(low, high)
    assert not layer(torch.zeros(2, 4)).any()
    assert torch.isfinite(layer(torch.ones(2, 4))).all()


@pytest.mark.parametrize("fixed", [False, True])
def test_large_sums_do_not_overflow(fixed):
    linear = nn.Linear(4096, 8, bias=False)
    linear.weight.data.fill_(1.0)
    layer = Int8Linear.from_float(linear)
    if fixed:
        layer.set_input_range(0.0, 1.0)
    assert torch.allclose(layer(torch.ones(5, 4096)), torch.full((5, 8), 4096.0))


def test_embedding_rows_have_their_own_scale():
    embedding = nn.Embedding(20, 16)
    embedding.weight.data *= torch.logspace(-3, 3, 20)[:, None]
    indices = torch.arange(20).view(4, 5)
    exact = embedding(indices)
    error = (Int8Embedding.from_float(embedding)(indices) - exact).abs()
    assert (error <= exact.abs().amax(dim=-1, keepdim=True) / 127 / 2 * (1 + TOLERANCE)).all()


def test_weights_loaded_after_a_call_are_used():
    first, second = Int8Linear.from_float(nn.Linear(8, 8)), Int8Linear.from_float(nn.Linear(8, 8))
    values = torch.randn(3, 8)
    first(values), second(values)
    assert torch.equal(copy.deepcopy(first)(values), first(values))
    first.load_state_dict(second.state_dict())
    assert torch.equal(first(values), second(values))


def test_auto_model_loads_it_bit_equal(quantized, saved):
    again = AutoModelForQuestionAnswering.from_pretrained(saved)
    assert type(again) is DynamicTinyBertForQuestionAnswering
    assert json.loads((saved / "config.json").read_text())["quantization_config"]["quant_method"] == "dynamic_int8"
    ours, theirs = quantized.state_dict(), again.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) and ours[name].dtype == theirs[name].dtype for name in ours)
    for length_config in (None, "fast", *LENGTH_CONFIGS):
        batch = make_batch((60, 30))
        assert torch.equal(
            logits(quantized, batch, length_config=length_config), logits(again, batch, length_config=length_config)
        )


def test_a_second_save_is_the_same(saved, tmp_path):
    AutoModelForQuestionAnswering.from_pretrained(saved).save_pretrained(tmp_path / "again")
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (saved / name).read_bytes()


def test_what_is_int8(saved):
    model = AutoModelForQuestionAnswering.from_pretrained(saved)
    kinds = {name: type(module) for name, module in model.named_modules()}
    assert sum(kind is Int8Linear for kind in kinds.values()) == 6 * model.config.num_hidden_layers
    assert kinds["bert.embeddings.word_embeddings"] is Int8Embedding
    assert all("token_scorer" in name or name == "qa_outputs" for name, kind in kinds.items() if kind is nn.Linear)


@pytest.mark.parametrize("importance", IMPORTANCES)
def test_close_to_fp32(make_model, importance, tmp_path):
    exact = make_model(importance=importance)
    exact.save_pretrained(tmp_path)
    model = AutoModelForQuestionAnswering.from_pretrained(tmp_path, quantization_config=DynamicInt8Config())
    batch = make_batch((60,))
    expected = logits(exact, batch)
    # random weights ten times the usual size; a wrong scale gives errors above the logits' own spread
    assert (logits(model, batch) - expected).std() < 0.3 * expected.std()


def test_mates_and_padding_change_nothing(saved):
    # In float64, or a sum that rounds differently puts an activation on the neighbouring integer now and then
    model = AutoModelForQuestionAnswering.from_pretrained(saved).double()
    batch = make_batch((60, 30, 45))
    for length_config in ("full", "fast", LENGTH_CONFIGS[2]):
        together = logits(model, batch, length_config=length_config)
        for row, length in enumerate((60, 30, 45)):
            alone = {name: value[row : row + 1, :length] for name, value in batch.items()}
            torch.testing.assert_close(
                logits(model, alone, length_config=length_config)[:, 0],
                together[:, row, :length],
                rtol=0,
                atol=TOLERANCE,
            )


def test_other_models_of_transformers_take_it_too(bert_folder, classifier_folder, tmp_path):
    plain = BertForQuestionAnswering.from_pretrained(bert_folder, quantization_config=DynamicInt8Config())
    plain.save_pretrained(tmp_path)
    batch = make_batch((40, 20))
    assert torch.equal(logits(BertForQuestionAnswering.from_pretrained(tmp_path), batch), logits(plain, batch))
    classifier = AutoModelForSequenceClassification.from_pretrained(
        classifier_folder, quantization_config=DynamicInt8Config(modules_to_not_convert=["layer.0."])
    )
    assert type(classifier.bert.encoder.layer[0].output.dense) is nn.Linear
    assert type(classifier.bert.encoder.layer[1].output.dense) is Int8Linear
    assert type(classifier.bert.pooler.dense) is nn.Linear


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="has no argument bits; valid is modules_to_not_convert"):
        DynamicInt8Config(bits=4)
