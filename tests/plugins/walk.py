"""A fit of many small steps, each of which matters to the end, with a checkpoint after each."""

import time
from dataclasses import dataclass

import torch

from bench.imputer import Imputer, Interrupted


@dataclass
class Walk(Imputer):
    """Pixel means that a random walk has moved."""

    steps: int = 40
    seconds: float = 2.0

    def fit(self, train, context):
        generator = context.generator("walk", "cpu")
        self.place, step = train.values.mean(dim=0), 0
        saved = context.checkpoints.load()
        if saved is not None:
            self.place, step = saved["place"], saved["step"]
            generator.set_state(saved["generator"])
        while step < self.steps:
            noise = torch.randn(self.place.shape, generator=generator)
            self.place = (0.9 * self.place + 0.1 * noise).sigmoid()
            step += 1
            state = {"place": self.place, "step": step, "generator": generator.get_state()}
            context.checkpoints.save(state)
            if context.stop_requested():
                raise Interrupted(f"stopped at step {step}")
            time.sleep(self.seconds / self.steps)
        context.facts["steps"] = step

    def impute(self, images):
        return self.place.expand(images.pixels.shape).clone()
