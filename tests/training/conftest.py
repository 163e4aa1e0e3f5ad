"""Tests of training do without the cache of compiled programs."""

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from jaxtrack import compilation


@pytest.fixture(scope="package", autouse=True)
def without_compilation_cache():
    """In a process that has done much else before, jaxlib aborts when it puts a program of several devices there."""
    before = jax.config.jax_compilation_cache_dir
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compilation, "enable_compilation_cache", lambda: None)
        jax.config.update("jax_compilation_cache_dir", None)
        compilation_cache.reset_cache()
        yield
    jax.config.update("jax_compilation_cache_dir", before)
    compilation_cache.reset_cache()
