"""The shapes that travel between the doors and the workers: request, job, progress, result, address."""

import secrets
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from easel.prompt.networks import NetworkTag, extract_networks

SCHEMA = 1
"""Version of what stands in Redis; a reader accepts its own and the one before."""

MAX_SEED = 2**32 - 1


class Frozen(BaseModel):
    """A value: never changed after it is made, and closed to unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def changed(self, **changes: Any) -> Self:
        """Return a copy with `changes`, validated (pydantic's own `model_copy` does not validate)."""
        return type(self).model_validate(self.model_dump() | changes)


class HiresFix(Frozen):
    """A second pass at a larger size, as A1111's "Hires. fix"."""

    scale: Annotated[float, Field(gt=1, le=4)] = 2.0
    steps: Annotated[int, Field(ge=0, le=150)] = 0
    """0 takes as many as the first pass."""
    denoising_strength: Annotated[float, Field(ge=0, le=1)] = 0.7
    upscaler: str = "Latent"
    """`Latent`, `Lanczos`, or the catalog name of an upscaler."""


class Control(Frozen):
    """A ControlNet and the picture it follows."""

    model: str
    """A name in the catalog."""
    image: str
    """Name in the result store."""
    preprocessor: Literal["none", "canny", "scribble", "tile", "invert"] = "canny"
    weight: Annotated[float, Field(ge=0, le=2)] = 1.0
    start: Annotated[float, Field(ge=0, le=1)] = 0.0
    end: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Shares of the steps between which it steers."""


class Canvas(Frozen):
    """More room around a picture, to be painted: outpainting, and zooming out."""

    left: Annotated[int, Field(ge=0, le=1024, multiple_of=8)] = 0
    top: Annotated[int, Field(ge=0, le=1024, multiple_of=8)] = 0
    right: Annotated[int, Field(ge=0, le=1024, multiple_of=8)] = 0
    bottom: Annotated[int, Field(ge=0, le=1024, multiple_of=8)] = 0
    zoom: Annotated[float, Field(ge=1, le=4)] = 1.0
    """The picture is shrunk by this before room is added around it, so that its size stays."""


class Upscale(Frozen):
    """Enlarge `init_image` without diffusion."""

    scale: Annotated[float, Field(gt=1, le=4)] = 2.0
    upscaler: str = "Lanczos"
    """`Lanczos`, or the catalog name of an upscaler."""


PlotField = Literal[
    "steps", "cfg_scale", "seed", "sampler", "schedule", "checkpoint", "clip_skip", "denoising_strength"
]


class Axis(Frozen):
    """One direction of a plot: what changes, and its values as they are written beside it."""

    field: PlotField
    values: Annotated[tuple[str, ...], Field(min_length=1, max_length=10)]


class Plot(Frozen):
    """The same picture under changing settings, laid out as one labelled sheet; at most 36 cells."""

    x: Axis
    y: Axis | None = None


class ImageRequest(Frozen):
    """What was asked, every default filled in and the seed drawn: the picture is a function of this."""

    prompt: Annotated[str, Field(max_length=6000)]
    negative_prompt: Annotated[str, Field(max_length=6000)] = ""
    checkpoint: str
    """A name in the catalog."""
    width: Annotated[int, Field(ge=64, le=2048, multiple_of=8)]
    height: Annotated[int, Field(ge=64, le=2048, multiple_of=8)]
    steps: Annotated[int, Field(ge=1, le=150)]
    cfg_scale: Annotated[float, Field(ge=1, le=30)]
    sampler: str
    schedule: str
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)]
    """Of the first picture; picture n uses seed + n."""
    batch_size: Annotated[int, Field(ge=1, le=10)] = 1
    clip_skip: Annotated[int, Field(ge=1, le=12)] = 1
    """Counted as A1111 does: 1 uses the last layer."""
    rng: Literal["cpu", "nv"] = "cpu"
    """Where noise is drawn: `cpu` is torch's CPU generator, `nv` what A1111 draws on an NVIDIA card."""
    variation_seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 0
    variation_strength: Annotated[float, Field(ge=0, le=1)] = 0.0
    tiling: bool = False
    vae: str = ""
    """A name in the catalog; empty decodes with the checkpoint's own."""
    guidance_rescale: Annotated[float, Field(ge=0, le=1)] = 0.0
    init_image: str = ""
    """Name in the result store of the picture to start from; empty draws from noise."""
    mask: str = ""
    """Name in the result store; white is repainted, black is kept."""
    denoising_strength: Annotated[float, Field(ge=0, le=1)] = 0.75
    """With `init_image`: 0 keeps it, 1 ignores it."""
    mask_blur: Annotated[int, Field(ge=0, le=64)] = 4
    """Pixels over which repainted and kept parts blend."""
    mask_padding: Annotated[int, Field(ge=0, le=256)] | None = None
    """Pixels kept around the mask when only the masked part is drawn at full size; None draws the whole picture."""
    hires_fix: HiresFix | None = None
    control: Control | None = None
    canvas: Canvas | None = None
    upscale: Upscale | None = None
    plot: Plot | None = None
    enlarge: Annotated[int, Field(ge=1, le=8)] = 1
    """Pictures are enlarged by this factor (Lanczos) before they are posted; from the checkpoint's card."""

    @property
    def batch_key(self) -> str:
        """Requests with the same key can share UNet calls: same weights, same networks, same latent shape."""
        worn = ",".join(map(str, self.networks))
        return f"{self.checkpoint}|{self.width}x{self.height}|{self.tiling:d}|{worn}"

    @property
    def networks(self) -> tuple[NetworkTag, ...]:
        """The LoRAs and hypernetworks that the prompt names, as typed and in its order; raises BadPrompt."""
        return extract_networks(self.prompt)[1]


class Asker(Frozen):
    """Who asked, on which network."""

    network: Literal["discord", "telegram", "local"]
    id: str
    name: str = ""

    @property
    def key(self) -> str:
        """`network:id`, the form used in settings and in Redis."""
        return f"{self.network}:{self.id}"


class DiscordAddress(Frozen):
    """Where a Discord answer goes; the interaction token dies 15 minutes after `created_at`."""

    kind: Literal["discord"] = "discord"
    application_id: str
    interaction_token: Annotated[str, Field(repr=False)]
    created_at: float
    """Seconds since the epoch."""
    channel_id: str
    guild_id: str | None = None
    """None in a direct message."""
    bot_in_channel: bool = True
    """False where only the interaction token can write: user-installed, or a direct message unseen by the bot."""
    file_limit: int = 10 * 2**20
    """Bytes one attachment may have there."""


class TelegramAddress(Frozen):
    """Where a Telegram answer goes."""

    kind: Literal["telegram"] = "telegram"
    chat_id: int
    thread_id: int | None = None
    """Forum topic."""
    reply_to: int | None = None
    """The asking message."""


class FolderAddress(Frozen):
    """The asker waits at the command line and writes the files itself."""

    kind: Literal["folder"] = "folder"


Address = Annotated[DiscordAddress | TelegramAddress | FolderAddress, Field(discriminator="kind")]


class Job(Frozen):
    """One request on its way."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{4,40}$")]
    request: ImageRequest
    asker: Asker
    reply_to: Address
    asked_at: float
    """Seconds since the epoch."""


class Progress(Frozen):
    """How far a job is; may be lost."""

    job_id: str
    step: int
    total: int


class Failure(Frozen):
    """Why there is no picture, in a sentence for people."""

    code: str
    text: str


class ImageResult(Frozen):
    """What came of a job: blob names of the PNG files, or a failure."""

    job_id: str
    request: ImageRequest
    """As carried out."""
    pictures: tuple[str, ...] = ()
    """Keys in the result store, one per picture."""
    infotexts: tuple[str, ...] = ()
    seconds: float = 0.0
    """Rendering time, without the wait."""
    notes: tuple[str, ...] = ()
    """What the asker should know: a fallback that was used, a network whose keys matched nothing."""
    failure: Failure | None = None


def new_seed() -> int:
    """Draw a seed as A1111 does: 32 bits."""
    return secrets.randbelow(MAX_SEED + 1)


def new_job_id() -> str:
    """Draw an id that fits a Discord nonce (25 characters) and a button id."""
    return secrets.token_hex(10)
