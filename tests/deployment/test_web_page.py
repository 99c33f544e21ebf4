"""The page that detects in the browser, in Chromium; needs its driver, npm and npm's registry."""

import base64
import functools
import http.server
import json
import shutil
import threading
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from mmcnn.deployment.export import run_export
from mmcnn.deployment.options import ExportOptions
from mmcnn.deployment.web import onnxruntime_web, write_page
from mmcnn.errors import DependencyError
from mmcnn.fit import Fit
from mmcnn.ops import NMS_KINDS
from mmcnn.ops.greedy_sweep import greedy_nms
from mmcnn.runs.data import demo_data
from mmcnn.runtime import Detector
from mmcnn.runtime.metadata import KEY


@pytest.fixture(scope='module')
def library():
    if shutil.which('npm') is None:
        pytest.skip('npm is not installed')
    try:
        return onnxruntime_web(None)
    except DependencyError as error:
        pytest.skip(str(error))


class Quiet(http.server.SimpleHTTPRequestHandler):
    """The handler of ``python -m http.server``, without logging requests."""

    def log_message(self, *args):
        pass


@pytest.fixture
def opened(driver):
    """``opened(folder)``: the page in a folder, served by Python's http.server, as a :class:`Page`."""
    servers = []

    def open_page(folder):
        handler = functools.partial(Quiet, directory=folder)
        servers.append(http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        driver.get_log('browser')  # discards messages of earlier pages
        driver.get(f'http://127.0.0.1:{servers[-1].server_port}')
        return Page(driver)

    yield open_page
    for server in servers:
        server.shutdown()
        server.server_close()


class Page:
    def __init__(self, driver):
        self.driver = driver
        self.wait('return !says.textContent.startsWith("The page has to be") && progress.hidden && '
                  '!says.textContent.startsWith("Preparing")')  # fmt: skip

    def wait(self, script):
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, 60, 0.05).until(lambda driver: driver.execute_script(script))

    @property
    def says(self):
        return self.driver.execute_script('return says.textContent')

    def choose(self, path):
        self.driver.find_element('id', 'file').send_keys(str(path))
        self._until_done(path)

    def drop(self, path):
        """Drop a file on the page with a browser's events."""
        script = """
          const [name, bytes, done] = arguments;
          const data = new DataTransfer();
          data.items.add(new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], name));
          for (const type of ['dragover', 'drop']) {
            const event = new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer: data });
            document.body.dispatchEvent(event);
            if (!event.defaultPrevented) throw new Error('the browser would leave the page');
          }
          done();
        """
        self.driver.execute_async_script(script, path.name, base64.b64encode(path.read_bytes()).decode())
        self._until_done(path)

    def _until_done(self, path):
        self.wait(f'return says.textContent.includes({json.dumps(path.name)}) && !says.textContent.startsWith("Detec")')

    def lowest(self, score):
        """Move the slider."""
        script = 'threshold.value = arguments[0]; threshold.dispatchEvent(new Event("input"))'
        self.driver.execute_script(script, str(score))

    @property
    def found(self):
        """Names, scores (K,) and boxes (K, 4) in the page's table."""
        script = 'return [...rows.rows].map((row) => [...row.cells].map((cell) => cell.textContent))'
        rows = self.driver.execute_script(script)
        numbers = np.array([row[1:] for row in rows], np.float64).reshape(-1, 5)
        return [row[0] for row in rows], numbers[:, 0], numbers[:, 1:]

    def ask(self, script, *args):
        """Run an async function with ``detector`` (the module) and ``given`` (the arguments); return its result."""
        whole = f"""
          const done = arguments[arguments.length - 1];
          const given = [...arguments].slice(0, -1);
          import('./detector.js').then(async (detector) => {{ {script} }}).then(done, (error) => done(String(error)));
        """
        return self.driver.execute_async_script(whole, *args)

    @property
    def errors(self):
        return [entry['message'] for entry in self.driver.get_log('browser')]


@pytest.fixture
def cells(request, library, tmp_path):
    """``cells(**changes)``: the folder of a small detector's page (see tests/exported_files.py)."""
    files = request.config.pluginmanager.get_plugin('exported_files')

    def make(**changes):
        metadata = files.metadata_of(**changes)
        model = files.model_of(metadata)
        onnx.helper.set_model_props(model, {KEY: metadata.to_json()})
        folder = tmp_path / 'page'
        folder.mkdir()
        onnx.save(model, folder / 'model.onnx')
        write_page(folder, metadata, library)
        return folder

    make.image = files.cells
    return make


def assert_same(page, expected, box, score):
    """Assert that the page lists the runner's detections, up to the order of nearly equal scores.

    Where scores may differ, one that is close to the threshold may be above it on one side only.
    """
    names, scores, boxes = page.found
    ours = list(zip(names, scores, boxes, strict=True))
    theirs = list(zip(expected.names, expected.scores, expected.boxes, strict=True))
    lowest = float(page.driver.execute_script('return threshold.value')) + (score if score > 0.001 else 0)
    for some, others in ((ours, theirs), (theirs, ours)):
        left = list(others)
        for name, wanted, corners in some:
            near = [each for each in left if each[0] == name and abs(each[1] - wanted) <= score]
            near = [each for each in near if np.abs(each[2] - corners).max() <= box]
            assert near or wanted < lowest, (
                f'{name} with a score of {wanted:.3f} at {corners} is only in one of the two'
            )
            left = [each for each in left if not near or each is not near[0]]
    assert len(ours) == len(theirs) or min(scores.min(), expected.scores.min()) < lowest


@pytest.mark.slow
@pytest.mark.parametrize(
    'changes',
    [
        dict(),
        dict(form='nms'),
        dict(input=dict(dtype='uint8', layout='NHWC')),
        dict(
            input=dict(layout='NHWC', channel_order='rgb', normalised=True, mean=(9.0, 8.0, 7.0), std=(9.0, 8.0, 7.0))
        ),
        dict(form='nms', input=dict(image_size=True, batch=1)),
    ],
    ids=['decoded', 'nms', 'uint8', 'rgb-normalised', 'im_size'],
)  # fmt: skip
def test_the_page_finds_what_the_runner_finds(changes, cells, opened, tmp_path):
    """The image needs no resizing, so every displayed digit is the same."""
    folder = cells(**changes)
    height, width = Detector(folder / 'model.onnx').metadata.input.size
    image = cells.image(
        (0, 0, (0, 0, 250)), (1, 1, (210, 30, 120)), (1, 2, (7, 160, 90)), shape=(height // 32, width // 32)
    )
    path = tmp_path / 'colours.png'
    cv2.imwrite(str(path), image)
    page = opened(folder)
    assert page.says == 'Ready.'
    page.drop(path)
    assert page.says.startswith('colours.png: '), page.says
    expected = Detector(folder / 'model.onnx')(image)
    assert len(expected.boxes) >= 3
    assert_same(page, expected, box=0.051, score=0.00051)  # as rounded in the table
    page.lowest(0.5)
    assert_same(page, Detector(folder / 'model.onnx', score_thr=0.5)(image), box=0.051, score=0.00051)
    assert page.errors == []


@pytest.mark.slow
def test_the_letterbox_is_that_of_the_runner(cells, opened):
    """Compare sizes, offsets and scale factors for many sizes and every rule of :class:`~mmcnn.fit.Fit`."""
    fits = [
        dict(scale=(640, 640)),
        dict(scale=(640, 384), extra=0.0, place='corner'),
        dict(scale=(1333, 800), rule='long-short', rounding='half-up', shrink='linear', place='corner', extra=0.0),
        dict(scale=(416, 416), stride=None),
        dict(scale=(100, 100), canvas=(96, 128)),
        dict(scale=(333, 200), rule='long-short', rounding='half-up', canvas=(320, 224)),
    ]
    sizes = [(h, w) for h in (1, 17, 99, 100, 333, 480, 1079) for w in (1, 5, 33, 250, 640, 1920)]
    cases = [(fit, h, w) for fit in fits for h, w in sizes]
    asked = [(dict(rule='inside', rounding='round', place='centre', stride=32, extra=0.5, canvas=None) | fit, w, h)
             for fit, h, w in cases]  # fmt: skip
    page = opened(cells())
    found = page.ask('return given[0].map((each) => detector.place(...each))', asked)
    assert len(found) == len(cases)
    for (fit, h, w), at in zip(cases, found, strict=True):
        fitted = Fit(**fit).apply(np.zeros((h, w, 3), np.uint8))
        assert (at['height'], at['width']) == fitted.size, (fit, h, w)
        assert (at['fullH'], at['fullW']) == fitted.image.shape[:2], (fit, h, w)
        assert (at['top'], at['left']) == fitted.pad, (fit, h, w)
        assert (at['scaleX'], at['scaleY']) == fitted.scale_factor, (fit, h, w)


@pytest.mark.slow
@pytest.mark.parametrize('kind', NMS_KINDS)
def test_nms_is_that_of_the_runner(kind, cells, opened):
    draw = np.random.default_rng(0)
    corners = draw.uniform(0, 90, (400, 2))
    boxes = np.float32(np.concatenate([corners, corners + draw.uniform(8, 40, (400, 2))], 1))
    scores, labels = np.float32(draw.permutation(400) / 400), draw.integers(0, 3, 400)
    page = opened(cells())
    for most in (-1, 20):
        test = dict(nms=dict(type=kind, iou_threshold=0.4), nms_pre=350, max_per_img=most)
        candidates = [dict(box=box, score=score, label=label, row=row) for row, (box, score, label)
                      in enumerate(zip(boxes.tolist(), scores.tolist(), labels.tolist(), strict=True))]  # fmt: skip
        kept = page.ask('return detector.suppressed(...given).map((each) => each.row)', candidates, test)
        first = np.argsort(-scores, kind='stable')[:350]
        wanted = first[greedy_nms(boxes[first], scores[first], labels[first], 0.4, kind, most if most > 0 else None)]
        assert 20 <= len(wanted) < 350 and kept == wanted.tolist()


@pytest.mark.slow
def test_what_is_wrong_is_said_in_words(cells, opened, tmp_path):
    folder = cells()
    page = opened(folder)
    text = tmp_path / 'notes.png'
    text.write_text('no image')
    cv2.imwrite(str(tmp_path / 'black.png'), np.zeros((64, 96, 3), np.uint8))
    page.choose(tmp_path / 'black.png')
    assert page.says.startswith('black.png: nothing with a score of 0.25 or more (')
    assert page.driver.find_element('id', 'result').is_displayed()
    page.choose(text)
    assert page.says == 'notes.png is not an image that this browser can read.'
    assert not page.driver.find_element('id', 'result').is_displayed()  # the previous image's result is hidden
    page.choose(tmp_path / 'black.png')
    assert page.driver.find_element('id', 'result').is_displayed()

    said = json.loads((folder / 'model.json').read_text())
    (folder / 'model.json').write_text(json.dumps(said | dict(format_version=2)))
    assert opened(folder).says == 'The model cannot be loaded: model.json is of format 2, and this page reads 1.'
    (folder / 'model.json').write_text(json.dumps(said))
    (folder / 'model.onnx').write_bytes((folder / 'model.onnx').read_bytes()[:99])
    assert opened(folder).says.startswith('The model cannot be loaded: ')
    (folder / 'model.onnx').unlink()
    assert opened(folder).says.startswith('The model cannot be loaded: model.onnx is not there (404')


@pytest.mark.slow
def test_the_command_makes_a_page_that_finds_what_the_runner_finds(library, opened, tmp_path, run_tool):
    """The whole way: train on the demo data, export, and detect in its images."""
    trained = run_tool(
        'train', 'yolov4_cspdarknet53_narrow', '--data', 'demo', '--img-size', 160, '--epochs', 4, '--workers', 0,
        '--device', 'cpu', '--work-dir', tmp_path / 'run',
    )  # fmt: skip
    assert trained.code == 0, trained.err
    (tmp_path / 'ort').mkdir()
    for name, content in library.items():
        (tmp_path / 'ort' / name).write_bytes(content)
    options = ExportOptions(source=tmp_path / 'run' / 'best.pth', web=tmp_path / 'page', ort_web=tmp_path / 'ort')
    result = run_export(options, say=lambda line: None)
    assert result.path == tmp_path / 'page' / 'model.onnx' and result.metadata.form == 'nms'
    page, detector = opened(tmp_path / 'page'), Detector(result.path)
    total = 0
    for path in sorted(Path(demo_data(), 'images').glob('val_*.jpg'))[:6]:
        page.choose(path)
        expected = detector(path)
        assert_same(page, expected, box=3, score=0.02)
        total += int((expected.scores > 0.27).sum())
    assert total >= 5
    assert page.errors == []
