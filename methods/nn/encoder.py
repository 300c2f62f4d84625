"""PBiGAN's encoder: an incomplete image to a random code."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from bench.methods.nn.families import Shape
from bench.methods.nn.features import few_features_of
from bench.methods.nn.made import InverseAutoregressiveFlow
from bench.methods.nn.mlp import normalised_mlp


class Encoder(nn.Module):
    """q: an incomplete image to a random code, normal and then bent by two autoregressive flow steps."""

    def __init__(self, shape: Shape, latent: int, width: int) -> None:
        super().__init__()
        self.latent = latent
        self.body, features = few_features_of(shape, width, latent)
        self.head = normalised_mlp(features, 3 * latent, 3 * latent)
        self.flows = nn.ModuleList(InverseAutoregressiveFlow(latent, 2 * latent, latent) for _ in range(2))

    def forward(self, values: Tensor, noise: Tensor) -> Tensor:
        """(N, C, H, W), 0 where missing, and standard normal noise (N, latent) -> codes (N, latent)."""
        mean, spread, context = self.head(self.body(values)).float().chunk(3, 1)
        code: Tensor = mean + functional.softplus(spread) * noise
        for flow in self.flows:
            code = flow(code, context)
        return code.flip(1)
