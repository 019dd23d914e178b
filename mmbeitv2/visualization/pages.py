"""Self-contained HTML pages: all pictures and numbers are inside, and no text in them is read as HTML."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

from jinja2 import Environment
from markupsafe import Markup

_PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>{{ title }}</title>
<style>
  body { font: 14px/1.4 system-ui, sans-serif; margin: 1.5em; color: #222; }
  table { border-collapse: collapse; }
  td { border-top: 1px solid #ddd; padding: 2px 1em 2px 0; }
  img { max-width: 100%; margin: 2px; vertical-align: middle; }
</style>
<h1>{{ title }}</h1>
<p>{{ text }}</p>
{% for heading, rows in tables.items() %}
<h2>{{ heading }}</h2>
<table>
{% for row in rows %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</table>
{% endfor %}
"""


def render_page(title: str, text: str, tables: Mapping[str, Sequence[Sequence[object]]]) -> str:
    """The HTML of a page; what is not Unicode in the name of a file is replaced.

    Args:
        title: headline.
        text: below it.
        tables: rows of cells by their headings; a cell is a text, a number or an :func:`image`.
    """
    page = Environment(autoescape=True, trim_blocks=True).from_string(_PAGE)
    return page.render(title=title, text=text, tables=tables).encode(errors='replace').decode()


def image(content: bytes, kind: str = 'png') -> Markup:
    """The content of a picture file, for a page."""
    return Markup('<img alt="" src="data:image/{};base64,{}">').format(kind, base64.b64encode(content).decode())
