"""What a panel's static twin should be, byte by byte."""

from __future__ import annotations

import base64
from html import escape
from typing import Any

from consensus_lab.report.style import describe, render


def twin_of(panel: Any, figure: Any) -> str:
    """The HTML that a panel leaves for that figure."""
    data = base64.b64encode(render(figure, "png", dpi=96)).decode()
    picture = f'<img alt="{escape(describe(figure))}" src="data:image/png;base64,{data}">'
    return f'<div class="consensus-lab-twin-{panel.box.model_id}">{picture}</div>'
