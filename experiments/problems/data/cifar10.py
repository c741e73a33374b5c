"""CIFAR-10: colour images of 32 x 32 pixels, from a folder of the user."""

import hashlib
import io
import pickle
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from experiments.problems.data.dataset import Dataset, classified
from experiments.problems.data.order import alternating
from experiments.problems.data.pooling import pooled

WEBSITE = "https://www.cs.toronto.edu/~kriz/cifar.html"
BATCHES = "cifar-10-batches-py"
PICKLE_ARCHIVE = "cifar-10-python.tar.gz"
BINARY_ARCHIVE = "cifar-10-binary.tar.gz"

CHECKSUMS = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    PICKLE_ARCHIVE: "c58f30108f718f92721af3b95e74349a",
    BINARY_ARCHIVE: "c32a1d4ab5d03f1284b67883e8d87530",
}
"""MD5 of the files; those of the archives stand on the website."""

TRAINING_BATCHES = [f"data_batch_{i}" for i in range(1, 6)]

# Of each channel over the 50000 training images, in units of 255.
MEAN = np.array([0.4914, 0.4822, 0.4465])
STANDARD_DEVIATION = np.array([0.2470, 0.2435, 0.2616])

Batch = tuple[UInt8[np.ndarray, "images 3072"], Int[np.ndarray, " images"]]


def cifar10(
    *, folder: str = "data/cifar10", size: int = 1000, classes: int = 4, side: int = 32
) -> Dataset:
    """Return the first training images of the first classes of CIFAR-10, as many of each class.

    The data set is by A. Krizhevsky ("Learning multiple layers of features from tiny images",
    2009; no licence is stated). No package has it, and nothing is downloaded
    here: get `cifar-10-python.tar.gz` or `cifar-10-binary.tar.gz` at
    https://www.cs.toronto.edu/~kriz/cifar.html and put it into `folder`, or the folder
    `cifar-10-batches-py` that the former unpacks to. Every file is read only if its checksum is
    right; the binary version is therefore left in its archive. Papers on the edge of stability
    train on small subsets like the default one, 1000 images of 4 classes.

    Args:
        folder: where the archive or the unpacked folder is, seen from the current folder.
        size: how many samples, from 1 to 5000 times `classes`. The classes alternate, so that every
            prefix is nearly balanced; within a class, the order is that of the source.
        classes: how many classes, from 1 to 10: airplane, automobile, bird, cat, deer, dog, frog,
            horse, ship, truck.
        side: pixels along each side, a divisor of 32; below 32, averages over blocks of pixels.

    Returns:
        `inputs` of shape `(size, side, side, 3)`, each channel with the mean 0 and standard
        deviation 1 over the whole training set (before the averaging); `targets` of shape `(size,
        classes)`, one-hot.

    Raises:
        ValueError: a number is out of range, or there is no CIFAR-10 in `folder`, or a file of it
            is not what was published.
    """
    if not 1 <= classes <= 10:
        raise ValueError(f"cifar10 has 1 to 10 classes, got classes={classes}")
    batches = list(_training_batches(Path(folder).expanduser()))
    pixels, labels = (np.concatenate(part) for part in zip(*batches, strict=True))
    pixels, labels = pixels[labels < classes], labels[labels < classes]
    if not 1 <= size <= len(labels):
        raise ValueError(
            f"cifar10 with classes={classes} has 1 to {len(labels)} samples, got size={size}"
        )
    chosen = alternating(labels)[:size]
    images = pixels[chosen].reshape(size, 3, 32, 32).transpose(0, 2, 3, 1)
    inputs = (pooled(images, side) / 255 - MEAN) / STANDARD_DEVIATION
    return classified(inputs, labels[chosen], classes)


def _training_batches(folder: Path) -> Iterator[Batch]:
    unpacked = folder if folder.name == BATCHES else folder / BATCHES
    if unpacked.is_dir():
        for name in TRAINING_BATCHES:
            yield _from_pickle(_verified(unpacked / name))
    elif (folder / PICKLE_ARCHIVE).exists():
        for content in _members(folder / PICKLE_ARCHIVE, BATCHES, ""):
            yield _from_pickle(content)
    elif (folder / BINARY_ARCHIVE).exists():
        for content in _members(folder / BINARY_ARCHIVE, "cifar-10-batches-bin", ".bin"):
            records = np.frombuffer(content, np.uint8).reshape(-1, 1 + 3072)
            yield records[:, 1:], records[:, 0].astype(int)
    else:
        raise ValueError(
            f"there is no CIFAR-10 in {folder}: put {PICKLE_ARCHIVE} (or {BINARY_ARCHIVE}) from "
            f"{WEBSITE} there, or say where it is with data.folder=FOLDER"
        )


def _verified(file: Path) -> bytes:
    if not file.is_file():
        raise ValueError(f"{file} is missing: unpack {PICKLE_ARCHIVE} from {WEBSITE} again")
    content = file.read_bytes()
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != CHECKSUMS[file.name]:
        raise ValueError(
            f"{file} is not the published file, its MD5 is not {CHECKSUMS[file.name]}: "
            f"download it again from {WEBSITE}"
        )
    return content


def _members(archive: Path, folder: str, suffix: str) -> Iterator[bytes]:
    # Nothing is unpacked to the disk.
    with tarfile.open(fileobj=io.BytesIO(_verified(archive)), mode="r:gz") as tar:
        for name in TRAINING_BATCHES:
            member = tar.extractfile(f"{folder}/{name}{suffix}")
            assert member is not None  # a regular file, as the checksum says
            yield member.read()


def _from_pickle(content: bytes) -> Batch:
    # Python 2 wrote these files: its strings are bytes, to be read as latin1.
    batch = _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
    return batch["data"], np.asarray(batch["labels"])


# What an array of bytes is made with; NumPy 2 has renamed the module that the files name.
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Builds arrays and what needs no import: MD5 alone is no reason to trust a pickle."""

    def find_class(self, module: str, name: str):
        if (module, name) not in _ALLOWED:
            raise ValueError(f"a file of CIFAR-10 asks for {module}.{name}, which is not allowed")
        return _ALLOWED[module, name]
