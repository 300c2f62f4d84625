"""A method that rewrites the cache gets no number, and no later method is scored with what it wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.command import Bench

LINES = """
import pathlib
import numpy as np
for path in pathlib.Path(os.environ["BENCH_CACHE"]).glob({place!r}):
    path.chmod(0o600)
    {change}
{end}
"""
ARRAY = "np.save(path, np.load(path) // 3)"
STATISTICS = """
    import safetensors, safetensors.numpy
    with safetensors.safe_open(path, framework="numpy") as file:
        arrays, facts = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()
    arrays["mean"] = arrays["mean"] + 1
    path.write_bytes(safetensors.numpy.save(arrays, facts))
"""
REWRITTEN = {
    "masks": ("incomplete/*/test-observed.npy", ARRAY),
    "truth": ("complete/*/test.npy", ARRAY),
    "training truth": ("complete/*/train.npy", ARRAY),
    "labels": ("complete/*/test-labels.npy", ARRAY),
    "the method's pixels": ("incomplete/*/test-pixels.npy", ARRAY),
    "facts": ("incomplete/*/facts.json", "path.write_text(path.read_text().replace('sha256:', 'sha256:0'))"),
    "features": ("statistics/*", STATISTICS.strip()),
}


@pytest.fixture
def own_cache(bench: Bench, tmp_path: Path) -> Path:
    bench.environment["BENCH_CACHE"] = str(tmp_path / "own-cache")
    return tmp_path / "own-cache"


@pytest.mark.parametrize("end", ["pass", "raise ValueError('it fails after it has written')"])
@pytest.mark.parametrize("kind", [*REWRITTEN])
def test_a_method_that_rewrites_the_cache_spoils_no_number(
    bench: Bench, own_cache: Path, kind: str, end: str
) -> None:
    place, change = REWRITTEN[kind]
    # The judge has 84 features, so an FID needs more images than that.
    images = ["--test", "100", "--train", "150"] if kind == "features" else []
    bench.plugin(name="honest")
    assert bench.run("--methods", "honest", *images)[0] == 0
    (honest,) = bench.results()
    before = {path: path.read_bytes() for path in own_cache.glob(place)}
    assert before
    bench.plugin(LINES.format(place=place, change=change, end=end), "sly")
    assert bench.run("--methods", "sly", *images)[0] == 1
    sly = bench.by_method()["sly"]
    assert sly["status"] == "failed" and "metrics" not in sly
    if end == "pass":
        assert (
            "files in the cache were changed" in sly["error"]
            and place.split("/")[-1].strip("*") in sly["error"]
        )
    assert bench.run("--methods", "honest", "--rerun", *images)[0] == 0
    assert bench.by_method()["honest"]["metrics"] == honest["metrics"]
    assert {path: path.read_bytes() for path in own_cache.glob(place)} == before


def test_statistics_that_a_method_plants_are_not_taken(bench: Bench, own_cache: Path) -> None:
    """The first cell of a data set finds none in the cache; what appears during its fit is not ours."""
    images = ["--test", "100", "--train", "150"]
    bench.plugin(name="honest")
    assert bench.run("--methods", "honest", *images)[0] == 0
    (honest,) = bench.results()
    place = own_cache / "statistics"
    good = bench.folder / "good"
    place.rename(good)
    plant = f"""
import pathlib, shutil
shutil.copytree({str(good)!r}, {str(place)!r})
for path in pathlib.Path({str(place)!r}).iterdir():
    path.chmod(0o600)
    {STATISTICS.strip()}
"""
    bench.plugin(plant, "planter")
    assert bench.run("--methods", "planter", *images)[0] == 0
    # The same constant as the honest one's, so it has the same number.
    assert bench.by_method()["planter"]["metrics"] == honest["metrics"]


@pytest.mark.parametrize("gone", ["incomplete", "complete"])
def test_a_cache_that_is_cleared_during_a_fit_is_not_the_methods_fault(
    bench: Bench, own_cache: Path, gone: str
) -> None:
    """Without the incomplete arrays the method cannot impute, without the complete ones nothing is scored."""
    once = bench.folder / "cleared"
    bench.plugin(
        f"""
import pathlib, shutil
if not pathlib.Path({str(once)!r}).exists():
    pathlib.Path({str(once)!r}).touch()
    shutil.rmtree(pathlib.Path({str(own_cache)!r}) / {gone!r})
"""
    )
    status, output = bench.run()
    assert status == 2, output
    assert "the cache was cleared while this cell ran; run it again" in output
    assert not bench.results()
    assert bench.run()[0] == 0
