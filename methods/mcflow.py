"""MCFlow (Richardson et al., CVPR 2020): a flow learns the images, a latent network fills them in.

Equation numbers are those of the PRFlow paper (Bernal, 2021), which restates the method. Two networks
take turns. The flow G, a RealNVP on the flattened image, learns the density of the images as they are
filled in now (Eq. 6). The latent imputer H learns to move a filled-in image's latent vector to that of
a likelier image which agrees with the observed pixels (Eqs. 7 and 8):

    x_hat = G^-1(H(G(x))),    recovered = observed * x + (1 - observed) * x_hat.

After epochs 2, 4, 8, 16, ... the recovered images become the new fill-in, and G starts anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bench.images import MaskedImages
from bench.imputer import FitContext, Imputer
from bench.methods.nearest_pixel import nearest_fill
from bench.methods.nn.realnvp import RealNVP, ResidualMLP, log_normal, mlp
from bench.methods.training import adam, products_in, seeded, set_gradients, train

IMPUTE_BATCH = 1024
# From the published networks, a few hundred steps on 3072 values end worse than the start; see the docs.
COLOUR_QUICK = {"epochs": 2, "batch_size": 512, "hidden": 128, "residual": True}


@dataclass
class MCFlow(Imputer):
    """Monte Carlo flow: alternate a RealNVP density with a latent imputer.

    Settings:
        hidden: width of the flow's hidden layers; 0 means as wide as the image has values.
        flow_objective: "joint" trains G on J1 and J2 as well as J, as the authors' code in effect does,
            which the published numbers come from; "likelihood" trains it on J alone, as the text says.
        residual: whether H adds to z what its layers give, z_hat = z + layers(z), and starts as the identity,
            rather than replacing z. Not in the paper; a short schedule on large images needs it.
        epochs, batch_size, learning_rate: the schedule, the same for both networks.
    """

    hidden: int = 0
    flow_objective: str = "joint"
    residual: bool = False
    epochs: int = 500
    batch_size: int = 64
    learning_rate: float = 1e-4

    display_name: ClassVar[str] = "MCFlow"
    citation: ClassVar[str] = """@inproceedings{richardson2020mcflow,
  title = {{MCFlow}: {Monte Carlo} Flow Models for Data Imputation},
  author = {Richardson, Trevor W. and Wu, Wencheng and Lin, Lei and Xu, Beilei and Bernal, Edgar A.},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year = {2020}
}"""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": {"epochs": 4, "batch_size": 64, "learning_rate": 5e-4, "hidden": 64},
        "quick": {"epochs": 8, "batch_size": 256, "learning_rate": 5e-4, "hidden": 256},
        "quick/cifar10": COLOUR_QUICK,
        "quick/celeba": COLOUR_QUICK,
        # Ends as the next refresh would begin: right after one, G is new and the error higher.
        "standard": {"epochs": 16, "batch_size": 256, "learning_rate": 1e-3, "hidden": 128},
        "standard/cifar10": COLOUR_QUICK,
        "standard/celeba": COLOUR_QUICK,
    }
    for_dataset: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cifar10": {"hidden": 1024},
        "celeba": {"hidden": 1024},
    }

    def __post_init__(self) -> None:
        if self.flow_objective not in ("likelihood", "joint"):
            raise ValueError(f"flow_objective is 'likelihood' or 'joint', not {self.flow_objective!r}")

    # Networks

    def new_flow(self, stage: int) -> RealNVP:
        """G for one stage: six couplings with fresh weights and fresh random halves."""
        with seeded(self._context, f"flow-{stage}"):
            return RealNVP(self._dimension, self.hidden or self._dimension).to(self._context.device)

    def new_imputer(self) -> nn.Module:
        """H: five linear layers, all as wide as the image."""
        return self._latent_mlp([self._dimension] * 6)

    def _latent_mlp(self, widths: list[int]) -> nn.Module:
        layers = mlp(widths)
        return ResidualMLP(*layers) if self.residual else layers

    # Losses

    def flow_loss(self, z: Tensor, log_det: Tensor) -> Tensor:
        """J(theta) = -mean log p(x), Eq. 6. z: (N, D); log_det: (N,)."""
        return -(log_normal(z) + log_det).mean()

    def imputer_losses(
        self, x: Tensor, observed: Tensor, z_hat: Tensor, x_hat: Tensor, log_det: Tensor
    ) -> dict[str, Tensor]:
        """The terms whose sum H minimises.

        Args:
            x, z_hat, x_hat: (N, D): filled-in images, moved latent vectors, reconstructions.
            observed: (N, D), 1 where seen.
            log_det: (N,), of G at x_hat.

        Returns:
            J1 = -mean log p(x_hat), Eq. 7; J2, the squared error summed over the batch and the observed
            values, Eq. 8 as the authors' code weighs it.
        """
        return {
            "J1": -(log_normal(z_hat) + log_det).mean(),
            "J2": ((x_hat - x).square() * observed).sum(),
        }

    # Fit and impute

    def fit(self, train_images: MaskedImages, context: FitContext) -> None:
        self._prepare(train_images, context)
        train(
            context,
            self._parts,
            self._step,
            count=len(train_images),
            batch_size=self.batch_size,
            epochs=self.epochs,
            after_epoch=self._after_epoch,
        )
        self._stages.append(self._flow, self._imputer)
        del self._filled

    def impute(self, images: MaskedImages) -> Tensor:
        filled = self._start(images)
        for flow, imputer in self._stages.models:
            _refill(filled, images, flow, imputer, self._context)
        return filled.view(len(images), *images.shape).cpu()

    def _prepare(self, images: MaskedImages, context: FitContext) -> None:
        self._context = context
        self._train = images.to(context.device)
        self._dimension = images.pixels[0].numel()
        self._filled = self._start(images)
        self._flow = self.new_flow(0)
        with seeded(context, "imputer"):
            self._imputer = self.new_imputer().to(context.device)
        self._flow_adam = adam(self._flow.parameters(), self.learning_rate)
        self._imputer_adam = adam(self._imputer.parameters(), self.learning_rate)
        self._stages = Stages(self)
        self._parts: dict[str, Any] = {
            "flow": self._flow,
            "imputer": self._imputer,
            "flow_adam": self._flow_adam,
            "imputer_adam": self._imputer_adam,
            "stages": self._stages,
        }

    def _start(self, images: MaskedImages) -> Tensor:
        """(N, D), float32 in [0, 1], on the context's device: missing pixels from the nearest observed."""
        pixels = nearest_fill(images.to(self._context.device), self._context.seed)
        return pixels.flatten(1).float().div_(255)

    def _step(self, indices: Tensor, number: int) -> dict[str, Tensor]:
        x = self._filled[indices]
        observed = self._train.observed[indices].expand(-1, self._train.shape[0], -1, -1).flatten(1)
        joint = self.flow_objective == "joint"
        with products_in(self._context.precision, self._context.device):
            z, log_det = self._flow(x)
            flow_loss = self.flow_loss(z, log_det)
            z_hat = self._imputer(z if joint else z.detach()).to(x.dtype)
            x_hat, log_det = self._flow.inverse(z_hat)
            terms = self.imputer_losses(x, observed, z_hat, x_hat, log_det)
        imputer_loss = torch.stack(list(terms.values())).sum()
        flow_parameters, imputer_parameters = list(self._flow.parameters()), list(self._imputer.parameters())
        if joint:
            total = flow_loss + imputer_loss
            gradients = torch.autograd.grad(total, flow_parameters + imputer_parameters)
        else:
            # G is fixed while H learns: asking for H's gradients alone leaves G's uncomputed.
            gradients = torch.autograd.grad(flow_loss, flow_parameters)
            gradients += torch.autograd.grad(imputer_loss, imputer_parameters)
        set_gradients(flow_parameters + imputer_parameters, gradients)
        self._flow_adam.step()
        self._imputer_adam.step()
        return {"J": flow_loss.detach(), **{name: term.detach() for name, term in terms.items()}}

    def _after_epoch(self, epochs: int, means: Mapping[str, float]) -> bool:
        """Refresh the fill-in and start G anew after epochs 2, 4, 8, ..., but not after the last."""
        if epochs >= 2 and epochs & (epochs - 1) == 0 and epochs < self.epochs:
            self._stages.append(self._flow, self._imputer)
            _refill(self._filled, self._train, *self._stages.models[-1], self._context)
            self._flow.load_state_dict(self.new_flow(len(self._stages.models)).state_dict())
            self._flow_adam.state.clear()
        return False


class Stages:
    """The models of each refresh, kept so that later images can be taken through the same stages."""

    def __init__(self, method: MCFlow) -> None:
        self.method = method
        self.models: list[tuple[RealNVP, nn.Module]] = []

    def append(self, flow: RealNVP, imputer: nn.Module) -> None:
        """Keep a copy of both networks, on disk at once and in memory."""
        state = {"flow": flow.state_dict(), "imputer": imputer.state_dict()}
        self.method._context.checkpoints.put(f"stage-{len(self.models)}", state)
        self._keep(state)

    def state_dict(self) -> dict[str, Any]:
        return {"count": len(self.models)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Fetch the stages and bring the training images' fill-in to where they left it."""
        method = self.method
        for number in range(state["count"]):
            self._keep(method._context.checkpoints.get(f"stage-{number}"))
            _refill(method._filled, method._train, *self.models[-1], method._context)

    def _keep(self, state: dict[str, Any]) -> None:
        flow = self.method.new_flow(len(self.models))
        flow.load_state_dict(state["flow"])
        imputer = self.method.new_imputer().to(self.method._context.device)
        imputer.load_state_dict(state["imputer"])
        self.models.append((flow.requires_grad_(False), imputer.requires_grad_(False)))


@torch.no_grad()
def _refill(
    filled: Tensor, images: MaskedImages, flow: RealNVP, imputer: nn.Module, context: FitContext
) -> None:
    """Replace the missing values of `filled` (N, D), in place, by the models' output, clipped to [0, 1]."""
    for start in range(0, len(images), IMPUTE_BATCH):
        rows = slice(start, start + IMPUTE_BATCH)
        with products_in(context.precision, context.device):
            z_hat = imputer(flow(filled[rows])[0]).to(filled.dtype)
            x_hat, _ = flow.inverse(z_hat)
        batch = images[rows].to(context.device)
        recovered = batch.paste(x_hat.clamp(0, 1).view(batch.pixels.shape))
        filled[rows] = recovered.flatten(1)
