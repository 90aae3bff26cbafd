"""One HTML page, self-contained: no script from elsewhere, no font, no image, no request.

Theory of operation.  All colours are variables with a light and a dark value, chosen by the
reader's own setting; a printer always gets the light ones.  Everything that can be wider than a
phone (tables, code, figures) scrolls inside its own box, the page itself never does.
"""

from __future__ import annotations

import re
from html import escape

from consensus_lab.report.colors import (
    BLUE,
    FAINT,
    GREEN,
    GRID,
    INK,
    MUTED,
    PAPER,
    SHADE,
    VERMILLION,
)

__all__ = ["adapt_svg", "escape", "page"]

CSS = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1b1b; --faint: #5f5f5f;
  --line: #d9d9d9; --soft: #f4f4f2; --link: #005a8f; --good: #00694c; --bad: #a83c00;
  --doubt: #7a5600; --blue: #0072b2; --vermillion: #d55e00; --green: #009e73;
  --muted: #b0b0b0; }
@media (prefers-color-scheme: dark) { :root { --paper: #15171a; --ink: #ececec;
  --faint: #a8a8a8; --line: #3a3d42; --soft: #1f2226; --link: #74c0f0; --good: #4fd1a5;
  --bad: #ff9a5c; --doubt: #f0c060; --blue: #4aa8e0; --vermillion: #f58442;
  --green: #2fc79b; --muted: #6a6f76; } }
@media print { :root { --paper: #fff; --ink: #000; --faint: #444; --line: #bbb; --soft: #fff;
  --link: #000; --good: #000; --bad: #000; --doubt: #000; --blue: #0072b2;
  --vermillion: #d55e00; --green: #009e73; --muted: #b0b0b0; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 1.2rem 1rem 4rem; max-width: 72rem; background: var(--paper);
  color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 1rem 0 .6rem; }
h2 { font-size: 1.3rem; margin: 2rem 0 .5rem; } h3 { font-size: 1.08rem; margin: 1.5rem 0 .4rem; }
p, ul, ol { max-width: 44rem; } a { color: var(--link); }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: .875em; }
code { overflow-wrap: anywhere; }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: 4px; margin: .6rem 0;
  padding: .6rem .8rem; overflow-x: auto; line-height: 1.4; }
pre code { overflow-wrap: normal; }
figure { margin: 1rem 0; overflow-x: auto; } figure svg, figure img { max-width: 100%;
  height: auto; display: block; } figcaption { color: var(--faint); font-size: .875rem; }
@media (max-width: 46rem) { figure svg { min-width: 36rem; } }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; } thead th { border-bottom: 2px solid var(--ink); }
caption { text-align: left; font-weight: 600; padding: .4rem 0; }
.faint { color: var(--faint); font-size: .85rem; } .good { color: var(--good); }
.bad { color: var(--bad); } .doubt { color: var(--doubt); }
.skip { position: absolute; left: -100rem; } .skip:focus { left: 1rem; }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } nav, .skip { display: none; }
  pre, figure, tr { break-inside: avoid; } h1, h2, h3 { break-after: avoid; }
  pre { white-space: pre-wrap; } a { text-decoration: none; } details::details-content {
  content-visibility: visible; display: block; } figure svg { min-width: 0; } }
"""


def page(title: str, body: str, *, extra_css: str = "", language: str = "en") -> str:
    """A whole HTML document.

    Parameters
    ----------
    title : str
        Plain text.
    body : str
        HTML; it holds the page's only `h1`.
    extra_css : str
        Rules after the common ones.
    language : str
        Of the text, as a BCP 47 tag.
    """
    return (
        f'<!DOCTYPE html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}{extra_css}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


_VARIABLES = {
    INK: "ink", PAPER: "paper", FAINT: "faint", GRID: "line", SHADE: "soft", MUTED: "muted",
    BLUE: "blue",
    VERMILLION: "vermillion", GREEN: "green",
}  # fmt: skip
"""Colours of figures that have another value on dark paper."""

_PROLOGUE = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
_IDENTITY = re.compile(r'(\bid="|xlink:href="#|href="#|url\(#|aria-labelledby=")')


def adapt_svg(svg: str, *, alt: str, prefix: str) -> str:
    """A figure of ours as inline SVG: it follows the page's colours and describes itself.

    Parameters
    ----------
    svg : str
        As `style.render` gives it.
    alt : str
        Read out in place of the picture.
    prefix : str
        Put before every identity in it, so that two figures on a page do not share any.
    """
    svg = _METADATA.sub("", _PROLOGUE.sub("", svg, count=1), count=1).strip()
    svg = re.sub(r"\s*<title>.*?</title>", "", svg, count=1, flags=re.DOTALL)
    svg = _IDENTITY.sub(lambda match: match.group(1) + prefix, svg)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, f"var(--{variable})")
    # Text is drawn as glyphs without a fill of their own, which means black; here: ink.
    opening = f'<svg role="img" aria-label="{escape(alt)}" fill="var(--ink)"'
    return svg.replace("<svg", opening, 1)
