import hashlib
import io
import pickle
import struct
import tarfile

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.problems.data import cifar10 as module
from experiments.problems.data.cifar10 import cifar10

IMAGES = 40  # in each of the five files


class Python2Pickler(pickle._Pickler):
    """Writes strings as Python 2 did, in which CIFAR-10 was written."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_string(self, value):
        raw = value if isinstance(value, bytes) else value.encode("ascii")
        self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = save_string


def pickled(value):
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(value)
    return file.getvalue().replace(b"numpy._core", b"numpy.core")


def archived(members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture(scope="module")
def source():
    """Made-up pixels, channels first, and labels of all images."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, size=(5 * IMAGES, 3, 32, 32), dtype=np.uint8)
    labels = rng.permutation(np.arange(5 * IMAGES) % 10).astype(np.uint8)
    return pixels, labels


@pytest.fixture(scope="module")
def published(source):
    """The files of all versions, with the made-up content."""
    python, binary = {}, {}
    for i in range(5):
        pixels, labels = (part[i * IMAGES : (i + 1) * IMAGES] for part in source)
        flat, name = pixels.reshape(IMAGES, 3072), f"data_batch_{i + 1}"
        batch = {"batch_label": f"training batch {i + 1} of 5", "labels": labels.tolist()}
        python[f"cifar-10-batches-py/{name}"] = pickled(batch | {"data": flat})
        records = np.concatenate([labels[:, None], flat], axis=1)
        binary[f"cifar-10-batches-bin/{name}.bin"] = records.tobytes()
    archives = {
        "cifar-10-python.tar.gz": archived(python),
        "cifar-10-binary.tar.gz": archived(binary),
    }
    return python | archives


@pytest.fixture(params=["cifar-10-batches-py", "cifar-10-python.tar.gz", "cifar-10-binary.tar.gz"])
def folder(request, published, tmp_path, monkeypatch):
    """A folder with one version of CIFAR-10."""
    for name, content in published.items():
        file = tmp_path / name
        monkeypatch.setitem(module.CHECKSUMS, file.name, hashlib.md5(content).hexdigest())
        if name.startswith(request.param):
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
    return tmp_path


def test_every_version_gives_the_images(folder, source):
    inputs, targets = cifar10(folder=str(folder), size=72, classes=4, side=32)
    assert inputs.shape == (72, 32, 32, 3)
    assert targets.shape == (72, 4)
    assert inputs.dtype == targets.dtype == jnp.float32
    np.testing.assert_array_equal(targets.argmax(1), np.arange(72) % 4)
    np.testing.assert_array_equal(targets.sum(1), 1)
    pixels, labels = source
    for sample in (0, 5, 71):
        image = pixels[labels == sample % 4][sample // 4] / 255  # the first ones of each class
        blue = (image[2] - 0.4465) / 0.2616
        np.testing.assert_allclose(inputs[sample, :, :, 2], blue, atol=1e-5)
        red = (image[0] - 0.4914) / 0.2470
        np.testing.assert_allclose(inputs[sample, :, :, 0], red, atol=1e-5)


def test_a_smaller_size_is_a_prefix_and_a_smaller_side_an_average(folder):
    inputs, _ = cifar10(folder=str(folder), size=40, classes=10, side=32)
    few, _ = cifar10(folder=str(folder), size=7, classes=10, side=16)
    assert few.shape == (7, 16, 16, 3)
    averages = inputs[:7].reshape(7, 16, 2, 16, 2, 3).mean((2, 4))
    np.testing.assert_allclose(few, averages, atol=1e-5)


def test_a_changed_file_is_refused(folder):
    file = sorted(path for path in folder.rglob("*") if path.is_file())[-1]
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"{file.name} is not the published file.*download it"):
        cifar10(folder=str(folder), size=10, classes=4, side=32)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 0}, "classes=4 has 1 to 80 samples, got size=0"),
        ({"size": 81}, "classes=4 has 1 to 80 samples, got size=81"),
        ({"classes": 0}, "1 to 10 classes, got classes=0"),
        ({"classes": 11}, "1 to 10 classes, got classes=11"),
        ({"side": 5}, "divides 32, got side=5"),
    ],
)
@pytest.mark.parametrize("folder", ["cifar-10-batches-py"], indirect=True)
def test_values_out_of_range(folder, wrong, message):
    with pytest.raises(ValueError, match=message):
        cifar10(folder=str(folder), **{"size": 10, "classes": 4, "side": 32} | wrong)


@pytest.mark.parametrize("folder", ["cifar-10-batches-py"], indirect=True)
def test_the_unpacked_folder_itself_may_be_named(folder):
    inputs, _ = cifar10(folder=str(folder), size=10, classes=4, side=8)
    same, _ = cifar10(folder=str(folder / "cifar-10-batches-py"), size=10, classes=4, side=8)
    np.testing.assert_array_equal(inputs, same)


@pytest.mark.parametrize("folder", ["cifar-10-batches-py"], indirect=True)
def test_a_missing_file_is_named(folder):
    (folder / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(ValueError, match=r"data_batch_3 is missing: unpack .*python\.tar\.gz"):
        cifar10(folder=str(folder), size=10, classes=4, side=32)


@pytest.mark.parametrize("name", ["", "nowhere", "~/no/such/folder"])
def test_without_the_data_it_says_what_to_do(tmp_path, name):
    with pytest.raises(ValueError, match=r"no CIFAR-10 in .*cs\.toronto\.edu.*data\.folder="):
        cifar10(folder=str(tmp_path / name), size=10, classes=4, side=32)


class Harmful:
    def __reduce__(self):
        return (print, ("harm",))


@pytest.mark.parametrize("folder", ["cifar-10-batches-py"], indirect=True)
def test_a_pickle_cannot_run_anything(folder, monkeypatch, capsys):
    file = folder / "cifar-10-batches-py" / "data_batch_1"
    file.write_bytes(pickled({"data": Harmful()}))
    checksum = hashlib.md5(file.read_bytes()).hexdigest()
    monkeypatch.setitem(module.CHECKSUMS, file.name, checksum)
    with pytest.raises(ValueError, match=r"print, which is not allowed"):
        cifar10(folder=str(folder), size=10, classes=4, side=32)
    assert capsys.readouterr().out == ""


def test_the_published_checksums_refuse_something_else(published, tmp_path):
    for name in ("data_batch_1", "cifar-10-python.tar.gz", "cifar-10-binary.tar.gz"):
        folder = tmp_path / name
        file = folder / "cifar-10-batches-py" / name if "data" in name else folder / name
        file.parent.mkdir(parents=True)
        file.write_bytes(b"something else")
        with pytest.raises(ValueError, match=f"{name} is not the published file"):
            cifar10(folder=str(folder), size=10, classes=4, side=32)
