"""data.yaml: the classes of a YOLO data folder and the paths of its images, or what replaces the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import yaml

from mmcnn.datasets.folders.file_names import SPLIT_WORDS, used_to_validate
from mmcnn.datasets.folders.findings import Finding, number
from mmcnn.errors import DataError

FILE = 'data.yaml'
FILES = (FILE, 'data.yml', 'dataset.yaml', 'dataset.yml')
#: Text files with the names of the classes, one per line, if there is no data.yaml.
_CLASS_FILES = ('classes.txt', 'labels/classes.txt', 'obj.names', 'classes.names')
_LARGEST = 2**20  # maximum bytes of a file that may be a data.yaml with another name
_NOT_TEXT = {'bool': 'yes or no', 'int': 'a number', 'float': 'a number', 'null': 'nothing', 'timestamp': 'a date'}


@dataclass
class YoloSettings:
    """The classes and images of a YOLO data folder, as given by its file or folders.

    Attributes:
        file: The file with the classes, relative to the data folder.
        names: Names of the classes; label i is ``names[i]``.
        places: 'train' and 'val' -> folders or lists of images as written; a split without any is missing.
        base: ``path``, an additional folder that these may be relative to.
        findings: Notes about corrections.
    """

    file: str
    names: list[str]
    places: dict[str, list[str]]
    base: str | None = None
    findings: list[Finding] = field(default_factory=list)


def settings_files(root: Path) -> list[Path]:
    """Return the settings file of a YOLO folder: data.yaml, otherwise files that name classes and a split."""
    known = [root / name for name in FILES if (root / name).is_file()]
    if known:
        return known[:1]
    others = sorted(path for path in root.glob('*') if path.suffix.lower() in ('.yaml', '.yml') and path.is_file())
    return [path for path in others if _names_classes(path)]


def read_settings(root: Path) -> YoloSettings:
    """Read data.yaml; without one, classes.txt and the folders below images/.

    Raises:
        DataError: It cannot be read, or its class names are not text.
    """
    files = settings_files(root)
    if not files:
        return _from_folders(root)
    if len(files) > 1:
        raise DataError(f'{root} has several files that name classes, {", ".join(path.name for path in files)}: rename '
                        f'the right one to {FILE}')  # fmt: skip
    path = files[0]
    try:
        text = path.read_text(encoding='utf-8-sig')
        settings, tree = yaml.safe_load(text), yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:  # ValueError: for example the 31st of February
        raise DataError(f'{path} is not valid YAML: {" ".join(str(error).split())}') from error
    except OSError as error:
        raise DataError(f'{path} cannot be read: {error.strerror}') from error
    settings = settings if isinstance(settings, dict) else {}
    entries = _entries(path, tree) if isinstance(tree, yaml.MappingNode) else {}
    read = YoloSettings(path.name, _class_names(path, text, settings.get('names'), entries.get('names')), {})
    _check_number(path, settings, read)
    base = settings.get('path')
    read.base = base if isinstance(base, str) and base else None
    for name in ('train', 'val'):
        word = next((word for word in SPLIT_WORDS[name] if settings.get(word) is not None), None)
        if word is None:
            continue
        listed = settings[word] if isinstance(settings[word], list) else [settings[word]]
        if not listed or not all(isinstance(entry, str) and entry for entry in listed):
            raise DataError(f'{path} has {word}: {settings[word]!r}; it must be the folder of the images, for example '
                            f'images/{word}')  # fmt: skip
        read.places[name] = listed
        if name == 'val':
            read.findings += used_to_validate(f'{path.name} ({word})', word)
    return read


def _names_classes(path: Path) -> bool:
    try:
        if path.stat().st_size > _LARGEST:
            return False
        settings = yaml.safe_load(path.read_text(encoding='utf-8-sig'))
    except (OSError, UnicodeDecodeError, ValueError, yaml.YAMLError):
        return False
    if not isinstance(settings, dict) or not isinstance(settings.get('names'), list | dict):
        return False
    return any(word in settings for words in SPLIT_WORDS.values() for word in words)


def _entries(path: Path, tree: yaml.MappingNode) -> dict[str, yaml.Node]:
    """Return key -> value; a key that occurs twice is refused, because YAML's readers silently use the last one."""
    entries: dict[str, yaml.Node] = {}
    for key, value in tree.value:
        word = str(key.value)
        if word in entries:
            raise DataError(f'{path}, line {key.start_mark.line + 1}: {word} occurs twice; remove one')
        entries[word] = value
    return entries


def _class_names(path: Path, text: str, names: object, node: yaml.Node | None) -> list[str]:
    takes = 'it must be the names of the classes, as a list or 0: NAME, 1: NAME'
    if isinstance(names, dict) and isinstance(node, yaml.MappingNode):
        entries = _entries(path, node)
        if sorted(entries) != sorted(map(str, range(len(entries)))):
            raise DataError(f'{path} has names: {names!r}; {takes}')
        nodes = [entries[str(i)] for i in range(len(entries))]
        names = [names[key] for key in sorted(names, key=int)]
    elif isinstance(names, list) and isinstance(node, yaml.SequenceNode):
        nodes = node.value
    else:
        raise DataError(f'{path} has names: {names!r}; {takes}')
    if not names:
        raise DataError(f'{path} has names: {names!r}; {takes}')
    lines = text.splitlines()
    for index, (name, each) in enumerate(zip(names, nodes, strict=True)):
        line = each.start_mark.line
        where = f'{path}, line {line + 1}, "{lines[line].strip()[:60]}"' if line < len(lines) else str(path)
        if not isinstance(name, str):
            word = _NOT_TEXT.get(each.tag.rpartition(':')[2], f'a {type(name).__name__}')
            raw = each.value if isinstance(each, yaml.ScalarNode) else ''
            raise DataError(f"{where}: the class name {raw or name} is not text, YAML reads it as {word}: put it in "
                            f"quotes, '{raw or 'NAME'}'")  # fmt: skip
        if not name.strip():
            raise DataError(f'{where}: class {index} has the empty name {name!r}; {takes}')
        if name in names[:index]:
            raise DataError(f'{where}: two classes have the name {name!r}; names must be different')
    return names


def _check_number(path: Path, settings: dict, read: YoloSettings) -> None:
    """Check that ``nc`` is the number of names."""
    count = settings.get('nc', len(read.names))
    if isinstance(count, str) and count.strip().isdecimal():
        read.findings.append(Finding('read as', path.name, f"nc: '{count}' is read as the number {int(count)}"))
        count = int(count)
    if count != len(read.names):
        raise DataError(f'{path} has nc: {settings["nc"]}, but {len(read.names)} names')


def _from_folders(root: Path) -> YoloSettings:
    file = next((name for name in _CLASS_FILES if (root / name).is_file()), None)
    if file is None:
        raise DataError(f'{root} has folders of images and labels, but no {FILE}, which names the classes, as names: '
                        '[cat, dog], and the folders, as train: images/train and val: images/val')  # fmt: skip
    try:
        lines = (root / file).read_text(encoding='utf-8-sig').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, 'strerror', None) or 'it is not UTF-8 text'
        raise DataError(f'{root / file} cannot be read: {reason}') from error
    while lines and not lines[-1].strip():  # empty lines at the end are not classes
        lines.pop()
    names = [line.strip() for line in lines if line.strip()]
    empty = len(lines) - len(names)
    if not names or len(set(names)) < len(names):
        raise DataError(f'{root / file} has {"a name twice" if names else "no names"}; it must have one class name per '
                        'line')  # fmt: skip
    read = YoloSettings(file, names, {})
    folders = folders_with_labels(root)
    for name in ('train', 'val'):
        word = next((word for word in SPLIT_WORDS[name] if word in folders), None)
        if word is not None:
            read.places[name] = [folders[word]]
            read.findings += used_to_validate(folders[word], word) if name == 'val' else []
    if not read.places:
        read.places['train'] = ['images']
    text = f'names the {number(len(names), "class")}, because there is no {FILE}'
    read.findings.append(Finding('read as', file, text))
    if empty:
        read.findings.append(Finding('read as', file, f'{number(empty, "empty line")} before or between the names '
                                     f'{"is" if empty == 1 else "are"} ignored'))  # fmt: skip
    return read


def folders_with_labels(root: Path) -> dict[str, str]:
    """Return the image folders that have a label folder, by their words for splits: images/train, or train/images."""
    folders = {}
    if (root / 'images').is_dir() and (root / 'labels').is_dir():
        folders[''] = 'images'
    for word in (word for words in SPLIT_WORDS.values() for word in words):
        for images, labels in ((f'images/{word}', f'labels/{word}'), (f'{word}/images', f'{word}/labels')):
            if (root / images).is_dir() and (root / labels).is_dir():
                folders[word] = images
    return folders
