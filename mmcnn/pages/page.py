"""The frame of a page: sections become one HTML file without external resources."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from markupsafe import Markup

from mmcnn.version import __version__

_FRAME = Markup("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header class="top">
<h1>{title}</h1>
<label class="theme needs-script">Theme <select id="theme"><option value="">system</option><option>light</option>
<option>dark</option></select></label>
</header>
<nav aria-label="Sections"><ul>
{links}
</ul></nav>
<main id="content" tabindex="-1">
{sections}
</main>
<footer>{footer}</footer>
<div id="tip" role="tooltip" hidden></div>
<div id="said" role="status" class="unseen"></div>
{files}
<script>
{script}</script>
</body>
</html>
""")


@dataclass(frozen=True)
class Section:
    """A part of a page under a second-level heading; headings in its body are of the third level.

    Attributes:
        name: anchor on the page, ``#name``: letters, digits and hyphens.
        title: its heading.
        body: its content as HTML.
    """

    name: str
    title: str
    body: Markup


def render_page(title: str, sections: Sequence[Section], files: Mapping[str, str] | None = None) -> str:
    """Return the HTML of a page, which needs no other file and no network.

    Its content security policy forbids loading anything and running any script but its own.

    Args:
        title: its first-level heading.
        sections: its sections in order.
        files: name -> text of the files that :func:`download` offers; they are compressed in the page.
    """
    style, script = (resources.files('mmcnn.pages').joinpath(name).read_text('utf-8') for name in _ASSETS)
    # The hash is that of the text between the tags, including the line break before it.
    digest = base64.b64encode(hashlib.sha256(f'\n{script}'.encode()).digest()).decode()
    return _FRAME.format(
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'",
        title=title,
        style=Markup(style),
        script=Markup(script),
        links=Markup('\n').join(
            Markup('<li><a href="#{}">{}</a></li>').format(each.name, each.title) for each in sections
        ),
        sections=Markup('\n').join(
            Markup(
                '<section id="{0}" aria-labelledby="{0}-title">\n<h2 id="{0}-title">{1}</h2>\n{2}\n</section>'
            ).format(each.name, each.title, each.body)
            for each in sections
        ),
        footer=f'Made by mmcnn {__version__}.',
        files=_embedded(files or {}),
    )


def write_page(path: Path, title: str, sections: Sequence[Section], files: Mapping[str, str] | None = None) -> None:
    """Write :func:`render_page` to a file; its folder is created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render_page(title, sections, files), encoding='utf-8')


def download(name: str) -> Markup:
    """Return a button that saves one of the files in the page."""
    return Markup('<button type="button" class="needs-script" data-download="{0}">Save {0}</button>').format(name)


def copyable(text: str) -> Markup:
    """Return a line of code with a button that copies it."""
    return Markup(
        '<span class="copyable"><code>{}</code>'
        '<button type="button" class="needs-script" data-copy="{}">Copy</button></span>'
    ).format(text, text)


def paragraph(text: str | Markup, kind: str = '') -> Markup:
    """Return a paragraph; ``kind`` 'quiet' is for explanations, 'wrong' for failures."""
    return Markup('<p class="{}">{}</p>').format(kind, text) if kind else Markup('<p>{}</p>').format(text)


def heading(text: str, name: str = '') -> Markup:
    """Return a third-level heading, with ``name`` as its anchor on the page."""
    return Markup('<h3 id="{}">{}</h3>').format(name, text) if name else Markup('<h3>{}</h3>').format(text)


def bullets(items: Sequence[str | Markup]) -> Markup:
    """Return a list."""
    return Markup('<ul>{}</ul>').format(Markup('').join(Markup('<li>{}</li>').format(each) for each in items))


def facts(pairs: Mapping[str, str | Markup]) -> Markup:
    """Return names and their values, in two columns."""
    rows = (Markup('<div><dt>{}</dt><dd>{}</dd></div>').format(*pair) for pair in pairs.items())
    return Markup('<dl class="facts">{}</dl>').format(Markup('').join(rows))


def folded(summary: str, body: Markup) -> Markup:
    """Return a part that is collapsed at first."""
    return Markup('<details><summary>{}</summary>\n{}\n</details>').format(summary, body)


def _embedded(files: Mapping[str, str]) -> Markup:
    """Return the files as JSON that is never executed: name -> base64 of gzip, an alphabet without brackets."""
    packed = {name: base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode() for name, text in files.items()}
    text = json.dumps(packed).replace('<', '\\u003c')
    return Markup('<script type="application/json" id="files">{}</script>').format(Markup(text))


_ASSETS = ('page.css', 'page.js')
