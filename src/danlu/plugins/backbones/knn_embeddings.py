"""k nearest neighbours in the space of a pretrained encoder: what a text means decides, and no weight is trained."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from danlu.blocks import hf, untrusted
from danlu.blocks.labels import TARGET
from danlu.blocks.taught import SelfTaught
from danlu.blocks.tokens import TextProcessor
from danlu.contracts import Backbone, Batch, Head, Location
from danlu.core import assets
from danlu.core.errors import DataError
from danlu.core.files import write_atomic

_FILE, _ENCODER = "knn.json", "encoder"
_NEIGHBOURS = (1, 3, 5, 10, 20, 50, 100)
_ASKED = 2000
"""Training rows, evenly taken, that are answered by the others to choose k."""
_SHARP = 0.07
_AT_ONCE = 64
_VECTOR = Head("vector")


class KnnEmbeddings(Backbone):
    """Keeps the vector of every training text (the mean of its tokens, of length 1) and answers with the labels of the
    k that are nearest by cosine. New rows teach it at once, and a fine-tuned encoder should say by how much it is
    better.

    A neighbour counts exp(cosine / 0.07) (Wu et al., 2018); a label's share of the k neighbours gets one more of each
    label (Laplace).
    """

    main: ClassVar[str] = "model"
    gives: ClassVar[Mapping[str, str]] = {"learning": "counting"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "modality": ("text",),
        "head": ("input",),
        "answer": ("label",),
    }
    processor_class: ClassVar[type[Any]] = TextProcessor

    model: Location = "asset:minilm"
    """The encoder, which stays as it is: `asset:name` (danlu assets), `./folder`, or `hub:org/name@commit`."""
    k: int | None = Field(default=None, ge=1)
    """How many neighbours; by default the one of 1, 3, 5, 10, 20, 50 and 100 under which the labels of training rows
    (2,000 at most) are likeliest, each answered by all the others."""

    def folder(self) -> Path:
        """The encoder's folder. Raises DataError for weights that are not numbers and templates that reach out."""
        folder = assets.resolve(self.model)
        untrusted.check_model(folder)
        return folder

    def build(self, head: Head, processor: TextProcessor, folder: Path | None) -> nn.Module:
        """With the room for what `save` noted in the folder, else for nothing learnt yet."""
        if folder is None or not (folder / _FILE).is_file():
            return _Knn(hf.build(self.folder(), _VECTOR, processor.pad_id), head.size, 0, self.k)
        try:
            told = json.loads((folder / _FILE).read_bytes())
            texts, k = int(told["texts"]), int(told["k"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"can't be read: {error}", where=str(folder / _FILE)) from error
        return _Knn(hf.build(folder / _ENCODER, _VECTOR, processor.pad_id), head.size, texts, k)

    def start(self, head: Head, processor: TextProcessor) -> tuple[nn.Module, list[str]]:
        return _Knn(hf.start(self.folder(), _VECTOR, processor.pad_id)[0], head.size, 0, self.k), []

    def save(self, folder: Path, module: nn.Module, processor: TextProcessor) -> None:
        assert isinstance(module, _Knn)
        (folder / _ENCODER).mkdir(exist_ok=True)
        hf.write_config(folder / _ENCODER, module.encoder)
        write_atomic(folder / _FILE, json.dumps({"texts": len(module.vectors), "k": module.k or 1}) + "\n")
        processor.save(folder)


class _Knn(SelfTaught):
    """`vectors` [texts, width] of length 1 and `labels` [texts] of what it was taught, beside the frozen encoder."""

    whole_set = True
    vectors: Tensor
    labels: Tensor

    def __init__(self, encoder: Any, size: int, texts: int, k: int | None) -> None:
        super().__init__()
        self.encoder, self.size, self.k = encoder.requires_grad_(False).eval(), size, k
        self.register_buffer("vectors", torch.zeros(texts, encoder.get_input_embeddings().embedding_dim))
        self.register_buffer("labels", torch.zeros(texts, dtype=torch.int64))

    def train(self, mode: bool = True) -> _Knn:
        """The encoder stays in eval mode: nothing of it is trained."""
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **more: Tensor) -> dict[str, Tensor]:
        """`logits` [n, labels]: the log of every label's share."""
        vectors = self._read(input_ids=input_ids, attention_mask=attention_mask, **more)
        if not len(self.vectors):
            return {"logits": vectors.new_zeros(len(vectors), self.size)}
        nearest, which = (vectors @ self.vectors.T).topk(min(self.k or 1, len(self.vectors)))
        return {"logits": self._shares(nearest, self.labels[which])}

    def _read(self, **inputs: Tensor) -> Tensor:
        return functional.normalize(self.encoder(**inputs)["vector"].float(), dim=-1)

    def _shares(self, nearest: Tensor, labels: Tensor) -> Tensor:
        """Log shares [n, labels] of the labels [n, k] of neighbours at these cosines [n, k]."""
        votes = torch.eye(self.size, device=labels.device)[labels] * (nearest / _SHARP).softmax(-1).unsqueeze(-1)
        k = nearest.shape[1]
        return ((k * votes.sum(1) + 1) / (k + self.size)).log()

    def update(self, batch: Batch) -> Tensor:
        """Keep all texts and choose k; the loss is that of the rows which were left out, their mean for all."""
        with torch.no_grad():
            self.vectors, self.labels = self._all_read(batch.inputs), batch.targets[TARGET].clone()
            nearest, labels, asked = self._others()
            losses = {
                k: functional.nll_loss(self._shares(nearest[:, :k], labels[:, :k]), self.labels[asked])
                for k in ([self.k] if self.k else _NEIGHBOURS)
                if k <= max(1, nearest.shape[1])
            }
        self.k = min(losses, key=lambda k: float(losses[k])) if losses else self.k
        lost = losses.get(self.k or 0, torch.zeros(()))
        return lost.expand(len(self.labels)) * 1.0

    def _all_read(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The vectors [n, width] of all texts, those of like length together, in their order."""
        there = inputs["attention_mask"] > 0
        order = there.sum(1).argsort(stable=True)
        found = [self._read(**_cut(inputs, rows, there[rows].any(0))) for rows in torch.split(order, _AT_ONCE)]
        return torch.cat(found)[order.argsort()]

    def _others(self) -> tuple[Tensor, Tensor, Tensor]:
        """Cosines and labels [m, k] of the nearest others of m rows, and which rows these are [m]."""
        rows = len(self.vectors)
        asked = torch.arange(0, rows, -(-rows // _ASKED))
        most = min(max(self.k or 0, *_NEIGHBOURS), rows - 1)
        found = list(self._nearest_others(asked, most))
        return torch.cat([f[0] for f in found]), self.labels[torch.cat([f[1] for f in found])], asked

    def _nearest_others(self, asked: Tensor, most: int) -> Iterator[tuple[Tensor, Tensor]]:
        for some in torch.split(asked, _AT_ONCE):
            likeness = self.vectors[some] @ self.vectors.T
            likeness[torch.arange(len(some)), some] = -torch.inf  # nobody is its own neighbour
            found = likeness.topk(most)
            yield found.values, found.indices


def _cut(inputs: Mapping[str, Tensor], rows: Tensor, used: Tensor) -> dict[str, Tensor]:
    """These rows, without the columns that are padding in all of them."""
    return {name: array[rows][:, used] for name, array in inputs.items()}
