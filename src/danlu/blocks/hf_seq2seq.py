"""transformers: models that write a text for a text, such as Marian and T5, from a folder of theirs.

As in `blocks.hf`, nothing touches a network or runs code that came with a model, and only safetensors are read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from danlu.blocks import hf
from danlu.core.errors import DataError

_BATCH = 16
_MOST_INPUT = 512
"""Tokens of an input where the model names no bound."""
_TAKEN = frozenset({
    "decoder_start_token_id", "bos_token_id", "eos_token_id", "pad_token_id", "forced_bos_token_id",
    "forced_eos_token_id", "bad_words_ids", "suppress_tokens", "begin_suppress_tokens", "min_new_tokens",
    "no_repeat_ngram_size", "repetition_penalty", "length_penalty", "early_stopping",
})  # fmt: skip
"""What is taken of `generation_config.json`; how many tokens, beams and draws there are is ours to say."""


class Translator:
    """A model that writes a text for each text, and its tokenizer."""

    def __init__(self, folder: Path) -> None:
        """Raises DataError for a folder that is no such model's, and for weights that do not fit."""
        config = hf.read_config(folder)
        kinds: Any = transformers.AutoModelForSeq2SeqLM._model_mapping
        if type(config) not in kinds:
            what = f"a model of the type {config.model_type!r} writes no text for a text"
            raise DataError(what, where=str(folder), do="name a translation model, such as one of the type marian")
        with hf.quiet():
            module, report = kinds[type(config)].from_pretrained(
                None, config=config, state_dict=hf.read_weights(folder), output_loading_info=True, dtype=torch.float32
            )
        if missing := sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]])):
            what = f"its weights do not fit its configuration; missing or of another shape: {', '.join(missing[:3])}"
            raise DataError(what, where=str(folder), do="get the model again, whole")
        self._module: Any = module.eval()
        self._tokenizer = _tokenizer(folder)
        self._settings = {**_settings(folder, config), "use_cache": True, "num_return_sequences": 1}
        bounds = (getattr(config, "max_position_embeddings", None), self._tokenizer.model_max_length)
        self._most_input = min(int(bound) if bound else _MOST_INPUT for bound in bounds)
        self._most_input = min(self._most_input, _MOST_INPUT)

    def best(self, texts: Sequence[str], *, beams: int, most: int) -> dict[str, str | None]:
        """The likeliest text that a beam search finds for each text; see `drawn` for None."""
        unique = sorted(set(texts))
        made = self._written(unique, most, [None] * len(unique), num_beams=beams)
        return dict(zip(unique, made, strict=True))

    def drawn(self, texts: Sequence[str], seeds: Sequence[int], *, temperature: float, most: int) -> list[str | None]:
        """A text drawn for each text by its seed; None where the input is longer than the model takes, or is empty, or
        what it writes does not end within `most` tokens."""
        noise = [(seed, temperature) for seed in seeds]
        return self._written(texts, most, noise, num_beams=1)

    @torch.inference_mode()
    def _written(self, texts: Sequence[str], most: int, noise: Sequence[Any], **how: Any) -> list[str | None]:
        ids = [self._tokenizer(text)["input_ids"] for text in texts]
        made: list[str | None] = [None] * len(texts)
        made_of: Any = transformers.GenerationConfig
        fit = [k for k in range(len(texts)) if texts[k].strip() and len(ids[k]) <= self._most_input]
        fit.sort(key=lambda k: (len(ids[k]), texts[k], noise[k]))
        for start in range(0, len(fit), _BATCH):
            few = fit[start : start + _BATCH]
            batch = self._tokenizer.pad({"input_ids": [ids[k] for k in few]}, padding=True, return_tensors="pt")
            settings = made_of(**self._settings, **how, max_new_tokens=most, do_sample=False)
            draws = [_Noise([noise[k] for k in few])] if noise[few[0]] else []
            with hf.quiet():
                written = self._module.generate(
                    input_ids=batch["input_ids"],
                    attention_mask=batch["attention_mask"],
                    generation_config=settings,
                    logits_processor=transformers.LogitsProcessorList(draws),
                )
            for k, row in zip(few, written, strict=True):
                made[k] = self._text(row, most)
        return made

    def _text(self, row: Tensor, most: int) -> str | None:
        """The text of ids; None where they are cut off, or there is nothing to read."""
        told = row[1:]  # the first only starts the decoder
        if int((told != self._settings["pad_token_id"]).sum()) >= most:
            return None
        return str(self._tokenizer.decode(told, skip_special_tokens=True)).strip() or None


class _Noise(transformers.LogitsProcessor):
    """Gumbel noise of each row's own seed: the greatest of scores with it is a draw from their softmax.

    So what is drawn for a row does not depend on the rows beside it, as it would with torch's generator.
    """

    def __init__(self, rows: Sequence[tuple[int, float]]) -> None:
        self._rngs = [np.random.default_rng(seed) for seed, _ in rows]
        self._temperature = rows[0][1]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        drawn = np.stack([rng.standard_exponential(scores.shape[1], dtype=np.float32) for rng in self._rngs])
        return scores / self._temperature - torch.from_numpy(np.log(np.maximum(drawn, np.finfo(np.float32).tiny)))


def _tokenizer(folder: Path) -> Any:
    try:
        with hf.quiet():
            return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the library raises many kinds
        do = "get its tokenizer files too; those of Marian (source.spm) need: pip install 'danlu[translation]'"
        raise DataError(f"the tokenizer can't be read: {error!s:.200}", where=str(folder), do=do) from error


def _settings(folder: Path, config: Any) -> dict[str, Any]:
    """How the model is made to write: the tokens that begin and end a text, and the like."""
    path = folder / "generation_config.json"
    try:
        told = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        plain = {**json.loads((folder / "config.json").read_text("utf-8")), **told}
    except (OSError, ValueError) as error:
        raise DataError(f"can't be read: {error}", where=str(path)) from error
    found = {name: value for name, value in plain.items() if name in _TAKEN and value is not None}
    for name in ("pad_token_id", "eos_token_id", "decoder_start_token_id"):
        found.setdefault(name, getattr(config, name, None))
        if found[name] is None:
            do = "get the model again, or add it to generation_config.json"
            raise DataError(f"its settings name no {name}", where=str(folder), do=do)
    return found
