"""What MCFlow and PRFlow keep of each refresh: the sequence of models that fills in an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bench.images import MaskedImages
from bench.imputer import FitContext
from bench.methods.nn.realnvp import RealNVP
from bench.methods.optimisation import products_in

IMPUTE_BATCH = 1024


@torch.no_grad()
def refill(filled: Tensor, images: MaskedImages, G: RealNVP, H: nn.Module, context: FitContext) -> None:
    """Replace the missing values of `filled` (N, D), in place, by the models' output, clipped to [0, 1]."""
    for start in range(0, len(images), IMPUTE_BATCH):
        rows = slice(start, start + IMPUTE_BATCH)
        with products_in(context):
            z_hat = H(G(filled[rows])[0]).to(filled.dtype)
            x_hat, _ = G.inverse(z_hat)
        batch = images[rows].to(context.device)
        filled[rows] = batch.paste(x_hat.clamp(0, 1).view(batch.pixels.shape)).flatten(1)


class Stages:
    """The models of each refresh, kept so that later images can be taken through the same stages.

    Args:
        new_models: gives G and H for the stage of a number; their weights are then replaced.
        apply: fills in the training images by G and H, when a stopped fit continues.
    """

    def __init__(
        self,
        context: FitContext,
        new_models: Callable[[int], tuple[RealNVP, nn.Module]],
        apply: Callable[[RealNVP, nn.Module], None],
    ) -> None:
        self.checkpoints = context.checkpoints
        self.new_models = new_models
        self.apply = apply
        self.models: list[tuple[RealNVP, nn.Module]] = []

    def append(self, G: RealNVP, H: nn.Module) -> None:
        """Keep a copy of both networks, on disk at once and in memory."""
        state = {"flow": G.state_dict(), "imputer": H.state_dict()}
        self.checkpoints.put(f"stage-{len(self.models)}", state)
        self._keep(state)

    def state_dict(self) -> dict[str, Any]:
        return {"count": len(self.models)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the stages, and fill in the training images as these stages did before."""
        for number in range(state["count"]):
            self._keep(self.checkpoints.get(f"stage-{number}"))
            self.apply(*self.models[-1])

    def _keep(self, state: Mapping[str, Any]) -> None:
        G, H = self.new_models(len(self.models))
        G.load_state_dict(state["flow"])
        H.load_state_dict(state["imputer"])
        self.models.append((G.requires_grad_(False), H.requires_grad_(False)))
