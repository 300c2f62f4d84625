"""Networks whose weights are a running average over the steps of a fit."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Lt
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Share = Annotated[float, Ge(0), Lt(1)]


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """A copy of a network for the exponential moving average of its weights and statistics.

    Generators that play against a critic go in circles; their average is nearer to the centre (Yazici et al.,
    "The unusual effectiveness of averaging in GAN training", ICLR 2019). `update_parameters` takes a step in.

    Args:
        decay: the share of the old average in the new one, in (0, 1).
    """
    average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(network, multi_avg_fn=average, use_buffers=True)
