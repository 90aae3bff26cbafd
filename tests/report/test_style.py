"""The look of figures and the promise that equal figures are equal files."""

import subprocess
import sys

import matplotlib
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from consensus_lab.report import style


def example(heights=(1, 3, 2)):
    with style.style():
        figure, axes = style.axes_of(None)
        for index in range(3):
            mark = style.look(index)
            axes.plot(heights, color=mark.color, marker=mark.marker, label=f"series {index}")
        style.reference_line(axes, 1.5, "6.5 s", source="Decker and Wattenhofer 2013")
        style.headline(axes, "Three lines rise and fall", "seed 1, 3 replicates")
        axes.set_xlabel("time (s)")
        axes.set_ylabel("height (count)")
        style.legend(axes)
    return figure


@pytest.mark.slow
def test_equal_figures_are_equal_files(tmp_path):
    first = [path.read_bytes() for path in style.save_figure(example(), tmp_path / "a")]
    second = [path.read_bytes() for path in style.save_figure(example(), tmp_path / "b")]
    other = [path.read_bytes() for path in style.save_figure(example((1, 3, 4)), tmp_path / "c")]
    assert first == second
    assert first[0] != other[0]
    assert first[1] != other[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.png", "a.svg", "b.png", "b.svg", "c.png", "c.svg",
    ]  # fmt: skip


@pytest.mark.slow
def test_showing_a_figure_first_does_not_change_the_files():
    shown = example()
    shown._repr_mimebundle_()
    assert style.render(shown, "svg") == style.render(example(), "svg")
    assert style.render(shown, "png") == style.render(example(), "png")


@pytest.mark.slow
def test_files_do_not_depend_on_the_process_its_hash_seed_or_the_users_settings():
    code = (
        "import sys, hashlib, matplotlib; matplotlib.rcParams['font.size'] = 20\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from tests.report.test_style import example, style\n"
        "for kind in ('svg', 'png'):\n"
        "    print(hashlib.sha256(style.render(example(), kind)).hexdigest())\n"
    )
    here = __file__.rsplit("/", 3)[0]
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code, here], capture_output=True, text=True, check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path), "HOME": here},
        ).stdout
        for seed in ("1", "77")
    }  # fmt: skip
    assert len(outputs) == 1


def test_files_name_no_date_and_no_program_version():
    svg = style.render(example(), "svg").decode()
    png = style.render(example(), "png")
    assert "dc:date" not in svg
    assert matplotlib.__version__ not in svg
    assert b"tEXt" not in png.split(b"IDAT")[0]


def test_the_users_settings_come_back():
    before = dict(matplotlib.rcParams)
    example()
    assert dict(matplotlib.rcParams) == before


def test_a_figure_shows_itself_with_an_alternative_text():
    images, metadata = example()._repr_mimebundle_()
    assert images["image/png"].startswith(b"\x89PNG")
    assert "<svg" in images["image/svg+xml"]
    assert metadata["image/svg+xml"]["alt"] == (
        "Three lines rise and fall. height (count) against time (s). "
        "series: series 0, series 1, series 2."
    )


def test_figures_are_drawn_into_the_callers_axes():
    figure = Figure()
    _, right = figure.subplots(1, 2)
    assert style.axes_of(right) == (figure, right)


def linear(part):
    return part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4


def luminance(color):
    return sum(
        w * linear(p) for w, p in zip((0.2126, 0.7152, 0.0722), to_rgb(color), strict=True)
    )


# Full loss of one kind of cone, in linear light (Viénot, Brettel and Mollon 1999, eq. 7 and 8).
DEUTERANOPIA = ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0))
PROTANOPIA = ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0))
NORMAL = ((1, 0, 0), (0, 1, 0), (0, 0, 1))


@pytest.mark.parametrize("eye", [NORMAL, DEUTERANOPIA, PROTANOPIA])
def test_colours_differ_for_colour_blind_readers(eye):
    """The first four colours, which are what most figures use, and ink stay apart."""
    seen = []
    for color in (*style.PALETTE[:4], style.INK):
        light = [linear(part) for part in to_rgb(color)]
        seen.append([sum(w * p for w, p in zip(row, light, strict=True)) ** (1 / 2.2)
                     if sum(w * p for w, p in zip(row, light, strict=True)) > 0 else 0.0
                     for row in eye])  # fmt: skip
    for i, one in enumerate(seen):
        for other in seen[:i]:
            assert sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 > 0.12


def test_text_and_lines_have_contrast_on_paper():
    """Graphics need 3:1 in WCAG 2.1; the two lightest of six colours are the exception."""
    ratios = [1.05 / (luminance(color) + 0.05) for color in (style.INK, *style.PALETTE[:3])]
    assert min(ratios) >= 3.0
    assert 1.05 / (luminance(style.FAINT) + 0.05) >= 4.5


def test_looks_do_not_repeat_within_thirty_six():
    assert len({(style.look(i).color, style.look(i).marker) for i in range(36)}) == 36
