"""Conversations in rows and in requests: messages, each of a role, that lie in one column or in several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from danlu.blocks.chat_template import ASSISTANT, Message
from danlu.blocks.tables import is_text
from danlu.core.errors import DataError, RecipeError
from danlu.core.plugin import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

USER, SYSTEM = "user", "system"
_ROLES = {"human": USER, "gpt": ASSISTANT}
"""How others call them."""
_KNOWN = (USER, ASSISTANT, SYSTEM, "tool", "developer")
_SHAPE = 'a conversation is a list of messages: [{"role": "user", "content": "…"}, …]'
MESSAGE = {
    "type": "object",
    "properties": {"role": {"type": "string"}, "content": {"type": "string"}},
    "required": ["role", "content"],
}
MESSAGES = {"type": "array", "items": MESSAGE, "minItems": 1}

# ---- columns ---------------------------------------------------------------------------------------------------------


def find(
    rows: pa.Table, task: str, options: Mapping[str, str | None], usual: Mapping[str, Iterable[str]]
) -> dict[str, str]:
    """The column of each option; where left open, the first of its usual names that is there.

    Raises DataError, with the columns there are, for one that is not there or holds neither text nor messages.
    """
    found = {}
    for option, given in options.items():
        do = f"data.task.{task}.{option}=<column>"
        column = given or next((name for name in usual[option] if name in rows.column_names), None)
        if column is None or column not in rows.column_names:
            what = f"there is no column {column!r}" if column else f"no column was found for the {option}"
            raise DataError(f"{what}; the columns are: {', '.join(rows.column_names)}", do=do)
        kind = rows.schema.field(column).type
        if not is_text(kind) and not listed(kind):
            raise DataError(f"the column {column!r} holds {kind}, neither text nor lists of messages", do=do)
        found[option] = column
    return found


def listed(kind: pa.DataType) -> bool:
    """Whether a column of this type holds lists of messages."""
    return bool(pa.types.is_list(kind) and pa.types.is_struct(kind.value_type))


def settled(columns: Sequence[str | None], task: str) -> tuple[str, ...]:
    """The columns, once they are settled. Raises RecipeError before."""
    if None in columns or not columns:
        raise RecipeError("the columns are not settled yet", do=f"data.task.{task}: see its options")
    return tuple(column for column in columns if column is not None)


# ---- messages --------------------------------------------------------------------------------------------------------


def messages(value: Any) -> list[Message]:
    """A conversation as plain messages `{role, content}`. Raises DataError for another shape, or an empty one."""
    if not isinstance(value, list | tuple) or not value:
        raise DataError(_SHAPE)
    return [_message(one) for one in value]


def _message(one: Any) -> Message:
    if not isinstance(one, Mapping):
        raise DataError(_SHAPE)
    role, content = one.get("role", one.get("from")), one.get("content", one.get("value"))
    if not isinstance(role, str) or not isinstance(content, str):
        raise DataError(f"a message has a `role` and a `content`, which are texts; {_SHAPE}")
    if (known := _ROLES.get(role, role)) not in _KNOWN:
        what = f"a message has the role {role[:40]!r}{did_you_mean(role, [*_KNOWN, *_ROLES])}"
        raise DataError(what, do=f"roles are {', '.join(_KNOWN)}; human and gpt stand for the first two")
    return {"role": known, "content": content}


def turns(value: Any, role: str) -> list[Message]:
    """A cell that holds one message's text, or messages."""
    return [{"role": role, "content": value}] if isinstance(value, str) else messages(value)


def instructed(conversation: Sequence[Message], system: str | None) -> list[Message]:
    """The conversation, after the system's message where it has none of its own."""
    if system is None or (conversation and conversation[0]["role"] == SYSTEM):
        return list(conversation)
    return [{"role": SYSTEM, "content": system}, *conversation]


def answers(conversation: Sequence[Message]) -> str:
    """What the assistant says in a conversation, one answer after another."""
    return "\n".join(one["content"] for one in conversation if one["role"] == ASSISTANT)


def check_answered(conversation: Sequence[Message]) -> None:
    """Raise DataError for a conversation that holds no answer to learn from, or an empty one, or begins with one."""
    said = [one for one in conversation if one["role"] == ASSISTANT]
    do = "mend the row or remove it; operators: [drop_empty]"
    if not said:
        raise DataError("nobody answers in the conversation: it has no message of the role `assistant`", do=do)
    if any(not one["content"].strip() for one in said):
        raise DataError("an answer of the assistant's is empty", do=do)
    first = next(one for one in conversation if one["role"] != SYSTEM)
    if first["role"] == ASSISTANT:
        raise DataError("the conversation begins with an answer", do="begin it with a message of the role `user`")


def asked(x: Any, options: Sequence[str]) -> tuple[list[Message], dict[str, Any]]:
    """The conversation to be answered in an input, and what the input says besides. Raises DataError.

    An input is a text (one message of the user's), a list of messages, or a mapping of either, `messages`, with
    `options`.
    """
    given = dict(x) if isinstance(x, Mapping) else {"messages": x}
    if unknown := sorted(map(str, given.keys() - {"messages", *options})):
        raise DataError(f"a request has no {unknown[0]!r}", do=f"it has: messages, {', '.join(options)}")
    talk = turns(given.pop("messages", None), USER)
    if talk[-1]["role"] == ASSISTANT:
        raise DataError("the last message is the assistant's, so there is nothing to answer")
    return talk, given
