"""One model's settings: the parameters of its config.pbtxt and the place it runs on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from faults import ModelLoadError

# Never float16: its range gives NaN on some texts.
_DTYPES = ("auto", "bfloat16", "float32")
# Enough to keep a GPU's matrix products at their peak; more buys latency, not throughput.
_DEFAULT_MAX_BATCH_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class Settings:
    """`model`: a folder or a Hugging Face id. `device`: as torch names it. `dtype`: resolved.

    `max_batch_tokens`: the most padded tokens that one forward pass takes.
    """

    model: str
    revision: str | None
    max_batch_tokens: int
    dtype: str
    device: str


def read_settings(config: Mapping[str, Any], kind: str = "CPU", device_id: str = "0") -> Settings:
    """Read the settings from Triton's model configuration and the instance's kind and device.

    Raises ModelLoadError where a parameter is missing or has no meaning.
    """
    parameters = {
        name: str(value.get("string_value", "")).strip()
        for name, value in (config.get("parameters") or {}).items()
    }
    if not parameters.get("model"):
        raise ModelLoadError("the parameter 'model' is missing: a folder or a Hugging Face id")
    device = f"cuda:{device_id}" if kind == "GPU" else "cpu"
    return Settings(
        model=parameters["model"],
        revision=parameters.get("revision") or None,
        max_batch_tokens=_max_batch_tokens(parameters.get("max_batch_tokens")),
        dtype=_dtype(parameters.get("dtype") or "auto", device),
        device=device,
    )


def _max_batch_tokens(stated: str | None) -> int:
    if not stated:
        return _DEFAULT_MAX_BATCH_TOKENS
    if not stated.isdecimal() or int(stated) < 1:
        raise ModelLoadError(f"the parameter 'max_batch_tokens' is {stated!r}, not a count")
    return int(stated)


def _dtype(stated: str, device: str) -> str:
    if stated not in _DTYPES:
        raise ModelLoadError(f"the parameter 'dtype' is {stated!r}, not one of {_DTYPES}")
    if stated != "auto":
        return stated
    return "float32" if device == "cpu" else "bfloat16"
