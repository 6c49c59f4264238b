"""Names of people and organisations, found by a model of ours that tags words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from danlu import bundle
from danlu.blocks.personal import NAMES, Found
from danlu.core.errors import DataError
from danlu.predictor import Predictor


class NameFinder:
    """A model's entities as personal data; `kinds` says which type is a person and which an organisation."""

    def __init__(self, folder: Path, kinds: Mapping[str, str]) -> None:
        """Raises DataError for a model that gives no entities, or none of the types named."""
        forms = bundle.Forms.open(folder.expanduser())
        self._ask: Predictor = bundle.load(forms.folder(forms.default))
        self._kinds = dict(kinds)
        if self._ask.task.gives.get("answer") != "entities":
            what = f"a model of {self._ask.task.name} finds no names"
            raise DataError(what, where=str(folder), do="name one of the task token_classification")
        types = {tag.partition("-")[2] for tag in self._ask.task.head().labels} - {""}
        if not types & self._kinds.keys():
            what = f"the model knows the types {', '.join(sorted(types))}, and none is said to be a name"
            raise DataError(what, where=str(folder), do=f"named={{{min(types)}: {NAMES[0]}}}")

    def find(self, texts: Sequence[str]) -> list[list[Found]]:
        """For each text the names in it, by place."""
        return [
            [
                Found(self._kinds[one["label"]], one["start"], one["end"])
                for one in answer["entities"]
                if one["label"] in self._kinds
            ]
            for answer in self._ask(texts)
        ]
