"""MCFlow (Richardson et al., CVPR 2020): a flow learns the images, a latent network fills them in.

Equation numbers are those of the PRFlow paper (Bernal, 2021), which restates the method. Two networks
take turns. The flow G, a RealNVP on the flattened image, learns the density of the images as they are
filled in now (Eq. 6). The latent imputer H learns to move a filled-in image's latent vector to that of
a likelier image which agrees with the observed pixels (Eqs. 7 and 8):

    x_hat = G^-1(H(G(x))),    recovered = observed * x + (1 - observed) * x_hat.

After epochs 2, 4, 8, 16, ... the recovered images become the new fill-in, and G starts anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.images import MaskedImages
from bench.imputer import FitContext, Imputer
from bench.methods.nearest_pixel import nearest_fill
from bench.methods.nn.mlp import ResidualMLP, mlp
from bench.methods.nn.realnvp import RealNVP, log_normal
from bench.methods.optimisation import adam, half_cosine, products_in, seeded, set_gradients, set_rate
from bench.methods.recorded import Recorded
from bench.methods.settings import Count, CountOrZero, Positive, on_photos
from bench.methods.stages import Stages, refill
from bench.methods.training import Epoch, Training

# Measured on held-out training photos, which the docs show. From the published networks, a few hundred steps
# on 3072 values end worse than the start. With more steps H gets better, as long as no refresh disturbs it.
PHOTOS_QUICK = {"epochs": 2, "batch_size": 512, "hidden": 128, "residual": True}
PHOTOS_STANDARD = {
    "epochs": 32,
    "learning_rate": 3e-4,
    "falling_rate": True,
    "hidden": 256,
    "reconstruction_weight": 20.0,
    "first_refresh": 0,
}


def negative_log_likelihood(z: Tensor, log_det: Tensor) -> Tensor:
    """-mean log p(x), x the image of z (N, D) and log_det (N,) the flow's at x: J, Eq. 6, and J1, Eq. 7."""
    return -(log_normal(z) + log_det).mean()


def reconstruction_error(x_hat: Tensor, x: Tensor, observed: Tensor) -> Tensor:
    """J2, Eq. 8: squared error summed over the batch and the observed values, as the authors' code weighs it.

    Args:
        x_hat, x: (N, D), reconstructed and filled-in images; observed: (N, D), 1 where seen.
    """
    return ((x_hat - x).square() * observed).sum()


def is_refresh(epoch: int, first: int = 2) -> bool:
    """Whether the fill-in is renewed after so many epochs: `first`, then each time the double; 0: never."""
    times, rest = divmod(epoch, first) if first else (0, 0)
    return times >= 1 and rest == 0 and times & (times - 1) == 0


@dataclass
class MCFlow(Imputer):
    """Monte Carlo flow: alternate a RealNVP density with a latent imputer.

    Settings:
        hidden: width of the flow's hidden layers; 0 means as wide as the image has values.
        flow_objective: "joint" trains G on J1 and J2 as well as J, as the authors' code in effect does,
            which the published numbers come from; "likelihood" trains it on J alone, as the text says.
        residual: whether H adds to z what its layers give, z_hat = z + layers(z), and starts as the identity,
            rather than replacing z. Not in the paper; a short schedule on large images needs it.
        reconstruction_weight: what J2 is multiplied by. The paper has 1.
        first_refresh: after so many epochs, and each time after twice as many, the fill-in is renewed; 0
            means never. The paper has 2. A refresh helps only once H recovers images better than they are
            filled in.
        epochs, batch_size, learning_rate: the schedule, the same for both networks.
        falling_rate: whether the learning rate falls to 0 along half a cosine. The paper keeps it.
    """

    hidden: CountOrZero = 0
    flow_objective: Literal["joint", "likelihood"] = "joint"
    residual: bool = False
    reconstruction_weight: Positive = 1.0
    first_refresh: CountOrZero = 2
    epochs: Count = 500
    batch_size: Count = 64
    learning_rate: Positive = 1e-4
    falling_rate: bool = False

    def fit(self, train: MaskedImages, context: FitContext) -> None:
        parts = self._begin(train, context)
        training = Training(context, parts, len(train), self.batch_size, self.epochs)
        with training.epochs() as epochs:
            for epoch in epochs:
                for rows in epoch:
                    if self.falling_rate:
                        for optimiser in (self._G_adam, self._H_adam):
                            set_rate(optimiser, self.learning_rate * half_cosine(training.progress))
                    training.record(self._recorded_step(rows))
                if self._is_done(epoch):
                    training.finish()
                elif is_refresh(training.epoch, self.first_refresh) and training.epoch < self.epochs:
                    self._refresh()
        self._stages.append(self.G, self.H)
        del self._filled, self._train

    def impute(self, images: MaskedImages) -> Tensor:
        filled = self._start(images)
        for G, H in self._stages.models:
            refill(filled, images, G, H, self._context)
        return filled.view(len(images), *images.shape).cpu()

    def _begin(self, train: MaskedImages, context: FitContext) -> dict[str, Any]:
        """Fill in and build all that changes while training, which is returned by name."""
        self._context = context
        self._train = train.to(context.device)
        self._filled = self._start(train)
        self.G, self.H = self._new_models(0)
        self._stages = Stages(context, self._new_models, self._refill_training_images)
        self._G_adam = adam(self.G.parameters(), self.learning_rate)
        self._H_adam = adam(self.H.parameters(), self.learning_rate)
        self._recorded_step = Recorded(self._step, [self._G_adam, self._H_adam])
        return {
            "flow": self.G,
            "imputer": self.H,
            "flow_adam": self._G_adam,
            "imputer_adam": self._H_adam,
            "stages": self._stages,
        }

    def _new_models(self, stage: int) -> tuple[RealNVP, nn.Module]:
        """G of a stage, with fresh weights and fresh random halves, and H."""
        D = self._train.pixels[0].numel()
        with seeded(self._context, f"flow-{stage}"):
            G = RealNVP(D, self.hidden or D)
        with seeded(self._context, "imputer"):
            H = mlp(self._widths(D))
            H = ResidualMLP(*H) if self.residual else H
        return G.to(self._context.device), H.to(self._context.device)

    def _start(self, images: MaskedImages) -> Tensor:
        """(N, D), float32 in [0, 1], on the context's device: missing pixels from the nearest observed."""
        pixels = nearest_fill(images.to(self._context.device), self._context.seed)
        return pixels.flatten(1).float().div_(255)

    def _step(self, rows: Tensor) -> dict[str, Tensor]:
        """One update of G and H on rows of the filled-in images; the losses before it."""
        x = self._filled[rows]
        observed = self._train.observed[rows].expand(-1, self._train.shape[0], -1, -1).flatten(1)
        joint = self.flow_objective == "joint"
        with products_in(self._context, weights_move=False):
            z, log_det = self.G(x)
            J = negative_log_likelihood(z, log_det)
            z_hat = self.H(z if joint else z.detach()).to(x.dtype)
            x_hat, log_det = self.G.inverse(z_hat)
            losses = {
                "J1": negative_log_likelihood(z_hat, log_det),
                "J2": self._reconstruction(x_hat, x, observed),
            }
            losses |= self._prior(losses["J1"], x_hat)
        loss_H = torch.stack(list(losses.values())).sum()
        theta, phi = list(self.G.parameters()), list(self.H.parameters())
        if joint:
            gradients = torch.autograd.grad(J + loss_H, theta + phi)
        else:
            # G is fixed while H learns: asking for H's gradients alone leaves G's uncomputed.
            gradients = torch.autograd.grad(J, theta) + torch.autograd.grad(loss_H, phi)
        set_gradients(theta + phi, gradients)
        self._G_adam.step()
        self._H_adam.step()
        return {name: loss.detach() for name, loss in {"J": J, **losses}.items()}

    def _refresh(self) -> None:
        """Replace the fill-in by what the models recover, and start G anew."""
        self._stages.append(self.G, self.H)
        self._refill_training_images(*self._stages.models[-1])
        self.G.load_state_dict(self._new_models(len(self._stages.models))[0].state_dict())
        self._G_adam.state.clear()
        self._recorded_step.forget()

    def _refill_training_images(self, G: RealNVP, H: nn.Module) -> None:
        refill(self._filled, self._train, G, H, self._context)

    # What PRFlow does otherwise

    def _widths(self, D: int) -> list[int]:
        """H: five linear layers, all as wide as the image."""
        return [D] * 6

    def _reconstruction(self, x_hat: Tensor, x: Tensor, observed: Tensor) -> Tensor:
        """The weighted J2; experiments put another in its place."""
        return self.reconstruction_weight * reconstruction_error(x_hat, x, observed)

    def _prior(self, J1: Tensor, x_hat: Tensor) -> dict[str, Tensor]:
        """More losses of H."""
        return {}

    def _is_done(self, epoch: Epoch) -> bool:
        """Whether training ends after an epoch."""
        return False

    display_name = "MCFlow"
    presets = {
        "smoke": {"epochs": 4, "batch_size": 64, "learning_rate": 5e-4, "hidden": 64},
        "quick": {"epochs": 8, "batch_size": 256, "learning_rate": 5e-4, "hidden": 256},
        **on_photos(PHOTOS_QUICK, "quick"),
        # Ends as the next refresh would begin: right after one, G is new and the error higher.
        "standard": {"epochs": 16, "batch_size": 256, "learning_rate": 1e-3, "hidden": 128},
        "standard/cifar10": {**PHOTOS_STANDARD, "batch_size": 512},
        "standard/celeba": {**PHOTOS_STANDARD, "batch_size": 128},
    }
    for_dataset = on_photos({"hidden": 1024})
    citation = """@inproceedings{richardson2020mcflow,
  title = {{MCFlow}: {Monte Carlo} Flow Models for Data Imputation},
  author = {Richardson, Trevor W. and Wu, Wencheng and Lin, Lei and Xu, Beilei and Bernal, Edgar A.},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year = {2020}
}"""
