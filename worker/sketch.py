"""A renderer without torch that draws a coloured square per request: for trying the queue, not for pictures."""

import hashlib
import io
import time
from dataclasses import dataclass, field

from PIL import Image, PngImagePlugin

from easel.jobs import ImageRequest
from worker.renderer import Event, Finished, Stepped


@dataclass(slots=True)
class _Sketch:
    request: ImageRequest
    started: float = field(default_factory=time.perf_counter)
    step: int = 0


class SketchRenderer:
    """Steps take `step_s` seconds each; up to `capacity` pictures share a step, as on a real device."""

    def __init__(self, *, step_s: float = 0.0, capacity: int = 4) -> None:
        self._step_s = step_s
        self._capacity = capacity
        self._jobs: dict[str, _Sketch] = {}

    @property
    def busy(self) -> bool:
        return bool(self._jobs)

    @property
    def batch_key(self) -> str:
        return next((sketch.request.batch_key for sketch in self._jobs.values()), "")

    @property
    def room(self) -> int:
        return self._capacity - sum(sketch.request.batch_size for sketch in self._jobs.values())

    def admit(self, job_id: str, request: ImageRequest) -> None:
        self._jobs[job_id] = _Sketch(request)

    def step(self) -> list[Event]:
        time.sleep(self._step_s)
        events: list[Event] = []
        for job_id, sketch in list(self._jobs.items()):
            sketch.step += 1
            events.append(Stepped(job_id, sketch.step, sketch.request.steps))
            if sketch.step >= sketch.request.steps:
                del self._jobs[job_id]
                events.append(self._finished(job_id, sketch))
        return events

    def cancel(self, job_id: str) -> None:
        self._jobs.pop(job_id, None)

    @staticmethod
    def _finished(job_id: str, sketch: _Sketch) -> Finished:
        request = sketch.request
        pictures, texts = [], []
        for n in range(request.batch_size):
            text = f"{request.prompt}\nSteps: {request.steps}, Seed: {request.seed + n}, Version: sketch"
            digest = hashlib.sha256(text.encode()).digest()
            info = PngImagePlugin.PngInfo()
            info.add_text("parameters", text)
            out = io.BytesIO()
            Image.new("RGB", (64, 64), (digest[0], digest[1], digest[2])).save(out, "PNG", pnginfo=info)
            pictures.append(out.getvalue())
            texts.append(text)
        return Finished(job_id, tuple(pictures), tuple(texts), time.perf_counter() - sketch.started)
