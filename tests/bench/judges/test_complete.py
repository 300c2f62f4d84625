"""Statistics of complete images: right, from the package or kept, and never those of other images."""

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors
from numpy.typing import NDArray
from PIL import Image

from bench import datasets
from bench.datasets import celeba
from bench.errors import BenchError
from bench.judges import complete, finding
from bench.judges.judge import Judge
from bench.metrics import Scoring, fid, score_all
from bench.plugins.presets import PRESETS
from benchmarks import statistics
from tests.bench.judges.patches import patches
from tests.real import mnist_pixels

RESULTS = Path(__file__).parents[3] / "results" / "measured"
FACES = Path(__file__).parents[4] / "shared" / "data" / "celeba-first10000-half.tar.xz"
UNSEEN = 5e-5
"""Tables show four decimals."""


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    finding._judge_for.cache_clear()
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images the judge looks at, call by call."""
    counts: list[int] = []
    features = Judge.features

    def counted(self: Judge, images: NDArray[np.uint8], batch_size: int = 250) -> NDArray[np.float64]:
        counts.append(len(images))
        return features(self, images, batch_size)

    monkeypatch.setattr(Judge, "features", counted)
    return counts


def same(one: complete.Complete, other: complete.Complete) -> bool:
    """Bit for bit."""
    if one.classes is None or other.classes is None:
        alike = one.classes is other.classes
    else:
        alike = np.array_equal(one.classes, other.classes)
    return (
        alike
        and one.moments.count == other.moments.count
        and np.array_equal(one.moments.mean, other.moments.mean)
        and np.array_equal(one.moments.covariance, other.moments.covariance)
    )


def test_moments_are_those_of_numpy() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(complete.CHUNK + 7, 5)) @ generator.normal(size=(5, 5)) + 3
    found = complete.moments(features)
    assert found.count == len(features)
    assert found.mean == pytest.approx(features.mean(0), rel=1e-12)
    assert found.covariance == pytest.approx(np.cov(features, rowvar=False), rel=1e-10)


def test_what_is_kept_is_read_back_bit_for_bit(own_cache: Path, seen: list[int]) -> None:
    judge, images = finding.judge_for("mnist"), mnist_pixels("t10k", 300).numpy()
    computed = complete.of_complete(judge, images)
    assert same(complete.of_complete(judge, images), computed)
    assert seen == [300]
    features = judge.features(images)
    assert np.array_equal(computed.moments.mean, features.mean(0))
    assert computed.moments.covariance == pytest.approx(np.cov(features, rowvar=False), rel=1e-9, abs=1e-12)
    assert computed.classes is not None and computed.classes.dtype == np.int64
    assert np.array_equal(computed.classes, judge.predict(images))


def test_other_pixels_or_other_weights_are_looked_at_anew(seen: list[int]) -> None:
    judge, images = finding.judge_for("mnist"), mnist_pixels("t10k", 30).numpy()
    complete.of_complete(judge, images)
    changed = images.copy()
    changed[3, 0, 14, 14] ^= 255
    complete.of_complete(judge, changed)
    retrained = replace(judge, metadata={**judge.metadata, "weights": "sha256:0"})
    complete.of_complete(retrained, images)
    assert seen == [30, 30, 30]


@pytest.mark.parametrize("keep", [0, 1, 200, -1])
def test_a_torn_file_is_made_again(keep: int, own_cache: Path, seen: list[int]) -> None:
    judge, images = finding.judge_for("mnist"), mnist_pixels("t10k", 30).numpy()
    first = complete.of_complete(judge, images)
    (path,) = (own_cache / "statistics").iterdir()
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:keep])
    assert same(complete.of_complete(judge, images), first)
    assert same(complete.of_complete(judge, images), first)
    assert seen == [30, 30]


def test_values_that_were_changed_in_a_file_are_not_used(own_cache: Path, seen: list[int]) -> None:
    judge, images = finding.judge_for("mnist"), mnist_pixels("t10k", 30).numpy()
    first = complete.of_complete(judge, images)
    (path,) = (own_cache / "statistics").iterdir()
    content = bytearray(path.read_bytes())
    content[-20] ^= 1  # One bit of a value: the file can still be read.
    path.chmod(0o600)
    path.write_bytes(content)
    assert same(complete.of_complete(judge, images), first)
    assert seen == [30, 30]


def test_a_file_of_another_set_is_not_used_under_a_name_that_fits(own_cache: Path, seen: list[int]) -> None:
    judge = finding.judge_for("mnist")
    images, others = mnist_pixels("t10k", 30).numpy(), mnist_pixels("train", 30).numpy()
    complete.of_complete(judge, others)
    (planted,) = (own_cache / "statistics").iterdir()
    identity = complete.identity_of(judge, images)
    planted.rename(planted.with_name(complete.file_name(judge, identity)))
    assert same(complete.of_complete(judge, images), complete.compute(judge, images))
    assert seen[:2] == [30, 30]


def test_a_judge_without_classes_has_none_kept() -> None:
    judge = replace(finding.judge_for("mnist"), has_classes=False)
    images = mnist_pixels("t10k", 30).numpy()
    assert complete.of_complete(judge, images).classes is None
    assert complete.of_complete(judge, images).classes is None


@pytest.mark.parametrize("preset", PRESETS)
def test_the_package_knows_the_digits_of_every_preset(preset: str, own_cache: Path, seen: list[int]) -> None:
    """And FIDs with its statistics are those with statistics computed here, as far as tables show them."""
    judge, data = finding.judge_for("mnist"), datasets.load("mnist")
    known = []
    for images, size in zip((data.train, data.test), PRESETS[preset], strict=True):
        chosen = images[datasets.subset(len(images), size)]
        known.append((complete.of_complete(judge, chosen), chosen))
    assert not seen
    (train, _), (test, digits) = known
    computed = complete.compute(judge, digits)
    assert test.classes is not None and computed.classes is not None
    assert np.array_equal(test.classes, computed.classes)
    assert fid.fid(test.moments, computed.moments) < UNSEEN
    floor = fid.fid(computed.moments, train.moments)
    assert fid.fid(test.moments, train.moments) == pytest.approx(floor, abs=UNSEEN)


def test_a_first_scoring_of_all_digits_looks_at_the_imputed_ones_only(seen: list[int]) -> None:
    data = datasets.load("mnist")
    observed = np.zeros((len(data.test), 1, 28, 28), bool)
    perfect = (data.test / 255).astype(np.float32)
    scoring = Scoring(data.test, perfect, observed, data.test_labels, data.train, data.fingerprint, "mnist")
    scores = score_all(scoring)
    assert sum(seen) == len(data.test)
    assert scores["fid"]["value"] == pytest.approx(0, abs=UNSEEN)
    # As in the results of the standard preset in results/measured, which were computed without statistics.
    assert scores["fid"]["floor"] == pytest.approx(0.0340343, abs=1e-6)
    assert scores["scc"]["accuracy_complete"] == finding.judge_for("mnist").metadata["accuracy"]
    assert scores["scc"]["value"] == 1


@pytest.mark.parametrize(
    ("dataset", "preset"), [("mnist", "quick"), ("cifar10", "quick"), ("cifar10", "standard")]
)
def test_the_package_s_floors_are_those_of_stored_results(dataset: str, preset: str) -> None:
    """Other machines have computed these from the images themselves, before there were any statistics."""
    (path, *_) = (RESULTS / preset / dataset / "pixel-0.8").glob("mean*/seed-0/result.json")
    stored = json.loads(path.read_text())["metrics"]["fid"]
    known = {}
    for path in complete.PACKAGED.iterdir():
        with safetensors.safe_open(path, framework="numpy") as file:
            facts = json.loads(file.metadata()["facts"])
            count = len(file.get_tensor("classes")) if facts["weights"] == stored["weights"] else 0
        if count:
            read = complete.load(path, facts["identity"], count, {"mnist": 84, "cifar10": 512}[dataset])
            assert read is not None
            known[facts["split"], count] = read.moments
    floor = fid.fid(known["test", stored["samples"]], known["train", stored["floor_samples"]])
    assert floor == pytest.approx(stored["floor"], abs=1e-6)


@pytest.mark.slow
def test_the_package_knows_cifar10(seen: list[int]) -> None:
    try:
        data = datasets.load("cifar10")
    except BenchError:
        pytest.skip("CIFAR-10 is not here")
    judge = finding.judge_for("cifar10")
    for sizes in PRESETS.values():
        for images, size in zip((data.train, data.test), sizes, strict=True):
            complete.of_complete(judge, images[datasets.subset(len(images), size)])
    assert not seen
    train, test = (complete.of_complete(judge, images).moments for images in (data.train, data.test))
    # As in the results of the standard preset in results/measured, which were computed without statistics.
    assert fid.fid(test, train) == pytest.approx(0.0097260, abs=1e-6)
    few = data.test[datasets.subset(len(data.test), PRESETS["smoke"][1])]
    known, computed = complete.of_complete(judge, few), complete.compute(judge, few)
    assert fid.fid(known.moments, computed.moments) < UNSEEN
    assert known.classes is not None and computed.classes is not None
    assert np.array_equal(known.classes, computed.classes)


@pytest.mark.slow
def test_the_package_knows_the_faces_of_every_preset(seen: list[int]) -> None:
    """Of the first 10,000 images at half size; the FID is that of statistics computed here."""
    if not FACES.exists():
        pytest.skip("the faces are not here")
    pixels = []
    with tarfile.open(FACES) as archive:
        for member in archive:
            if member.isfile():
                file = archive.extractfile(member)
                assert file is not None
                pixels.append(celeba.crop(Image.open(file), member.name))
    train, test = np.stack(pixels[:8000]), np.stack(pixels[8000:])
    judge = finding.judge_for("celeba")
    for sizes in PRESETS.values():
        for images, size in zip((train, test), sizes, strict=True):
            complete.of_complete(judge, images[datasets.subset(len(images), min(size or 8000, len(images)))])
    assert not seen
    few = test[datasets.subset(len(test), PRESETS["smoke"][1])]
    known, computed = complete.of_complete(judge, few), complete.compute(judge, few)
    assert fid.fid(known.moments, computed.moments) < UNSEEN
    assert known.classes is None


def test_the_package_s_files_are_small() -> None:
    sizes = [path.stat().st_size for path in complete.PACKAGED.iterdir()]
    assert len(sizes) >= 6 and sum(sizes) < 8e6


def test_the_maintainers_command_writes_what_scoring_takes(
    tmp_path: Path, seen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    presets = {"small": (40, 30), "more than there are": (70, 30), "all": (None, None)}
    monkeypatch.setattr(statistics, "PRESETS", presets)
    data = datasets.Dataset("digits", mnist_pixels("train", 60).numpy(), mnist_pixels("t10k", 50).numpy())
    old, others = tmp_path / "patches-0.safetensors", tmp_path / "lenet-0.safetensors"
    for path in (old, others):
        path.write_bytes(b"")
    paths = statistics.write(patches(), data, tmp_path)
    assert sorted(seen) == [30, 40, 50, 60]
    assert {*tmp_path.iterdir()} == {*paths, others} and len(paths) == 4
    contents = [path.read_bytes() for path in paths]
    statistics.write(patches(), data, tmp_path)
    assert [path.read_bytes() for path in paths] == contents
    seen.clear()
    monkeypatch.setattr(complete, "PACKAGED", tmp_path)
    known = complete.of_complete(patches(), data.test[datasets.subset(50, 30)])
    assert not seen
    assert same(known, complete.compute(patches(), data.test[datasets.subset(50, 30)]))
