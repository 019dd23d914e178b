"""Self-contained HTML pages: all pictures and numbers are inside, and no text in them is read as HTML."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import NamedTuple

from jinja2 import Environment
from markupsafe import Markup


class Section(NamedTuple):
    """A part of a page: a table and pictures below a title. A cell is a text, a number or an :func:`image`."""

    title: str
    header: Sequence[str] = ()
    rows: Sequence[Sequence[object]] = ()
    pictures: Mapping[str, Iterable[Markup]] = {}  # by their caption


def render_page(title: str, text: str, sections: Sequence[Section]) -> str:
    """The HTML of a page; what is not Unicode in the name of a file is replaced."""
    template = files('mmbeitv2.visualization').joinpath('page.html').read_text(encoding='utf-8')
    page = Environment(autoescape=True, trim_blocks=True).from_string(template)
    return page.render(title=title, text=text, sections=sections).encode(errors='replace').decode()


def image(content: bytes, kind: str = 'png') -> Markup:
    """The content of a picture file, for a page."""
    return Markup('<img alt="" src="data:image/{};base64,{}">').format(kind, base64.b64encode(content).decode())
