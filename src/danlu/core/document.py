"""YAML 1.2 to plain data, bounded: `no`, `on`, `yes` and dates are text, a duplicate key is refused with its line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from danlu.core.errors import RecipeError
from danlu.core.plugin import did_you_mean

_MAX_BYTES = 1_000_000
_MAX_VALUES = 20_000
_MAX_DEPTH = 50
_TAGS = (":str", ":int", ":float", ":bool", ":null", ":map", ":seq", ":merge", ":timestamp", ":value")
_WHAT_IT_IS = "a recipe is a short text of settings; data belongs in a file that it names"


class _Constructor(SafeConstructor):
    """YAML's own safe types, without the dates of YAML 1.1; aliases are counted before they are followed."""

    def construct_document(self, node: Node) -> Any:
        _count(node, {}, 0)
        return super().construct_document(node)


for _text in ("timestamp", "value"):
    _Constructor.add_constructor(f"tag:yaml.org,2002:{_text}", SafeConstructor.construct_yaml_str)


def _count(node: Node, known: dict[int, int], depth: int) -> int:
    """How many values there are once every alias is written out."""
    if not (node.tag or "").endswith(_TAGS):
        tag = (node.tag or "").replace("tag:yaml.org,2002:", "!!")
        raise RecipeError(f"the tag {tag} is not allowed in a recipe", do="remove it")
    if depth > _MAX_DEPTH:
        raise RecipeError(f"its values are nested more than {_MAX_DEPTH} deep", do=_WHAT_IT_IS)
    if id(node) not in known:
        children: list[Node] = []
        if isinstance(node, MappingNode):
            children = [part for pair in node.value for part in pair]
        elif isinstance(node, SequenceNode):
            children = node.value
        known[id(node)] = 1 + sum(_count(child, known, depth + 1) for child in children)
    if known[id(node)] > _MAX_VALUES:
        raise RecipeError(f"with its aliases written out it has more than {_MAX_VALUES:,} values", do=_WHAT_IT_IS)
    return known[id(node)]


def parse(text: str, where: str) -> Any:
    """The data in a YAML text. Raises RecipeError naming line and column; `where` is the file, or an override."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    try:
        return yaml.load(text)
    except DuplicateKeyError as fault:
        key = re.search(r'"(.*?)"', str(fault.problem))
        raise RecipeError(
            f"the key {key[1] if key else ''} is there twice", where=_place(where, fault), do="remove one of the two"
        ) from fault
    except MarkedYAMLError as fault:
        raise _not_yaml(fault, where, text) from fault
    except (YAMLError, ValueError) as fault:
        raise RecipeError(f"is not YAML: {str(fault).splitlines()[0]}", where=where) from fault
    except RecursionError:
        raise RecipeError(f"its values are nested more than {_MAX_DEPTH} deep", where=where, do=_WHAT_IT_IS) from None
    except RecipeError as fault:
        raise RecipeError(fault.what, where=where, do=fault.do) from None


def _place(where: str, fault: MarkedYAMLError) -> str:
    mark = fault.problem_mark or fault.context_mark
    return f"{where}:{mark.line + 1}:{mark.column + 1}" if mark else where


def _not_yaml(fault: MarkedYAMLError, where: str, text: str) -> RecipeError:
    problem = " ".join(str(fault.problem or fault.context).split())
    if "'\\t'" in problem:
        return RecipeError("a tab stands where YAML wants spaces", where=_place(where, fault), do="indent with spaces")
    if "mapping values are not allowed" in problem:
        return RecipeError(
            "a second colon in one line", where=_place(where, fault), do='put the value in quotes: "a: b"'
        )
    if "block scalar" in str(fault.context) or "cannot start any token" in problem:
        what = "a value begins with a sign that means something to YAML"
        do = f"put the value in quotes: {_quoted(fault, text)}"
        return RecipeError(what, where=_place(where, fault), do=do)
    if "single document" in str(fault.context):
        return RecipeError("it holds more than one document", where=_place(where, fault), do="remove the line `---`")
    return RecipeError(f"is not YAML: {problem}", where=_place(where, fault))


def _quoted(fault: MarkedYAMLError, text: str) -> str:
    """The value that could not be read, as it must be written; it begins where the reader stopped or began it."""
    mark = fault.context_mark or fault.problem_mark
    line = text.splitlines()[mark.line]
    before, value = line[: mark.column], re.sub(r"\s#.*", "", line[mark.column :])
    if sum(before.count(sign) for sign in "{[") > sum(before.count(sign) for sign in "}]"):
        value = re.split(r"[,}\]]", value)[0]
    return json.dumps(value.strip(), ensure_ascii=False)


def read(path: Path) -> str:
    """The text of a recipe's file. Raises RecipeError for anything that can't be one."""
    where = str(path)
    if path.is_dir():
        found = sorted(p.name for p in path.iterdir() if p.suffix in (".yaml", ".yml"))
        raise RecipeError(
            "is a folder, not a recipe", where=where, do=f"name one of: {', '.join(found)}" if found else ""
        )
    if not path.exists():
        raise RecipeError(
            f"there is no such recipe{nearest(path)}", where=where, do="danlu new --data my.csv writes one"
        )
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise RecipeError(f"is {size / 1e6:.1f} MB long; a recipe has at most 1 MB", where=where, do=_WHAT_IT_IS)
        return path.read_bytes().decode("utf-8-sig")
    except OSError as fault:
        raise RecipeError(f"can't be read: {fault.strerror}", where=where) from fault
    except UnicodeDecodeError as fault:
        raise RecipeError(
            "is not UTF-8 text", where=where, do="name a recipe, a YAML file such as recipe.yaml"
        ) from fault


def nearest(path: Path) -> str:
    """`; did you mean …?` with the names in the same folder that come nearest to a missing path's, else nothing."""
    folder = path.parent
    if not folder.is_dir():
        return f"; there is no folder {folder}"
    near = did_you_mean(path.name, [found.name for found in folder.iterdir()])
    return near if near.startswith("; did") else ""


def written(data: Mapping[str, Any]) -> str:
    """A recipe that is given as a mapping, as the text of a file."""
    out = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # steps run in their order
    yaml.dump(data, out)
    return out.getvalue()
