"""One model's settings: the parameters of its config.pbtxt and the place it runs on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faults import ModelLoadError

if TYPE_CHECKING:
    import torch

# Never float16: its range gives NaN on some texts.
_DTYPES = ("auto", "bfloat16", "float32", "fp8")
# Enough to keep a GPU's matrix products at their peak; more buys latency, not throughput.
_DEFAULT_MAX_BATCH_TOKENS = 8192
_CANARY_INTERVAL_S = 60


@dataclass(frozen=True, slots=True)
class Settings:
    """`model`: a folder or a Hugging Face id. `device`: as torch names it. `dtype`: resolved.

    `max_batch_tokens`: the most tokens that one forward pass takes, a lone longer sequence apart.
    `long_tokens`: a sequence above it is a document that lets others through between its layers.
    `canary_interval_s`: seconds between two looks at the canaries.
    """

    model: str
    revision: str | None
    max_batch_tokens: int
    dtype: str
    device: str
    long_tokens: int
    canary_interval_s: float

    @property
    def torch_dtype(self) -> "torch.dtype":
        """What weights and activations are in; FP8 is only ever a form of bfloat16's products."""
        # Imported late: auto-completion reads settings and needs no torch.
        import torch  # noqa: PLC0415

        return torch.float32 if self.dtype == "float32" else torch.bfloat16


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
    max_batch_tokens = _count(parameters, "max_batch_tokens", _DEFAULT_MAX_BATCH_TOKENS)
    return Settings(
        model=parameters["model"],
        revision=parameters.get("revision") or None,
        max_batch_tokens=max_batch_tokens,
        long_tokens=_count(parameters, "long_tokens", max(1, max_batch_tokens // 4)),
        canary_interval_s=_count(parameters, "canary_interval_s", _CANARY_INTERVAL_S),
        dtype=_dtype(parameters.get("dtype") or "auto", device),
        device=device,
    )


def _count(parameters: Mapping[str, str], name: str, default: int) -> int:
    stated = parameters.get(name)
    if not stated:
        return default
    if not stated.isdecimal() or int(stated) < 1:
        raise ModelLoadError(f"the parameter {name!r} is {stated!r}, not a count")
    return int(stated)


def _dtype(stated: str, device: str) -> str:
    if stated not in _DTYPES:
        raise ModelLoadError(f"the parameter 'dtype' is {stated!r}, not one of {_DTYPES}")
    if stated == "fp8" and device == "cpu":
        raise ModelLoadError("the parameter 'dtype' is 'fp8', and no CPU computes in it")
    if stated != "auto":
        return stated
    if device != "cpu":
        return "bfloat16"
    return "bfloat16" if is_fast_at_bfloat16(Path("/proc/cpuinfo")) else "float32"


def is_fast_at_bfloat16(cpuinfo: Path) -> bool:
    """Tell whether the processor multiplies bfloat16 matrices faster than float32 ones.

    Only AMX and AVX512-BF16 do; elsewhere each product is widened first.
    """
    try:
        flags = cpuinfo.read_text(encoding="utf-8").split()
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags
