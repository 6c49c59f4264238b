import pytest

from danlu.core.errors import RecipeError, RecipeFaults
from recipe_texts import WHOLE, faults, load, write  # noqa: F401 - fixtures

TEN = """
name: Garden Party
sede: 3
seed: -1
import: [nowhere.py]
steps:
  data: {do: toy_sow, words: wrods.txt, operators: [toy_upper, toy_lower], shares: {tset: 1}, limits: {a: b}}
  tuned: {do: toy_grow, method: {toy_lora: {rank: abc}}, stpes: 3, backbone: toy_counts}
  lost: {do: toy_pikc}
  score: {do: toy_pick, plant: $data, metrics: toy_score}
  2nd: 7
"""


def test_every_mistake_is_told_at_once_each_with_its_place(load):
    found = faults(load, TEN, "tuned.method.toy_full.x=1", "nobody.x=1")
    assert set(found) == {
        "name", "sede", "seed", "import", "data.words", "data.operators[1]", "data.shares.tset", "data.limits.a",
        "tuned.method.toy_lora.rank", "tuned.stpes", "tuned.method", "lost.do", "score.plant", "score.metrics", "steps.2nd", "2nd",
        "nobody.x=1",
    }  # fmt: skip
    assert found["data.words"] == (
        f"there is no {found['data.words'][0].split()[3].rstrip(';')}; did you mean words.txt?",
        "name a file or folder that is there",
    )
    assert found["lost.do"][0] == "there is no stage called 'toy_pikc'; did you mean toy_pick or toy_ship?"
    assert found["name"] == ("must be lowercase letters, digits, - _ or ., not 'Garden Party'", "name=garden-party")


def test_the_error_counts_and_numbers_its_faults(load):
    with pytest.raises(
        RecipeFaults, match=r"(?s)r.yaml: 2 faults in the recipe\n  1\. tuned\.steps: .*\n  2\. "
    ) as caught:
        load(WHOLE, "tuned.steps=x", "score.name=3")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("- a\n- b", "must be a mapping of keys, not"),
        ("just text", "must be a mapping of keys, not 'just text'"),
    ],
)
def test_what_is_no_mapping(load, text, told):
    with pytest.raises(RecipeError, match=told):
        load(text)


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("name: x", "steps", "the recipe has no steps"),
        ("steps: {}", "steps", "must be a mapping, not {}"),
        ("steps: [a]", "steps", "must be a mapping, not [\"a\"]"),
        ("steps:", "steps", "must be a mapping, not null"),
        ("steps: {a: }", "a", "must be a mapping such as {do: evaluate}, not null"),
        ("steps: {a: {}}", "a.do", "must name the stage that this step runs"),
        ("steps: {a: {do: 3}}", "a.do", "must name the stage that this step runs"),
        ("steps: {name: {do: toy_sow, words: words.txt}}", "steps.name", "is no name for a step"),
        ("steps: {a: {do: toy_sow, words: words.txt}}\nsource: x", "source", "a recipe has no such key"),
        ("description: [x]\nsteps: {a: {do: toy_sow, words: words.txt}}", "description", "must be text, not [\"x\"]"),
    ],
)  # fmt: skip
def test_recipes_that_are_wrong_at_the_top(load, text, where, what):
    found = faults(load, text)
    assert list(found) == [where]
    assert found[where][0].startswith(what)


def test_one_broken_step_is_not_told_again_by_those_below(load):
    assert list(faults(load, WHOLE, "tuned.do=nothing")) == ["tuned.do"]


def test_a_wrong_do_hides_no_other_fault(load):
    for do in ("do: toy_grwo", "do: nothing", "colour: red"):
        text = WHOLE.replace("do: toy_grow", f"{do}, files: 2, stpes: 2").replace(
            "do: toy_pick", "do: toy_pick, nmae: x"
        )
        found = faults(load, text, "tuned.method.toy_lora.rank=0")
        assert {"tuned.do", "tuned.stpes", "tuned.method.toy_lora.rank", "score.nmae"} <= set(found), do
    text = "steps:\n  odd: {do: nothing, what: 1}\n  score: {do: toy_pick, nmae: x}"
    assert set(faults(load, text)) == {"odd.do", "score.nmae"}


STANDARD = """
steps:
  data: {do: prepare, source: digits, task: image_classification}
  tuned: {do: finetune, backbone: cnn}
  small: {do: compress}
  same: {do: verify}
  ship: {do: publish, name: x}
"""


@pytest.mark.parametrize(
    ("override", "where", "what", "do"),
    [
        ("data.split={validation: 0.5, test: 0.6}", "data.split", "validation 0.5 and test 0.6 add up to 1.1, and must stay below 1", ""),
        ("data.split={by: group}", "data.split.column", "must be given where by is group", "data.split.column=…"),
        ("data.split.validation=0.8", "data.split", "validation 0.8 and test 0.2 add up to 1, and must stay below 1", ""),
        ("data.split.test=-0.1", "data.split.test", "must be a number > 0 and < 1, not -0.1", ""),
        ("tuned.backbone=bilstm", "tuned.backbone", "there is no backbone called 'bilstm'; did you mean lstm: an LSTM that reads in both directions?", "danlu list backbones"),
        ("ship.require.acuracy=>= 0.5", "ship.require.acuracy", "there is no metric called 'acuracy'; did you mean accuracy?", "danlu list metrics"),
        ("small.budget.max_drop={f11: 0}", "small.budget.max_drop.f11", "there is no metric called 'f11'; did you mean f1?", "danlu list metrics"),
        ("small.budget.max_drop={size: 0}", "small.budget.max_drop.size", "size is a metric of the form, and one of answers is wanted", "these fit: accuracy, answer_f1, bits_per_character, bleu, chrf, confusion, cooccurrence_rank, entity_f1, exact_match, f1, filling_r2, mae, mrr, ndcg, pearson, perplexity, precision, preference_accuracy, preference_margin, recall, recall_at_k, retrieval_recall, rmse, roc_auc, rouge, spearman, toy_score"),
    ],
)  # fmt: skip
def test_what_only_the_stage_knew_is_told_before_it_is_made(load, override, where, what, do):
    assert faults(load, STANDARD, override) == {where: (what, do)}


def test_shares_and_metrics_that_are_right(load):
    right = (
        "data.split={validation: 0.4, test: 0.5, near: 0.9, by: fold, folds: 3}",
        "ship.require={size: < 1}",
        "small.budget.max_drop.f1=0",
    )
    assert len(load(STANDARD, *right).steps) == 5


TEXTS = """
steps:
  data: {do: prepare, source: synthetic, task: text_classification}
  tuned: {do: finetune, backbone: bert, base: null}
"""


@pytest.mark.parametrize(
    ("overrides", "where", "what"),
    [
        (["tuned.merge=true", "tuned.method=prefix"], "tuned.merge", "merge wants parts = merged, but tuned.method: prefix gives parts = stay"),
        (["tuned.folds=3", "tuned.method=adapter"], "tuned.folds", "folds wants parts = merged, but tuned.method: adapter gives parts = stay"),
        (["tuned.folds=3", "data.task=seq2seq", "tuned.backbone=t5"], "tuned.folds", "folds wants answer = label or labels, but data.task: seq2seq gives answer = text"),
        (["tuned.method=zero_shot", "tuned.techniques=[fgm]"], "tuned.techniques", "fgm works on training, and zero_shot trains nothing"),
        (["tuned.method={verbalizer: {pattern: '{text} {mask}', learn: false}}", "tuned.techniques=[ema]"], "tuned.techniques", "ema works on training, and verbalizer trains nothing"),
    ],
)  # fmt: skip
def test_what_a_run_would_refuse_later(load, overrides, where, what):
    assert faults(load, TEXTS, *overrides)[where][0] == what


@pytest.mark.parametrize(
    "overrides",
    [
        ["tuned.folds=3", "tuned.method=lora"],
        ["tuned.method={verbalizer: {pattern: '{text} {mask}'}}", "tuned.techniques=[ema]"],
        ["tuned.method=zero_shot"],
    ],
)
def test_what_goes_in_folds_and_beside_techniques(load, overrides):
    assert len(load(TEXTS, *overrides).steps) == 2
