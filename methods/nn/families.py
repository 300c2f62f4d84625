"""Which of two families of convolutional networks fits images of a size. MisGAN and PBiGAN share them.

After the published settings of both papers (Li, Jiang and Marlin, "MisGAN", ICLR 2019; Li and Marlin,
"Learning from irregularly-sampled time series", ICML 2020). Digits, 28x28, have networks without
normalisation. Photos, whose sides are divisible by 16, have the papers' networks for 64x64 CelebA with one
level left out. In both, `width` is the number of channels next to the image, 64 in the papers.
"""

from __future__ import annotations

Shape = tuple[int, int, int]


def is_digit(shape: Shape) -> bool:
    """Whether (C, H, W) belongs to the 28x28 family.

    Raises:
        ValueError: no family has networks for this size.
    """
    _, height, width = shape
    if (height, width) == (28, 28):
        return True
    if height % 16 or width % 16 or not height or not width:
        raise ValueError(
            f"no networks for images of {height}x{width}: supported are 28x28 and sides divisible by 16"
        )
    return False


def check_batch(shape: Shape, size: int) -> None:
    """Raises ValueError if the networks for images (C, H, W) cannot learn from batches of this size."""
    if size < 2 and not is_digit(shape):
        raise ValueError(
            "the networks for these images normalise over a batch, so it takes two images at least: give "
            "more training images, or a larger batch_size"
        )
