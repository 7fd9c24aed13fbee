"""Dense modules of sentence-transformers: a linear layer, an activation, perhaps a residual."""

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from faults import ModelLoadError
from module_chain import DenseLayer


class Dense(nn.Module):
    """features (n, in) float32 → (n, out) float32. The names of parts are those in the file."""

    def __init__(self, layer: DenseLayer) -> None:
        super().__init__()
        self.linear = nn.Linear(layer.in_features, layer.out_features, bias=layer.has_bias)
        self.activation = _activation(layer)
        self.is_residual = layer.is_residual
        if layer.is_residual and layer.in_features != layer.out_features:
            self.residual: nn.Module = nn.Linear(layer.in_features, layer.out_features, bias=False)
        else:
            self.residual = nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """Apply the layer to each row."""
        projected: Tensor = self.activation(self.linear(features))
        return projected + self.residual(features) if self.is_residual else projected


def load_dense(layer: DenseLayer, device: str) -> Dense:
    """Load a layer's weights in float32. Raises ModelLoadError where they do not fit."""
    dense = Dense(layer)
    try:
        dense.load_state_dict(load_file(layer.folder / "model.safetensors"))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ModelLoadError(f"{layer.folder}: the Dense weights cannot be loaded") from error
    return dense.to(device=device, dtype=torch.float32).eval()


def _activation(layer: DenseLayer) -> nn.Module:
    """Build the activation that the configuration names, if it is one of torch's own."""
    kind = getattr(nn, layer.activation.rpartition(".")[2], None)
    if layer.activation.startswith("torch.nn.") and isinstance(kind, type):
        activation: object = kind()
        if isinstance(activation, nn.Module):
            return activation
    raise ModelLoadError(f"{layer.folder}: the activation {layer.activation!r} is not torch's")
