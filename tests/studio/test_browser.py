"""In a real browser: every tab shows something, sliders give the library's own pictures, and a run is led by hand."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest
import torch

from stylegraft.data.pixels import to_uint8
from stylegraft.studio.canvas import Canvas
from stylegraft.studio.request import picture
from stylegraft.studio.workspace import Workspace

PLACES = (os.environ.get("STYLEGRAFT_CHROMIUM", ""), "/usr/bin/chromium", "/usr/bin/chromium-browser")
CHROMIUM = next((path for path in PLACES if path and Path(path).exists()), None)
playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'"
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")

WAIT = 30_000  # ms; a busy machine is no error
PIXELS = """() => [...document.querySelectorAll('.stage .faces canvas')].map(c =>
    [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].filter((_, i) => i % 4 < 3))"""
SHOWN = """n => { const g = document.querySelector('.stage .faces');
    return +g?.dataset.shown >= n && !g.querySelector('.old') }"""


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as found:
        running = found.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


def unexpected(message) -> bool:
    """Errors of the page's own; refusals, what was overtaken, and a closed app are none."""
    return message.type == "error" and not re.search("status of 4|ERR_CONNECTION|ERR_INTERNET", message.text)


@pytest.fixture
def page(browser):
    """A page that fails the test on any error of its own."""
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    found, errors = context.new_page(), []
    found.set_default_timeout(WAIT)
    found.on("pageerror", lambda error: errors.append(str(error)))
    found.on("console", lambda message: errors.append(message.text) if unexpected(message) else None)
    yield found
    context.close()
    assert not errors


def pixels(page) -> torch.Tensor:
    """What the grid shows: uint8 [N, 3, R, R]."""
    found = torch.tensor(page.evaluate(PIXELS), dtype=torch.uint8)
    side = round((found.shape[1] / 3) ** 0.5)
    return found.reshape(-1, side, side, 3).permute(0, 3, 1, 2)


def move(page, name: str, value: float) -> None:
    """A slider as a hand moves it: the value, and the event."""
    page.get_by_label(name, exact=True).first.evaluate(
        "(e, v) => { e.value = v; e.dispatchEvent(new Event('input', {bubbles: true})) }", str(value)
    )


def settled(page, more: int = 1) -> None:
    """Until the grid shows its newest picture."""
    page.wait_for_function(SHOWN, arg=more)


def same(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Within one level: pieces of another batch size round otherwise."""
    return found.shape == wanted.shape and int((found.int() - wanted.int()).abs().max()) <= 1


def test_sliders_of_mix_give_the_library_s_pictures_and_a_drag_ends_with_the_newest(page, serving):
    page.goto(f"{serving.address}#mix")
    settled(page)
    before, canvas = pixels(page), Canvas(Workspace(serving.folder))
    names = [
        re.match(r"Take (\w) out", b.get_attribute("aria-label"))[1]
        for b in page.get_by_label(re.compile("Take . out")).all()
    ]
    asked = {
        "source": "toy.safetensors",
        "domains": [f"{n}.safetensors" for n in names],
        "seeds": list(range(16)),
    }
    assert same(before, canvas.draw(picture({**asked, "amounts": [0.6, 0.6]})))

    move(page, names[0], 1.3)
    page.get_by_role("slider", name=re.compile("^Coarse")).first.evaluate(
        "e => { e.value = 0.5; e.dispatchEvent(new Event('input')) }"
    )
    settled(page, 3)
    wanted = canvas.draw(picture({**asked, "amounts": [1.3, 0.6], "strengths": {"coarse": 0.5}}))
    assert same(pixels(page), wanted) and not same(pixels(page), before)

    for i in range(40):  # faster than anything is drawn
        move(page, names[0], -1 + i / 20)
    settled(page, 43)
    wanted = canvas.draw(picture({**asked, "amounts": [0.95, 0.6], "strengths": {"coarse": 0.5}}))
    assert same(pixels(page), wanted)

    page.get_by_role("button", name="Save as a domain").click()
    page.get_by_label("Name of the new domain").fill("mine")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("mine.safetensors was saved").wait_for()
    assert (serving.folder / "mine.safetensors").is_file()


def test_the_moment_of_a_film_and_the_share_that_stays_follow_their_sliders(page, serving):
    page.goto(f"{serving.address}#morph")
    page.locator("[data-shown='1']").wait_for()
    seen = "() => document.querySelector('.faces canvas').toDataURL()"
    before = page.evaluate(seen)
    move(page, "A moment of it", 0.3)
    page.locator("[data-shown='2']").wait_for()
    assert page.evaluate(seen) != before
    page.goto(f"{serving.address}#library")
    page.get_by_role("button", name=re.compile("a.safetensors")).first.click()
    page.get_by_role("button", name="Prune…").click()
    move(page, "Share of the numbers that stays", 0.5)
    with page.expect_request("**/api/jobs") as asked:
        page.get_by_role("button", name="Prune", exact=True).click()
    assert asked.value.post_data_json["keep"] == 0.5
    page.goto("about:blank")  # previews under way would be cut off with the server


def test_what_could_not_be_drawn_is_dimmed_and_comes_when_the_studio_answers_again(page, serving):
    page.goto(f"{serving.address}#mix")
    settled(page)
    page.context.set_offline(True)
    page.get_by_role("slider", name=re.compile("^Coarse")).first.evaluate(
        "e => { e.value = 0.5; e.dispatchEvent(new Event('input')) }"
    )
    page.get_by_text("The studio does not answer").first.wait_for()
    assert page.locator(".stage .faces .old").count() == 16
    page.context.set_offline(False)
    settled(page, 2)


def test_without_a_domain_every_tab_shows_the_faces_of_the_source(page, serve, tmp_path: Path):
    address = serve(tmp_path).address
    for tab in ("mix", "translate", "closer"):
        page.goto(f"{address}#{tab}")
        page.wait_for_function(
            "n => document.querySelector(`#panel-${n} .faces [data-number]`) !== null", arg=tab
        )
        assert page.get_by_role("button", name="Learn a domain").is_visible()
    page.goto(f"{address}#library")
    page.get_by_role("button", name=re.compile("faces-64")).first.click()
    page.get_by_role("button", name="Learn a domain").wait_for()


def test_explore_draws_faces_styles_and_the_maps_inside(page, serving):
    page.goto(f"{serving.address}#explore")
    settled(page)
    page.get_by_label("Source", exact=True).select_option("toy.safetensors")
    settled(page, 2)
    page.get_by_role("combobox", name="Faces").select_option("4")
    settled(page, 3)
    canvas = Canvas(Workspace(serving.folder))
    page.get_by_label("Style 1").wait_for()
    move(page, "Style 1", 2)
    move(page, "Truncation", 1)
    settled(page, 5)
    wanted = picture({"source": "toy.safetensors", "seeds": [0, 1, 2, 3], "psi": 1.0, "edits": {"0": 2}})
    assert same(pixels(page), to_uint8(canvas.draw(wanted)))
    page.get_by_label("Face of seed 2").click()
    page.wait_for_selector(".maps img")
    assert "seed 2" in page.locator(".tag").last.inner_text()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_every_tab_shows_something_fits_and_is_named(
    browser, serve, toy_workspace: Path, width: int, scheme: str
):
    serving = serve(toy_workspace)
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.set_default_timeout(WAIT)
    try:
        for tab in ("mix", "adapt", "translate", "morph", "closer", "library", "explore"):
            page.goto(f"{serving.address}#{tab}")
            page.wait_for_selector(f"#panel-{tab} :is(canvas, img, .panel)")
            assert page.locator("[role=tab][aria-selected=true]").get_attribute("id") == f"tab-{tab}"
            spill = page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert spill <= 0, f"{tab} is {spill} px wider than the window"
            unnamed = page.evaluate(
                """() => [...document.querySelectorAll('main :is(button, input, select, img)')].filter(e =>
                   !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length || e.alt)
                ).map(e => e.outerHTML.slice(0, 120))"""
            )
            assert not unnamed, f"{tab}: nothing says what these are"
    finally:
        page.close()


def test_a_designer_adapts_stops_restarts_and_resumes(
    page, serve, workspace: Path, toy_images: Path, tmp_path: Path
):
    serving = serve(workspace)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    page.route("**/api/plan", lambda route: route.fulfill(json={"superseded": True}))  # see test_jobs
    page.goto(f"{serving.address}#adapt")
    page.get_by_label("Recipe").locator("option").first.wait_for(state="attached")
    sentence = page.get_by_label("Or a sentence")
    for words, names in (("a pencil sketch", {"nada", "hdn"}), ("", {"dcl", "nada", "tgan"})):
        sentence.fill(words)
        sentence.press("Tab")
        offered = {o.get_attribute("value") for o in page.get_by_label("Recipe").locator("option").all()}
        assert names <= offered and ("dcl" in offered) == (not words)
    page.locator("#adapt-files").set_input_files([tmp_path / "broken.png", *sorted(toy_images.glob("*.png"))])
    page.get_by_text("broken.png: broken or not a picture").wait_for()
    page.get_by_text("10 pictures", exact=True).wait_for()
    page.get_by_label("Source", exact=True).select_option("toy.safetensors")
    page.get_by_label("Recipe").select_option("tgan")
    page.get_by_label("What may move").select_option("stylespace")
    page.locator("#facts", has_text="numbers move").wait_for()
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Steps", exact=True).fill("5000")
    page.get_by_label("Name of the run").fill("look")
    page.locator("#start").click()
    page.locator("[data-state=running]").wait_for()
    seen(workspace / "runs/look/domain.safetensors")
    serving.close()  # the app is closed; the run goes on

    serving = serve(workspace)
    page.goto(f"{serving.address}#adapt")
    page.locator("[data-state=running] progress[value]").wait_for()
    page.get_by_role("button", name="Stop").click()
    page.locator("[data-state=stopped]").wait_for()
    page.locator("main .picture").wait_for()
    page.get_by_role("button", name="Resume").click()
    page.locator("[data-state=running]").wait_for()
    log = next((workspace / ".studio/jobs").iterdir()) / "log.txt"
    end = time.monotonic() + 60
    while "continuing at step" not in log.read_text() and time.monotonic() < end:
        time.sleep(0.1)
    assert "continuing at step" in log.read_text()
    page.get_by_role("button", name="Stop").click()
    page.locator("[data-state=stopped]").wait_for()
    assert {p.name for p in (workspace / "pictures").rglob("*.png")} == {f"{i:02}.png" for i in range(10)}


def seen(path: Path) -> None:
    """Until a file is there."""
    end = time.monotonic() + 90
    while not path.exists():
        assert time.monotonic() < end, f"{path.name} did not come"
        time.sleep(0.1)
