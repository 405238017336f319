from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.data.datasets import facts
from experiments.data.image_folder import image_size
from experiments.data.image_folder_set import ImageFolderOptions
from experiments.errors import DatasetError
from experiments.records import DataConfig
from workers.datasets.image_folder import decode_image, read_image_folder
from workers.staging import stage

RED, GREEN = (255, 0, 0), (0, 255, 0)


def make_folder(root: Path) -> None:
    """Write two classes of PNGs, one all red, one all green."""
    for split in ("train", "test"):
        for name, colour in (("green", GREEN), ("red", RED)):
            folder = root / "photos" / split / name
            folder.mkdir(parents=True)
            for number in range(3):
                Image.new("RGB", (8, 6), colour).save(folder / f"{number}.png")


def test_inputs_and_labels_belong_together(tmp_path: Path) -> None:
    make_folder(tmp_path)
    said: list[str] = []
    data = read_image_folder(ImageFolderOptions("photos"), root=tmp_path, progress=said.append)
    images = np.concatenate(list(data.train.inputs))
    assert images.shape == (6, 3, 6, 8)
    assert sorted(data.train.targets.tolist()) == [0, 0, 0, 1, 1, 1]
    for image, label in zip(images, data.train.targets, strict=True):
        expected = GREEN if label == 0 else RED
        assert (image == np.array(expected, dtype=np.uint8)[:, None, None]).all()
    assert said == ["image_folder: train: 6 of 6 images read"]


def test_an_image_folder_can_be_staged(tmp_path: Path) -> None:
    make_folder(tmp_path)
    options = {"path": "photos", "image_size": [4, 4]}
    known = facts("image_folder", options, root=tmp_path)
    config = DataConfig("image_folder", known.digest, options, val_fraction=0.5)
    data = stage(config, root=tmp_path)
    assert data.input_shape == known.input_shape == (3, 4, 4)
    assert data.class_names == ("green", "red")
    assert (len(data.train), len(data.val), len(data.test)) == (3, 3, 6)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
def test_every_kind_of_image_becomes_rgb(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (5, 4)).save(tmp_path / "image.png")
    image = decode_image(tmp_path / "image.png", size=None, wanted=(4, 5))
    assert image.shape == (3, 4, 5)
    assert image.dtype == np.uint8


def test_sixteen_bits_of_grey_become_eight(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 257, 65_535]], dtype=np.uint16)).save(tmp_path / "image.png")
    image = decode_image(tmp_path / "image.png", size=None, wanted=(1, 3))
    assert image[:, 0].tolist() == [[0, 1, 255]] * 3


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_lies_on_white(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    image.convert(mode).save(tmp_path / "image.png")
    found = decode_image(tmp_path / "image.png", size=None, wanted=(1, 2))
    assert found[:, 0, 1].tolist() == [255, 255, 255]
    assert found[1, 0, 0] == (76 if mode == "LA" else 0)


def test_palette_transparency_in_bytes_is_read(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "image.png", transparency=b"\xff\x00")
    found = decode_image(tmp_path / "image.png", size=None, wanted=(1, 2))
    assert found[:, 0].T.tolist() == [[255, 0, 0], [255, 255, 255]]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_an_image_stands_as_its_camera_was_held(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    # A picture of four corners, stored as a camera would that was held in this way.
    picture = Image.new("RGB", (32, 16))
    for corner, colour in enumerate(("red", "lime", "blue", "white")):
        picture.paste(colour, (16 * (corner % 2), 8 * (corner // 2), 16 * (corner % 2) + 16, 16))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = picture.transpose(undo[orientation]) if orientation in undo else picture
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"image.{suffix}"
    stored.save(path, exif=exif, quality=95, subsampling=0)
    assert image_size(path) == (16, 32)
    found = decode_image(path, size=None, wanted=(16, 32)).astype(int)
    expected = np.asarray(picture).transpose(2, 0, 1).astype(int)
    assert abs(found - expected)[:, 2:-2, 2:-2].max() < 60


def test_images_of_other_classes_need_not_be_read(tmp_path: Path) -> None:
    make_folder(tmp_path)
    for path in (tmp_path / "photos").rglob("green/*.png"):
        path.write_bytes(b"not an image")
    options = ImageFolderOptions("photos", (4, 4))
    data = read_image_folder(options, root=tmp_path, progress=print, classes=("red",))
    assert np.concatenate(list(data.train.inputs)).shape == (3, 3, 4, 4)
    assert data.train.targets.tolist() == [1, 1, 1]


@pytest.mark.parametrize("classes", [["red", "green"], ["green", "red"]])
def test_two_classes_of_a_folder_can_be_staged(tmp_path: Path, classes: list[str]) -> None:
    make_folder(tmp_path)
    for split in ("train", "test"):
        blue = tmp_path / "photos" / split / "blue"
        blue.mkdir()
        Image.new("RGB", (8, 6), (0, 0, 255)).save(blue / "0.png")
    options, changes = {"path": "photos"}, {"classes": classes}
    known = facts("image_folder", options, root=tmp_path, changes=changes)
    assert (known.num_train, known.train_counts) == (6, (3, 3))
    config = DataConfig("image_folder", known.digest, options, val_fraction=0.5, changes=changes)
    data = stage(config, root=tmp_path)
    red = data.train.inputs[:, 0, 0, 0] == 255
    assert torch.equal(red, data.train.targets == classes.index("red"))
    assert data.train.inputs[:, 2].sum() == 0


def test_an_image_is_resized_to_cover_and_cut_in_the_centre(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 10), RED)
    image.paste(GREEN, (15, 0, 25, 10))  # the middle square
    image.save(tmp_path / "wide.png")
    found = decode_image(tmp_path / "wide.png", size=(10, 10), wanted=(10, 10))
    assert (found == np.array(GREEN, dtype=np.uint8)[:, None, None]).all()
    half = decode_image(tmp_path / "wide.png", size=(5, 5), wanted=(5, 5))
    assert half.shape == (3, 5, 5)
    assert tuple(half[:, 2, 2]) == GREEN


@pytest.mark.parametrize("size", [(7, 3), (3, 7), (64, 64), (1, 1)])
def test_every_size_is_reached(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", (13, 11)).save(tmp_path / "image.png")
    assert decode_image(tmp_path / "image.png", size=size, wanted=size).shape == (3, *size)


def test_inputs_of_different_sizes_need_an_image_size(tmp_path: Path) -> None:
    Image.new("RGB", (5, 4)).save(tmp_path / "image.png")
    with pytest.raises(DatasetError, match=r"is 4x5, but the first .* is 6x6; give image_size"):
        decode_image(tmp_path / "image.png", size=None, wanted=(6, 6))


def test_a_truncated_image_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "image.png")
    content = (tmp_path / "image.png").read_bytes()
    (tmp_path / "image.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(DatasetError, match=r"image\.png cannot be decoded"):
        decode_image(tmp_path / "image.png", size=None, wanted=(30, 30))
