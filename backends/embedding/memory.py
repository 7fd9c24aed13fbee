"""When the device has no memory for a batch: how to tell, and what can be given back."""

import gc

import torch

# torch has a class of its own for this on CUDA only.
_ON_CPU = ("can't allocate memory", "not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Tell an allocation failure from every other error."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _ON_CPU)


def release_memory() -> None:
    """Return what is unused to the device, so that smaller allocations find room."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
