"""Linear projections: plain, or in FP8 with one scale a row on both sides."""

import torch
from torch import Tensor
from torch.nn import functional

# The largest finite number of float8_e4m3fn.
_FP8_LARGEST = 448.0
_SMALLEST_SCALE = 1e-12


class Projection:
    """x (T, in) → x Wᵀ + b (T, out), in the weight's own dtype."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """`weight` (out, in), `bias` (out,)."""
        self.weight = weight
        self.bias = bias

    def __call__(self, inputs: Tensor) -> Tensor:
        """Project each row."""
        return functional.linear(inputs, self.weight, self.bias)

    def rows(self, start: int, end: int) -> "Projection":
        """Return the projection to some of the outputs; it shares the weight."""
        bias = None if self.bias is None else self.bias[start:end]
        return Projection(self.weight[start:end], bias)

    def in_fp8(self) -> "Fp8Projection":
        """Return the same projection in FP8."""
        weight, scales = quantise_rows(self.weight)
        return Fp8Projection(weight, scales)


class Fp8Projection:
    """A projection whose weight and inputs are float8_e4m3fn, each row with a scale of its own.

    Scales by row and not by tensor: one outlier then costs its own row some digits, and not every
    token of the batch. Sums are float32; results have the inputs' dtype.
    """

    def __init__(self, weight: Tensor, scales: Tensor) -> None:
        """`weight` (out, in) float8_e4m3fn, `scales` (out, 1) float32."""
        self.weight = weight
        self.scales = scales

    def __call__(self, inputs: Tensor) -> Tensor:
        """Project each row."""
        rows, scales = quantise_rows(inputs)
        if not inputs.is_cuda:
            # No processor multiplies FP8; the numbers are the same, so that the gate can be tried.
            exact = (rows.float() * scales) @ (self.weight.float() * self.scales).t()
            return exact.to(inputs.dtype)
        return torch._scaled_mm(  # noqa: SLF001 - torch's only entry to FP8 products
            rows,
            self.weight.t(),
            scale_a=scales,
            scale_b=self.scales.t(),
            out_dtype=inputs.dtype,
            use_fast_accum=True,
        )

    def rows(self, start: int, end: int) -> "Fp8Projection":
        """Return the projection to some of the outputs; it shares the weight."""
        return Fp8Projection(self.weight[start:end], self.scales[start:end])


AnyProjection = Projection | Fp8Projection


def quantise_rows(values: Tensor) -> tuple[Tensor, Tensor]:
    """Round (r, c) to float8_e4m3fn (r, c) and the scales (r, 1) float32 that bring it back."""
    largest = values.abs().amax(dim=-1, keepdim=True).float()
    scales = (largest / _FP8_LARGEST).clamp(min=_SMALLEST_SCALE)
    scaled = (values.float() / scales).clamp(-_FP8_LARGEST, _FP8_LARGEST)
    return scaled.to(torch.float8_e4m3fn), scales
