"""Checkpoints as large as the real ones; minutes, and gigabytes of disk."""

from pathlib import Path

import pytest

from benchmarks.loading import measure
from easel.catalog import Base


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("base", [Base.SD15, Base.SDXL])
def test_a_full_size_file_is_ready_in_a_fraction_of_the_time_that_diffusers_takes(base: Base, tmp_path: Path) -> None:
    figures = measure(base, tmp_path, "cpu", 3)

    assert figures["switch_ratio"] <= 0.15
    assert figures["first_load_with_all_weights_read_ratio"] <= 1.5
    assert figures["own_memory_mb"] <= 1.5 * figures["from_single_file_own_memory_mb"]
    assert not list(tmp_path.iterdir())
