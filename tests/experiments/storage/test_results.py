import pytest
import xarray as xr

from experiments.storage import results as files


def test_file_gives_back_what_was_saved(results, tmp_path):
    files.save(results, tmp_path / "results.nc")
    xr.testing.assert_identical(files.load(tmp_path / "results.nc"), results)


def test_other_readers_of_netcdf_can_read_the_file(results, tmp_path):
    files.save(results, tmp_path / "results.nc")
    xr.testing.assert_identical(xr.load_dataset(tmp_path / "results.nc"), results)


def test_a_file_of_another_program_is_named(results, tmp_path):
    results.to_netcdf(tmp_path / "results.nc")
    with pytest.raises(ValueError, match=r"results.nc is damaged or of another program; delete it"):
        files.load(tmp_path / "results.nc")


def test_a_failure_while_saving_leaves_the_old_results(results, tmp_path, monkeypatch):
    path = tmp_path / "results.nc"
    files.save(results, path)

    def crash(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", crash)
        with pytest.raises(KeyboardInterrupt):
            files.save(2 * results, path)
    xr.testing.assert_identical(files.load(path), results)
    assert [file.name for file in tmp_path.iterdir()] == ["results.nc"]
