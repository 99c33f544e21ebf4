"""The built-in demo data, circles, squares and triangles: synthetic images, in COCO format or a folder per class."""

import colorsys
import json
import re
from pathlib import Path

import cv2
import numpy as np

from mmcnn.datasets.folders.cache_folder import cache_folder, one_at_a_time
from mmcnn.engine.atomic_file import write_whole

CLASSES = ('circle', 'square', 'triangle')
# Middle of each class's hues in degrees: colours make the task easier, so that minutes of training suffice.
_HUES = {'circle': 15.0, 'square': 135.0, 'triangle': 255.0}
_HUE_SPREAD = 45.0

_VERSION = 2  # version of the drawing; increase it when images change, so that older folders are drawn again
_MARKER = 'made_by_make_shapes.json'
_LOCK = 'shapes.lock'  # in the cache folder: other processes wait for the one that draws
CLASSES_DONE = 'settings.json'
_IMAGE_NAME = re.compile(r'(train|val)_\d{5}\.jpg')
_OVERSAMPLING = 4
_EMPTY_EVERY = 15


def make_shapes(root: str | Path, num_train: int = 240, num_val: int = 60, size: int = 192, seed: int = 0) -> Path:
    """Draw a small detection data set: ``train.json``, ``val.json`` (COCO format) and ``images/`` under ``root``.

    Square scenes with two to six filled shapes of 14 to 50 % of the side, in any rotation, each class in a third of the
    hues, on gradients with noise and random lines; every fifteenth scene has no objects. The same arguments give the
    same images. Boxes are the bounds of the drawn shapes, whether or not a later shape covers a part of them.

    A complete folder with the same settings is reused; one with other settings or an interrupted one is drawn again.
    The annotation files are written last. Processes on one machine draw one after the other, so that those that
    request the same folder at the same time find it complete.

    Args:
        root: The folder; created if it does not exist.
        num_train: Number of training images.
        num_val: Number of validation images.
        size: Side of the images in pixels.
        seed: Seed of the drawing.

    Returns:
        ``root`` as a path.

    Raises:
        FileExistsError: If ``root`` is a file, or has files and was not made by this function.
        ValueError: If a number is too small.
    """
    if num_train < 1 or num_val < 1:
        raise ValueError(f'make_shapes: num_train is {num_train}, num_val is {num_val}; both must be at least 1')
    if size < 64:
        raise ValueError(f'make_shapes: size is {size}; shapes need at least 64 pixels')
    root = Path(root)
    settings = {'version': _VERSION, 'num_train': num_train, 'num_val': num_val, 'size': size, 'seed': seed}
    with one_at_a_time(cache_folder() / _LOCK):
        _claim(root)
        if not _is_complete(root, settings):
            _draw_shapes(root, settings)
    return root


def _draw_shapes(root: Path, settings: dict) -> None:
    images = root / 'images'
    images.mkdir(exist_ok=True)
    for name in ('train.json', 'val.json'):
        (root / name).unlink(missing_ok=True)
    for path in images.iterdir():
        if _IMAGE_NAME.fullmatch(path.name):
            path.unlink()
    splits = {
        split: _draw_split(images, split, settings[f'num_{split}'], settings['size'], settings['seed'])
        for split in ('train', 'val')
    }
    for split, coco in splits.items():
        coco['info'] = {'description': 'mmcnn demo shapes', 'settings': settings}
        _write_json(root / f'{split}.json', coco)


def make_shape_classes(
    root: str | Path, num_train: int = 240, num_val: int = 60, size: int = 96, seed: int = 0
) -> Path:
    """Draw a small classification data set: ``train/CLASS/`` and ``val/CLASS/`` under ``root``, classes in turn.

    Each image is a part of a scene of :func:`make_shapes`, around one shape that takes half to five sixths of its side.
    As there, a complete folder with the same settings is reused, the same arguments give the same images, and processes
    draw one after the other; ``settings.json`` is written last.

    Args:
        root: The folder; created if it does not exist.
        num_train: Number of training images.
        num_val: Number of validation images.
        size: Side of the images in pixels.
        seed: Seed of the drawing.

    Returns:
        ``root`` as a path.

    Raises:
        FileExistsError: If ``root`` is a file, or has files and was not made by this function.
        ValueError: If a number is too small.
    """
    if min(num_train, num_val) < len(CLASSES) or size < 32:
        raise ValueError(
            f'make_shape_classes: num_train is {num_train}, num_val is {num_val}, size is {size}; there must be at '
            f'least {len(CLASSES)} images of at least 32 pixels in each split'
        )
    root = Path(root)
    counts = {'train': num_train, 'val': num_val}
    settings = {'version': _VERSION, **counts, 'size': size, 'seed': seed}
    paths = {
        (split, index): root / split / CLASSES[index % len(CLASSES)] / f'{split}_{index:05d}.jpg'
        for split, count in counts.items()
        for index in range(count)
    }
    done, whole = root / CLASSES_DONE, json.dumps(settings)
    with one_at_a_time(cache_folder() / _LOCK):
        _claim(root)
        if not (done.is_file() and done.read_text() == whole and all(path.is_file() for path in paths.values())):
            _draw_classes(root, settings, paths)
    return root


def _draw_classes(root: Path, settings: dict, paths: dict[tuple[str, int], Path]) -> None:
    done = root / CLASSES_DONE
    done.unlink(missing_ok=True)
    for path in root.glob('*/*/*.jpg'):
        if _IMAGE_NAME.fullmatch(path.name):
            path.unlink()
    for (split, index), path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng([settings['seed'], ('train', 'val').index(split), index])
        _write_image(path, _draw_close_up(rng, index % len(CLASSES), settings['size']))
    _write_json(done, settings)


def _draw_close_up(rng: np.random.Generator, label: int, size: int) -> np.ndarray:
    """Return a square part of a scene with one shape of the class, (size, size, 3)."""
    side = max(2 * size, 64)
    image, ((_, mask),) = draw_scene(rng, side, num_objects=1, label=label)
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    window = min(round(max(w, h) * rng.uniform(1.2, 2.0)), side)
    left, top = (
        int(rng.integers(max(start + extent - window, 0), min(start, side - window) + 1))
        for start, extent in ((x, w), (y, h))
    )
    part = image[top : top + window, left : left + window]
    return cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA if window > size else cv2.INTER_LINEAR)


def _claim(root: Path) -> None:
    """Mark a new or empty folder as ours; refuse one that has content but no mark."""
    if root.exists() and not root.is_dir():
        raise FileExistsError(f'{root} is a file; make_shapes needs a folder')
    root.mkdir(parents=True, exist_ok=True)
    if (root / _MARKER).exists():
        return
    if any(root.iterdir()):
        raise FileExistsError(f'{root} has files that make_shapes did not write; choose a new or empty folder')
    _write_json(root / _MARKER, {'description': 'This folder was made by mmcnn; its images may be drawn again.'})


def _is_complete(root: Path, settings: dict) -> bool:
    try:
        splits = [json.loads((root / name).read_text(encoding='utf-8')) for name in ('train.json', 'val.json')]
    except (OSError, ValueError):
        return False
    return all(
        split.get('info', {}).get('settings') == settings
        and all((root / 'images' / image['file_name']).is_file() for image in split['images'])
        for split in splits
    )


def _write_json(path: Path, content: dict) -> None:
    write_whole(path, lambda file: file.write(json.dumps(content).encode()))


def _draw_split(folder: Path, split: str, count: int, size: int, seed: int) -> dict:
    images, annotations = [], []
    for index in range(count):
        rng = np.random.default_rng([seed, ('train', 'val').index(split), index])
        empty = index % _EMPTY_EVERY == _EMPTY_EVERY - 1
        image, objects = draw_scene(rng, size, num_objects=0 if empty else int(rng.integers(2, 7)))
        name = f'{split}_{index:05d}.jpg'
        _write_image(folder / name, image)
        images.append({'id': index + 1, 'file_name': name, 'width': size, 'height': size})
        for label, mask in objects:
            x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
            annotation = {
                'id': len(annotations) + 1,
                'image_id': index + 1,
                'category_id': label + 1,
                'bbox': [x, y, w, h],
                'area': int(np.count_nonzero(mask)),
                'iscrowd': 0,
            }
            annotations.append(annotation)
    categories = [{'id': i + 1, 'name': name, 'supercategory': 'shape'} for i, name in enumerate(CLASSES)]
    return {'images': images, 'annotations': annotations, 'categories': categories}


def _write_image(path: Path, image: np.ndarray) -> None:
    encoded = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
    path.write_bytes(encoded.tobytes())


def draw_scene(
    rng: np.random.Generator, size: int, num_objects: int, label: int | None = None
) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]]:
    """Draw one scene.

    Args:
        rng: Source of all random numbers.
        size: Side in pixels.
        num_objects: Number of shapes to try; those without a free place are skipped.
        label: The class of all shapes; None: random.

    Returns:
        The image (size, size, 3) uint8 BGR, and for each shape its label and its mask (size, size) bool.
    """
    image = _background(rng, size)
    objects = []
    for _ in range(num_objects):
        kind = int(rng.integers(len(CLASSES))) if label is None else label
        for _ in range(20):
            coverage = _coverage(rng, kind, size)
            mask = coverage > 0.5
            if not any(_hides(mask, other) for _, other in objects):
                break
        else:
            continue
        _paint(rng, image, coverage, kind)
        objects.append((kind, mask))
    noise = rng.normal(0.0, rng.uniform(2.0, 7.0), image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8), objects


def _hides(mask: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two shapes share more than an eighth of the smaller one."""
    return np.count_nonzero(mask & other) > min(np.count_nonzero(mask), np.count_nonzero(other)) / 8


def _background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return a float image (size, size, 3): a gradient between two colours, with clouds and random lines and arcs."""
    first, second = rng.uniform(30, 220, size=(2, 3))
    second = first + 0.5 * (second - first)
    image = first + _ramp(rng, size)[..., None] * (second - first)
    clouds = rng.normal(0.0, rng.uniform(4.0, 14.0), (6, 6, 3))
    image += cv2.resize(clouds, (size, size), interpolation=cv2.INTER_CUBIC)
    for _ in range(int(rng.integers(0, 6))):
        colour = rng.uniform(0, 255, 3).tolist()
        thickness = int(rng.integers(1, 3))
        (x1, y1), (x2, y2) = rng.integers(0, size, size=(2, 2)).tolist()
        if rng.random() < 0.6:
            cv2.line(image, (x1, y1), (x2, y2), colour, thickness)
        else:
            axes = rng.integers(size // 10, size // 2, size=2).tolist()
            start = rng.uniform(0, 360)
            cv2.ellipse(image, (x1, y1), axes, rng.uniform(0, 180), start, start + 120, colour, thickness)
    return image


def _coverage(rng: np.random.Generator, label: int, size: int) -> np.ndarray:
    """Return a shape at a random position: the fraction (0 to 1) of each pixel that it covers, (size, size) float32."""
    radius = 0.5 * rng.uniform(0.14, 0.5) * size
    num_corners = {'circle': 72, 'square': 4, 'triangle': 3}[CLASSES[label]]
    angles = rng.uniform(0, 2 * np.pi) + np.arange(num_corners) * 2 * np.pi / num_corners
    centre = rng.uniform(0.9 * radius, size - 0.9 * radius, size=2)
    corners = centre + radius * np.column_stack([np.cos(angles), np.sin(angles)])
    fine = np.zeros((size * _OVERSAMPLING, size * _OVERSAMPLING), np.float32)
    cv2.fillConvexPoly(fine, np.rint(corners * _OVERSAMPLING - 0.5).astype(np.int32), 1.0)
    return cv2.resize(fine, (size, size), interpolation=cv2.INTER_AREA)


def _paint(rng: np.random.Generator, image: np.ndarray, coverage: np.ndarray, label: int) -> None:
    """Fill the covered pixels with a colour of the class that contrasts with the background, sometimes with a rim."""
    behind = np.average(image.reshape(-1, 3), axis=0, weights=coverage.ravel())
    colours = [_colour(rng, label) for _ in range(12)]
    colour = max(colours, key=lambda each: min(np.linalg.norm(each - behind), 110.0))
    shade = 1.0 + rng.uniform(0.0, 0.5) * (_ramp(rng, len(image)) - 0.5)
    fill = colour * shade[..., None]
    if rng.random() < 0.4:
        core = cv2.erode(coverage, np.ones((3, 3), np.uint8))[..., None]
        fill = core * fill + (1.0 - core) * colour * rng.choice([0.4, 1.5])
    alpha = coverage[..., None]
    image[:] = alpha * fill + (1.0 - alpha) * image


def _colour(rng: np.random.Generator, label: int) -> np.ndarray:
    """Return a strong colour of the class, BGR, 0 to 255."""
    hue = _HUES[CLASSES[label]] + rng.uniform(-_HUE_SPREAD, _HUE_SPREAD)
    red_green_blue = colorsys.hsv_to_rgb(hue % 360 / 360, rng.uniform(0.45, 1.0), rng.uniform(0.4, 1.0))
    return 255.0 * np.array(red_green_blue[::-1])


def _ramp(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return a linear ramp from 0 to 1 in a random direction, (size, size)."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:size, :size] / (size - 1) - 0.5
    ramp = x * np.cos(angle) + y * np.sin(angle)
    return (ramp - ramp.min()) / (ramp.max() - ramp.min())
