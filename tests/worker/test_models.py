"""What a worker does about checkpoints that come and go."""

import shutil
from pathlib import Path

import pytest
import torch

from easel.catalog import DEMO, Base
from easel.errors import ModelUnusable, UnknownModel
from easel.library import WatchedLibrary
from tests.fakes.model_place import Place
from tests.fakes.tiny_models import save_folder, tiny_checkpoint
from worker.models import Models


def test_when_the_last_other_checkpoint_is_taken_away_the_demo_takes_over(tmp_path: Path) -> None:
    place = Place(tmp_path)
    folder = place.models / "Stable-diffusion"
    save_folder(tiny_checkpoint(Base.SD15), folder / "mine")
    shutil.copytree(folder / "mine", folder / DEMO)
    place.says("default: mine")
    library = WatchedLibrary(place.settings())
    models = Models(library, device=torch.device("cpu"))
    chosen = models.checkpoint(library.catalog.default_checkpoint.name).name

    shutil.rmtree(folder / "mine")
    with pytest.raises(ModelUnusable, match="`mine` is gone"):
        models.checkpoint("mine")
    left = models.checkpoint(library.refresh().default_checkpoint.name).name
    shutil.rmtree(folder / DEMO)

    assert (chosen, left) == ("mine", DEMO)
    with pytest.raises(UnknownModel, match="no checkpoint"):
        library.refresh().default_checkpoint  # noqa: B018 - asking is what fails
