"""Which devices there are, and how the libraries that use them are told to behave; imported before any of them.

Devices are asked for without touching one: a touched device does not survive a fork.
"""

import os

# How many turns OpenMP's threads wait for each other awake. Without any, waking them takes longer than a small layer;
# with many, they slow each other down tenfold as soon as another program wants a core.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# Nothing is ever asked of a hub, and transformers' hints about packages we do not want are not for our users.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
# torch then asks the driver's management library instead of creating a context.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")

import torch


def visible_devices(wanted: str) -> list[str]:
    """Return `cuda:0`, `cuda:1`, …, or `cpu` where there is no GPU; `wanted` names one and is believed."""
    if wanted:
        return [wanted]
    return [f"cuda:{n}" for n in range(torch.cuda.device_count())] or ["cpu"]


def weights_budget(device: torch.device) -> int:
    """Return how many bytes of checkpoints may stay on the device; touches it."""
    if device.type == "cuda":
        # The rest is for activations, adapters and other programs.
        return int(torch.cuda.get_device_properties(device).total_memory * 0.6)
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 0.4)
