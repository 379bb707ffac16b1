"""What one request wears: LoRAs and hypernetworks, put on for every use of a checkpoint's modules."""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

from worker.checkpoints.checkpoint import Checkpoint
from worker.networks.hypernetwork import Hypernetwork, attached
from worker.networks.wardrobe import Worn


@dataclass(frozen=True, slots=True)
class Outfit:
    """The empty one takes off what another left on: no module is used but inside of some outfit."""

    text: tuple[Worn, ...] = ()
    """What the text encoders wear, in the prompt's order."""
    unet: tuple[Worn, ...] = ()
    hypernetworks: tuple[tuple[Hypernetwork, float], ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)
    """Sentences for the asker."""

    @property
    def key(self) -> Hashable:
        """Jobs with equal keys can share a call of the UNet."""
        return self.unet, self.hypernetworks

    @property
    def words(self) -> Hashable:
        """Prompts encoded under equal ones are the same; keeps no weights alive."""
        return tuple((one.lora.stamp, one.strength, one.ranks) for one in self.text)

    @contextmanager
    def on(self, checkpoint: Checkpoint) -> Iterator[None]:
        """Wear it with all modules; after an error in putting it on, nothing is on."""
        with self.speaking(checkpoint), self.painting(checkpoint):
            yield

    @contextmanager
    def speaking(self, checkpoint: Checkpoint) -> Iterator[None]:
        """Wear it with the text encoders alone; raises ModelUnusable."""
        checkpoint.wardrobe.wear("text", self.text, checkpoint)
        yield

    @contextmanager
    def painting(self, checkpoint: Checkpoint) -> Iterator[None]:
        """Wear it with the UNet alone; raises ModelUnusable."""
        checkpoint.wardrobe.wear("unet", self.unet, checkpoint)
        hooks = attached(checkpoint.unet, self.hypernetworks) if self.hypernetworks else nullcontext()
        with hooks:
            yield

    def is_on(self, checkpoint: Checkpoint) -> bool:
        """Tell whether the UNet could be used at once."""
        return checkpoint.wardrobe.on("unet") == self.unet


NOTHING = Outfit()
