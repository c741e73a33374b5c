"""A state of a tracker holds everything that is needed to continue, in a process of its own."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import pytest
from chex import assert_trees_all_equal

PROGRAM = Path(__file__).parents[1] / "restored.py"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("free_energy", "equinox"),
        pytest.param("momentum", "equinox", marks=pytest.mark.slow),
        pytest.param("free_energy", "orbax", marks=pytest.mark.slow),
    ],
)
def test_a_new_process_continues_with_the_same_bits(name, kind, tmp_path):
    here = runpy.run_path(str(PROGRAM))
    tracker = here["tracker"](name)
    middle, _ = tracker.run(tracker.init(here["start"](), warmup=3), here["RECORDS"])
    here["save"](tmp_path / "saved", kind, middle)
    uninterrupted = tracker.run(middle, here["RECORDS"])
    done = subprocess.run(
        [sys.executable, PROGRAM, tmp_path, kind, name],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": str(PROGRAM.parents[1]),
            "JAX_COMPILATION_CACHE_DIR": str(jax.config.jax_compilation_cache_dir),
        },
    )
    assert done.returncode == 0, done.stderr
    continued = eqx.tree_deserialise_leaves(tmp_path / "continued", uninterrupted)
    assert_trees_all_equal(continued, uninterrupted)
    assert all(run.diverged_at == -1 for run in continued[0].flows.values())
