"""Which pixels go missing: the mechanisms, each a dataclass whose fields are its settings.

Every draw is the raw output of a counter-based generator, whose stream is the same on every machine and in
every NumPy. Training and test images have draws of their own, and so has each seed. The masks of one seed
are nested: a pixel that is observed at a higher rate is observed at a lower one too.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.settings import settings_of
from bench.util.text import unknown

Observed = NDArray[np.bool_]
Uniform = NDArray[np.float64]


@dataclass(frozen=True)
class Draws:
    """The random numbers of one mechanism, seed and split.

    Attributes:
        name: of the mechanism.
        seed: the problem's.
        split: "train" or "test".
    """

    name: str
    seed: int
    split: str

    def words(self, size: int, part: str = "") -> NDArray[np.uint64]:
        """(size,), uint64: the start of a stream; each part has a stream of its own."""
        text = f"bench/{self.name}/{self.split}/{self.seed}" + (f"/{part}" if part else "")
        digest = hashlib.sha256(text.encode()).digest()
        return np.random.Philox(key=np.frombuffer(digest[:16], dtype="<u8")).random_raw(size).astype("<u8")

    def short_words(self, *shape: int, part: str = "") -> NDArray[np.uint32]:
        """Uniform in the numbers of 32 bits: half the memory, enough for a threshold."""
        size = int(np.prod(shape))
        return self.words((size + 1) // 2, part).view("<u4")[:size].reshape(shape)

    def uniform(self, *shape: int, part: str) -> Uniform:
        """Uniform in [0, 1), with 53 bits."""
        words = self.words(int(np.prod(shape)), part).reshape(shape)
        return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


@dataclass(frozen=True)
class Mechanism(ABC):
    """How pixels go missing. A field is a setting, as those of a method are (`bench.settings`).

    Class attributes:
        name: on the command line and in results.
        sees_pixels: whether the masks depend on the images.
    """

    name: ClassVar[str]
    sees_pixels: ClassVar[bool] = False

    @abstractmethod
    def observed(self, size: tuple[int, int, int], rate: float, draws: Draws, pixels: Any) -> Observed:
        """What is observed.

        Args:
            size: (count, height, width).
            rate: the fraction missing, in (0, 1): of all images together, as an expectation.
            pixels: (count, C, height, width), uint8, if `sees_pixels`; else None.

        Returns:
            (count, 1, height, width), bool; True where the pixel is observed.

        Raises:
            BenchError: this rate or this size is impossible.
        """

    @property
    def text(self) -> str:
        """Its name and all its settings, as `mechanism_of` reads them: "patch:side=7"."""
        settings = ",".join(f"{name}={value:g}" for name, value in asdict(self).items())
        return f"{self.name}:{settings}" if settings else self.name


@dataclass(frozen=True)
class Pixel(Mechanism):
    """Each pixel is missing independently with probability `rate` (PRFlow's Section 4). MCAR."""

    name = "pixel"

    def observed(self, size: tuple[int, int, int], rate: float, draws: Draws, pixels: Any) -> Observed:
        return (draws.short_words(*size) >= _threshold(np.array(rate)))[:, None]


@dataclass(frozen=True)
class Patch(Mechanism):
    """Squares that may overlap and reach beyond the edge, until the rate is reached. MCAR.

    The last square would exceed the rate. It is left out with the probability that makes the rate exact on
    average.

    Settings:
        side: of a square, in pixels.
    """

    side: Annotated[int, Ge(1)] = 7
    name = "patch"

    def observed(self, size: tuple[int, int, int], rate: float, draws: Draws, pixels: Any) -> Observed:
        count, height, width = size
        missing = np.zeros(size, bool)
        going = np.arange(count)
        step = 0
        while len(going):
            # Streams by step, so that a longer set begins with the shorter.
            top, left, chance = draws.uniform(count, 3, part=str(step))[going].T
            square = self._squares(top, left, height, width)
            before, after = missing[going], missing[going] | square
            low, high = before.mean((1, 2)), after.mean((1, 2))
            takes = rate > low + chance * (high - low)
            going = going[takes]
            missing[going] = after[takes]
            step += 1
        return ~missing[:, None]

    def _squares(self, top: Uniform, left: Uniform, height: int, width: int) -> Observed:
        """(N, height, width): one square an image; every pixel is in it with the same probability."""
        within = []
        for chance, length in ((top, height), (left, width)):
            start = np.floor(chance * (length + self.side - 1)) - self.side + 1
            within.append(_between(start, start + self.side, length))
        return within[0][:, :, None] & within[1][:, None, :]


@dataclass(frozen=True)
class Window(Mechanism):
    """Only a rectangle is observed, with the image's shape, anywhere in it (MisGAN's blocks). MCAR."""

    name = "window"

    def observed(self, size: tuple[int, int, int], rate: float, draws: Draws, pixels: Any) -> Observed:
        count, height, width = size
        chance = draws.uniform(count, 4, part="window")
        # Each side is rounded up or down by chance, so that the area is exact on average.
        within = []
        for at, length in enumerate((height, width)):
            side = np.floor(length * np.sqrt(1 - rate) + chance[:, at])
            start = np.floor(chance[:, 2 + at] * (length - side + 1))
            within.append(_between(start, start + side, length))
        return (within[0][:, :, None] & within[1][:, None, :])[:, None]


@dataclass(frozen=True)
class Rows(Mechanism):
    """Whole rows are missing, each image its own. MCAR."""

    name = "rows"

    def observed(self, size: tuple[int, int, int], rate: float, draws: Draws, pixels: Any) -> Observed:
        count, height, _ = size
        chance = draws.uniform(count, height + 1, part="rows")
        rank = chance[:, :height].argsort(1, kind="stable").argsort(1, kind="stable")
        missing = rank < np.ceil(rate * height - chance[:, height:])
        return np.broadcast_to(~missing[:, None, :, None], (count, 1, height, size[2])).copy()


@dataclass(frozen=True)
class Varying(Mechanism):
    """As `pixel`, and each image has a rate of its own, uniform around the given one. MCAR.

    Settings:
        spread: how far an image's rate lies from the given one, at most.
    """

    spread: Annotated[float, Gt(0), Le(0.5)] = 0.1
    name = "varying"

    def observed(self, size: tuple[int, int, int], rate: float, draws: Draws, pixels: Any) -> Observed:
        if not self.spread < rate < 1 - self.spread:
            raise BenchError(
                f"rate {rate:g} is too near to 0 or 1 for mechanism {self.text}: give a smaller spread"
            )
        rates = rate + self.spread * (2 * draws.uniform(size[0], part="rates") - 1)
        return (draws.short_words(*size, part="pixels") >= _threshold(rates)[:, None, None])[:, None]


@dataclass(frozen=True)
class SelfMask(Mechanism):
    """A pixel is missing with a probability that grows with its own brightness: a logistic function. MNAR.

    The intercept is such that the rate is met on the images of the split.

    Settings:
        slope: of the logistic function, for a brightness in [0, 1]; below 0, dark pixels are missing.
    """

    slope: float = 5.0
    name = "selfmask"
    sees_pixels = True

    def observed(self, size: tuple[int, int, int], rate: float, draws: Draws, pixels: Any) -> Observed:
        levels = _levels(pixels)
        missing = _logistic(levels, pixels.shape[1], self.slope, rate)[levels]
        return (draws.short_words(*size, part="pixels") >= missing)[:, None]


@dataclass(frozen=True)
class SeenMask(Mechanism):
    """A pixel is missing with a probability that grows with the brightness of one that is always seen. MAR.

    One pixel in each square block of the image is always seen, the upper left one.

    Settings:
        slope: of the logistic function, for a brightness in [0, 1].
        spacing: the side of a block, in pixels.
    """

    slope: float = 5.0
    spacing: Annotated[int, Ge(2)] = 4
    name = "mar"
    sees_pixels = True

    def observed(self, size: tuple[int, int, int], rate: float, draws: Draws, pixels: Any) -> Observed:
        _, height, width = size
        rows, columns = (np.arange(length) // self.spacing * self.spacing for length in (height, width))
        always = (rows == np.arange(height))[:, None] & (columns == np.arange(width))
        among_others = rate / (1 - always.mean())
        if among_others >= 1:
            raise BenchError(
                f"rate {rate:g} is not possible with mechanism {self.text}: {always.mean():.1%} of the "
                "pixels are always seen"
            )
        seen = _levels(pixels)[:, rows[:, None], columns]
        missing = _logistic(seen[:, ~always], pixels.shape[1], self.slope, among_others)[seen]
        observed: Observed = (draws.short_words(*size, part="pixels") >= missing) | always
        return observed[:, None]


def _levels(pixels: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """(N, H, W): the sums over channels."""
    levels: NDArray[np.uint16] = pixels.sum(1, dtype=np.uint16)
    return levels


def _logistic(levels: NDArray[np.uint16], channels: int, slope: float, rate: float) -> NDArray[np.uint32]:
    """By level: the threshold of a probability that is logistic in the level, and on average `rate`.

    The intercept is found by bisection.
    """
    counts = np.bincount(levels.ravel(), minlength=255 * channels + 1)
    brightness = np.arange(len(counts)) / (255 * channels)
    reach = abs(slope) + 50.0
    low, high = -reach, reach
    for _ in range(100):
        intercept = (low + high) / 2
        by_level = 1 / (1 + np.exp(-(slope * brightness + intercept)))
        if (by_level * counts).sum() < rate * levels.size:
            low = intercept
        else:
            high = intercept
    return _threshold(by_level)


def _threshold(probability: NDArray[np.float64]) -> NDArray[np.uint32]:
    """Below it, a word of 32 bits lies with this probability."""
    return np.minimum(np.rint(probability * 2**32), 2**32 - 1).astype(np.uint32)


def _between(low: NDArray[np.float64], high: NDArray[np.float64], length: int) -> Observed:
    """(N, length): which places lie from `low` to below `high`."""
    places = np.arange(length)
    return (places >= low[:, None]) & (places < high[:, None])


MECHANISMS: dict[str, Callable[..., Mechanism]] = {
    kind.name: kind for kind in (Pixel, Patch, Window, Rows, Varying, SeenMask, SelfMask)
}


def mechanism_of(text: str) -> Mechanism:
    """The mechanism that a text names, with its settings: "pixel", "patch:side=7".

    Raises:
        BenchError: there is no such mechanism or setting, or a value is not allowed.
    """
    name, _, given = text.partition(":")
    if name not in MECHANISMS:
        raise BenchError(unknown("mechanism", name, MECHANISMS))
    kind = MECHANISMS[name]
    settings = settings_of(kind)  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for part in filter(None, given.split(",")):
        setting, equals, value = part.partition("=")
        if not equals:
            raise BenchError(f"--mechanism {text!r} is not NAME:SETTING=VALUE,..., as in patch:side=7")
        if setting not in settings:
            raise BenchError(unknown(f"setting of mechanism {name}", setting, settings))
        try:
            values[setting] = settings[setting].parse(value)
        except ValueError as error:
            raise BenchError(f"mechanism {name}: {setting} {error}") from None
    return kind(**values)
