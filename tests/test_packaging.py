"""The wheel: what it holds, and that it works where nothing else of the repository is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
import yaml

import bench
from bench.report.citations import BENCH

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from what git holds, without a cache of an earlier build."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ":!results", ":!tests"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode != 0:
        pytest.skip("no git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            # The links in the package must become files in the wheel.
            shutil.copy2(ROOT / name, source / name, follow_symlinks=False)
    code = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def held(wheel: Path, name: str) -> bytes:
    """The content of the one file with that name's end."""
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (one for one in archive.namelist() if one.endswith(name))
        return archive.read(path)


def metadata(wheel: Path) -> Message:
    return message_from_bytes(held(wheel, ".dist-info/METADATA"))


def test_the_wheel_has_one_top_level_name(wheel: Path) -> None:
    assert held(wheel, ".dist-info/top_level.txt").split() == [b"bench"]
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert tops == {"bench", f"bench-{bench.__version__}.dist-info"}


def test_the_wheel_holds_the_suites_and_every_module(wheel: Path) -> None:
    for path in (ROOT / "suites").glob("*.yaml"):
        assert held(wheel, f"bench/grid/shipped/{path.name}") == path.read_bytes()
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for path in (ROOT / "bench" / "judges" / "statistics").iterdir():
        assert f"bench/judges/statistics/{path.name}" in names
    for folder, prefix in (("bench", ""), ("methods", "bench/"), ("classifiers", "bench/")):
        modules = {prefix + str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*.py")}
        assert len(modules) > 3 and modules <= names


def test_the_wheel_names_its_licence(wheel: Path) -> None:
    told = metadata(wheel)
    assert told["License-Expression"] == "MIT"
    of_others = "classifiers/weights/faceresnet.LICENSE"
    assert told.get_all("License-File") == ["LICENSE", of_others]
    for name in ("LICENSE", of_others):
        assert held(wheel, f".dist-info/licenses/{name}") == (ROOT / name).read_bytes()
    assert held(wheel, f"bench/{of_others}") == (ROOT / of_others).read_bytes()


@pytest.mark.process
def test_the_wheel_works_in_an_environment_of_its_own(wheel: Path, tmp_path: Path) -> None:
    """Our dependencies come from the environment of the tests, and nothing of the checkout does."""
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index"]
    done = subprocess.run([*install, str(wheel)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (packages,) = environment.glob("lib/python*/site-packages")
    # A path in a .pth file is not searched for further .pth files, such as those of an editable installation.
    here = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "dependencies.pth").write_text("\n".join([*here, sysconfig.get_path("purelib")]) + "\n")
    work = tmp_path / "elsewhere"
    work.mkdir()
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    variables |= {"BENCH_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}

    def call(*command: str | Path) -> str:
        done = subprocess.run(
            list(map(str, command)), cwd=work, env=variables, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    modules = "import bench, bench.methods.mean as mean; print(bench.__file__, mean.__file__)"
    where = call(python, "-c", modules)
    assert all(Path(path).is_relative_to(environment) for path in where.split())
    assert call(python, "-m", "bench", "--version") == f"bench, version {bench.__version__}\n"
    listed = call(environment / "bin" / "bench", "methods")
    assert "prflow: PRFlow" in listed and "usable    no" not in listed
    run = ["run", "--methods", "mean", "--dataset", "mnist", "--rates", "0.8", "--preset", "smoke"]
    call(environment / "bin" / "bench", *run, "--device", "cpu", "--threads", "1")
    (path,) = work.rglob("result.json")
    result = json.loads(path.read_text())
    assert result["status"] == "ok" and result["provenance"]["bench"] == bench.__version__
    # The judge's weights came with the wheel: without them there is no FID.
    assert all(result["metrics"][name]["value"] is not None for name in ("rmse", "fid", "scc"))


def test_every_place_names_the_same_version() -> None:
    told = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert told["version"] == bench.__version__
    releases = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert releases[0] == bench.__version__
    assert f"version = {{{bench.__version__}}}" in BENCH


def test_the_citation_file_and_the_bibtex_cite_the_same() -> None:
    told = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= told.keys()
    fields = dict(re.findall(r"^  (\w+) = \{(.*)\},?$", BENCH, re.MULTILINE))
    assert fields["title"] == told["title"]
    # The second pair of braces keeps BibTeX from reading an entity as first and last names.
    assert fields["author"] == "{" + told["authors"][0]["name"] + "}"
    assert BENCH.count("{") == BENCH.count("}")
