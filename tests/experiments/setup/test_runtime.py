import logging
import os
import warnings

import jax
import pytest

from experiments.setup import runtime


def option(name: str):
    return getattr(jax.config, name)


@pytest.fixture(autouse=True)
def restored():
    """Leave JAX as the other tests expect it."""
    names = (
        "jax_default_matmul_precision",
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
    )
    before = {name: option(name) for name in names}
    with warnings.catch_warnings():
        yield
    for name, value in before.items():
        jax.config.update(name, value)
    for chatty in ("jax", "matplotlib"):
        logging.getLogger(chatty).setLevel(logging.NOTSET)


def test_sets_precision_and_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert runtime.configure() == []
    assert option("jax_default_matmul_precision") == "highest"
    assert option("jax_compilation_cache_dir") == str(tmp_path / "rodflow")
    assert option("jax_persistent_cache_min_compile_time_secs") == 0


@pytest.mark.parametrize(("before", "after"), [(None, "false"), ("true", "true")])
def test_processes_share_a_gpu_unless_the_user_wants_it_otherwise(
    before, after, tmp_path, monkeypatch
):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    key = "XLA_PYTHON_CLIENT_PREALLOCATE"
    monkeypatch.setenv(key, before or "")  # to be restored at the end
    if before is None:
        monkeypatch.delenv(key)
    runtime.configure()
    assert os.environ[key] == after


def test_a_folder_of_the_users_choice_wins(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    assert runtime.cache_folder() == tmp_path


def test_an_unwritable_cache_is_remarked_in_one_line(tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    before = option("jax_compilation_cache_dir")
    (remark,) = runtime.configure()
    assert str(tmp_path / "file" / "rodflow") in remark
    assert option("jax_compilation_cache_dir") == before


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
def test_only_cores_that_may_be_used_are_counted():
    before = os.sched_getaffinity(0)
    assert runtime.cores() == len(before)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert runtime.cores() == 1
    finally:
        os.sched_setaffinity(0, before)
