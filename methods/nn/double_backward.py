"""Convolutions and ramps with cheap second derivatives, for critics with a gradient penalty.

A gradient penalty is differentiated through the critic's gradient. Autograd can do that to any network, and
pays for it: it finds the weights' part by a dilated convolution, which libraries do badly, and takes a ramp's
second derivative, zero, back through the whole critic. Here that part is an ordinary weight gradient, and the
zero is not computed.

For y = conv(x, w) with gradient g at y, x gets I(g, w) and w gets W(g, x). As conv is linear in x and in w,

    <y, g> = <x, I(g, w)> = <w, W(g, x)>,

so each of the three is differentiated by the other two.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional
from torch.nn.grad import conv2d_input, conv2d_weight

_inputs_only = False


@contextmanager
def inputs_only() -> Iterator[None]:
    """Inside, gradients are asked for at inputs and at no weight, so none is computed there.

    A Function is not told which of its gradients `torch.autograd.grad` was asked for.
    """
    global _inputs_only
    before, _inputs_only = _inputs_only, True
    try:
        yield
    finally:
        _inputs_only = before


class Conv2d(nn.Conv2d):
    """nn.Conv2d for one group, no dilation and zero padding."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        weight, bias = self.weight, self.bias
        if torch.is_autocast_enabled(inputs.device.type):
            dtype = torch.get_autocast_dtype(inputs.device.type)
            inputs, weight, bias = (
                inputs.to(dtype),
                weight.to(dtype),
                None if bias is None else bias.to(dtype),
            )
        out: Tensor = _Convolve.apply(inputs, weight, bias, self.stride, self.padding)  # type: ignore[no-untyped-call]
        return out


class LeakyReLU(nn.Module):
    """max(x, slope * x), slope in [0, 1): nn.ReLU where it is 0."""

    def __init__(self, slope: float = 0.0) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, inputs: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        out: Tensor = _Ramp.apply(inputs, self.slope)  # type: ignore[no-untyped-call]
        return out


class _Convolve(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, bias: Tensor | None, stride: Any, padding: Any) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.place = (stride, padding)
        return functional.conv2d(x, w, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, w = ctx.saved_tensors
        wants_x, wants_w, wants_bias = ctx.needs_input_grad[:3]
        wants_w, wants_bias = wants_w and not _inputs_only, wants_bias and not _inputs_only
        return (
            _InputGradient.apply(g, w, x.shape, *ctx.place) if wants_x else None,  # type: ignore[no-untyped-call]
            _WeightGradient.apply(g, x, w.shape, *ctx.place) if wants_w else None,  # type: ignore[no-untyped-call]
            g.sum((0, 2, 3)) if wants_bias else None,
            None,
            None,
        )


class _InputGradient(Function):
    @staticmethod
    def forward(ctx: Any, g: Tensor, w: Tensor, shape: torch.Size, stride: Any, padding: Any) -> Tensor:
        ctx.save_for_backward(g, w)
        ctx.place = (stride, padding)
        found: Tensor = conv2d_input(shape, w, g, stride, padding)  # type: ignore[no-untyped-call]
        return found

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
        g, w = ctx.saved_tensors
        return (
            _Convolve.apply(v, w, None, *ctx.place) if ctx.needs_input_grad[0] else None,  # type: ignore[no-untyped-call]
            _WeightGradient.apply(g, v, w.shape, *ctx.place) if ctx.needs_input_grad[1] else None,  # type: ignore[no-untyped-call]
            None,
            None,
            None,
        )


class _WeightGradient(Function):
    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, shape: torch.Size, stride: Any, padding: Any) -> Tensor:
        ctx.save_for_backward(g, x)
        ctx.place = (stride, padding)
        found: Tensor = conv2d_weight(x, shape, g, stride, padding)  # type: ignore[no-untyped-call]
        return found

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        g, x = ctx.saved_tensors
        return (
            _Convolve.apply(x, u, None, *ctx.place) if ctx.needs_input_grad[0] else None,  # type: ignore[no-untyped-call]
            _InputGradient.apply(g, u, x.shape, *ctx.place) if ctx.needs_input_grad[1] else None,  # type: ignore[no-untyped-call]
            None,
            None,
            None,
        )


class _Ramp(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float) -> Tensor:
        out = functional.leaky_relu(x, slope) if slope else functional.relu(x)
        ctx.save_for_backward(out)
        ctx.slope = slope
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        (out,) = ctx.saved_tensors
        return _RampGradient.apply(g, out.detach(), ctx.slope), None  # type: ignore[no-untyped-call]


class _RampGradient(Function):
    """g where the ramp rose, slope * g elsewhere. In the ramp's own output it is flat."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, out: Tensor, slope: float) -> Tensor:
        ctx.save_for_backward(out)
        ctx.slope = slope
        native = torch.ops.aten
        found: Tensor = (
            native.leaky_relu_backward(g, out, slope, True) if slope else native.threshold_backward(g, out, 0)
        )
        return found

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, None, None]:
        return _RampGradient.apply(v, ctx.saved_tensors[0], ctx.slope), None, None  # type: ignore[no-untyped-call]
