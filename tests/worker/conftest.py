"""Fixtures of the painting side."""

import pytest

from tests.fakes.workshop import Workshop


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Tiny models in a library, loaded once for all tests; none of them may change one."""
    return Workshop(tmp_path_factory.mktemp("workshop"))
