"""Text to token ids: what `blocks.tokens.TextProcessor` does, for an exported script."""

import numpy as np
from tokenizers import Tokenizer


class Inputs:
    """The token ids of a text, cut to `limit` and to what the model takes."""

    def __init__(self, folder, settings):
        self.settings, self.tokenizer = settings, Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()

    def __call__(self, text, limit):
        most = min(limit or 1_000_000, self.settings["most"] or 1_000_000)
        if most < 1_000_000:
            self.tokenizer.enable_truncation(most)
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # half a character can't be read
        encoding = self.tokenizer.encode(text[: 1000 * most])
        ids = np.array(encoding.ids or [self.settings["pad_id"]], dtype=np.int64)
        arrays = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        if self.settings["typed"]:
            arrays["token_type_ids"] = np.array(encoding.type_ids or [0], dtype=np.int64)
        return arrays
