"""The page: whole in one file, small enough, safe against hostile names, and working in a browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.report import samples
from bench.report.groups import group_results
from bench.report.html.charts import _ticks as ticks_around
from bench.report.html.page import render
from bench.report.samples import Samples, read_samples
from bench.store.results import Result, read_results
from tests.bench.report.browser import opened
from tests.bench.report.pictured import store_with_images
from tests.bench.report.stored import failed, result

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>'\"{{ 7*7 }}</script><!--"


def page_of(root: Path, target: Path, images: int = 24, compare: bool = False) -> Path:
    groups, _ = group_results(read_results(root)[0])
    target.write_text(render(groups, root, compare, images), encoding="utf-8")
    return target


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods at two rates, two data sets, a failure, and names that try to break out."""
    folder = tmp_path_factory.mktemp("page")
    documents = [
        result(
            method,
            dataset,
            rate,
            rmse=rmse + rate / 10,
            display={
                "method": label,
                "baseline": method == "mean",
                "citation": f"@misc{{{method},\n  note = {{{HOSTILE}}}\n}}",
            },
        )
        for dataset in ("mnist", "cifar10")
        for rate in (0.6, 0.9)
        for method, label, rmse in (
            ("prflow", "PRFlow", 0.1),
            ("evil", HOSTILE, 0.3),
            ("mean", "Pixel mean", 0.2),
        )
    ]
    broken = failed("mcflow", HOSTILE) | {
        "traceback": f"Traceback\n{HOSTILE}",
        "provenance": {"command": HOSTILE},
    }
    root = store_with_images(folder / "runs", *documents, broken)
    return page_of(root, folder / "index.html")


@pytest.fixture(scope="module")
def view(page: Path) -> Iterator[tuple[Any, list[str]]]:
    with opened(page) as (view, said):
        view.wait_for_selector("#gallery-table tbody td button canvas")
        yield view, said


class Checker(HTMLParser):
    """Elements that open and close as they should, and the attributes that were met."""

    EMPTY = {"meta", "input", "br", "link", "img", "path"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(page: Path) -> Checker:
    checker = Checker()
    checker.feed(page.read_text(encoding="utf-8"))
    assert not checker.open
    return checker


def test_it_is_whole_and_asks_for_nothing_elsewhere(page: Path) -> None:
    for tag, attributes in checked(page).tags:
        assert tag not in {"link", "img", "iframe", "object", "base", "form"}
        assert (attributes.get("href") or "#").startswith("#") and "src" not in attributes
    assert not re.search(r"@import|url\(", page.read_text(encoding="utf-8"))


def test_no_name_becomes_an_element_or_an_attribute(page: Path) -> None:
    tags = checked(page).tags
    scripts = [attributes for tag, attributes in tags if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "gallery-data"}, {}]
    assert not any(name.startswith("on") for _, attributes in tags for name in attributes)


def test_what_assistive_technology_needs_is_there(page: Path) -> None:
    tags = checked(page).tags
    assert ("html", {"lang": "en"}) in tags
    identifiers = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    for tag, attributes in tags:
        for name in ("for", "aria-labelledby"):
            assert attributes.get(name, identifiers[0]) in identifiers
        if tag == "th":
            assert attributes["scope"] in {"col", "row"}
        if tag == "svg":
            assert attributes.get("aria-hidden") == "true" or attributes["aria-label"]
    inputs = [attributes["id"] for tag, attributes in tags if tag in {"input", "select"}]
    labelled = {attributes["for"] for tag, attributes in tags if tag == "label" and "for" in attributes}
    assert set(inputs) - labelled == {"gallery-errors"}  # its label is around it


def test_the_full_grid_stays_below_15_megabytes(tmp_path: Path) -> None:
    """48 cells with 64 images each, of noise, which no compression makes smaller."""
    documents = [
        result(method, dataset, rate)
        for dataset in ("mnist", "cifar10", "celeba")
        for method in ("misgan", "pbigan", "mcflow", "prflow")
        for rate in (0.6, 0.7, 0.8, 0.9)
    ]
    root = store_with_images(tmp_path / "runs", *documents, count=64)
    page = page_of(root, tmp_path / "index.html", compare=True)
    assert len(documents) == 48
    assert 1e6 < page.stat().st_size < 15e6


def test_ticks_are_round_and_around_the_values() -> None:
    assert ticks_around([0.12, 0.37]) == ([0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4], False)
    assert ticks_around([0.5, 0.5])[0][0] <= 0.5 <= ticks_around([0.5, 0.5])[0][-1]
    assert ticks_around([0.3, 45.0]) == ([0.1, 1.0, 10.0, 100.0], True)
    assert ticks_around([-3.0, 45.0])[1] is False


def rows(view: Any, table: int, column: int) -> list[str]:
    """The visible texts of one column."""
    texts: list[str] = view.evaluate(
        """([table, column]) => [...document.querySelectorAll("table.sortable")[table].tBodies[0].rows]
        .filter((row) => !row.hidden).map((row) => row.cells[column].textContent.trim())""",
        [table, column],
    )
    return texts


@pytest.mark.browser
def test_tables_sort_by_numbers_and_by_names(view: tuple[Any, list[str]]) -> None:
    page, _ = view
    heading = page.locator("table.sortable").first.locator("thead th").nth(2)
    for direction, order in (("ascending", 1), ("descending", -1)):
        heading.locator("button").focus()
        page.keyboard.press("Enter")
        assert heading.get_attribute("aria-sort") == direction
        shown = rows(page, 0, 2)
        numbers = [float(text.split()[0].removesuffix("(best)")) for text in shown if text[0].isdigit()]
        assert len(numbers) == 6 and numbers == sorted(numbers)[::order]
        # A method without a number goes last either way.
        assert shown[-1].startswith("–")
    page.locator("table.sortable").first.locator("thead th button").nth(0).click()
    assert heading.get_attribute("aria-sort") == "none"
    assert [name[:5] for name in rows(page, 0, 0)] == ["CIFAR"] * 3 + ["MNIST"] * 4


@pytest.mark.browser
def test_the_filter_keeps_the_rows_with_every_word(view: tuple[Any, list[str]]) -> None:
    page, _ = view
    page.locator("#filter").fill("mnist pixel MEAN")
    assert rows(page, 0, 1) == ["Pixel mean"] and rows(page, 0, 0) == ["MNIST"]
    assert re.fullmatch(r"\d+ of \d+ rows", page.locator("#filter-count").text_content())
    page.locator("#filter").fill("")
    assert len(rows(page, 0, 1)) == 7


@pytest.mark.browser
def test_marks_tell_their_numbers_by_pointer_and_by_key(view: tuple[Any, list[str]]) -> None:
    page, _ = view
    point = page.locator("#curves .point").first
    point.hover()
    assert page.locator("#tip").is_visible()
    # MNIST's first: PRFlow at 0.6 of RMSE 0.1 + 0.06.
    assert page.locator("#tip").text_content() == "PRFlow at 0.6: RMSE 0.1600, 95 % interval 0.1500 to 0.1700"
    page.locator("h1").hover()
    assert not page.locator("#tip").is_visible()
    point.focus()
    assert page.locator("#tip").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#tip").is_visible()
    button = page.locator(".legend button").first
    series = button.get_attribute("data-series")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert not page.locator(f'.chart g[data-series="{series}"]').first.is_visible()
    button.click()
    assert page.locator(f'.chart g[data-series="{series}"]').first.is_visible()


@pytest.mark.browser
def test_the_gallery_shows_the_stored_images_and_their_errors(
    view: tuple[Any, list[str]], page: Path
) -> None:
    browser, _ = view
    (path,) = (page.parent / "runs").glob("mnist/pixel-0.9/prflow*/seed-0/samples.npz")
    stored = np.load(path)
    browser.locator("#image-after").click()
    browser.wait_for_selector('#gallery-table[data-image="1"]')
    assert "Test image 100 (2 of 12)" in browser.locator("#image-name").text_content()
    cell = browser.locator("#gallery-table tbody tr").nth(1).locator("td").nth(1)
    imputed, errors = (
        np.array(
            browser.evaluate("(node) => [...node.getContext('2d').getImageData(0, 0, 28, 28).data]", node)
        )
        for node in cell.locator("canvas").element_handles()
    )
    assert np.array_equal(imputed.reshape(28, 28, 4)[..., 0], stored["imputed"][1, 0])
    complete, missing = stored["complete"][1, 0] / 255, ~stored["observed"][1, 0]
    squared = (stored["imputed"][1, 0] / 255 - complete) ** 2
    assert cell.text_content() == f"{np.sqrt(squared[missing].mean()):.4f}"
    brightness = errors.reshape(28, 28, 4)[..., :3].sum(axis=2)
    assert (brightness[squared == 0] == 4).all() and brightness[squared > 0.05].min() > 4
    cell.locator("button").focus()
    browser.keyboard.press("Enter")
    assert browser.locator("#enlarged").is_visible()
    assert browser.locator("#enlarged figcaption").all_text_contents() == [
        "complete",
        "observed",
        "imputed",
        "squared errors",
    ]
    browser.keyboard.press("Escape")
    assert not browser.locator("#enlarged").is_visible()


@pytest.mark.browser
def test_the_gallery_changes_its_data_set_and_its_methods(view: tuple[Any, list[str]]) -> None:
    page, _ = view
    page.locator("#gallery").select_option(label="CIFAR-10, seed 0")
    page.wait_for_selector('#gallery-table canvas[width="32"]')
    page.locator("#gallery-filter").fill("pixel mean")
    page.wait_for_selector("#gallery-table thead th:nth-child(3):last-child")
    assert page.locator("#gallery-table thead th").last.text_content() == "Pixel mean"
    page.locator("#gallery-errors").uncheck()
    assert not page.locator("#gallery-table .errors").first.is_visible()
    page.locator("#gallery-errors").check()
    page.locator("#gallery-filter").fill("")
    page.wait_for_selector("#gallery-table thead th:nth-child(5):last-child")


@pytest.mark.browser
def test_hostile_names_are_text_and_the_console_stays_empty(view: tuple[Any, list[str]], page: Path) -> None:
    browser, said = view
    assert HOSTILE.split(" ")[0] in browser.locator("#tables").text_content()
    failure = browser.locator("#failed details")
    failure.locator("summary").click()
    assert "<script>alert(1)</script>" in failure.locator("pre").text_content()
    data = json.loads(browser.locator("#gallery-data").text_content())
    assert any(method["label"] == HOSTILE for method in data[0]["methods"])
    assert browser.locator("img, [onerror]").count() == 0
    assert said == []


@pytest.mark.browser
def test_a_cell_tells_its_command(view: tuple[Any, list[str]], page: Path) -> None:
    browser, _ = view
    row = browser.locator('table[data-kind="cells"] tbody tr', has_text="PRFlow").first
    row.locator("summary").click()
    code = row.locator("code").first.text_content()
    assert re.fullmatch(r"bench reproduce '?cifar10/pixel-0.6/prflow@-quick/seed-0'? --results \S+", code)


@pytest.mark.browser
@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_it_follows_the_reader_s_colours(view: tuple[Any, list[str]], scheme: str, dark: bool) -> None:
    page, _ = view
    page.emulate_media(color_scheme=scheme)
    paper, ink = page.evaluate(
        """() => { const style = getComputedStyle(document.body); return [style.backgroundColor, style.color]
        .map((colour) => colour.match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0)); }"""
    )
    assert (paper < ink) is dark
    assert abs(paper - ink) > 500


def test_many_seeds_do_not_make_the_page_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two methods at two rates: the images of three seeds are read, once each."""
    documents = [
        result(method, rate=rate, rmse=0.2, seed=seed)
        for method in ("a", "b")
        for rate in (0.6, 0.9)
        for seed in range(5)
    ]
    root = store_with_images(tmp_path / "runs", *documents)
    read: list[Path] = []

    def counted(one: Result) -> Samples:
        read.append(one.path)
        return read_samples(one)

    monkeypatch.setattr(samples, "read_samples", counted)
    whole = page_of(root, tmp_path / "page.html").read_text(encoding="utf-8")
    shown = re.findall(r'<option value="\d">([^<]*seed \d)', whole)
    assert shown == ["MNIST, seed 0", "MNIST, seed 1", "MNIST, seed 2"]
    assert len(read) == len(set(read)) == 3 * 4
    assert "Images of the first 3 seeds of each data set are shown." in whole
