"""The page at `/docs`: what is served and how to ask it, in one file that loads nothing from anywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem}}
pre{{background:#8881;padding:.8rem;overflow:auto;font-size:.9rem}}code{{font-size:.95em}}
h2{{border-top:1px solid #8884;padding-top:1rem;font-size:1.1rem}}:root{{color-scheme:light dark}}</style>
<h1>{title}</h1><p>The machine-readable form of this page is <a href="openapi.json">openapi.json</a>.</p>
{body}</html>"""


def html(api: Mapping[str, Any]) -> str:
    """The page for an OpenAPI document."""
    title = str(api["info"]["title"])
    sections = [
        _section(path, method, told) for path, methods in api["paths"].items() for method, told in methods.items()
    ]
    return _PAGE.format(title=escape(title), body="".join(sections))


def _section(path: str, method: str, told: Mapping[str, Any]) -> str:
    parts = [f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2><p>{escape(told.get('summary', ''))}</p>"]
    if "requestBody" in told:
        parts.append(_schema("Request", told["requestBody"]))
        parts.append(_schema("Answer", told["responses"]["200"]))
        refusals = [f"{status}: {one['description']}" for status, one in told["responses"].items() if status != "200"]
        parts.append(f"<p>{escape('; '.join(refusals))}.</p>")
    return "".join(parts)


def _schema(title: str, told: Mapping[str, Any]) -> str:
    schema = json.dumps(told["content"]["application/json"]["schema"], indent=1, ensure_ascii=False)
    return f"<details><summary>{title} (JSON Schema)</summary><pre>{escape(schema)}</pre></details>"
