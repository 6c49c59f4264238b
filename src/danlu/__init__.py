"""Danlu: from raw data to a large model in production, one recipe, one command, one report.

    import danlu
    run = danlu.run("recipes/review_sentiment.yaml")
    model = danlu.load("review-sentiment")
    model.predict(["A warm, funny and moving film."])

`import danlu` is cheap: torch and the rest are imported when something asks for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from danlu.core.plugin import lazy

if TYPE_CHECKING:
    from danlu.api import Model, Run, advise, check, load, run, tune

__all__ = ["Model", "Run", "advise", "check", "load", "run", "tune"]

_api = lazy("danlu.api")


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(_api, name)
    raise AttributeError(f"module 'danlu' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
