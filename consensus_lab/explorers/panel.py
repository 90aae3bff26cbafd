"""What all explorers are made of: a screen for figures, and a panel that carries its static twin.

Theory of operation.  A panel leaves two outputs: the widget, and its static twin as a picture.
Where the widget comes alive it brings a style that hides the twin; where it does not (papermill's
copy, an HTML export, the site) the twin is what is seen.  The screen is an HTML widget with the
picture inside: it keeps its size between two pictures, so nothing jumps, and it has an
alternative text.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from consensus_lab.node import ParameterError

if TYPE_CHECKING:
    import ipywidgets
    from matplotlib.figure import Figure

PNG_DPI = 144
"""Of pictures that are not SVG: one and a half pixels per pixel of the page, sharp and quick."""

TWIN_DPI = 96

GROWTH_MAX = 1.3
"""How much larger than drawn a figure may become where the page has room."""


class Screen:
    """Where an explorer shows its figures, and says what it refuses.

    Attributes
    ----------
    picture, message : ipywidgets.HTML
        What is seen.
    """

    def __init__(self) -> None:
        import ipywidgets

        self.picture = ipywidgets.HTML()
        self.message = ipywidgets.HTML()

    def show(self, figure: Figure, png: bytes | None = None) -> None:
        """Show a figure in place of the last one; as `png`, where it was drawn already."""
        from consensus_lab.report.style import SCREEN_DPI, describe, render

        mime, data = ("image/png", png) if png else ("image/svg+xml", render(figure, "svg"))
        width, height = (round(SCREEN_DPI * inches) for inches in figure.get_size_inches())
        self.picture.value = (
            f'<img class="consensus-lab-screen" alt="{escape(describe(figure))}" '
            f'style="width:100%;max-width:{GROWTH_MAX * width:.0f}px;'
            f'aspect-ratio:{width}/{height}" '
            f'src="data:{mime};base64,{base64.b64encode(data).decode()}">'
        )
        self.say("")

    def say(self, text: str, *, is_wrong: bool = False) -> None:
        """One line beside the controls; a refusal is in red, and announced to screen readers."""
        look = ' role="alert" style="color:#b3261e"' if is_wrong else ""
        self.message.value = f"<span{look}>{escape(text)}</span>"

    def attempt(self, action: Callable[[], Any]) -> bool:
        """Do something that may be impossible; a refusal is shown.  True when it was done."""
        try:
            action()
        except ParameterError as error:
            self.say(str(error), is_wrong=True)
            return False
        return True


class Panel:
    """An explorer as a notebook shows it.

    Parameters
    ----------
    box : ipywidgets.Widget
        Controls and screen.
    still : callable () -> Figure
        Draws the static twin, when it is asked for.
    **parts
        Controls, for whoever drives them from code: `panel["step"]`.
    """

    def __init__(self, box: ipywidgets.Box, still: Callable[[], Figure], **parts: Any) -> None:
        import ipywidgets

        self._twin = f"consensus-lab-twin-{box.model_id}"
        hiding = ipywidgets.HTML(f"<style>.{self._twin}{{display:none}}</style>")
        hiding.layout.display = "none"
        box.children = (*box.children, hiding)
        self.box = box
        self.still = still
        self.parts = parts

    def __getitem__(self, name: str) -> Any:
        return self.parts[name]

    def outputs(self) -> list[dict[str, Any]]:
        """What a notebook keeps of the panel, by kind: the widget, then the twin."""
        from consensus_lab.report.style import describe, render

        widget: dict[str, Any] = self.box._repr_mimebundle_()
        figure = self.still()
        alt, data = describe(figure), base64.b64encode(render(figure, "png", dpi=TWIN_DPI)).decode()
        picture = f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'
        return [
            {**widget, "text/plain": "An explorer: it works in JupyterLab."},
            {"text/html": f'<div class="{self._twin}">{picture}</div>', "text/plain": alt},
        ]

    def _ipython_display_(self) -> None:
        from IPython.display import display

        for bundle in self.outputs():
            display(bundle, raw=True)
