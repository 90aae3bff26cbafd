"""An executed notebook as a piece of HTML: text, code and outputs, nothing that needs a server.

Rules of this file: no script survives, no address is loaded; a picture becomes part of the page and
has an alternative text.  Formulas between dollar signs are drawn by matplotlib's own typesetter.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import mistune

from consensus_lab.node import ParameterError
from consensus_lab.report.page import adapt_svg, escape
from consensus_lab.report.passive import passive

CSS = """
.cell { margin: .8rem 0; } .output { margin: .3rem 0 1rem; overflow-x: auto; }
.output pre { background: none; border-left: 3px solid var(--line); border-width: 0 0 0 3px; }
.math { vertical-align: middle; fill: currentColor; overflow: visible; }
.formula { margin: .8rem 0; overflow-x: auto; } .anchor { color: inherit; text-decoration: none; }
.k { color: var(--link); font-weight: 600; } .c { color: var(--faint); font-style: italic; }
.s { color: var(--good); } .m { color: var(--bad); }
blockquote { margin: .5rem 0; padding-left: 1rem; border-left: 3px solid var(--line); }
details { margin: .6rem 0; } summary { cursor: pointer; }
.dataframe { border: 0; } .dataframe td, .dataframe th { text-align: right; white-space: nowrap;
  border-width: 0 0 1px; border-style: solid; border-color: var(--line); }
"""

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_TITLE = re.compile(r"^#\s+(.+)$", re.M)


class Notebook(NamedTuple):
    """What a page needs of a notebook.

    Attributes
    ----------
    name : str
        File name without suffix.
    title : str
        Its first heading.
    question : str
        The first paragraph after the heading.
    body : str
        HTML.
    headings : list of (str, str)
        Anchor and text of each section.
    """

    name: str
    title: str
    question: str
    body: str
    headings: list[tuple[str, str]]


class _Renderer(mistune.HTMLRenderer):
    """Markdown to HTML: anchors at headings, links between notebooks, pictures inside."""

    def __init__(self, folder: Path) -> None:
        super().__init__(escape=False)
        self.folder = folder
        self.headings: list[tuple[str, str]] = []

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        """A heading that can be linked to; a page has one of the first level."""
        plain = re.sub(r"<[^>]+>", "", text)
        anchor = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")
        taken = [known for known, _ in self.headings]
        anchor = f"{anchor}-{taken.count(anchor) + 1}" if anchor in taken else anchor
        self.headings.append((anchor, plain))
        return f'<h{level} id="{anchor}">{text}</h{level}>\n'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        """A link; one to a notebook goes to its page."""
        if not url.startswith(("http:", "https:")):
            url = re.sub(r"\.ipynb(?=#|$)", ".html", url)
        return f'<a href="{escape(url)}">{text}</a>'

    def image(self, text: str, url: str, title: str | None = None) -> str:
        """A picture of the folder, as part of the page; one from elsewhere is a link."""
        path = self.folder / url
        alt = re.sub(r"<[^>]+>", "", text) or Path(url).stem.replace("_", " ")
        kinds = {".png": "image/png", ".jpg": "image/jpeg", ".svg": "image/svg+xml"}
        if path.suffix not in kinds or not path.is_file():
            return f'<a href="{escape(url)}">{escape(alt)}</a>'
        return _image(kinds[path.suffix], base64.b64encode(path.read_bytes()).decode(), alt)

    def block_html(self, html: str) -> str:
        """HTML inside Markdown, without what is active."""
        return passive(html) + "\n"

    def inline_html(self, html: str) -> str:
        """HTML inside a line, without what is active."""
        return passive(html)

    def inline_math(self, text: str) -> str:
        """A formula; two sums of money in one line are none."""
        return escape(f"${text}$") if text[-1:].isspace() else _formula(text)

    def block_math(self, text: str) -> str:
        """A formula on a line of its own."""
        return f'<div class="formula">{_formula(text)}</div>\n'


def read_notebook(path: str | Path) -> Notebook:
    """Render an executed notebook.

    Raises
    ------
    ParameterError
        When the file is no notebook, or has code and no outputs at all.
    """
    path = Path(path)
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        allowed = f"a readable notebook ({type(error).__name__})"
        raise ParameterError("notebook", str(path), allowed) from None
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    if code and not any(cell.get("outputs") for cell in code):
        raise ParameterError("notebook", str(path), "executed: it has code and no outputs")
    renderer = _Renderer(path.parent)
    parts = []
    for number, cell in enumerate(cells):
        source = _joined(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(_markdown(source, renderer))
        elif cell["cell_type"] == "code":
            parts.append(_code_cell(cell, source, f"{path.stem}-{number}-", renderer))
    words = "\n\n".join(_joined(c["source"]) for c in cells if c["cell_type"] == "markdown")
    match = _TITLE.search(words)
    title = match.group(1).strip() if match else path.stem
    after = words[match.end() :].strip() if match else ""
    question = after.split("\n\n")[0] if not after.startswith(("#", "<")) else ""
    headings = [heading for heading in renderer.headings if heading[1] != title]
    return Notebook(path.stem, title, " ".join(question.split()), "\n".join(parts), headings)


def markdown(text: str, folder: Path, headings: list[tuple[str, str]] | None = None) -> str:
    """Markdown as HTML; `headings` collects anchors and texts."""
    renderer = _Renderer(folder)
    html = _markdown(text, renderer)
    if headings is not None:
        headings += renderer.headings
    return html


def _markdown(text: str, renderer: _Renderer) -> str:
    plugins = ["table", "strikethrough", "footnotes", "math"]
    html = mistune.create_markdown(renderer=renderer, plugins=plugins)(text)
    assert isinstance(html, str)
    return html.replace("<table>", '<div class="scroll"><table>').replace(
        "</table>", "</table></div>"
    )


def _joined(source: str | list[str]) -> str:
    return source if isinstance(source, str) else "".join(source)


def _code_cell(cell: dict[str, Any], source: str, prefix: str, renderer: _Renderer) -> str:
    tags = cell.get("metadata", {}).get("tags", [])
    parts = []
    if source.strip() and "remove-input" not in tags:
        parts.append(f"<pre><code>{highlighted(source)}</code></pre>")
    for number, output in enumerate(cell.get("outputs", [])):
        html = _output(output, f"{prefix}{number}-", renderer)
        if html:
            parts.append(f'<div class="output">{html}</div>')
    return f'<div class="cell">{"".join(parts)}</div>'


def _output(output: dict[str, Any], prefix: str, renderer: _Renderer) -> str:
    """One output in the richest form that works without a server."""
    kind = output["output_type"]
    if kind == "stream":
        text = _ANSI.sub("", _joined(output["text"]))
        # What a progress bar overwrote is not shown.
        lines = [line.rsplit("\r", 1)[-1] for line in text.replace("\r\n", "\n").split("\n")]
        text = "\n".join(lines).rstrip()
        return f"<pre>{escape(text)}</pre>" if text else ""
    if kind == "error":
        trace = _ANSI.sub("", "\n".join(output["traceback"]))
        return f'<pre class="bad">{escape(trace)}</pre>'
    data, metadata = output.get("data", {}), output.get("metadata", {})
    plain = _joined(data.get("text/plain", ""))
    for mime in ("image/svg+xml", "image/png", "image/jpeg"):
        if mime in data:
            alt = metadata.get(mime, {}).get("alt") or (plain if plain[:1] != "<" else "")
            alt = alt or f"Figure {prefix.rstrip('-')} of the notebook."
            content = _joined(data[mime])
            if mime == "image/svg+xml":
                return f"<figure>{adapt_svg(content, alt=alt, prefix=prefix)}</figure>"
            return f"<figure>{_image(mime, content, alt)}</figure>"
    if "application/vnd.jupyter.widget-view+json" in data:
        return '<p class="faint">A control that works in JupyterLab stands here.</p>'
    if "text/html" in data:
        return f'<div class="scroll">{passive(_joined(data["text/html"]))}</div>'
    if "text/markdown" in data:
        return _markdown(_joined(data["text/markdown"]), renderer)
    return f"<pre>{escape(plain)}</pre>" if plain else ""


def _image(mime: str, content: str, alt: str) -> str:
    source = f"data:{mime};base64,{''.join(content.split())}"
    return f'<img alt="{escape(alt)}" src="{source}">'


def _formula(text: str) -> str:
    """A formula as an inline picture in the colour of the text, or its source where it fails."""
    from matplotlib.textpath import TextPath

    try:
        path = TextPath((0, 0), f"${text.strip()}$", size=15)
    except ValueError:
        return f"<code>{escape(text)}</code>"
    box = path.get_extents()
    commands = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}
    drawn = []
    for points, code in path.iter_segments(simplify=False, curves=True):
        pairs = points.reshape(-1, 2)
        places = " ".join(f"{x:.2f} {-y:.2f}" for x, y in pairs) if code != 79 else ""
        drawn.append(commands[int(code)] + places)
    view = f"{box.x0 - 1:.1f} {-box.y1 - 1:.1f} {box.width + 2:.1f} {box.height + 2:.1f}"
    return (
        f'<svg class="math" role="img" aria-label="{escape(text.strip())}" viewBox="{view}" '
        f'width="{box.width + 2:.1f}" height="{box.height + 2:.1f}"><path d="{"".join(drawn)}"/>'
        "</svg>"
    )


def highlighted(source: str) -> str:
    """Python with its keywords, texts, numbers and comments marked.

    Examples
    --------
    >>> highlighted("x = 1  # one")
    'x = <span class="m">1</span>  <span class="c"># one</span>'
    """
    from pygments.lexers import PythonLexer
    from pygments.token import Comment, Keyword, Number, Operator, String

    classes = ((Comment, "c"), (Keyword, "k"), (Operator.Word, "k"), (String, "s"), (Number, "m"))
    parts = []
    for token, text in PythonLexer(stripnl=False, ensurenl=False).get_tokens(source.rstrip("\n")):
        name = next((name for kind, name in classes if token in kind), "")
        safe = escape(text, quote=False)
        parts.append(f'<span class="{name}">{safe}</span>' if name else safe)
    return "".join(parts)
