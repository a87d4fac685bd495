"""Inputs outside of the embeddings are refused, whatever computes; the call after a refused one is answered as ever."""

import copy

import numpy as np
import pytest
import torch
from conftest import SIZES, make_batch, randomize_scorers
from transformers import RobertaConfig, RobertaForQuestionAnswering, pipeline

from hf_dynbert import (
    DynamicTinyBertConfig,
    DynamicTinyBertForQuestionAnswering,
    DynamicTinyBertForSequenceClassification,
    DynamicTinyBertModel,
    evaluate_squad,
)
from hf_dynbert.commands import main as cli
from hf_dynbert.tasks.inference import max_tokens_of


PAD = 1  # of RoBERTa: its positions begin at 2
LENGTH_CONFIG = [0.9, 0.4]
KINDS = {
    "bert": {},
    "roberta": {"type_vocab_size": 1, "pad_token_id": PAD, "position_ids_start": PAD + 1, "sep_token_id": 3},
    "one token type": {"type_vocab_size": 1},
}
MODELS = {
    "encoder": DynamicTinyBertModel,
    "question answering": DynamicTinyBertForQuestionAnswering,
    "classification": DynamicTinyBertForSequenceClassification,
}


def text(length, batch=1, seed=0):
    ids = make_batch((length,) * batch, seed=seed)["input_ids"]
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def with_value(name, value, length=20):
    inputs = text(length) | {"token_type_ids": torch.zeros(1, length, dtype=torch.long)}
    inputs[name][0, length // 2] = value
    return inputs


def wrong_calls(config):
    """Inputs by what is wrong with them, and what the error must say."""
    most, words, types = config.max_tokens, config.vocab_size, config.type_vocab_size
    return {
        "one token too many": (text(most + 1), f"{most + 1} tokens; this model reads {most}"),
        "far too many tokens": (text(5 * most, batch=2), f"{5 * most} tokens; this model reads {most}"),
        "no mask": ({"input_ids": text(most + 1)["input_ids"]}, f"this model reads {most}"),
        "an added token": (with_value("input_ids", words), f"input_ids has the value {words}"),
        "a huge id": (with_value("input_ids", 2**40), f"input_ids has the value {2**40}"),
        "a negative id": (with_value("input_ids", -1), "input_ids has the value -1"),
        "an unknown type": (with_value("token_type_ids", types), f"token_type_ids has the value {types}"),
        "a negative type": (with_value("token_type_ids", -1), "token_type_ids has the value -1"),
        "a far type": (with_value("token_type_ids", 100), "token_type_ids has the value 100"),
        "no text": ({name: values[:0] for name, values in text(9).items()}, r"shape \(0, 9\)"),
        "no token": ({name: values[:, :0] for name, values in text(9).items()}, r"shape \(1, 0\)"),
        "one axis": ({name: values[0] for name, values in text(9).items()}, r"shape \(9,\)"),
        "no axis": (text(9) | {"input_ids": torch.tensor(9)}, r"shape \(\)"),
        "truth values": (text(9) | {"input_ids": text(9)["input_ids"].bool()}, "valid are integers"),
        "fractions": (text(9) | {"input_ids": text(9)["input_ids"] + 0.5}, "valid are integers"),
    }


def build(kind, model, sizes):
    torch.manual_seed(0)
    sizes = sizes | KINDS[kind] | {"num_hidden_layers": 2}
    config = DynamicTinyBertConfig(**sizes, importance="learned", budgets={"half": LENGTH_CONFIG}, num_labels=2)
    return randomize_scorers(MODELS[model](config)).eval()


def answers(model, inputs, **call):
    with torch.no_grad():
        output = model(**inputs, **call)
    names = ("start_logits", "end_logits", "logits", "last_hidden_state")
    return torch.cat([torch.as_tensor(output[name]).flatten() for name in names if name in output])


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", KINDS)
def test_pytorch_refuses_what_no_embedding_has(kind, model, sizes):
    ours = build(kind, model, sizes)
    good = text(18, seed=5)
    before = answers(ours, good, length_config="half")
    for inputs, message in wrong_calls(ours.config).values():
        with pytest.raises(ValueError, match=message):
            ours(**inputs, length_config="half")
        assert torch.equal(answers(ours, good, length_config="half"), before)
    longest = text(ours.config.max_tokens)
    assert answers(ours, longest).isfinite().all()
    for position in (-1, ours.config.max_position_embeddings):
        with pytest.raises(ValueError, match=f"position_ids has the value {position}"):
            ours(**good, position_ids=torch.full((1, 18), position))
    embeds = torch.zeros(1, ours.config.max_tokens + 1, ours.config.hidden_size)
    with pytest.raises(ValueError, match=f"this model reads {ours.config.max_tokens}"):
        ours(inputs_embeds=embeds)
    assert answers(ours, {"inputs_embeds": embeds[:, 1:]}).isfinite().all()


@pytest.mark.parametrize("layers", [[0, 2], [-1], [1, 0], [1, 1], [0.5]])
def test_layers_that_do_not_exist_are_refused(layers, sizes):
    with pytest.raises(ValueError, match="valid are increasing indices from 0 to 1"):
        build("bert", "encoder", sizes)(**text(9), budget={"layers": layers})


def test_padding_takes_no_position_where_positions_are_counted(sizes):
    ours = build("roberta", "question answering", sizes)
    long = torch.nn.functional.pad(text(40)["input_ids"], (0, 200), value=PAD)
    padded = ours(input_ids=long, attention_mask=(long != PAD).long())
    torch.testing.assert_close(padded.start_logits[:, :40], ours(**text(40)).start_logits, rtol=0, atol=1e-5)


def test_what_is_traced_or_compiled_is_not_checked(sizes):
    ours = build("bert", "question answering", sizes)
    inputs = text(18)
    compiled = torch.compile(ours, backend="eager", fullgraph=True)
    torch.testing.assert_close(answers(compiled, inputs), answers(ours, inputs), rtol=0, atol=1e-6)


def test_pytorch_refuses_lists_and_masks_of_other_texts_in_words(sizes):
    ours, good = build("bert", "classification", sizes), text(9)
    for inputs in ({name: values.tolist() for name, values in good.items()}, {"input_ids": good["input_ids"].numpy()}):
        with pytest.raises(TypeError, match="valid are tensors, as in"):
            ours(**inputs)
    for mask in (torch.ones(1, 8), torch.ones(1, 10), torch.ones(2, 9), torch.ones(9)):
        with pytest.raises(ValueError, match=r"shape \(batch, length\), here \(1, 9\); this one has"):
            ours(**good | {"attention_mask": mask}, budget="half")


EXPORTED = [("bert", "question answering"), ("roberta", "classification"), ("one token type", "question answering")]


@pytest.fixture(scope="module")
def exported(tmp_path_factory, tokenizer):
    """OpenVINO folders by kind and model."""
    pytest.importorskip("optimum.intel", reason="needs the intel extra")
    sizes, folder = {**SIZES, "vocab_size": len(tokenizer)}, tmp_path_factory.mktemp("openvino")
    for kind, model in EXPORTED:
        checkpoint = folder / f"{kind} {model} in PyTorch"
        build(kind, model, sizes).save_pretrained(checkpoint)
        ov_class(model).from_pretrained(checkpoint, export=True, compile=False).save_pretrained(folder / f"{kind} {model}")
    return folder


def ov_class(model):
    import hf_dynbert

    return {
        "question answering": hf_dynbert.OVDynamicTinyBertForQuestionAnswering,
        "classification": hf_dynbert.OVDynamicTinyBertForSequenceClassification,
    }[model]


@pytest.mark.intel
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("kind", "model"), EXPORTED)
def test_openvino_refuses_the_same_and_answers_the_next_call_as_a_fresh_model(kind, model, threads, exported):
    def load():
        return ov_class(model).from_pretrained(exported / f"{kind} {model}", ov_config={"INFERENCE_NUM_THREADS": threads})

    ours, fresh = load(), load()
    before, good = text(26, seed=4), text(18, seed=5)
    for budget in ("full", "half"):
        expected = answers(fresh, good, length_config=budget)
        for inputs, message in wrong_calls(ours.config).values():
            answers(ours, before, length_config=budget)
            with pytest.raises(ValueError, match=message):
                ours(**inputs, length_config=budget)
            with pytest.raises(ValueError, match=message):
                ours(**{name: values.numpy() for name, values in inputs.items()}, length_config=budget)
            assert torch.equal(answers(ours, good, length_config=budget), expected)
        longest = text(ours.config.max_tokens)
        assert torch.equal(answers(ours, longest, length_config=budget), answers(fresh, longest, length_config=budget))


@pytest.mark.intel
@pytest.mark.parametrize("mark", [0.5, -1, 2, float("nan"), True])
def test_openvino_reads_a_mask_as_pytorch_does(mark, exported):
    """All that is not 0 marks a real token."""
    ours = ov_class("classification").from_pretrained(exported / "roberta classification")
    inputs = text(18) | {"attention_mask": torch.tensor([[1] * 12 + [0] * 6])}
    marked = inputs | {"attention_mask": torch.where(inputs["attention_mask"] == 1, mark, 0)}
    for budget in ("full", "half"):
        assert torch.equal(answers(ours, marked, budget=budget), answers(ours, inputs, budget=budget))
    with pytest.raises(ValueError, match=r"shape \(\)"):
        ours(input_ids=None)


@pytest.mark.intel
def test_padding_behind_what_openvino_reads_is_left_out(exported):
    ours = ov_class("question answering").from_pretrained(exported / "bert question answering")
    batch = make_batch((40,), width=300)
    assert np.isfinite(answers(ours, batch).numpy()).all() and ours(**batch).start_logits.shape == (1, 300)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_windows_that_the_model_does_not_read_are_refused(kind, sizes, tokenizer, questions):
    ours = build(kind, "question answering", sizes)
    most, tokenizer = ours.config.max_tokens, copy.deepcopy(tokenizer)
    if ours.config.type_vocab_size == 1:
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
    ask = pipeline("extractive-qa", model=ours, tokenizer=tokenizer)
    call = {"question": "who lit it?", "context": "ada lit the tower. " * 60}
    for given in ({}, {"max_seq_len": most}):
        assert ask(**call, **given)["answer"] in call["context"]
    message = f"max_seq_len is {most + 1}; valid are whole numbers from 1 to {most}"
    with pytest.raises(ValueError, match=message):
        ask(**call, max_seq_len=most + 1)
    with pytest.raises(ValueError, match=message):
        pipeline("extractive-qa", model=ours, tokenizer=tokenizer, max_seq_len=most + 1)
    with pytest.raises(ValueError, match=f"max_length is {most + 1}; this model reads {most} tokens"):
        evaluate_squad(ours, tokenizer, questions, max_length=most + 1, stride=16, progress=False)
    long = questions.map(lambda row: {"context": row["context"] * 9})
    with pytest.raises(ValueError, match=f"tokens; this model reads {most}"):
        evaluate_squad(ours, tokenizer, long, progress=False)


def test_positions_of_other_architectures():
    roberta = RobertaForQuestionAnswering(RobertaConfig(**SIZES, vocab_size=50, pad_token_id=1))
    assert max_tokens_of(roberta.config) == 126
    assert max_tokens_of(DynamicTinyBertForQuestionAnswering.from_backbone(roberta).config) == 126


@pytest.mark.parametrize(
    ("verb", "option"),
    [
        ("train", "max_length"),
        ("evaluate", "max_length"),
        pytest.param("search", "max_length", marks=pytest.mark.intel),
        ("quantize", "max_length"),
        pytest.param("benchmark", "max_length", marks=pytest.mark.intel),
    ],
)
def test_verbs_refuse_windows_that_the_model_does_not_read(verb, option, sizes, tokenizer, squad_file, tmp_path, capsys):
    if verb == "search":
        pytest.importorskip("optuna", reason="needs the search extra")
    if verb == "benchmark":
        pytest.importorskip("optimum.intel", reason="needs the intel extra")
    build("bert", "question answering", sizes).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    output = tmp_path / "output"
    places = {
        "train": ["--model_name_or_path", f"{tmp_path}/model", "--train_file", str(squad_file), "--output_dir", str(output)],
        "evaluate": ["--model", f"{tmp_path}/model", "--data", str(squad_file)],
        "search": ["--model", f"{tmp_path}/model", "--train_file", str(squad_file)],
        "quantize": ["--model", f"{tmp_path}/model", "--train_file", str(squad_file), "--backend", "pytorch"],
        "benchmark": ["--model", f"{tmp_path}/model", "--data", str(squad_file), "--length_configs", "full"],
    }
    more = [] if verb in ("train", "evaluate") else ["--output_dir", str(output)]
    assert cli.main([verb, *places[verb], *more, f"--{option}", "129", "--stride", "8"]) == 2
    assert f"{option} is 129; this model reads 128 tokens" in capsys.readouterr().err
    assert not output.exists()
