"""A network whose weights are a running average over the steps of a fit."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge, Lt
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Share = Annotated[float, Ge(0), Lt(1)]


class Average:
    """The exponential moving average of a network's weights and statistics.

    Generators that play against a critic go in circles; their average is nearer to the centre (Yazici et al.,
    "The unusual effectiveness of averaging in GAN training", ICLR 2019). It is no module, so that nobody
    counts its weights as further parameters.

    Args:
        network: whose copy becomes the average.
        decay: the share of the old average in the new one, in (0, 1).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self._model = AveragedModel(network, multi_avg_fn=average, use_buffers=True)

    @property
    def network(self) -> nn.Module:
        """The network with the averaged weights."""
        return self._model.module

    def update(self, network: nn.Module) -> None:
        """Take the network's weights in; the first time they are the average."""
        self._model.update_parameters(network)

    def state_dict(self) -> dict[str, Any]:
        return self._model.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._model.load_state_dict(state)
