"""What the documents say can be done as they say it."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import numpy as np
import pytest
import yaml

from bench.cli import COMMANDS, cli
from bench.datasets import Dataset
from bench.metrics import Scoring
from bench.plugins.conformance import CHECKS
from bench.plugins.conformance_messages import CheckJob
from bench.plugins.conformance_process import Trial, answer
from bench.plugins.registry import find_methods

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.md"))]


def fences(page: Path, language: str) -> list[str]:
    """The code blocks in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def calls(page: Path) -> Iterator[list[str]]:
    """The calls of `bench` on a page, in code of either kind, as a shell would split them."""
    text = page.read_text()
    lines = re.findall(r"^(?: {4})?(bench [^\n#]*)", text, re.MULTILINE) + re.findall(
        r"`(bench [^`]*)`", text
    )
    yield from (shlex.split(line) for line in lines if not line.startswith("bench COMMAND"))


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = made
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def generated() -> ModuleType:
    return module(ROOT / "docs" / "generated.py")


def example(page: str, folder: Path, name: str) -> Path:
    (code,) = fences(ROOT / page, "python")
    path = folder / f"{name}.py"
    path.write_text(code)
    return path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_call_on_a_page_is_one_that_the_command_line_takes(page: Path) -> None:
    for _, *words in calls(page):
        options = [word for word in words if word.startswith("-")]
        if not words or words[0].startswith("-"):
            known, command = ["--debug", "--help"], next((word for word in words if word in COMMANDS), "")
        else:
            command = words[0]
            known = ["--help"]
        if command not in ("", "COMMAND"):
            found = cli.get_command(click.Context(cli), command)
            assert found is not None, command
            known += [option for parameter in found.params for option in parameter.opts]
        assert set(options) <= set(known), (words, options)


def test_the_pages_show_calls() -> None:
    assert sum(len(list(calls(page))) for page in PAGES) > 20


def test_every_command_is_on_its_page_with_every_option() -> None:
    page = (ROOT / "docs" / "command-line.md").read_text()
    for name in COMMANDS:
        section = page.partition(f"## bench {name}\n")[2].partition("\n## ")[0]
        command = cli.get_command(click.Context(cli), name)
        assert command is not None and section
        for parameter in command.params:
            assert isinstance(parameter, click.Argument) or all(name in section for name in parameter.opts)


def test_what_the_pages_say_of_the_code_is_so_now(generated: ModuleType) -> None:
    stale = [page for page in PAGES if generated.renewed(page.read_text()) != page.read_text()]
    assert stale == [], "run: make docs"


def test_a_stale_part_is_made_anew_and_the_rest_is_left(generated: ModuleType) -> None:
    page = (ROOT / "docs" / "methods" / "prflow.md").read_text()
    stale = page.replace("| `alpha` | float", "| `beta` | int")
    assert stale != page and generated.renewed(stale) == page
    empty = "before\n\n<!-- generated: method mean -->\n<!-- end -->\n\nafter\n"
    full = generated.renewed(empty)
    assert full.startswith("before\n\n<!-- ") and full.endswith(" -->\n\nafter\n")
    assert "On the command line: `mean`." in full and generated.renewed(full) == full


def anchors(page: Path) -> set[str]:
    """What a link can name on a page: its headings, as code hosts spell them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_leads_to_something_in_the_repository(page: Path) -> None:
    """Also where the pages are read as they are, without MkDocs."""
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_relative_to(ROOT) and target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_every_page_is_in_the_navigation() -> None:
    def pages(entry: object) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry
        elif isinstance(entry, dict):
            entry = list(entry.values())
        if isinstance(entry, list):
            for part in entry:
                yield from pages(part)

    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    written = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert set(pages(navigation)) == written


def test_every_published_method_has_a_page_and_its_settings() -> None:
    for name in ("mcflow", "prflow", "misgan", "pbigan"):
        assert name in find_methods()
        page = (ROOT / "docs" / "methods" / f"{name}.md").read_text()
        assert f"<!-- generated: method {name} -->" in page
    page = (ROOT / "docs" / "methods" / "prflow.md").read_text()
    for line in (
        "| `alpha` | float above 0 and at most 1 | 0.333333 |",
        "alpha: the prior's exponent",
        "@inproceedings{bernal2021prflow",
    ):
        assert line in page


@pytest.mark.parametrize("page", ["docs/write-a-method.md", "README.md"])
def test_the_method_of_a_page_keeps_the_contract_in_fewer_than_30_lines(page: str, tmp_path: Path) -> None:
    path = example(page, tmp_path, "my_method")
    assert len(path.read_text().splitlines()) < 30
    trial = Trial(
        CheckJob(
            reference=str(path),
            settings={},
            long_settings={},
            images="colour",
            checks=tuple(CHECKS),
            folder=tmp_path / "kept",
        )
    )
    answers = {name: answer(trial, name) for name in CHECKS}
    assert {name for name, given in answers.items() if given.status != "pass"} == set()


def test_the_data_set_of_the_page_is_one(tmp_path: Path) -> None:
    dataset = module(example("docs/add-a-data-set.md", tmp_path, "discs")).load(None)
    assert isinstance(dataset, Dataset)
    assert dataset.train.shape == (1000, 1, 28, 28) and dataset.test.shape == (200, 1, 28, 28)


def test_the_metric_of_the_page_is_right(tmp_path: Path) -> None:
    metric = module(example("docs/add-a-metric.md", tmp_path, "mae")).mean_absolute_error
    truth = np.full((2, 3, 4, 4), 51, np.uint8)
    observed = np.zeros((2, 1, 4, 4), bool)
    observed[0] = True
    imputed = np.zeros((2, 3, 4, 4), np.float32)
    imputed[0] = 1
    assert metric(Scoring(truth, imputed, observed, None, truth, "", "any")) == {"value": pytest.approx(0.2)}
