import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest

from experiments.data.datasets import facts
from experiments.data.image_folder import confined, list_images
from experiments.errors import DatasetError

HALF_A_HEADER = bytes.fromhex("89504e470d0a1a0a 0000000d49484452 00000006")
"""A PNG's signature, and its first chunk as far as the width."""


def make_folder(root: Path, *, colours: tuple[int, ...] = (10, 200), size: int = 6) -> Path:
    """Write photos/{train,test}/{bike,car}/N.png, two images a class, grey ones."""
    from PIL import Image

    for split in ("train", "test"):
        for name in ("bike", "car"):
            folder = root / "photos" / split / name
            folder.mkdir(parents=True)
            for number, colour in enumerate(colours):
                Image.new("L", (size, size), colour).save(folder / f"{number}.png")
    return root / "photos"


def digest(root: Path, image_size: list[int] | None = None) -> str:
    options = {"path": "photos", "image_size": image_size}
    return facts("image_folder", options, root=root).digest


def test_an_image_folder_is_described_by_what_lies_in_it(tmp_path: Path) -> None:
    make_folder(tmp_path, size=6)
    found = facts("image_folder", {"path": "photos"}, root=tmp_path)
    assert found.input_shape == (3, 6, 6)
    assert found.class_names == ("bike", "car")
    assert (found.num_train, found.num_test) == (4, 4)


def test_a_given_size_wins_over_the_first_image(tmp_path: Path) -> None:
    make_folder(tmp_path)
    options = {"path": "photos", "image_size": [4, 5]}
    assert facts("image_folder", options, root=tmp_path).input_shape == (3, 4, 5)


def test_the_images_of_each_class_are_counted(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    (folder / "train" / "car" / "0.png").unlink()
    found = facts("image_folder", {"path": "photos"}, root=tmp_path)
    assert (found.train_counts, found.test_counts) == ((2, 1), (2, 2))


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_image_of_another_size_is_named_beforehand(tmp_path: Path, split: str) -> None:
    from PIL import Image

    folder = make_folder(tmp_path, size=6, colours=tuple(range(5)))
    first = list_images(folder).train[0].path
    odd = next(p for p in sorted((folder / split).rglob("*.png")) if not p.match(first))
    Image.new("L", (7, 5)).save(odd)
    message = rf"{odd} is 5x7, but the first training image is 6x6; give image_size"
    with pytest.raises(DatasetError, match=message):
        facts("image_folder", {"path": "photos"}, root=tmp_path)
    options = {"path": "photos", "image_size": [4, 4]}
    assert facts("image_folder", options, root=tmp_path).input_shape == (3, 4, 4)


def test_images_of_all_classes_are_mixed(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, colours=tuple(range(20)))
    labels = [image.label for image in list_images(folder).train]
    assert set(labels[:10]) == {0, 1}
    assert labels != sorted(labels)


def test_a_digest_changes_with_content_name_and_size(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    digests = {digest(tmp_path), digest(tmp_path, [3, 3])}
    image = folder / "train" / "car" / "0.png"
    image.write_bytes((folder / "train" / "car" / "1.png").read_bytes())
    digests.add(digest(tmp_path))
    image.rename(image.with_name("9.png"))
    digests.add(digest(tmp_path))
    assert len(digests) == 4


def test_a_digest_does_not_depend_on_place_or_time(tmp_path: Path) -> None:
    make_folder(tmp_path / "one")
    make_folder(tmp_path / "two")
    assert digest(tmp_path / "one") == digest(tmp_path / "two")


def test_other_files_and_hidden_ones_are_passed_over(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    before = digest(tmp_path)
    (folder / "train" / "car" / "notes.txt").write_text("not an image")
    (folder / "train" / ".cache").mkdir()
    assert digest(tmp_path) == before


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no folder .*bikes"):
        facts("image_folder", {"path": "bikes"}, root=tmp_path)


def test_a_missing_split_is_named_with_the_layout(tmp_path: Path) -> None:
    (tmp_path / "photos" / "train" / "car").mkdir(parents=True)
    (tmp_path / "photos" / "train" / "car" / "0.png").touch()
    with pytest.raises(DatasetError, match=r"no folder 'test'.*test/<class>"):
        facts("image_folder", {"path": "photos"}, root=tmp_path)


def test_an_empty_class_is_named(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    (folder / "train" / "tram").mkdir()
    with pytest.raises(DatasetError, match=r"tram has no images"):
        list_images(folder)


def test_classes_that_differ_between_splits_are_named(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    (folder / "test" / "car").rename(folder / "test" / "lorry")
    with pytest.raises(DatasetError, match=r"only in train: car; only in test: lorry"):
        list_images(folder)


def test_a_path_out_of_the_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").mkdir()
    with pytest.raises(DatasetError, match="leads out of the data root"):
        confined("../outside", root=tmp_path / "root")


def test_a_link_out_of_the_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    make_folder(tmp_path)
    (tmp_path / "root" / "link").symlink_to(tmp_path / "photos")
    with pytest.raises(DatasetError, match="leads out of the data root"):
        confined("link", root=tmp_path / "root")


def test_a_linked_image_is_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    (folder / "train" / "car" / "z.png").symlink_to(folder / "train" / "car" / "0.png")
    with pytest.raises(DatasetError, match=r"z\.png is a link"):
        list_images(folder)


@pytest.mark.parametrize("name", [b"train/caf\xe9/0.png", b"train/car/caf\xe9.png"])
def test_a_name_that_is_not_utf8_is_named(tmp_path: Path, name: bytes) -> None:
    folder = make_folder(tmp_path)
    path = Path(os.fsdecode(os.fsencode(folder) + b"/" + name))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes((folder / "train" / "car" / "0.png").read_bytes())
    with pytest.raises(DatasetError, match=r"the name train/.*caf\\udce9.* is not UTF-8; rename"):
        facts("image_folder", {"path": "photos"}, root=tmp_path)


def test_a_name_that_is_not_utf8_is_passed_over_where_it_is_no_image(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    before = digest(tmp_path)
    Path(os.fsdecode(os.fsencode(folder / "train" / "car") + b"/caf\xe9.txt")).touch()
    assert digest(tmp_path) == before


def test_an_image_too_large_to_be_meant_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder(tmp_path, size=6)
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 10)
    with pytest.raises(DatasetError, match=r"\.png cannot be read as an image: .*decompression"):
        facts("image_folder", {"path": "photos"}, root=tmp_path)


def test_a_folder_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder(tmp_path)

    def refuse(path: Path) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(DatasetError, match=r"photos/train cannot be read: Permission denied"):
        facts("image_folder", {"path": "photos"}, root=tmp_path)


def test_a_path_that_no_file_system_takes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read: "):
        confined("a" * 900, root=tmp_path)


@pytest.mark.parametrize("image_size", [None, [4, 4]])
@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("content", [b"", b"not an image", HALF_A_HEADER])
def test_a_broken_file_is_named_beforehand(
    tmp_path: Path, content: bytes, split: str, image_size: list[int] | None
) -> None:
    broken = make_folder(tmp_path) / split / "car" / "1.png"
    broken.write_bytes(content)
    with pytest.raises(DatasetError, match=rf"{broken} cannot be read as an image"):
        digest(tmp_path, image_size)
