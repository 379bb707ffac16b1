import torch

from easel.catalog import Base
from tests.fakes.tiny_models import tiny_checkpoint


def test_a_checkpoint_knows_where_it_is_and_in_what_precision() -> None:
    checkpoint = tiny_checkpoint(Base.SD15)

    assert checkpoint.device == torch.device("cpu")
    assert checkpoint.dtype is torch.float32


def test_the_bytes_of_all_its_modules_count() -> None:
    checkpoint = tiny_checkpoint(Base.SDXL)

    weights = sum(weight.numel() for module in checkpoint.modules for weight in module.parameters())
    assert len(checkpoint.modules) == 4
    assert 4 * weights <= checkpoint.nbytes < 4 * weights + 10_000
