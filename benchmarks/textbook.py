"""Plain renderings of the four methods' training steps, as one would first write them in PyTorch.

MCFlow and PRFlow are those of the tests: masked full-width couplings, a third pass for log p(x_hat). The
GANs take our networks in PyTorch's own layers, module by module: a pass for the real batch, one for the
fake, one for the penalty, `zero_grad` and `backward` through everything, MADE's weights multiplied by their
masks at every use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.images import MaskedImages
from bench.methods.mcflow import MCFlow
from bench.methods.misgan import MisGAN, fill, nearly_binary
from bench.methods.nearest_pixel import nearest_fill
from bench.methods.nn.critics import ImageCritic, PairCritic
from bench.methods.nn.encoder import Encoder
from bench.methods.nn.generators import generator
from bench.methods.nn.made import PartlyConnected
from bench.methods.nn.misgan import imputer
from bench.methods.nn.mlp import mlp
from bench.methods.pbigan import PBiGAN, reconstruction_loss, risen
from bench.methods.prflow import PRFlow, gradient_prior
from tests.methods.textbook import MaskedCoupling, TextbookFlow, in_pytorch_s_layers, losses

Step = Callable[[Tensor, int], None]
Impute = Callable[[MaskedImages], Tensor]
BETAS = (0.5, 0.9)


def rendering(method: Any, images: MaskedImages) -> tuple[Step, Impute]:
    """The textbook's training step and imputation for a method with its settings.

    Args:
        method: an MCFlow, PRFlow, MisGAN or PBiGAN.
        images: the training images.
    """
    if isinstance(method, MCFlow):
        return flow(method, images)
    if isinstance(method, MisGAN):
        return misgan(method, images)
    if isinstance(method, PBiGAN):
        return pbigan(method, images)
    raise TypeError(f"there is no textbook rendering of {type(method).__name__}")


def flow(method: MCFlow, images: MaskedImages) -> tuple[Step, Impute]:
    """MCFlow, or PRFlow with its prior, with G trained on reconstruction too (the joint objective)."""
    dimension = images.pixels[0].numel()
    couplings = []
    for _ in range(3):
        kept = torch.zeros(dimension)
        kept[torch.randperm(dimension)[: dimension // 2]] = 1
        couplings += [MaskedCoupling(each, method.hidden or dimension) for each in (kept, 1 - kept)]
    network = TextbookFlow(couplings)
    prior = isinstance(method, PRFlow)
    latent_imputer = mlp(method._widths(dimension))
    optimiser = torch.optim.Adam(
        [*network.parameters(), *latent_imputer.parameters()], lr=method.learning_rate
    )
    filled = nearest_fill(images, seed=0).flatten(1).float() / 255
    observed = images.observed.expand(images.pixels.shape).flatten(1).float()

    def step(indices: Tensor, number: int) -> None:
        terms, x_hat = losses(network, latent_imputer, filled[indices], observed[indices], through_flow=True)
        total = torch.stack(list(terms.values())).sum()
        if prior and isinstance(method, PRFlow):
            recovered = x_hat.view(-1, *images.shape)
            total = (
                total + method.prior_weight * gradient_prior(recovered, method.alpha, method.smoothing).mean()
            )
        optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    def impute(new: MaskedImages) -> Tensor:
        x = nearest_fill(new, seed=0).flatten(1).float() / 255
        return network.inverse(latent_imputer(network(x)[0])).view(new.pixels.shape)

    return step, impute


def critic_update(
    critic: nn.Module,
    optimiser: torch.optim.Optimizer,
    real: tuple[Tensor, ...],
    fake: tuple[Tensor, ...],
) -> None:
    """One WGAN-GP update with three passes."""
    share = torch.rand(len(real[0]))
    between = [
        (share.view(-1, *[1] * (a.dim() - 1)) * a + (1 - share.view(-1, *[1] * (a.dim() - 1))) * b)
        .detach()
        .requires_grad_()
        for a, b in zip(real, fake, strict=True)
    ]
    gradients = torch.autograd.grad(critic(*between).sum(), between, create_graph=True)
    lengths = torch.cat([each.flatten(1) for each in gradients], 1).norm(dim=1)
    loss = critic(*fake).mean() - critic(*real).mean() + 10 * (lengths - 1).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def optimisers_of(method: MisGAN, networks: dict[str, nn.Module]) -> dict[str, torch.optim.Adam]:
    """An optimiser for each network by name; the imputer and its critic have a learning rate of their own."""
    return {
        name: torch.optim.Adam(
            network.parameters(),
            lr=method.imputer_learning_rate if name == "imputation" else method.learning_rate,
            betas=BETAS,
        )
        for name, network in networks.items()
    }


def misgan(method: MisGAN, images: MaskedImages) -> tuple[Step, Impute]:
    """Three critics at each batch, three generators at every fifth."""
    shape, mask_shape = images.shape, (1, *images.shape[1:])
    makers: dict[str, nn.Module] = {
        "data": generator(method.latent, shape, method.width),
        "mask": generator(method.latent, mask_shape, method.width),
        "imputation": imputer(shape, method.width),
    }
    critics: dict[str, nn.Module] = {
        "data": in_pytorch_s_layers(ImageCritic(shape, method.width)),
        "mask": in_pytorch_s_layers(ImageCritic(mask_shape, method.width)),
        "imputation": in_pytorch_s_layers(ImageCritic(shape, method.width)),
    }

    adams, critic_adams = optimisers_of(method, makers), optimisers_of(method, critics)

    def made(batch: MaskedImages) -> tuple[Tensor, Tensor, Tensor]:
        x = torch.sigmoid(makers["data"](torch.randn(len(batch), method.latent)))
        observed = nearly_binary(makers["mask"](torch.randn(len(batch), method.latent)))
        filled = batch.paste(torch.rand(batch.pixels.shape))
        return x, observed, batch.paste(makers["imputation"](filled))

    def descend(name: str, loss: Tensor) -> None:
        adams[name].zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adams[name].step()

    def step(indices: Tensor, number: int) -> None:
        batch = images[indices]
        seen = batch.observed.float()
        x, observed, recovered = (each.detach() for each in made(batch))
        real = fill(batch.values, seen, method.tau)
        critic_update(critics["data"], critic_adams["data"], (real,), (fill(x, observed, method.tau),))
        critic_update(critics["mask"], critic_adams["mask"], (seen,), (observed,))
        critic_update(critics["imputation"], critic_adams["imputation"], (x,), (recovered,))
        if (number + 1) % method.critic_steps:
            return
        x, observed, _ = made(batch)
        seen_data = critics["data"](fill(x, observed, method.tau)).mean()
        descend("mask", -critics["mask"](observed).mean() - method.data_weight * seen_data)
        x, observed, _ = made(batch)
        seen_data = critics["data"](fill(x, observed, method.tau)).mean()
        descend("data", method.imputation_weight * critics["imputation"](x).mean() - seen_data)
        descend("imputation", -critics["imputation"](made(batch)[2]).mean())

    def impute(new: MaskedImages) -> Tensor:
        return new.paste(makers["imputation"](new.paste(torch.rand(new.pixels.shape))))

    return step, impute


class MaskedAtEveryUse(nn.Module):
    """MADE's linear layer with its mask multiplied in at each call."""

    def __init__(self, layer: PartlyConnected) -> None:
        super().__init__()
        self.weight, self.bias, self.connected = layer.weight, layer.bias, layer.connected.float()

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.linear(inputs, self.weight * self.connected, self.bias)


def pbigan(method: PBiGAN, images: MaskedImages) -> tuple[Step, Impute]:
    """The pair critic at each batch, encoder and decoder at every fifth."""
    encoder = in_pytorch_s_layers(Encoder(images.shape, method.latent, method.width))
    for module in list(encoder.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, PartlyConnected):
                setattr(module, name, MaskedAtEveryUse(child))
    decoder = generator(method.latent, images.shape, method.width)
    critic = in_pytorch_s_layers(PairCritic(images.shape, method.latent, method.width))
    coders = torch.optim.Adam(
        [*encoder.parameters(), *decoder.parameters()], lr=method.learning_rate, betas=BETAS
    )
    critic_adam = torch.optim.Adam(critic.parameters(), lr=method.learning_rate, betas=BETAS)

    def pairs(batch: MaskedImages) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        code = encoder(batch.values, torch.randn(len(batch), method.latent))
        z = torch.randn(len(batch), method.latent)
        others = images.observed[torch.randint(len(images), (len(batch),))]
        return (batch.values, code), (torch.sigmoid(decoder(z)) * others, z)

    def step(indices: Tensor, number: int) -> None:
        batch = images[indices]
        real, fake = pairs(batch)
        detached = [tuple(each.detach() for each in side) for side in (real, fake)]
        critic_update(critic, critic_adam, *detached)
        if (number + 1) % method.critic_steps:
            return
        real, fake = pairs(batch)
        error = reconstruction_loss(method.reconstruction, decoder(real[1]), batch.values, batch.observed)
        share = risen(number * method.batch_size // len(images), method.epochs) if method.rising_weight else 1
        weight = method.reconstruction_weight * share
        loss = critic(*real).mean() - critic(*fake).mean() + weight * error
        coders.zero_grad()
        loss.backward()
        coders.step()

    def impute(new: MaskedImages) -> Tensor:
        return torch.sigmoid(decoder(encoder(new.values, torch.randn(len(new), method.latent))))

    return step, impute
