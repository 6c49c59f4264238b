"""Chat: only answers are learnt, conversations in a block do not see one another, and what is written is an answer."""

import copy
import json
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from danlu import recipe
from danlu.blocks.chat_template import NAMED, ChatTemplate
from danlu.blocks.tensors import to_torch
from danlu.blocks.torch_form import TorchForm
from danlu.core.errors import DataError, RecipeError
from danlu.plugins.backbones.llama import Llama
from danlu.plugins.methods.lora import LoRA
from danlu.plugins.tasks.chat import Chat
from danlu.testing.partners import Trial
from danlu.testing.reader import Reader

TALK = [
    {"role": "user", "content": "what do cats drink"},
    {"role": "assistant", "content": "warm milk"},
    {"role": "user", "content": "name a colour"},
    {"role": "assistant", "content": "green"},
]


def conforming(folder):
    return {"chat": {"template": "plain", "length": 64}}


@pytest.fixture(scope="module")
def talker():
    task = Chat(template="plain", length=64, temperature=0.0, most=30)
    return Trial.of(task, Llama(size="tiny", positions=96)).fit(steps=80, lr=2e-3)


def taught(trial, example):
    return trial.processor.text(example.inputs["tokens"].tolist())


# ---- what is learnt --------------------------------------------------------------------------------------------------


def test_every_answer_is_taught_with_its_end_and_nothing_else(talker):
    [example] = Chat(template="plain", length=64, messages="m").examples({"m": TALK}, talker.processor)
    ids, at = example.inputs["input_ids"], example.inputs["at"]
    end = talker.processor.special("eos_token")
    assert taught(talker, example) == "warm milkgreen"
    assert ids[at + 1].tolist() == example.targets["targets"].tolist() == example.inputs["tokens"].tolist()
    assert (example.targets["targets"] == end).sum() == 2
    assert (ids == end).sum() == 4  # the user's messages end with it too
    assert example.count == len(at) < len(ids) / 2


def test_the_loss_hears_nothing_of_what_is_asked(talker):
    """Another target for a token of the prompt changes no gradient: there is none."""
    task, processor, module = talker.task, talker.processor, talker.module.train()
    [example] = task.examples(talker.rows[0], processor)
    batch = to_torch(task.collate([example], processor))
    vectors = []
    handle = module.get_input_embeddings().register_forward_hook(
        lambda *a: vectors.append(a[2].requires_grad_()) or a[2]
    )
    hidden = []
    keep = module.base_model.register_forward_hook(lambda *a: hidden.append(a[2][0]) or None, prepend=True)
    try:
        hidden.clear()
        outputs = task.forward(module, batch)
        hidden[0].retain_grad()
        task.loss(outputs, batch).sum().backward()
    finally:
        handle.remove(), keep.remove()
        module.zero_grad()
        module.eval()
    moved = np.flatnonzero(hidden[0].grad[0].abs().sum(-1).numpy())
    assert moved.tolist() == example.inputs["at"].tolist()


def test_a_conversation_in_a_block_loses_what_it_loses_alone(talker, tmp_path):
    task, module = Chat(template="plain", length=64, prompt="prompt", reply="answer"), talker.module.eval()
    rows = [*talker.rows[:4], {"prompt": "where are birds", "answer": "warm milk above us"}]
    blocks = task.pack(lambda: rows, talker.processor, tmp_path, ("k", "train"), lambda done: None)
    assert len(blocks) < len(rows)
    assert max(max(block.inputs["segments"]) for block in blocks) > 1
    assert max(blocks.lengths) <= 64

    def lost(examples):
        with torch.no_grad():
            batch = to_torch(task.collate(examples, talker.processor))
            return task.loss(task.forward(module, batch), batch).sum().item()

    alone = [task.examples(row, talker.processor)[0] for row in rows]
    assert lost(list(blocks)) == pytest.approx(sum(lost([one]) for one in alone), rel=1e-4)
    assert sum(block.count for block in blocks) == sum(one.count for one in alone)
    apart = Chat(template="plain", length=64, prompt="prompt", reply="answer", packed=False)
    assert len(apart.pack(lambda: rows, talker.processor, tmp_path, ("k", "train"), lambda done: None)) == len(rows)


def test_lora_learns_other_answers(talker):
    trial = replace(talker, module=copy.deepcopy(talker.module), method=LoRA().resolve([]))
    trial.rows = [
        {"prompt": row["prompt"], "answer": other["answer"]} for row, other in zip(talker.rows, talker.rows[1:5])
    ]
    trial.method.wrap(trial.module)
    frozen = {n: w.detach().clone() for n, w in trial.module.named_parameters() if not w.requires_grad}
    moving = {n: w.detach().clone() for n, w in trial.module.named_parameters() if w.requires_grad}
    assert {name.split(".")[4] for name in moving} == {
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    }
    before = sum(answer["nll"] for answer in trial.predictor()(trial.inputs))
    trial.fit(steps=40, lr=5e-3)
    assert sum(answer["nll"] for answer in trial.predictor()(trial.inputs)) < 0.2 * before
    weights = dict(trial.module.named_parameters())
    assert all(torch.equal(weights[name], was) for name, was in frozen.items())
    assert not any(torch.equal(weights[name], was) for name, was in moving.items())


# ---- too long, too short, of another shape ---------------------------------------------------------------------------


def packed(processor, folder, rows, **settings):
    task = Chat(template="plain", messages="m", **settings)
    return task.pack(lambda: [{"m": row} for row in rows], processor, folder, ("key", "train"), lambda done: None)


def test_conversations_longer_than_a_block(talker, tmp_path):
    long = [*TALK[:3], {"role": "assistant", "content": "green " * 20}]
    late = [{"role": "user", "content": "cats " * 40}, TALK[1]]
    rows = [TALK[:2], long, late]
    with pytest.raises(
        DataError, match=r"2 of 3 train conversations are longer than 32 tokens, the longest \(row 2\) has"
    ):
        packed(talker.processor, tmp_path, rows, length=32)
    skipped = packed(talker.processor, tmp_path, rows, length=32, too_long="skip")
    assert skipped.notes == ("2 of 3 train conversations are longer than 32 tokens and were left out",)
    assert len(skipped) == 1
    cut = packed(talker.processor, tmp_path, rows, length=32, too_long="cut")
    assert cut.notes == (
        "1 of 3 train conversations are longer than 32 tokens and were left out",
        "1 of 3 train conversations are longer than 32 tokens and were cut",
    )
    assert sorted(cut.lengths) == [skipped.lengths[0], 32]
    assert all(block.count > 0 for block in cut)
    for choice, do in (
        ("cut", r"length=\d+$"),
        ("skip", "length=.*too_long=cut$"),
        ("error", "length=.*too_long=cut$"),
    ):
        with pytest.raises(
            DataError, match=rf"(?s)1 of 1 train conversations are longer than 32 tokens, the lon.*{do}"
        ):
            packed(talker.processor, tmp_path, [late], length=32, too_long=choice)
    with pytest.raises(RecipeError, match="blocks of 300 tokens are longer than the 96 positions"):
        packed(talker.processor, tmp_path, rows, length=300)


@pytest.mark.parametrize(
    ("talk", "what"),
    [
        (TALK[:1], "nobody answers in the conversation"),
        ([TALK[0], {"role": "assistant", "content": " "}], "an answer of the assistant's is empty"),
        (TALK[1:], "the conversation begins with an answer"),
        ([{"role": "user"}], "a message has a `role` and a `content`"),
        ([], "a conversation is a list of messages"),
        ([{"role": "usr", "content": "a"}, TALK[1]], "a message has the role 'usr'; did you mean user"),
        (["hi"], "a conversation is a list of messages"),
    ],
)
def test_what_is_no_conversation_names_its_row(talk, what, talker, tmp_path):
    with pytest.raises(DataError, match=f"train row 2: {what}"):
        packed(talker.processor, tmp_path, [TALK, talk], length=64)


def test_prepare_names_the_row_that_is_no_conversation():
    """Before a tokenizer is made of the rows, which would stumble without saying where."""
    with pytest.raises(DataError, match="row 2: nobody answers in the conversation"):
        Chat().resolve(pa.table({"messages": [TALK, TALK[:1]]}))
    with pytest.raises(DataError, match="row 3: an answer of the assistant's is empty"):
        Chat().resolve(pa.table({"prompt": ["a", None, "b"], "reply": ["c", "d", " "]}))


def test_columns_are_found_and_checked():
    table = pa.table({"id": [1], "conversations": [[{"from": "human", "value": "hi"}, {"from": "gpt", "value": "ho"}]]})
    task = Chat().settle(table)
    assert task.messages == "conversations"
    assert task.ask(table.to_pylist()[0])["how_likely"][1] == {"role": "assistant", "content": "ho"}
    assert Chat().settle(pa.table({"question": ["a"], "answer": ["b"]})).columns().ask == ("question", "answer")
    with pytest.raises(DataError, match="no column was found for the reply; the columns are: prompt"):
        Chat().settle(pa.table({"prompt": ["a"]}))
    with pytest.raises(DataError, match="the column 'id' holds int64, neither text nor lists of messages"):
        Chat(messages="id").settle(table)


# ---- templates -------------------------------------------------------------------------------------------------------


def test_without_a_template_the_setting_that_gives_one_is_told(talker):
    with pytest.raises(RecipeError, match=r"no chat template[^→]*→ data.task.chat.template=plain"):
        Chat(prompt="prompt", reply="answer").examples(talker.rows[0], talker.processor)
    with pytest.raises(RecipeError, match="writes no token that ends an answer"):
        ChatTemplate.of("chatml", talker.processor, "t")
    with pytest.raises(RecipeError, match="writes no token that ends an answer"):
        ChatTemplate.of("{{ messages[0].content }}", talker.processor, "t")  # writes no answer at all
    with pytest.raises(RecipeError, match="reaches beyond what it is given"):
        ChatTemplate.of("{{ messages.__class__ }}", talker.processor, "t")


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("vicuna", "there is no template called 'vicuna'; it is chatml, plain, or one in Jinja"),
        ("{% for m in messages %}", "the chat template can't be read: Unexpected end of template"),
        ("{% do messages.pop() %}", "the chat template can't be read: Encountered unknown tag 'do'"),
        ("{{ messages.__class__ }}", "reaches beyond what it is given"),
    ],
)
def test_a_template_that_is_none_is_a_fault_of_the_recipe(template, told):
    data = {"do": "prepare", "source": {"asset": "dialogues"}, "task": {"chat": {"template": template}}}
    with pytest.raises(RecipeError, match=rf"data\.task\.chat\.template: [^\n]*{re.escape(told)}"):
        recipe.load({"name": "a", "steps": {"data": data}})


def test_a_template_may_refuse_and_may_not_change_its_mind(talker):
    choosy = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system, please') }}{% endif %}" + NAMED["plain"]
    )
    template = ChatTemplate.of(choosy, talker.processor, "t")
    with pytest.raises(DataError, match="refuses the conversation: no system, please"):
        template.pieces([{"role": "system", "content": "be kind"}, *TALK])
    counting = "{{ messages | length }}" + NAMED["plain"]
    with pytest.raises(DataError, match="writes earlier messages otherwise once there are later ones"):
        ChatTemplate.of(counting, talker.processor, "t").pieces(TALK)


@pytest.mark.parametrize("mark", ["", "{%- generation -%} {%- endgeneration %}"])
def test_it_writes_what_transformers_writes(mark, talker, tmp_path):
    from transformers import PreTrainedTokenizerFast

    text = NAMED["plain"].replace(
        "{% endfor %}", "{% if not loop.last %}{{ tools | tojson }}{% endif %}" + mark + "\n  {% endfor %}\n"
    )
    talker.processor.save(tmp_path)
    theirs = PreTrainedTokenizerFast.from_pretrained(tmp_path, chat_template=text)
    ours = ChatTemplate.of(text.replace("tools", "'ü'"), talker.processor, "t")
    theirs.chat_template = text.replace("tools", "'ü'")
    for answer in (False, True):
        wanted = theirs.apply_chat_template(TALK, tokenize=False, add_generation_prompt=answer)
        assert ours.render(TALK, answer=answer) == wanted
    (tmp_path / "chat_template.jinja").write_text(text)
    assert type(talker.processor).load(tmp_path).chat_template() == text


def test_several_templates_by_name(talker, tmp_path):
    talker.processor.save(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    named = [{"name": "tool_use", "template": "a"}, {"name": "default", "template": "b"}]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": named}))
    assert type(talker.processor).load(tmp_path).chat_template() == "b"


# ---- answers ---------------------------------------------------------------------------------------------------------


def test_it_answers_and_stops(talker):
    ask = talker.predictor()
    for row in talker.rows[:4]:
        [answer] = ask([row["prompt"]])
        assert answer == {"text": row["answer"], "tokens": answer["tokens"], "ended": True}
        again = ask([{"messages": [{"role": "user", "content": row["prompt"]}], "temperature": 0}])
        assert again == [answer]
    *pieces, (_, last) = ask.stream("where are birds")
    assert len(pieces) > 1
    assert "".join(pieces) == last["text"] == "above us all day"


def test_what_is_kept_changes_no_answer(talker):
    talks = [row["prompt"] for row in talker.rows[:4]] + [TALK[:3]]
    kept, plain = talker.predictor()(talks), talker.predictor(TorchForm(talker.module))(talks)
    assert kept == plain == [answer for talk in talks for answer in talker.predictor()([talk])]


def test_how_likely_is_of_the_answers_alone(talker):
    [one, other] = talker.predictor()([{"how_likely": TALK[:2]}, {"how_likely": [TALK[0], TALK[3]]}])
    [ids, stop] = talker.processor.ids("warm milk"), 1
    assert one["tokens"] == len(ids) + stop
    assert one["characters"] == len("warm milk")
    assert one["nll"] / one["tokens"] < 0.5 < other["nll"] / other["tokens"]


def test_a_conversation_longer_than_the_model_is_scored_in_windows(talker):
    talk = TALK * 8
    examples = talker.task.encode({"how_likely": talk}, talker.processor)
    assert len(examples) > 1
    asked = [talker.processor.token(one) for example in examples for one in example.inputs["tokens"]]
    assert "".join(asked).count("milk") == 8
    assert sum(example.note for example in examples) == len(asked)
    with pytest.raises(DataError, match=r"the conversation has .* tokens, and the model takes 96 with its answer"):
        talker.predictor()([[*talk, TALK[0]]])


def test_the_system_speaks_first_in_training_and_in_answers(talker):
    task = Chat(template="plain", length=64, system="be kind", prompt="prompt", reply="answer")
    [example] = task.examples(talker.rows[0], talker.processor)
    [asked] = task.encode("what do cats drink", talker.processor)
    begins = asked.inputs["input_ids"]
    assert talker.processor.text(begins).startswith("system\nbe kind")
    assert example.inputs["input_ids"][: len(begins)].tolist() == begins.tolist()


@pytest.mark.parametrize(
    ("x", "what"),
    [
        ({"messages": "hi", "best": 1}, "a request has no 'best'"),
        (TALK, "the last message is the assistant's"),
        ({"messages": "hi", "most": 0}, "most must be a number from 1"),
        ({"how_likely": TALK, "most": 3}, "holds one conversation and nothing else"),
        (7, "a conversation is a list of messages"),
    ],
)
def test_requests_that_are_none(x, what):
    with pytest.raises(DataError, match=what):
        Chat(template="plain").from_json(x)


def test_rows_made_of_what_was_said(talker):
    said = {"text": "warm milk", "tokens": 2, "ended": True}
    assert talker.task.row("what do cats drink", said) == {"prompt": "what do cats drink", "answer": "warm milk"}
    assert Chat(messages="m").row(TALK[:3], {"text": "red"})["m"][-1] == {"role": "assistant", "content": "red"}


def test_a_reader_that_counts_is_a_baseline():
    from danlu.plugins.backbones.ngram import Ngram

    trial = Trial.of(Chat(template="plain", length=64), Ngram()).fit(steps=1, batch_size=64)
    assert all(answer["nll"] > 0 for answer in trial.predictor()(trial.inputs))


def test_the_smallest_model_learns_it():
    assert Trial.of(Chat(template="plain", length=64), Reader()).fit(steps=60).right() > 0.9


@pytest.mark.parametrize("template", ["{{ messages.pop() }}", "{{ 1 / (messages | length - 2) }}"])
def test_a_template_that_fails_where_it_is_used_is_a_fault_of_the_recipe(template, talker):
    with pytest.raises(RecipeError, match=r"data\.task\.chat\.template: the chat template refuses"):
        Chat(template=template).shape(talker.processor)
