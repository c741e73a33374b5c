import pytest

from experiments.configuration.config import load
from experiments.runs import single as edge


@pytest.mark.parametrize("records", [1, 7, 40, 60, 61])
def test_pieces_are_equal_and_many(records):
    config = load([f"num_steps={10 * records}"])
    chunk = edge._chunk(config)
    assert records % chunk == 0
    assert records // chunk >= min(records, edge.CHUNKS)
