"""Which devices there are, and how the libraries that use them are told to behave; imported before any of them.

Devices are asked for without touching one: a touched device does not survive a fork.
"""

import os
from pathlib import Path

# How many turns OpenMP's threads wait for each other awake. Without any, waking them takes longer than a small layer;
# with many, they slow each other down tenfold as soon as another program wants a core.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# A tenth of that, instead of hardly any, while there are more threads than cores.
os.environ.setdefault("OMP_WAIT_POLICY", "ACTIVE")
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
    return int(memory() * 0.4)


def ram_budget(device: torch.device, gigabytes: float | None) -> int:
    """Return how many bytes of checkpoints may wait in RAM; None is a share of what there is."""
    if gigabytes is not None:
        return int(gigabytes * 1e9)
    # On the CPU those at work lie in the same memory.
    return int(memory() * (0.25 if device.type == "cpu" else 0.5))


def memory() -> int:
    """Return how many bytes of memory this machine, or the container we are in, has."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(installed, int(Path("/sys/fs/cgroup/memory.max").read_text("ascii")))
    except (OSError, ValueError):
        # No container, or one without a limit.
        return installed
