"""No row is learnt from: the label that fits best, by vectors, a language model's likelihood, or entailment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from danlu.blocks import described, patterns, sentence
from danlu.blocks.described import Described
from danlu.blocks.tensors import evaluating, to_torch
from danlu.contracts import Beginning, Example, Head, collate
from danlu.core.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterable

_SCALES = torch.logspace(0, 2, 41)
"""What cosines are multiplied by, tried on the validation rows."""
_LABEL = "{label}"
_PATTERNS = {"likelihood": "Text: {text}\nLabel: {label}", "entailment": "This text is about {label}."}
_FREE = ("N/A", "[MASK]", "")
"""Texts that say nothing of any label (Zhao et al., 2021, section 5)."""


class ZeroShot(Described):
    """Nothing is trained; `by` says how a text and the labels' descriptions are compared.

    By `similarity`, a text has the label whose description's sentence vector is nearest to its own (Yin et al., 2019).
    What it says is a softmax of the cosines times `scale`, so a confidence is one only as far as `scale` fits. Unless
    given, it is the one under which the validation rows are likeliest, or 20 where there are none; one number is fitted
    to their labels, and no weight.

    By `likelihood`, a causal language model says how likely a description is where `{label}` stands in the pattern: the
    mean log p of its tokens. `calibrate` takes off what it says of texts without content. By `entailment`, a model of
    pairs of texts says whether the pattern with the description follows from the text.
    """

    nothing_when: ClassVar[Mapping[str, Any] | None] = {}

    by: Literal["similarity", "likelihood", "entailment"] = "similarity"
    """How a text is compared with a description."""
    scale: float | None = Field(default=None, gt=0, le=1e4)
    """What cosines are multiplied by before the softmax; log p, 1 unless given."""
    pattern: str | None = None
    """By likelihood: how a text is asked about, with `{text}` and at its end `{label}`. By entailment: the sentence
    that follows from a text of a label, with `{label}`."""
    calibrate: bool = True
    """By likelihood: less the log p that descriptions have after texts without content (Zhao et al., 2021)."""
    answers: tuple[str, ...] = ("contradiction", "entailment", "neutral")
    """By entailment: the labels of the model, in its own order, `entailment` among them."""
    written: patterns.Pattern | None = None
    """The pattern in ids, one tail a description; made when training starts."""
    of: tuple[int, ...] = ()
    """Which label each tail stands for; found when training starts."""
    sizes: tuple[int, ...] = ()
    """Tokens of the description at the end of each tail; found when training starts."""

    @model_validator(mode="after")
    def _asks_for_a_label(self) -> Self:
        if self.by != "similarity":
            patterns.check(self.wording, (_LABEL,) if self.by == "entailment" else (patterns.TEXT, _LABEL))
        return self

    # ---- before there is a model -------------------------------------------------------------------------------------

    def told(self, head: Head, processor: Any) -> Self:
        """The pattern in ids, for `likelihood` and `entailment`. Raises RecipeError where they can't be made."""
        if self.by == "similarity":
            return self
        if not hasattr(processor, "ids"):
            raise RecipeError(
                "the backbone does not read tokens", where="backbone", do=f"method.{self.name}.by=similarity"
            )
        said = [(label, text) for label, texts in enumerate(self.texts(head.labels)) for text in texts]
        make = self._after if self.by == "likelihood" else self._beside
        written, sizes = make([text for _, text in said], processor)
        return self.model_copy(update={"written": written, "of": tuple(label for label, _ in said), "sizes": sizes})

    @property
    def wording(self) -> str:
        """The pattern, or the usual one."""
        return self.pattern or _PATTERNS[self.by]

    def _after(self, texts: Sequence[str], processor: Any) -> tuple[patterns.Pattern, tuple[int, ...]]:
        """The descriptions as what comes after a text."""
        where = f"method.{self.name}.pattern"
        before, after = patterns.halves(self.wording, [_LABEL], where)
        if not after.endswith(_LABEL):
            what = f"the pattern {self.wording!r} must end with {_LABEL}: what comes after it is not asked about"
            raise RecipeError(what, where=where, do="an end of `{label}`")
        between = after.removesuffix(_LABEL)
        space = " " if between.endswith(" ") else ""
        cut, (lead, end) = processor.ids(between.rstrip(" ")), patterns.framed(processor)
        said = [tuple(processor.ids(f"{space}{text}")) for text in texts]
        tails = tuple((*cut, *ids) for ids in said)
        pattern = patterns.Pattern(lead=lead, drop=len(end), before=tuple(processor.ids(before)), tails=tails)
        return pattern, tuple(map(len, said))

    def _beside(self, texts: Sequence[str], processor: Any) -> tuple[patterns.Pattern, tuple[int, ...]]:
        """The descriptions in sentences, as the second of two texts."""
        where = f"method.{self.name}"
        if self.wording.count(_LABEL) != 1:
            what = f"the pattern {self.wording!r} must hold {_LABEL} once"
            raise RecipeError(what, where=f"{where}.pattern", do=f"{where}.pattern='This text is about {_LABEL}.'")
        if "entailment" not in self.answers:
            what = f"none of the model's labels is `entailment`; they are: {', '.join(self.answers)}"
            raise RecipeError(what, where=f"{where}.answers", do=f"{where}.answers=[not_entailment,entailment]")
        alone = processor.inputs("a")["input_ids"].tolist()
        pairs = [processor.inputs(("a", self.wording.replace(_LABEL, text))) for text in texts]
        if any(pair["input_ids"].tolist()[: len(alone)] != alone for pair in pairs):
            raise RecipeError("two texts do not begin as the first alone does", where="backbone", do="another backbone")
        tails = tuple(tuple(pair["input_ids"].tolist()[len(alone) :]) for pair in pairs)
        types = tuple(int(pair["token_type_ids"][-1]) for pair in pairs if "token_type_ids" in pair)
        return patterns.Pattern(lead=patterns.framed(processor)[0], drop=0, tails=tails, types=types), ()

    def head(self, head: Head) -> Head:
        if self.by == "similarity":
            return head
        return Head("next") if self.by == "likelihood" else Head("input", len(self.answers), self.answers)

    def resolve(self, fresh: list[str]) -> Self:
        """Raises RecipeError where what is asked for was never trained."""
        if fresh and self.by != "similarity":
            wanted, do = {
                "likelihood": ("go on with a text", 'backbone={pretrained: "asset:smollm2-135m"}'),
                "entailment": (
                    f"tell {', '.join(self.answers)} apart",
                    f"base: $step of such a text_pair_classification, method.{self.name}.answers in the order it has",
                ),
            }[self.by]
            raise RecipeError(f"the model was not trained to {wanted}: {fresh[0]} is random", where="backbone", do=do)
        return self

    # ---- the model ---------------------------------------------------------------------------------------------------

    def wrap(self, model: nn.Module) -> nn.Module:
        return self._asked(model).requires_grad_(False)

    def _asked(self, model: nn.Module) -> nn.Module:
        if self.by == "similarity":
            return super().wrap(model)
        assert self.written is not None
        if self.by == "likelihood":
            return patterns.Likelihoods(model, self.written, self.of, self.sizes)
        return patterns.Entailments(model, self.written, self.of, self.answers.index("entailment"))

    def begin(self, model: nn.Module, given: Beginning) -> None:
        """Similarity: the head's rows are the descriptions' vectors, as long as `scale`. Else what texts without
        content say."""
        if isinstance(model, patterns.Likelihoods) and self.calibrate:
            examples = [Example(given.processor.inputs(text)) for text in _FREE]
            batch = to_torch(collate(examples, given.processor.pad))
            with evaluating(model), torch.no_grad():
                said = model(**batch.inputs)["logits"]
            model.offset.copy_(said.softmax(-1).mean(0).log())
        if isinstance(model, patterns.Likelihoods | patterns.Entailments):
            model.scale.fill_(self.scale or 1.0)
            return
        assert isinstance(model, sentence.Sentences)
        rows, scale = self.compare(model, given), self.scale
        if scale is None and given.validation:
            cosines = sentence.vectors_of(model, given.validation, given.processor) @ rows.T
            scale = likeliest(cosines, described.true_labels(given.validation), _SCALES.tolist())
        described.fill(model.head, (scale or 20.0) * rows)


def likeliest(cosines: Tensor, truth: Tensor, scales: Iterable[float]) -> float:
    """Of some scales the one under which the true labels [n] are likeliest, given cosines [n, labels]."""
    return min(scales, key=lambda scale: float(functional.cross_entropy(scale * cosines, truth)))
