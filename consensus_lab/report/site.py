"""The report: a folder of HTML pages made of executed notebooks, the table and figures.

Theory of operation.  Each page carries its own style sheet and its pictures, so a page can be
mailed, and a folder opened from a disk, without a server and without a request to anybody.  Pages
link to each other by relative names.  The same inputs give the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from consensus_lab.node import ParameterError
from consensus_lab.report import notebook_html, table_html
from consensus_lab.report.notebook_html import Notebook, read_notebook
from consensus_lab.report.page import adapt_svg, escape, page
from consensus_lab.report.table import Table

CSS = """
nav { font-size: .9rem; margin-bottom: .6rem; } nav a { margin-right: .9rem; }
nav [aria-current] { font-weight: 700; color: var(--ink); text-decoration: none; }
.course { list-style: none; padding: 0; } .course li { margin: .7rem 0; }
.course a { font-weight: 600; } .pager { display: flex; flex-wrap: wrap; gap: 1rem;
  justify-content: space-between; border-top: 1px solid var(--line); margin-top: 2.5rem;
  padding-top: .8rem; } .contents { columns: 16rem; font-size: .9rem; max-width: none; }
"""


class Picture(NamedTuple):
    """A figure of the front page: SVG text, alternative text, caption."""

    svg: str
    alt: str
    caption: str


class Document(NamedTuple):
    """A page from a Markdown file: the name of its page, its link's text, the file."""

    name: str
    title: str
    path: Path


class _Page(NamedTuple):
    name: str
    title: str
    body: str


def picture(path: str | Path, *, alt: str, caption: str = "") -> Picture:
    """Read a figure that `save_figure` wrote (the SVG)."""
    path = Path(path)
    try:
        svg = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ParameterError("picture", str(path), f"readable ({error.strerror})") from None
    if not alt.strip():
        raise ParameterError("alt", alt, "a text for readers who cannot see the picture")
    return Picture(svg, alt, caption)


def build_site(
    folder: str | Path,
    *,
    title: str,
    introduction: str = "",
    notebooks: Iterable[str | Path] = (),
    table: Table | None = None,
    pictures: Sequence[Picture] = (),
    documents: Sequence[Document] = (),
) -> list[Path]:
    """Write the pages of the report.

    Parameters
    ----------
    folder : path
        An existing, empty folder (see `experiments.result.new_folder`).
    title : str
        Of the front page.
    introduction : str
        Markdown, at the head of the front page.
    notebooks : iterable of path
        Executed notebooks, in the order of the course.
    table : Table, optional
        The comparison, on the front page.
    pictures : sequence of Picture
        On the front page, below the table.
    documents : sequence of Document
        Further pages: validation, index of mechanisms.

    Returns
    -------
    list of Path
        The pages, the front page first.

    Raises
    ------
    ParameterError
        For a notebook that cannot be read or was not executed, two pages of one name, or a
        document that cannot be read.
    """
    course = [read_notebook(path) for path in notebooks]
    pages = [_front(title, introduction, course, table, pictures)]
    pages += [_notebook_page(course, place) for place in range(len(course))]
    pages += [_document_page(document) for document in documents]
    names = [one.name for one in pages]
    for name in names:
        if names.count(name) > 1:
            raise ParameterError("pages", name, "the name of one page only")
    links = [("index", "Overview"), *((d.name, d.title) for d in documents)]
    style = table_html.CSS + notebook_html.CSS + CSS
    written = []
    for one in pages:
        body = (
            f'<a class="skip" href="#content">Skip to the content</a>\n{_navigation(links, one)}\n'
            f'<main id="content">\n{one.body}\n</main>'
        )
        target = Path(folder) / f"{one.name}.html"
        target.write_text(page(one.title, body, extra_css=style), encoding="utf-8")
        written.append(target)
    return written


def _navigation(links: list[tuple[str, str]], here: _Page) -> str:
    parts = []
    for name, text in links:
        current = ' aria-current="page"' if name == here.name else ""
        parts.append(f'<a href="{escape(name)}.html"{current}>{escape(text)}</a>')
    return f'<nav aria-label="Pages">{" ".join(parts)}</nav>'


def _front(
    title: str,
    introduction: str,
    course: list[Notebook],
    table: Table | None,
    pictures: Sequence[Picture],
) -> _Page:
    parts = [f"<h1>{escape(title)}</h1>"]
    if introduction:
        parts.append(notebook_html.markdown(introduction, Path()))
    if table is not None:
        # The table names notebooks by their files; on the site they are pages.
        fragment = re.sub(r'href="(?:notebooks/)?([^":/]+)\.ipynb"', r'href="\1.html"',
                          table_html.fragment(table))  # fmt: skip
        parts.append(f'<h2 id="table">{escape(table.title)}</h2>\n{fragment}')
    if course:
        items = "".join(
            f'<li><a href="{escape(one.name)}.html">{escape(one.title)}</a><br>'
            f'<span class="faint">{_plain(one.question)}</span></li>\n'
            for one in course
        )
        parts.append(f'<h2 id="course">The course</h2>\n<ol class="course">\n{items}</ol>')
    if pictures:
        parts.append('<h2 id="figures">Figures</h2>')
        for number, one in enumerate(pictures):
            caption = f"<figcaption>{escape(one.caption)}</figcaption>" if one.caption else ""
            svg = adapt_svg(one.svg, alt=one.alt, prefix=f"front-{number}-")
            parts.append(f"<figure>{svg}{caption}</figure>")
    return _Page("index", title, "\n".join(parts))


def _plain(markdown_text: str) -> str:
    """A paragraph of Markdown without its marks, for a list."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", markdown_text)
    return escape(re.sub(r"[*_`]", "", text))


def _notebook_page(course: list[Notebook], place: int) -> _Page:
    one = course[place]
    contents = ""
    if len(one.headings) > 2:
        items = "".join(f'<li><a href="#{a}">{escape(t)}</a></li>' for a, t in one.headings)
        contents = f'<ul class="contents">{items}</ul>'
    before, after = course[place - 1 : place], course[place + 1 : place + 2]
    pager = "".join(
        f'<a href="{escape(other.name)}.html">{arrow} {escape(other.title)}</a>'
        for arrow, others in (("←", before), ("→", after))
        for other in others
    )
    body = f'{contents}\n{one.body}\n<div class="pager">{pager}</div>'
    return _Page(one.name, one.title, body)


def _document_page(document: Document) -> _Page:
    try:
        text = document.path.read_text(encoding="utf-8")
    except OSError as error:
        allowed = f"readable ({error.strerror})"
        raise ParameterError("document", str(document.path), allowed) from None
    body = notebook_html.markdown(text, document.path.parent)
    if not re.search(r"^# ", text, re.M):
        body = f"<h1>{escape(document.title)}</h1>\n{body}"
    return _Page(document.name, document.title, body)
