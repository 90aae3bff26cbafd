"""A page of many runs: one card each, with a small picture and what sets it apart from the others.

Rules of this file: plain values in, HTML out.  Pictures and pages lie beside the page,
linked by relative names, so that a folder of a thousand runs opens at once and can be moved.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from consensus_lab.report.page import escape, page

THUMBNAIL_PX = 360
"""Width of a small picture: twice what a card shows, for dense screens."""

CSS = """
.gallery { display: grid; gap: 1rem; padding: 0; list-style: none; max-width: none;
  grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); }
.gallery li { border: 1px solid var(--line); border-radius: 4px; padding: .7rem .8rem; }
.gallery img { width: 100%; height: auto; display: block; background: #fff; margin-bottom: .5rem; }
.gallery dl { display: grid; grid-template-columns: auto 1fr; gap: .1rem .6rem; margin: 0;
  font-size: .85rem; } .gallery dt { color: var(--faint); overflow-wrap: anywhere; }
.gallery dd { margin: 0; text-align: right; overflow-wrap: anywhere; }
"""


class Card(NamedTuple):
    """One run.

    Attributes
    ----------
    name : str
        Its key.
    target : str
        Relative address of its page or folder.
    thumbnail : str
        Relative address of its small picture, or "".
    values : mapping of str to str
        What sets it apart: parameter and value.
    note : str
        A line for a run that is missing or failed.
    """

    name: str
    target: str
    thumbnail: str
    values: Mapping[str, str]
    note: str = ""


def gallery(title: str, cards: Sequence[Card], *, common: Mapping[str, str]) -> str:
    """The whole page: what all runs share, then a card for each.

    Parameters
    ----------
    title : str
        Of the page.
    cards : sequence of Card
        In the order of the sweep.
    common : mapping of str to str
        Parameters that are the same in all runs.
    """
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>\n'
        for name, value in common.items()
    )
    shared = (
        f"<details><summary>{len(common)} parameters are the same in all runs</summary>\n"
        f'<div class="scroll"><table><tbody>\n{rows}</tbody></table></div></details>\n'
        if common
        else ""
    )
    items = "\n".join(_card(card) for card in cards)
    body = f'<h1>{escape(title)}</h1>\n{shared}<ul class="gallery">\n{items}\n</ul>'
    return page(title, body, extra_css=CSS)


def _card(card: Card) -> str:
    what = ", ".join(f"{name} {value}" for name, value in card.values.items()) or card.name
    image = (
        f'<img loading="lazy" alt="{escape(f"Figure of the run with {what}.")}" '
        f'src="{escape(card.thumbnail)}">'
        if card.thumbnail
        else ""
    )
    pairs = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in card.values.items()
    )
    text = f'<code class="faint">{escape(card.name)}</code>'
    head = f'<a href="{escape(card.target)}">{image}{text}</a>' if card.target else text
    note = f'<p class="bad">{escape(card.note)}</p>' if card.note else ""
    return f"<li>{head}<dl>{pairs}</dl>{note}</li>"


def thumbnail(png: bytes) -> bytes:
    """The same picture `THUMBNAIL_PX` wide, as PNG; one that is smaller stays as it is."""
    from PIL import Image

    picture = Image.open(io.BytesIO(png))
    if picture.width <= THUMBNAIL_PX:
        return png
    small = io.BytesIO()
    picture.thumbnail((THUMBNAIL_PX, picture.height))
    picture.save(small, format="png")
    return small.getvalue()
