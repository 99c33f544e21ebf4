"""What is recorded about images, and when it is discarded."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from PIL import Image

from mmcnn.datasets.check import image_records
from mmcnn.datasets.check.image_records import ImageRecords
from mmcnn.errors import DataError


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Paths of 40 small images in one folder."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    (tmp_path / 'data').mkdir()
    paths = [tmp_path / 'data' / f'{i}.png' for i in range(40)]
    for i, path in enumerate(paths):
        Image.new('RGB', (i + 1, 5), (i, 0, 0)).save(path)
    return paths


@pytest.fixture
def decoded(monkeypatch):
    """A list that grows by the name of each image that is decoded during a test."""
    seen = []
    decode = ImageRecords._decode

    def spy(self, paths):
        seen.extend(os.path.basename(path) for path in paths)
        decode(self, paths)

    monkeypatch.setattr(ImageRecords, '_decode', spy)
    return seen


def test_facts_of_each_picture(pictures, tmp_path):
    gone = tmp_path / 'data' / 'gone.png'
    facts = ImageRecords(tmp_path / 'data').facts([*pictures, pictures[0], gone])
    assert list(facts) == [*pictures, gone]
    assert [facts[path].width for path in pictures] == list(range(1, 41))
    assert len({facts[path].digest for path in pictures}) == 40
    assert facts[gone].problem == 'missing image'


def test_no_room_for_its_processes_is_one_sentence(pictures, tmp_path, full_shm):
    full_shm()
    with pytest.raises(DataError, match='/data: cannot start processes that decode images: /dev/shm is full: use '):
        ImageRecords(tmp_path / 'data').facts(pictures)


def test_the_second_time_nothing_is_decoded_and_a_changed_file_is(pictures, tmp_path, decoded):
    first = ImageRecords(tmp_path / 'data').facts(pictures)
    assert len(decoded) == 40
    decoded.clear()
    assert ImageRecords(tmp_path / 'data').facts(pictures) == first
    assert decoded == []
    os.utime(pictures[7], ns=(0, 0))
    Image.new('RGB', (300, 5)).save(pictures[9])
    again = ImageRecords(tmp_path / 'data').facts(pictures)
    assert sorted(decoded) == ['7.png', '9.png']
    assert again[pictures[9]].width == 300
    assert {path: fact for path, fact in again.items() if path != pictures[9]} == {
        path: fact for path, fact in first.items() if path != pictures[9]
    }


def test_a_missing_file_is_looked_for_again(pictures, tmp_path):
    late = tmp_path / 'data' / 'late.png'
    assert ImageRecords(tmp_path / 'data').facts([late])[late].problem == 'missing image'
    Image.new('RGB', (3, 3)).save(late)
    assert ImageRecords(tmp_path / 'data').facts([late])[late].problem is None


@pytest.mark.parametrize(
    'content',
    [
        b'', b'\xff{', b'[]', b'{"made_by": 1}', b'{"made_by": %s, "images": [1]}',
        b'{"made_by": %s, "images": {"x": [[1, 2], [3]]}}', b'{"made_by": %s, "images": {"x": 3}}',
    ],
)  # fmt: skip
def test_a_broken_memory_is_as_none(pictures, tmp_path, decoded, content):
    records = ImageRecords(tmp_path / 'data')
    records.facts(pictures[:3])
    decoded.clear()
    records.file.write_bytes(content.replace(b'%s', json.dumps(image_records._MADE_BY).encode()))
    assert len(ImageRecords(tmp_path / 'data').facts(pictures[:3])) == 3
    assert len(decoded) == 3
    assert len(json.loads(records.file.read_bytes())['images']) == 3


def test_other_decoders_look_again(pictures, tmp_path, decoded, monkeypatch):
    ImageRecords(tmp_path / 'data').facts(pictures[:3])
    monkeypatch.setattr(image_records, '_MADE_BY', [1, 'another Pillow', 'another OpenCV'])
    decoded.clear()
    ImageRecords(tmp_path / 'data').facts(pictures[:3])
    assert len(decoded) == 3


def test_a_cache_folder_that_cannot_be_made(pictures, tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    assert len(ImageRecords(tmp_path / 'data').facts(pictures[:3])) == 3


def test_what_was_done_before_an_interruption_is_kept(pictures, tmp_path, monkeypatch, decoded):
    def interrupt(self, count):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(image_records._Progress, 'add', interrupt)
        ImageRecords(tmp_path / 'data').facts(pictures)
    decoded.clear()
    ImageRecords(tmp_path / 'data').facts(pictures)
    assert len(decoded) == 40 - image_records.CHUNK


def die(paths):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_decoder_that_dies(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(image_records, 'check_images', die)
    with pytest.raises(
        DataError, match=r'data: a process that decodes images was killed.* 40 images from \S+/0\.png on'
    ):
        ImageRecords(tmp_path / 'data').facts(pictures)


@pytest.mark.slow
def test_two_processes_decode_once(pictures, tmp_path):
    program = (
        'import sys, pathlib\n'
        'from mmcnn.datasets.check.image_records import ImageRecords\n'
        'decode = ImageRecords._decode\n'
        'ImageRecords._decode = lambda self, paths: (print(len(paths)), decode(self, paths))\n'
        'ImageRecords(pathlib.Path(sys.argv[1])).facts(sorted(pathlib.Path(sys.argv[1]).iterdir()))\n'
    )
    command = [sys.executable, '-c', program, str(tmp_path / 'data')]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate(timeout=100)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(printed) == ['', '40']
    folder = tmp_path / 'cache' / 'mmcnn' / 'images'
    assert sorted(path.suffix for path in folder.iterdir()) == ['.json', '.lock']  # no temporary file is left


def test_progress_is_said_when_it_takes_long(pictures, tmp_path, capfd, monkeypatch):
    ImageRecords(tmp_path / 'data').facts(pictures)
    assert capfd.readouterr().err == ''
    for path in pictures:
        os.utime(path, ns=(1, 1))
    monkeypatch.setattr(image_records, '_QUIET', 0)
    monkeypatch.setattr(image_records, '_LINE_EVERY', 0)
    ImageRecords(tmp_path / 'data').facts(pictures)
    lines = capfd.readouterr().err.splitlines()
    assert [line for line in lines if re.fullmatch(r'checked \d+ of 40 images', line)] == lines
    assert lines[0] == 'checked 16 of 40 images'
    assert lines[-1] == 'checked 40 of 40 images'
