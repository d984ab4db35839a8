"""Charts and pages are whole files: well-formed, without an address, and what is drawn is what was given."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from PIL import Image

from stylegraft.lab import charts
from stylegraft.lab.charts import Line, Point, Series, curves, heat_map, pareto, save_chart, scatter
from stylegraft.lab.page import Section, facts, folded, page, picture, read_data, row, table, text

NAN = float("nan")


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def tips(svg: str) -> list[str]:
    return [title.text or "" for title in parsed(svg).iter("title")]


def dots(svg: str) -> list[tuple[float, float]]:
    found = [e for e in parsed(svg).iter("circle") if "dot" in (e.get("class") or "")]
    return [(float(e.get("cx", 0)), float(e.get("cy", 0))) for e in found]


def test_points_stand_where_their_values_are():
    svg = curves("t", [Series("a", [0, 50, 100], [1.0, 2.0, 3.0])], y="loss")
    (x0, y0), (x1, y1), (x2, y2) = dots(svg)
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.2)
    assert charts.LEFT <= x0 < x2 <= charts.WIDTH
    assert tips(svg) == ["a, step 0: 1", "a, step 50: 2", "a, step 100: 3"]


def test_bands_lines_and_gaps():
    one = Series("a", [0, 1, 2, 3], [1.0, None, 2.0, 3.0], low=[0.5] * 4, high=[3.5] * 4)
    svg = curves("t", [one, Series("b", [0, 1], [NAN, NAN], dashed=True)], lines=[Line(9.0, "p(real)")])
    assert len(list(parsed(svg).iter("polygon"))) == 1
    assert len(dots(svg)) == 3
    drawn = [e for e in parsed(svg).iter("polyline") if len(e.get("points", "").split()) > 1]
    assert len(drawn) == 1 + 2  # the unbroken part, and the legend's two
    assert "p(real) 9" in tips(svg)
    top = next(e for e in parsed(svg).iter("line") if e.get("class") == "ref")
    assert charts.TOP <= float(top.get("y1", 0)) <= charts.HEIGHT  # inside the frame


def test_one_point_and_no_point_are_charts_too():
    assert len(dots(curves("t", [Series("a", [5], [0.0])]))) == 1
    assert dots(curves("t", [])) == []
    assert dots(scatter("t", [], "x", "y")) == []
    parsed(heat_map("t", [], [], []))


def test_a_title_is_never_wider_than_its_chart():
    for title, wide in (
        ("KID along the run", False),
        ("share of the way from p(source) to p(real): tgan, 10 shots", True),
    ):
        head = next(e for e in parsed(curves(title, [])).iter("text") if e.get("class") == "head")
        assert (head.get("textLength") is not None) == wide
        assert float(head.get("textLength", 0)) < charts.WIDTH


def test_the_pareto_front():
    points = [(1.0, 3.0), (2.0, 2.0), (3.0, 1.0), (1.0, 1.0), (2.0, 1.5)]
    assert pareto(points) == [0, 1, 2]
    assert pareto(points, ("high", "low")) == [2]
    assert pareto([(1.0, 1.0), (1.0, 1.0)]) == [0, 1]
    svg = scatter("t", [Point(f"r{i}", a, b, "g") for i, (a, b) in enumerate(points)], "p", "d")
    front = next(e for e in parsed(svg).iter("polyline") if e.get("class") == "front")
    assert len(front.get("points", "").split()) == 3
    assert "r1: p 2, d 2" in tips(svg)


def test_costs_of_different_size_stand_by_powers_of_ten():
    points = [Point(name, x, 1.0 + i) for i, (name, x) in enumerate({"a": 1e3, "b": 1e5, "c": 1e7}.items())]
    svg = scatter("t", points, "numbers", "kid", log=True)
    (x0, _), (x1, _), (x2, _) = dots(svg)
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert tips(svg)[0] == "a: numbers 1,000, kid 1"
    words = [e.text for e in parsed(svg).iter("text")]
    assert {"1,000", "100,000", "10,000,000"} <= set(words)
    assert scatter("t", points[:1], "numbers", "kid", log=True) == scatter("t", points[:1], "numbers", "kid")


def test_shades_follow_values():
    svg = heat_map("t", ["a", "b"], ["x", "y"], [[0.0, 1.0], [-2.0, None]])
    cells = [e for e in parsed(svg).iter("rect") if "cell" in (e.get("class") or "")]
    shades = [float(e.get("style", "").split(":")[1]) for e in cells]
    assert shades == pytest.approx([0.04, 0.52, 1.0])
    assert [e.get("class") for e in cells] == ["cell c0", "cell c0", "cell c1"]
    assert tips(svg) == ["a, x: 0", "a, y: 1", "b, x: -2"]


def test_labels_do_not_hide_each_other():
    svg = curves("t", [Series("a", [0, 1, 2, 1000], [1, 1, 1, 2], labels=["0", "1", "2", "1000"])])
    shown = [e.text for e in parsed(svg).iter("text") if e.get("class", "").startswith("small") and e.text]
    assert "1000" in shown
    assert sum(name in ("0", "1", "2") for name in shown) < 6


def test_names_are_text_and_never_markup(tmp_path):
    nasty = "<script>alert(1)</script> & \"'"
    for svg in (
        curves(
            nasty, [Series(nasty, [0, 1], [0, 1], labels=[nasty] * 2)], nasty, nasty, lines=[Line(1, nasty)]
        ),
        scatter(nasty, [Point(nasty, 0, 0, nasty)], nasty, nasty),
        heat_map(nasty, [nasty], [nasty], [[1.0]]),
    ):
        assert not list(parsed(svg).iter("script"))
    html = page(
        nasty, [Section(nasty, [text(nasty), table([nasty], [[nasty]]), facts({nasty: nasty})])], data=nasty
    )
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    assert html.count("<script") == 2  # the numbers, and the page's own
    assert read_data(tmp_path / "page.html") == nasty


def test_a_chart_file_stands_alone(tmp_path):
    save_chart(curves("t", [Series("a", [0, 1], [0, 1])]), tmp_path / "a.svg")
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "prefers-color-scheme: dark" in (tmp_path / "a.svg").read_text(encoding="utf-8")


class Checker(HTMLParser):
    """Every element that was opened is closed, in its order; addresses are collected."""

    VOID = {"meta", "img", "br", "link", "input", "hr"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.found: dict[str, int] = {}

    def handle_starttag(self, tag, attrs):
        self.found[tag] = self.found.get(tag, 0) + 1
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found[tag] = self.found.get(tag, 0) + 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def check(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert checker.open == []
    assert all(address.startswith("data:image/") for address in checker.addresses)
    assert not re.search(r"https?://|@import|url\(", re.sub(r'"data:image[^"]*"', "", html))
    return checker


def test_a_page_is_whole_and_needs_nothing_else():
    tall, wide = Image.new("RGB", (20, 30), "red"), Image.new("L", (300, 20), 99)
    html = page(
        "T",
        [
            Section(
                "A",
                [
                    text("words"),
                    row(curves("c", [Series("a", [0, 1], [0, 1])]), heat_map("h", ["r"], ["c"], [[1]])),
                ],
            ),
            Section(
                "B",
                [
                    folded("more", table(["name", "n"], [["a", 0.12345678], ["b", None]])),
                    facts({"x": "", "y": 1}),
                ],
            ),
            Section("C", [picture(tall, "as it is"), picture(wide, "reduced", width=100)]),
        ],
        data={"a": [1, None]},
    )
    found = check(html).found
    assert (found["svg"], found["img"], found["section"], found["table"]) == (2, 2, 3, 2)
    assert "0.1235" in html
    assert "data:image/png" in html
    assert "data:image/jpeg" in html
    assert "width=device-width" in html


def test_a_report_is_such_a_page(tmp_path, monkeypatch):
    from stylegraft.lab.panel import Settings
    from stylegraft.lab.report import write_report
    from stylegraft.lab.trace import Tracer

    from .eyes import SAMPLES, go, use_toy_eyes

    go(tmp_path, 4)
    plain = check(write_report(tmp_path).read_text(encoding="utf-8"))  # of a run without a trace
    assert plain.found["svg"] == 4  # losses of G and of D, signs, ADA
    use_toy_eyes(monkeypatch)
    go(tmp_path, 6, observer=Tracer(tmp_path, Settings(samples=SAMPLES), every=2, say=lambda _: None))
    path = write_report(tmp_path)
    html = path.read_text(encoding="utf-8")
    found = check(html).found
    assert found["svg"] == 4 + 1 + 4  # the curve, and what there is without a reference
    assert found["img"] == 4  # previews of steps -2, 1, 4, 6
    assert path.stat().st_size < 3e6
    for words in (
        "p_target-toy",
        f"intra-toy@64/{SAMPLES}",
        "p(real)",
        "judged in folds",
        "trained (raw)",
        "step 6",
    ):
        assert words in html
