"""transformers: its model classes from a folder's `config.json` and safetensors.

Nothing here touches a network or runs code that came with a model: a configuration is cleaned of whatever names code,
pickles are not read, and the library is handed tensors, never a path.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers.initialization import no_init_weights
from transformers.masking_utils import eager_mask
from transformers.models.bert.modeling_bert import BertLayer, BertSelfAttention, BertSelfOutput
from transformers.models.roberta.modeling_roberta import RobertaLayer
from transformers.pytorch_utils import Conv1D as Conv1D  # for those who may not import the library

from danlu.blocks import encoder_decoder, fused_layer, halves, hidden_squares, lm_heads
from danlu.blocks.attention import attend, attend_once
from danlu.blocks.dropout import use_dropout
from danlu.blocks.inner import ear
from danlu.blocks.lean import use_lean
from danlu.blocks.pooled import pool
from danlu.blocks.unpadded import skip_padding
from danlu.contracts import Head
from danlu.core.errors import DataError, RecipeError
from danlu.core.files import write_atomic

_CLASSES: dict[str, tuple[Any, ...]] = {
    "input": (transformers.AutoModelForSequenceClassification, transformers.AutoModelForImageClassification),
    "position": (transformers.AutoModelForTokenClassification,),
    "gap": (transformers.AutoModelForMaskedLM, transformers.AutoModelForMaskedImageModeling),
    "next": (transformers.AutoModelForCausalLM,),
    "vector": (transformers.AutoModel,),
    "sequence": (transformers.AutoModelForSeq2SeqLM,),
}
"""`Head.per` → the library's classes that have such a head, for texts and for pictures."""
_FOLLOWING = ("bert",)
"""Types that the library pre-trains with a head for gaps and one for whether a text follows another."""
_ATTENTION = "danlu"
_ATTENDING = ("bert", "roberta", "modernbert", "gpt2", "llama", "t5")
"""The types of models whose scores are plain products with a mask or a bias of positions added, as ours are."""
_UNPADDED = ("bert", "roberta")
"""Those of them whose layers look at tokens one by one save in attention, and count positions as they are told."""
transformers.AttentionInterface.register(_ATTENTION, attend)
transformers.AttentionMaskInterface.register(_ATTENTION, eager_mask)  # to be added to the scores

_NAMES_CODE = frozenset(
    {
        "auto_map",
        "attn_implementation",
        "custom_pipeline",
        "custom_pipelines",
        "experts_implementation",
        "quantization_config",
        "trust_remote_code",
    }
)
LINEAR = (nn.Linear, Conv1D)
"""Layers that multiply with a matrix; GPT-2 has its own kind, whose matrix lies the other way round."""
_ALWAYS = {"return_dict": True, "output_attentions": False, "output_hidden_states": False}
_RATES = frozenset({
    "hidden_dropout_prob", "attention_probs_dropout_prob", "hidden_dropout", "attention_dropout", "dropout",
    "dropout_rate",
    "classifier_dropout", "seq_classif_dropout", "embd_pdrop", "resid_pdrop", "attn_pdrop", "summary_first_dropout",
})  # fmt: skip

# ---- configuration ---------------------------------------------------------------------------------------------------


def clean(config: Any) -> Any:
    """A configuration without what names code or kernels to fetch: `auto_map`, and keys that begin with `_`."""
    if isinstance(config, dict):
        return {k: clean(v) for k, v in config.items() if k not in _NAMES_CODE and not k.startswith("_")}
    return [clean(item) for item in config] if isinstance(config, list) else config


def read_config(folder: Path) -> Any:
    """The configuration in a folder, cleaned. Raises DataError when transformers can't use it."""
    path = folder / "config.json"
    try:
        plain = clean(json.loads(path.read_text("utf-8")))
        kind = plain["model_type"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"is not a model's configuration: {type(error).__name__}: {error}", where=str(path)) from error
    if kind not in transformers.CONFIG_MAPPING:
        what = f"transformers {transformers.__version__} knows no model of the type {kind!r}"
        raise DataError(what, where=str(path), do="upgrade transformers, or choose another model")
    try:
        return transformers.CONFIG_MAPPING[kind].from_dict({**plain, **_ALWAYS})
    except Exception as error:  # the library checks with several validators
        raise DataError(f"the configuration can't be used: {error}", where=str(path)) from error


def write_config(folder: Path, module: nn.Module) -> None:
    """Write the `config.json` from which plain transformers builds the same class."""
    config: Any = module.config
    config.architectures = [type(module).__name__]
    config.dtype = "float32"
    write_atomic(folder / "config.json", json.dumps(clean(json.loads(config.to_json_string())), indent=2) + "\n")


def _for_head(config: Any, head: Head, pad_id: int | None, dropout: float | None) -> Any:
    if head.per in ("input", "position"):
        config.id2label = dict(enumerate(head.labels or map(str, range(head.size))))
        config.label2id = {label: place for place, label in config.id2label.items()}
    if head.per == "next" and getattr(config, "is_decoder", None) is False:
        config.is_decoder = True  # an encoder that is to write must not look ahead
    if head.several:
        config.problem_type = "multi_label_classification"  # the library's own pipelines then take no softmax
    if pad_id is not None and getattr(config, "pad_token_id", None) is None:
        config.pad_token_id = pad_id
    if dropout is not None:
        for name in _RATES & vars(config).keys():
            setattr(config, name, dropout)
    return config


# ---- modules ---------------------------------------------------------------------------------------------------------


def build(folder: Path, head: Head, pad_id: int, dropout: float | None = None) -> nn.Module:
    """The module of a folder's configuration with a head; its weights are not set.

    Raises DataError when the library has no such head for a model of that type.
    """
    config = _for_head(read_config(folder), head, pad_id, dropout)
    try:
        with quiet(), no_init_weights():
            module = _class(config, head, most=1).from_config(config, dtype=torch.float32)
            module.tie_weights()  # what is tied is structure; without weights to set, the library leaves it
            return speed_up(module, head)
    except RecipeError as error:
        raise DataError(error.what, where=str(folder), do=error.do) from error


def _class(config: Any, head: Head, most: int | None = None) -> Any:
    """The library's class for a configuration and a head, of the first `most`; raises RecipeError if there is none."""
    if head.per == "gap" and head.size:
        if config.model_type not in _FOLLOWING:
            what = f"a {config.model_type} has no head that says whether a text follows another"
            raise RecipeError(what, where="backbone", do="backbone=bert, or leave next_sentence out")
        return transformers.AutoModelForPreTraining
    for kind in _CLASSES.get(head.per, ())[:most]:
        if type(config) in kind._model_mapping:
            return kind
    noun = "classifier" if head.per == "input" else f"{head.per} head"
    what = f"transformers has no {noun} for a model of the type {config.model_type!r}"
    raise RecipeError(what, where="backbone", do="`danlu list backbones` names the heads of each")


def from_scratch(
    kind: str, head: Head, pad_id: int | None = None, *, dropout: float | None = None, **settings: Any
) -> nn.Module:
    """A model of a kind the library knows (`bert`, `vit`), of the size its settings say.

    Its weights are drawn from torch's global generator.
    """
    made: Any = transformers.CONFIG_MAPPING[kind]
    config = _for_head(made(**settings, **_ALWAYS), head, pad_id, dropout)
    with quiet():
        return speed_up(_class(config, head).from_config(config, dtype=torch.float32), head)


def start(folder: Path, head: Head, pad_id: int, dropout: float | None = None) -> tuple[nn.Module, list[str]]:
    """The module with the folder's weights, and the names of those still random: the head, and a pooler not there.

    Random ones are drawn from torch's global generator. Raises DataError when the weights do not fit the module.
    """
    empty: Any = build(folder, head, pad_id, dropout)
    with quiet():
        module, report = type(empty).from_pretrained(
            None,
            config=empty.config,
            state_dict=read_weights(folder),
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            dtype=torch.float32,
        )
    resized = {name if isinstance(name, str) else name[0] for name in report["mismatched_keys"]}
    fresh = sorted({*report["missing_keys"], *resized})
    body = [n for n in fresh if n.startswith(f"{module.base_model_prefix}.") and (n in resized or "pooler" not in n)]
    if body:
        what = f"its weights do not fit its configuration; missing or of another shape: {_three(body)}"
        raise DataError(what, where=str(folder), do="get the model again, whole")
    return speed_up(module, head), fresh


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of `model.safetensors`, or of the files its index names. Raises DataError."""
    names = ["model.safetensors"]
    index = folder / "model.safetensors.index.json"
    try:
        if index.is_file():
            names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
        found: dict[str, Tensor] = {}
        for name in names:
            if Path(name).name != name:
                raise DataError(f"its index names {name!r}, which is no file of the folder", where=str(index))
            with safe_open(folder / name, framework="pt") as file:
                found |= {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"the weights can't be read: {error}", where=str(folder / names[0])) from error
    return found


def _three(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def speed_up(module: nn.Module, head: Head) -> nn.Module:
    """The module with our dropout, for families that are known our attention, for a language model our head.

    The answers are the same.

    Other families keep the library's attention: some add biases or caps to their scores, which ours knows nothing of.
    Forward and backward of 32 × 128 tokens through 4 layers of width 256 in bfloat16, one core, take 334 to 407 ms
    instead of 469 to 537 (RoBERTa, ModernBERT, GPT-2); in float32 as long as before.
    """
    model: Any = module
    if model.config.model_type in _ATTENDING:
        model.set_attn_implementation(_ATTENTION)
    if getattr(model.config, "type_vocab_size", 0) < 2 and model.config.model_type != "xlnet":
        module.register_forward_pre_hook(_untyped, with_kwargs=True)
    if head.per == "vector":
        pool(module)
    if isinstance(module, transformers.ViTForMaskedImageModeling):
        hidden_squares.ask_which(module)
    elif head.per in ("gap", "next"):
        lm_heads.ask_where(module, causal=head.per == "next")
    if head.per == "position" and model.config.model_type in _UNPADDED:
        skip_padding(module, lm_heads.first_position(model))
    if head.per == "sequence":
        encoder_decoder.ask_where(module)
    if isinstance(module, transformers.BertForSequenceClassification) and not model.config.is_decoder:
        last = model.bert.encoder.layer[-1].attention
        last.self.__class__, last.output.__class__ = _FirstTokenAttention, _FirstTokenOutput
    use_dropout(module)
    use_lean(module)
    if head.per in ("input", "position") and model.config.model_type in _UNPADDED:
        halves.allow(module)
        _note_layers(model)
    return module


def _note_layers(model: Any) -> None:
    """Say which layers are those that `blocks/fused_layer.py` knows; the one that takes the first token only is not."""
    if model.config.hidden_act != "gelu" or model.config.is_decoder:
        return
    for part in model.modules():
        whole = type(part) in (BertLayer, RobertaLayer) and type(part.attention.self) is not _FirstTokenAttention
        if whole and not part.chunk_size_feed_forward:
            fused_layer.note(part)


def _untyped(_: nn.Module, positional: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Token types that a tokenizer gives to two texts are no input of a model that has no table of them."""
    return positional, {name: value for name, value in named.items() if name != "token_type_ids"}


def body(model: nn.Module) -> nn.Module:
    """The model below its head, which gives vectors of all tokens. Raises RecipeError for no such model.

    Undoes what `speed_up` did for a classifier of the first token.
    """
    found: Any = getattr(model, "base_model", None)
    if found is None or found is model or not hasattr(found, "get_input_embeddings"):
        what = "the model gives no vectors of tokens, so there are no sentence vectors to compare"
        raise RecipeError(what, where="backbone", do="backbone={pretrained: asset:minilm}")
    plain: dict[Any, Any] = {_FirstTokenAttention: BertSelfAttention, _FirstTokenOutput: BertSelfOutput}
    for part in found.modules():
        part.__class__ = plain.get(type(part), type(part))
    whole: nn.Module = found
    return whole


class _FirstTokenAttention(BertSelfAttention):
    """The last layer's attention, for the first token alone: the classifier reads no other, so no other is computed.

    Keys and values are those of all tokens; so are the weights, by name and shape.
    """

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, **_: Any) -> Any:  # type: ignore[override]
        if _heard(self):
            return super().forward(hidden_states, attention_mask)

        def heads(projected: Tensor) -> Tensor:
            return projected.view(*projected.shape[:2], -1, self.attention_head_size).transpose(1, 2)

        query = heads(self.query(hidden_states[:, :1].contiguous()))
        mask = attention_mask[:, :, :1] if attention_mask is not None else None
        rate = self.dropout.p if self.training else 0.0
        if self.training and _plain(self.key) and _plain(self.value) and not hasattr(self, "prefix"):
            added = mask[:, :, 0] if mask is not None else None
            once = attend_once(query[:, :, 0], hidden_states, self.key, self.value, added, self.scaling, rate)
            return once.flatten(1)[:, None], None
        key, value = heads(self.key(hidden_states)), heads(self.value(hidden_states))
        mixed, _weights = attend(self, query, key, value, mask, scaling=self.scaling, dropout=rate)
        return mixed.flatten(2), None


def _heard(layer: nn.Module) -> bool:
    """Whether somebody looks at all tokens of the layer."""
    heard = ear(layer)
    return heard is not None and heard.awake(layer)


def _plain(layer: nn.Module) -> bool:
    """Whether a layer is a product with its weight and nothing besides."""
    return type(layer) is nn.Linear and not (layer._forward_hooks or layer._forward_pre_hooks)


class _FirstTokenOutput(BertSelfOutput):
    def forward(self, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        mixed: Tensor = super().forward(hidden_states, input_tensor if _heard(self) else input_tensor[:, :1])
        return mixed


@contextmanager
def quiet() -> Iterator[None]:
    """Without the library's own reports on what was loaded: ours are errors."""
    logging: Any = transformers.utils.logging
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
