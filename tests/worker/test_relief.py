"""Room for a picture that does not fit: what else is on the device leaves it."""

import threading

import pytest

from tests.fakes.workshop import Workshop
from tests.worker.test_gpu_worker import until
from worker.models import Models


@pytest.fixture
def models(workshop: Workshop) -> Models:
    return Models(workshop.library, device=workshop.models.device)


def test_other_checkpoints_leave_and_the_one_at_work_stays(models: Models) -> None:
    kept, _ = models.checkpoint("tiny"), models.checkpoint("other")

    with models.denoising:
        assert models.relieve(kept)
        assert not models.relieve(kept)

    assert models.warm == ("tiny",)
    assert models.checkpoint("tiny") is kept


def test_room_is_made_while_another_checkpoint_waits_to_be_loaded(models: Models) -> None:
    kept = models.checkpoint("tiny")
    loading = threading.Thread(target=models.checkpoint, args=("other",))

    with models.denoising:
        loading.start()
        until(models._loading.locked)
        assert not models.relieve(kept)
    loading.join(30)

    assert not loading.is_alive()
    assert models.warm == ("tiny", "other")
