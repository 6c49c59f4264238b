"""InfoNCE: of all that stands in a batch, which belongs to which (van den Oord et al., 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def info_nce(
    queries: Tensor,
    passages: Sequence[Tensor],
    same: Tensor,
    *,
    temperature: float,
    symmetric: bool = False,
    sizes: Sequence[int] = (),
) -> Tensor:
    """−log of the share that each query's own passage has of the exponents of all similarities: [n].

    `queries` [n, width]; `passages` k times [n, width], the first being the queries' own and the others their hard
    negatives: all n · k are candidates of every query. `same` [n, k · n] says which of the others belong to the query
    as well, such as one text twice in a batch: they are no negatives. Similarities are cosines over `temperature`.
    `symmetric` takes the mean with the same loss of each own passage among the queries. With `sizes` the mean is taken
    over the whole vectors and their first numbers, so many each (Matryoshka; Kusupati et al., 2022).
    """
    losses, rows = [], len(queries)
    whole, own = torch.cat(list(passages)), torch.arange(rows, device=queries.device)
    for size in (*sizes, queries.shape[-1]):
        ours, theirs = (functional.normalize(part[:, :size].float(), dim=-1) for part in (queries, whole))
        scores = ours @ theirs.T / temperature
        loss = _nll(scores, own, same)
        if symmetric:
            loss = (loss + _nll(scores[:, :rows].T, own, same[:, :rows].T)) / 2
        losses.append(loss)
    return torch.stack(losses).mean(0)


def belonging(queries: Tensor, passages: Tensor) -> Tensor:
    """For each query the candidates that belong to it: its own passage, and the own one of an equal query, [n, k · n].

    `queries` [n] and `passages` [n, k] are numbers that equal texts have in common.
    """
    candidates = passages.T.flatten()
    same = candidates[None] == passages[:, :1]
    same[:, : len(queries)] |= queries[:, None] == queries[None]
    return same


def _nll(scores: Tensor, own: Tensor, same: Tensor) -> Tensor:
    others = same.scatter(1, own[:, None], False)
    return functional.cross_entropy(scores.masked_fill(others, float("-inf")), own, reduction="none")
