"""HTML that runs nothing and loads nothing, from HTML that might.

Outputs of notebooks may hold scripts, style sheets and addresses of pictures elsewhere.  What is
kept is what a page can show by itself: elements that are not active, attributes that neither
handle events nor load, pictures that are part of the text.
"""

from __future__ import annotations

from html import escape
from html.parser import HTMLParser

_DROPPED = frozenset((
    "script", "style", "iframe", "object", "embed", "link", "meta", "base", "form", "video",
    "audio", "source", "track", "frame", "frameset", "applet", "template", "noscript",
))  # fmt: skip
_WITHOUT_END = frozenset(("embed", "link", "meta", "base", "source", "track", "frame"))
_LOADING = frozenset(("src", "srcset", "poster", "background", "data", "action", "formaction"))
_LINKS = ("http:", "https:", "mailto:", "#")


class _Filter(HTMLParser):
    """Writes what it reads, without what is active."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.parts: list[str] = []
        self.dropping: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a passive element with its passive attributes."""
        if tag in _DROPPED:
            if tag not in _WITHOUT_END:
                self.dropping.append(tag)
            return
        if not self.dropping:
            self.parts.append(_opening(tag, attrs, ">"))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element that closes itself has no content to drop."""
        if tag not in _DROPPED and not self.dropping:
            self.parts.append(_opening(tag, attrs, "/>"))

    def handle_endtag(self, tag: str) -> None:
        """Close what was opened."""
        if self.dropping:
            if tag == self.dropping[-1]:
                self.dropping.pop()
        elif tag not in _DROPPED:
            self.parts.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        """Text, as it is."""
        if not self.dropping:
            self.parts.append(data)

    def handle_entityref(self, name: str) -> None:
        """A named character."""
        self.handle_data(f"&{name};")

    def handle_charref(self, name: str) -> None:
        """A numbered character."""
        self.handle_data(f"&#{name};")


def _opening(tag: str, attrs: list[tuple[str, str | None]], end: str) -> str:
    """An opening tag; a picture that would be loaded is left out, one without a text gets one."""
    kept = [_attribute(name, value) for name, value in attrs]
    if tag == "img":
        if not any(part.startswith(" src=") for part in kept):
            return ""
        if not any(part.startswith(" alt=") for part in kept):
            kept.append(' alt="A picture without a description."')
    return f"<{tag}{''.join(kept)}{end}"


def _attribute(name: str, value: str | None) -> str:
    """An attribute as text, or nothing when it runs or loads something."""
    text = (value or "").strip()
    plain = "".join(text.split()).lower()
    if name.startswith("on"):
        return ""
    if name in _LOADING and not plain.startswith("data:image/"):
        return ""
    is_link = name in ("href", "xlink:href")
    if is_link and ":" in plain.split("/")[0] and not plain.startswith(_LINKS):
        return ""
    if name == "style" and ("url(" in plain or "@import" in plain or "expression(" in plain):
        return ""
    return f" {name}" if value is None else f' {name}="{escape(value)}"'


def passive(html: str) -> str:
    """The HTML without scripts, styles, event handlers, and anything loaded from elsewhere.

    Examples
    --------
    >>> passive('<p onclick="x()">a<script>b</script> &amp; <img src="http://c/d.png"></p>')
    '<p>a &amp; </p>'
    """
    reader = _Filter()
    reader.feed(html)
    reader.close()
    return "".join(reader.parts)
