"""Images in folders, one a class, as ImageNet lies on disk; and images listed in a table."""

import csv
import os
from collections.abc import Mapping
from pathlib import Path

import PIL.Image

from ._dataset import Images, Parts

__all__ = ["image_folder", "image_table"]

PARTS = ("train", "val", "test")


def image_folder(root: str | os.PathLike[str], names: Mapping[str, str] | None = None) -> Parts:
    """The images under root/train/class/, root/val/class/ and root/test/class/, whichever are there.

    Without such folders, root/class/ are all of `train`. Classes are in the order of their names, as elsewhere, so
    that the indices of published weights fit; folders below a class belong to it, but for hidden ones.

    Arguments:
        names: what the classes are called, by their folders; for ImageNet {"n01440764": "tench", ...}.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it has no images, or a part has a class that `train` has not.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}")
    folders = {part: root / part for part in PARTS if (root / part).is_dir()} or {"train": root}
    classes = sorted(_classes(next(iter(folders.values()))))
    parts = {part: _in_classes(folder, classes, names or {}) for part, folder in folders.items()}
    return Parts(root.name, parts)


def _in_classes(folder: Path, classes: list[str], names: Mapping[str, str]) -> Images:
    if unknown := _classes(folder) - set(classes):
        raise ValueError(f"{folder} has classes that are not in the first part: {', '.join(sorted(unknown)[:5])}")
    found = [(path, i) for i, name in enumerate(classes) for path in _images(folder / name)]
    if not found:
        raise ValueError(f"{folder} has no images in folders of classes: class/picture.jpg and the like")
    labels = tuple(names.get(name, name) for name in classes)
    return Images([path for path, _ in found], [i for _, i in found], labels)


def _classes(folder: Path) -> set[str]:
    return {entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")}


def _images(folder: Path) -> list[str]:
    known = {suffix for suffix, format in PIL.Image.registered_extensions().items() if format in PIL.Image.OPEN}
    walked = [Path(at, file) for at, _, files in os.walk(folder, followlinks=True) for file in files]
    return sorted(str(path) for path in walked if path.suffix.lower() in known and not _hidden(path, folder))


def _hidden(path: Path, below: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(below).parts)


def image_table(
    table: str | os.PathLike[str],
    path: str = "path",
    label: str = "label",
    part: str | None = None,
    root: str | os.PathLike[str] | None = None,
) -> Parts:
    """The images that a CSV file lists, with a line of headings.

    Arguments:
        path: the column of the images' paths.
        label: the column of their classes; these are in the order of their names.
        part: the column that says "train", "val" or "test"; without it all is `train`.
        root: the folder that paths start from; the table's own, unless given.

    Raises:
        ValueError: a column or a cell is missing, or a part has another name.
    """
    table = Path(table)
    columns = [path, label, *([part] if part else [])]
    with open(table, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if missing := set(columns) - set(reader.fieldnames or ()):
            raise ValueError(f"{table} has no column {sorted(missing)[0]!r}, but {list(reader.fieldnames or ())}")
        rows = [[(row[column] or "").strip() for column in columns] for row in reader]
    for number, row in enumerate(rows, 2):
        if not all(row) or (part and row[2] not in PARTS):
            raise ValueError(
                f"{table}, row {number}: {dict(zip(columns, row, strict=True))} is not complete or no part"
            )
    if not rows:
        raise ValueError(f"{table} lists no images")
    labels = tuple(sorted({row[1] for row in rows}))
    place, folder = {name: i for i, name in enumerate(labels)}, table.parent if root is None else Path(root)
    parts = {}
    for name in PARTS:
        if chosen := [row for row in rows if (row[2] if part else "train") == name]:
            parts[name] = Images([str(folder / row[0]) for row in chosen], [place[row[1]] for row in chosen], labels)
    return Parts(table.stem, parts)
