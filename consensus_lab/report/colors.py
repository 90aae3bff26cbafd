"""The colours of figures and pages; no matplotlib, so that a table is rendered without it."""

from __future__ import annotations

INK = "#1b1b1b"
"""Colour of text, axes and published values; the site replaces it on dark paper."""

PAPER = "#ffffff"
"""Colour behind a figure; the site replaces it on dark paper."""

FAINT = "#767676"
"""Colour of what stands in the background: grids are lighter still."""

GRID, SHADE, MUTED = "#d9d9d9", "#efefef", "#b0b0b0"
"""Lines of a grid, areas behind, things that wait."""

BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = PALETTE = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9",
)  # fmt: skip
"""Okabe and Ito's colours that keep enough contrast on white, in the order of use."""
