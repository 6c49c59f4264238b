"""Conversations as tokens, by a model's chat template: a Jinja program, run in a sandbox as transformers runs it.

What is taught of a conversation is each of the assistant's messages up to the token that ends it. Where one begins is
found by rendering what came before it with the template's own prompt for an answer, so a template needs no marks for
that. Prompt and answer are cut into tokens apart, as they are when the model writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Self

from jinja2 import Template, TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from danlu.blocks import sampling, untrusted
from danlu.core.errors import DataError, RecipeError

Message = Mapping[str, str]

ASSISTANT = "assistant"
_LOOP = (
    "{% for message in messages %}{{ BEGIN + message['role'] + '\\n' + message['content'] + END + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ BEGIN + 'assistant\\n' }}{% endif %}"
)
NAMED = {
    "chatml": _LOOP.replace("BEGIN", "'<|im_start|>'").replace("END", "'<|im_end|>'"),
    "plain": "{{ bos_token }}" + _LOOP.replace("BEGIN", "''").replace("END", "eos_token"),
}
"""Templates for models that have none. `plain` goes with any tokenizer that has a token which ends a text."""
_TRIED = [{"role": "user", "content": "a"}, {"role": ASSISTANT, "content": "b"}]


def check_setting(given: str | None) -> str | None:
    """A setting as it was given. Raises ValueError, for a validator, unless it is a name or a template that is read."""
    if given is not None and given not in NAMED:
        if "{" not in given:
            raise ValueError(f"there is no template called {given!r}; it is {', '.join(NAMED)}, or one in Jinja")
        try:
            _compiled(given)
        except DataError as fault:
            raise ValueError(fault.what) from fault
    return given


def _compiled(text: str) -> Template:
    untrusted.check_template(text)
    jinja = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    jinja.filters["tojson"] = _to_json
    jinja.globals["raise_exception"] = _refuse
    try:
        return jinja.from_string(untrusted.without_marks(text))
    except TemplateError as fault:
        raise DataError(f"the chat template can't be read: {fault}", do="mend it, or name another one") from fault


class ChatTemplate:
    """A template, with the tokenizer that cuts what it writes."""

    def __init__(self, text: str, processor: Any, setting: str) -> None:
        """Raises DataError for a template that reaches out, RecipeError for one after whose answers nothing ends."""
        self._template = _compiled(text)
        self._processor = processor
        names = {name: processor.special(name) for name in ("bos_token", "eos_token", "unk_token", "pad_token")}
        names["eos_token"] = sampling.end(processor)
        self._tokens = {name: "" if place is None else processor.token(place) for name, place in names.items()}
        self.ends = self._found_ends(setting)

    @classmethod
    def of(cls, given: str | None, processor: Any, setting: str) -> Self:
        """The template of a setting (a name, or Jinja), else the tokenizer's own. Raises RecipeError without any."""
        text = NAMED.get(given, given) if given else processor.chat_template()
        if text is None:
            what = "the model has no chat template, so nothing says how a conversation becomes a text"
            raise RecipeError(what, where=setting, do=f"{setting}=plain (or chatml, or a Jinja template)")
        try:
            return cls(text, processor, setting)
        except DataError as fault:
            if given is None:
                raise
            raise RecipeError(fault.what, where=setting, do=fault.do) from fault

    def _found_ends(self, setting: str) -> frozenset[int]:
        """The ids that end an answer: the first special one which the template writes after it, and the tokenizer's."""
        written = self.render(_TRIED)
        specials = self._processor.specials()
        _, said, after = written.rpartition(_TRIED[-1]["content"])
        tail = self._processor.ids(after) if said else []
        first = next((one for one in tail if one in specials), None)
        if first is None:
            what = "the template writes no token that ends an answer, so a model could not learn to stop"
            do = f"{setting}=plain, which ends it as the tokenizer ends texts"
            raise RecipeError(what, where=setting, do=do)
        own = sampling.end(self._processor)
        return frozenset({first} if own is None else {first, own})

    def render(self, messages: Sequence[Message], *, answer: bool = False) -> str:
        """The text of a conversation; with `answer`, up to where the assistant begins. Raises DataError."""
        try:
            return self._template.render(messages=list(messages), add_generation_prompt=answer, **self._tokens)
        except (TemplateError, TypeError, ValueError, KeyError, AttributeError, ArithmeticError) as fault:
            do = "mend the conversation, or name another template"
            raise DataError(f"the chat template refuses the conversation: {fault!s:.200}", do=do) from fault

    def pieces(self, messages: Sequence[Message], *, answer: bool = False) -> list[tuple[list[int], int]]:
        """The ids of the conversation part by part, each with how many of its first ones are taught.

        Parts that are not the assistant's teach nothing. With `answer` the last part leads to an answer that is not
        written yet. Raises DataError where later messages change how the template writes earlier ones.
        """
        found: list[tuple[list[int], int]] = []
        done = ""
        for place, message in enumerate(messages):
            if message["role"] != ASSISTANT:
                continue
            before = self.render(messages[:place], answer=True)
            after = self.render(messages[: place + 1])
            found.append((self._cut(done, before), 0))
            ids = self._cut(before, after)
            found.append((ids, max((k for k, one in enumerate(ids, 1) if one in self.ends), default=len(ids))))
            done = after
        if answer:
            found.append((self._cut(done, self.render(messages, answer=True)), 0))
        return found

    def _cut(self, done: str, whole: str) -> list[int]:
        if not whole.startswith(done):
            what = "the chat template writes earlier messages otherwise once there are later ones"
            raise DataError(what, do="give conversations of one answer, or name another template")
        ids: list[int] = self._processor.ids(whole[len(done) :])
        return ids


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(why: str) -> None:
    raise TemplateError(why)
