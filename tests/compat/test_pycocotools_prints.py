import json

import pytest
from mmengine.logging import MMLogger

from mmcnn.compat import pycocotools_prints


def test_pycocotools_prints_into_the_log(tmp_path, capsys):
    coco = pytest.importorskip('pycocotools.coco')
    (tmp_path / 'a.json').write_text(json.dumps(dict(images=[], annotations=[], categories=[])))
    logger = MMLogger.get_instance('test_pycocotools_prints', log_file=str(tmp_path / 'log.txt'))
    logger.handlers = [handler for handler in logger.handlers if hasattr(handler, 'baseFilename')]
    with pycocotools_prints.to_the_log():
        coco.COCO(str(tmp_path / 'a.json'))
    assert capsys.readouterr().out == ''
    assert 'INFO - loading annotations into memory...' in (tmp_path / 'log.txt').read_text()
    coco.COCO(str(tmp_path / 'a.json'))  # afterwards it prints again
    assert 'loading annotations into memory...' in capsys.readouterr().out


def test_two_threads_do_not_end_in_an_error(capsys):
    coco = pytest.importorskip('pycocotools.coco')
    first, second = pycocotools_prints.to_the_log(), pycocotools_prints.to_the_log()
    for context in (first, second):
        context.__enter__()
    for context in (first, second):
        context.__exit__(None, None, None)
    assert 'print' not in vars(coco)
