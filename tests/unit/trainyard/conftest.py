from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest

from experiments.architectures import architecture_plugins


@pytest.fixture
def broken_package(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package that offers an architecture, and cannot be imported."""
    point = EntryPoint("bad_net", "no_such_module:NET", architecture_plugins.GROUP)
    monkeypatch.setattr(architecture_plugins, "entry_points", lambda: {"bad_net": (point,)})
    architecture_plugins.load.cache_clear()
    yield
    architecture_plugins.load.cache_clear()
