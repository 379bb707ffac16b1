"""Jobs and cards for tests."""

import itertools
import time
from typing import Any

from easel.jobs import Address, Asker, FolderAddress, ImageRequest, Job, TelegramAddress

_numbers = itertools.count(1)


def a_request(**changes: Any) -> ImageRequest:
    values: dict[str, Any] = {
        "prompt": "a red apple",
        "checkpoint": "easel-demo",
        "width": 128,
        "height": 128,
        "steps": 4,
        "cfg_scale": 4,
        "sampler": "Euler a",
        "schedule": "Automatic",
        "seed": 1,
    }
    return ImageRequest.model_validate(values | changes)


def a_job(job_id: str = "", *, reply_to: Address | None = None, asker: str = "7", **changes: Any) -> Job:
    return Job(
        id=job_id or f"job{next(_numbers):06d}",
        request=a_request(**changes),
        asker=Asker(network="telegram", id=asker),
        reply_to=reply_to or TelegramAddress(chat_id=5),
        asked_at=time.time(),
    )


def a_local_job(**changes: Any) -> Job:
    return a_job(reply_to=FolderAddress(), **changes)
