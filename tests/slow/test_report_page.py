"""The report in a browser: it loads nothing, complains of nothing, and works by keyboard, on a phone, in the dark."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from comparison.report.write import write_report
from tests.certificates import write_certificate
from tests.synthetic_runs import real_digits, write_comparison

sync_api = pytest.importorskip("playwright.sync_api", reason="the dev extra is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="the dev extra is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium in PATH: `apt-get install chromium`"),
]
DESKTOP, PHONE = 1280, 390
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
SERIOUS = ("serious", "critical")


class Visit:
    """A page of the report, and what went wrong with it so far."""

    def __init__(self, page, errors: list[str], requests: list[str]) -> None:
        self.page, self.errors, self.requests = page, errors, requests


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two certified runs of ten epochs."""
    folder = write_comparison(tmp_path_factory.mktemp("runs") / "page", epochs=10)
    write_certificate(folder)
    write_report(folder, real_digits(64))
    return folder / "report.html"


@pytest.fixture
def visit(browser, report: Path) -> Iterator[Callable[..., Visit]]:
    """Open the report as asked; after the test, no error and no request may be left."""
    visits, contexts = [], []

    def opened(path: Path = report, *, width: int = DESKTOP, **options) -> Visit:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page, errors, requests = context.new_page(), [], []
        page.on(
            "console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        visits.append(Visit(page, errors, requests))
        return visits[-1]

    yield opened
    found = [(each.errors, [url for url in each.requests if not url.startswith("data:")][1:]) for each in visits]
    for context in contexts:
        context.close()
    assert found == [([], [])] * len(found)


def sources(page) -> list[str]:
    """The pictures in both grids."""
    return [page.locator(f"#grid-{name} img").get_attribute("src") for name in ("torch", "jax")]


def curves(page) -> list[str]:
    """What each of the four charts shows, once it has been drawn."""
    page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    return page.evaluate("[...document.querySelectorAll('.chart canvas')].map((chart) => chart.toDataURL())")


def open_everything(page) -> None:
    """What is folded is looked at, too."""
    for details in page.locator("main details").all():
        details.evaluate("(part) => (part.open = true)")


@contextmanager
def unchanged_title(page) -> Iterator[None]:
    title = page.title()
    yield
    assert page.title() == title


def test_the_slider_changes_both_grids_and_says_which_epoch_is_shown(visit):
    page = visit().page
    last = sources(page)
    page.locator("#epoch").fill("0")
    first = sources(page)
    assert all(before != after for before, after in zip(last, first, strict=True))
    assert first[0] != first[1]
    assert page.locator("#epoch-words").inner_text() == "before training"
    page.locator("#epoch").press("ArrowRight")
    assert page.locator("#epoch-words").inner_text() == "epoch 1, step 40"


def test_play_goes_to_the_last_epoch_and_pause_stops_it(visit):
    page = visit().page
    page.clock.install()
    page.locator("#play").click()
    assert page.locator("#epoch-words").inner_text() == "before training"
    page.clock.run_for(1_500)
    assert page.locator("#epoch-words").inner_text() == "epoch 2, step 80"
    page.locator("#play").click()
    page.clock.run_for(5_000)
    assert page.locator("#epoch-words").inner_text() == "epoch 2, step 80"
    page.locator("#play").click()
    page.clock.run_for(60_000)
    assert page.locator("#epoch-words").inner_text() == "epoch 10, step 400"
    assert page.locator("#play").inner_text() == "Play"


def test_the_slider_moves_the_line_in_the_curves(visit):
    page = visit().page
    page.locator("#epoch").fill("5")
    middle = curves(page)
    page.locator("#epoch").fill("8")
    assert all(one != other for one, other in zip(middle, curves(page), strict=True))


def test_a_click_on_a_digit_shows_its_history_in_both_frameworks(visit):
    page = visit().page
    image = page.locator("#grid-jax img")
    box = image.bounding_box()
    page.wait_for_selector("#history canvas")
    image.click(position={"x": box["width"] * 2.5 / 8, "y": box["height"] * 1.5 / 8})
    assert page.locator("#digit").input_value() == "11"
    page.wait_for_function("document.querySelector('#history .strip').ariaLabel.includes('digit 11')")
    assert page.locator("#history > span").all_inner_texts() == ["PyTorch", "JAX / Flax NNX", "Difference"]
    assert page.locator("#history canvas").count() == 3 * 11


def test_curves_are_zoomed_smoothed_and_put_on_a_log_scale(visit):
    page = visit().page
    seen = curves(page)[:1]
    for act in (
        lambda: page.get_by_role("button", name="Zoom in").click(),
        lambda: page.get_by_role("button", name="Later").click(),
        lambda: page.get_by_label("Smoothing").fill("1"),
        lambda: page.get_by_label("Log scale").check(),
        lambda: page.get_by_role("button", name="All steps").click(),
    ):
        act()
        page.wait_for_timeout(50)
        seen.append(curves(page)[0])
    assert len(set(seen)) == len(seen)
    page.locator(".chart").first.hover()
    assert re.search(r"JAX / Flax NNX:?\s*\d", page.locator(".chart .u-legend").first.inner_text())


def test_a_drag_across_one_curve_zooms_all(visit):
    page = visit().page
    chart = page.locator(".chart .u-over").first
    chart.scroll_into_view_if_needed()
    before, box = curves(page), chart.bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 50, steps=4)
    page.mouse.up()
    page.wait_for_timeout(50)
    assert all(one != other for one, other in zip(before, curves(page), strict=True))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_axe_finds_nothing_serious_contrast_included(theme: str, width: int, visit):
    page = visit(width=width, color_scheme=theme, bypass_csp=True).page
    open_everything(page)
    found = axe.Axe().run(page).response["violations"]
    serious = {each["id"]: [node["html"] for node in each["nodes"]] for each in found if each["impact"] in SERIOUS}
    assert serious == {}


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
def test_nothing_overflows_on_a_phone(scripts: bool, visit):
    page = visit(width=PHONE, java_script_enabled=scripts).page
    open_everything(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
    wide = page.evaluate(
        "[...document.querySelectorAll('main *')].filter((part) => part.getBoundingClientRect().right > 391"
        " && !part.closest('svg, .uplot, thead')).map((part) => part.outerHTML.slice(0, 80))"
    )
    assert wide == []


def test_the_keyboard_reaches_everything_that_can_be_pressed(visit):
    page = visit().page
    page.evaluate(
        "document.querySelectorAll('a[href], button, input, summary').forEach((part, n) => (part.dataset.n = n))"
    )
    wanted = page.evaluate(
        "[...document.querySelectorAll('[data-n]')]"
        ".filter((part) => part.checkVisibility()).map((part) => part.dataset.n)"
    )
    reached = set()
    for _ in range(3 * len(wanted)):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.dataset.n"))
    assert set(wanted) - reached == set()


def test_the_theme_button_turns_the_page_dark_and_light(visit):
    page = visit(color_scheme="light").page
    grounds = []
    for _ in range(3):
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.locator("#theme").click()
    assert grounds[0] == grounds[2] != grounds[1]


def test_the_page_is_complete_without_javascript(visit, report: Path):
    page = visit(java_script_enabled=False).page
    assert page.locator(".live:visible").count() == 0
    assert page.locator(".still svg:visible").count() == 4
    for name in ("torch", "jax"):
        assert page.locator(f"#grid-{name} img").bounding_box()["width"] > 200
    page.get_by_text("Ten digits after each epoch").click()
    assert page.get_by_text("epoch 3").first.is_visible()
    results = json.loads((report.parent / "comparison.json").read_text())
    assert results["images_per_second_ratio"] is not None
    assert page.get_by_text("times as many images per second as").first.is_visible()


def test_it_prints_all_its_parts(visit):
    page = visit().page
    page.emulate_media(media="print")
    assert page.locator(".still svg:visible").count() == 4
    assert page.locator("header:visible, .live:visible").count() == 0


def test_a_hostile_name_stays_text(visit, tmp_path: Path):
    folder = write_comparison(tmp_path / "hostile", epochs=1, dataset=HOSTILE)
    write_report(folder, real_digits(64))
    page = visit(folder / "report.html").page
    assert HOSTILE in page.title()
    with unchanged_title(page):
        page.wait_for_timeout(200)
    assert page.locator("img[src=x]").count() == 0


def test_what_slips_into_the_page_cannot_run(browser, report: Path, tmp_path: Path):
    """Its own policy stops scripts that it does not know, and requests."""
    slipped = tmp_path / "report.html"
    slipped.write_text(
        report.read_text().replace("<main>", f'<main>{HOSTILE}<img src="https://example.invalid/x.png">', 1)
    )
    context = browser.new_context()
    page, sent = context.new_page(), []
    page.on("requestfinished", lambda request: sent.append(request.url))
    page.goto(slipped.as_uri())
    with unchanged_title(page):
        page.wait_for_timeout(200)
    assert [url for url in sent if url.startswith("http")] == []
    context.close()
