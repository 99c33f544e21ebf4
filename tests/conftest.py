import contextlib
import copy
import errno
import gc
import io
import multiprocessing.synchronize
import os
import runpy
import sys
from datetime import date
from importlib import metadata
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import mmcnn  # noqa: F401  first: MMDetection cannot be imported without compiled operators that it stands in for

PARITY = Path(__file__).resolve().parents[1] / 'docs' / 'parity.md'
PARITY_HEAD = """# Parity

Each network is compared with the same network of another library, with the same random weights and BatchNorm
statistics. The library saves them to a file in its own format, and mmcnn reads that file. Darknet's and ultralytics'
networks are reimplemented in the tests, layer by layer as in the cfg and yaml files, and so are their file formats.
The comparison uses random images, evaluation mode and a CPU (float32). The difference is the largest one of any logit,
or of any value of the maps (MMDetection, Darknet, ultralytics), divided by the largest value; the tests fail above
1e-4. Networks that no library has are compared with their papers' shape tables and published counts, and with
identities, in `tests/models/backbones/`.

Written by `make parity` on {date} with {versions}: {count} comparisons.

| network | peer | file | largest relative difference |
|---|---|---|---|
"""
HOSTILE = PARITY.with_name('hostile-files.md')
HOSTILE_HEAD = """# Hostile and broken files

This page lists how the readers of weights respond to broken and malicious files. In each case they print the one
sentence below, write nothing, run no code and leave the model unchanged. `tests/weights/test_hostile_files.py` checks
this in a process that may allocate at most 100 MiB more memory.

The fuzz tests tried these inputs on 2026-11-21 (`pytest -m campaign tests/weights`; the first two with more examples
than that command uses):

| readers | tests | inputs | outcome |
|---|---|--:|---|
| Darknet | `test_darknet_fuzz.py` | 60,000 | 6,351 read, 53,649 refused; 418 s |
| restricted unpickler, safetensors, ultralytics | `test_fuzz.py` | 108,000 | read or refused in one sentence; 777 s |
| the record of a converted file | `test_record_fuzz.py` | 10,000 | 689 read, 9,311 refused; 24 s |

Written by `make parity` on {date}: {count} refusals.

| file | readers | sentence |
|---|---|---|
"""
TOOLS = Path(__file__).resolve().parents[1] / 'tools'
#: A network and a data set that train in seconds. Score threshold 0: even this network then finds some objects.
TINY = {
    'data': ['--img-size', '64', '--batch-size', '4', '--workers', '0', '--device', 'cpu'],
    'model': ['model.widen_factor=0.0625', 'model.deepen_factor=0.33', 'model.test_cfg.score_thr=0.0'],
}


def pytest_configure(config):
    if hasattr(config, 'workerinput'):  # threads of several processes would compete
        torch.set_num_threads(1)
        os.environ.setdefault('OMP_NUM_THREADS', '1')  # of the programs that tests start
    # With a million objects of imported modules, the collector takes a tenth of the time of the tests.
    gc.set_threshold(20_000, 20, 20)
    # Fixtures for several folders; under importlib mode, a conftest cannot import files beside it.
    for name in ('small_runs', 'exported_files', 'browser', 'double_precision'):
        spec = spec_from_file_location(name, Path(__file__).with_name(f'{name}.py'))
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        config.pluginmanager.register(module, spec.name)


def pytest_collection_finish():
    _leave_out_of_collections()


@pytest.hookimpl(trylast=True)  # after the fixtures of the file
def pytest_runtest_teardown(item, nextitem):
    if nextitem is None or nextitem.path != item.path:
        _leave_out_of_collections()


def _leave_out_of_collections():
    """Let later garbage collections, also those of the tested code, skip what is alive: imported modules above all."""
    gc.collect()
    gc.freeze()


def pytest_addoption(parser):
    parser.addoption('--update-golden', action='store_true', help='write the golden numbers anew (make golden)')
    parser.addoption('--write-parity', action='store_true', help='write docs/parity.md and docs/hostile-files.md anew')


def pytest_terminal_summary(terminalreporter, config):
    """Write the tables of two pages in docs from the tests' records, also after a run with several processes."""
    if not config.getoption('--write-parity'):
        return
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    properties = [pair for report in reports for pair in getattr(report, 'user_properties', ())]
    for kind, write in (('parity', _write_parity), ('hostile', _write_hostile)):
        if recorded := [value for name, value in properties if name == kind]:
            write(recorded)


def _write_parity(recorded):
    rows = sorted(
        {(peer.split(' ')[0], variant, peer, suffix, difference) for variant, peer, suffix, difference in recorded}
    )
    versions = ', '.join(
        f'{name} {metadata.version(name)}' for name in ('torch', 'keras', 'torchvision', 'timm', 'mmdet')
    )
    lines = [
        f'| `{variant}` | {peer} | `{suffix}` | {difference:.1e} |' for _, variant, peer, suffix, difference in rows
    ]
    PARITY.write_text(
        PARITY_HEAD.format(count=len(rows), versions=versions, date=date.today()) + '\n'.join(lines) + '\n'
    )


def _write_hostile(recorded):
    readers = {}
    recorded = sorted(set(map(tuple, recorded)))  # pytest reports each test more than once
    for name, reader, sentence in recorded:
        readers.setdefault((name, sentence.replace('|', '\\|')), []).append(f'`{reader}`')
    rows = [f'| {name} | {", ".join(each)} | {sentence} |' for (name, sentence), each in readers.items()]
    HOSTILE.write_text(HOSTILE_HEAD.format(date=date.today(), count=len(recorded)) + '\n'.join(rows) + '\n')


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(scope='session', autouse=True)
def _cache(tmp_path_factory):
    """Cache data in a folder of the tests, including in the processes that they start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))
        yield


@pytest.fixture
def full_shm(monkeypatch):
    """``full_shm(after)``: /dev/shm only has room for ``after`` more semaphores."""

    def fill(after=0):
        module, left = multiprocessing.synchronize._multiprocessing, [None] * after
        semlock = module.SemLock

        def make(*args):
            if not left:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            left.pop()
            return semlock(*args)

        monkeypatch.setattr(module, 'SemLock', make)

    return fill


@pytest.fixture(scope='session')
def shapes(tmp_path_factory):
    """A data folder of 8 + 4 images of 64 x 64 pixels with circles, squares and triangles."""
    from mmcnn.datasets.folders.shapes import make_shapes

    return make_shapes(tmp_path_factory.mktemp('shapes') / 'data', num_train=8, num_val=4, size=64)


@pytest.fixture(scope='session')
def shape_classes(tmp_path_factory):
    """A classifier's data folder of 24 + 12 images of 64 x 64 pixels: circle, square, triangle."""
    from mmcnn.datasets.folders.shapes import make_shape_classes

    return make_shape_classes(tmp_path_factory.mktemp('classes') / 'data', num_train=24, num_val=12, size=64)


@pytest.fixture(scope='session')
def run_tool():
    """Run a tool in this process like its command line: ``run_tool('test', 'CHECKPOINT', cwd=folder)``.

    Return the exit code, stdout and stderr. A traceback fails the test.
    """

    def run(name, *args, cwd='.'):
        out, err, code = io.StringIO(), io.StringIO(), 0
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            patch.setattr(sys, 'argv', [f'{name}.py', *map(str, args)])
            patch.chdir(cwd)
            try:
                runpy.run_path(str(TOOLS / f'{name}.py'), run_name='__main__')
            except SystemExit as end:  # the interpreter prints a string and exits with 1
                code = end.code if isinstance(end.code, int) else 1
                if isinstance(end.code, str):
                    print(end.code, file=err)
        return SimpleNamespace(code=code, out=out.getvalue(), err=err.getvalue())

    return run


@pytest.fixture(scope='session')
def log_of():
    """``log_of(work_dir)``: the text of all log files in a run's folder."""
    return lambda work_dir: '\n'.join(path.read_text() for path in sorted(Path(work_dir).glob('*/*.log')))


@pytest.fixture(scope='session')
def train_tiny(run_tool, shapes):
    """Train a tiny YOLOv4: ``train_tiny(work_dir, 'key=value', ..., args=['--epochs', 1])``."""

    def train(work_dir, *options, args=(), data=shapes, config='yolov4_cspdarknet53', cwd='.'):
        return run_tool(
            'train', config, '--data', data, *TINY['data'], '--work-dir', work_dir, *args,
            '--cfg-options', *TINY['model'], *options, cwd=cwd,
        )  # fmt: skip

    return train


@pytest.fixture(scope='session')
def trained(train_tiny, tmp_path_factory):
    """A finished run of two epochs: its ``work_dir``, ``checkpoint`` and output (``out``).

    The work dir also has the boxes of the last validation: val.bbox.json.
    """
    work_dir = tmp_path_factory.mktemp('trained') / 'run'
    result = train_tiny(
        work_dir,
        f'val_evaluator.outfile_prefix={work_dir / "val"}',
        'default_hooks.bn_statistics.windows=0',  # tests of inference expect the network after two steps
        args=['--epochs', 2],
    )
    assert result.code == 0, result.err
    return SimpleNamespace(work_dir=work_dir, checkpoint=work_dir / 'epoch_2.pth', out=result.out)


@pytest.fixture(scope='session')
def step_and_predict():
    """Run a training step and a prediction of a detector on the CPU: ``step_and_predict(model_config)``.

    There are two images of 96 x 128 pixels with small, medium and large objects of classes 0 to 2. It fails unless the
    loss, the gradient of every trainable parameter and the detections are finite, the gradient reaches the first
    layer, and something is found. Return the built model.
    """
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    from mmcnn.models.wiring import set_num_classes
    from mmcnn.registry import MODELS

    height, width = 96, 128

    def batch():
        samples = []
        for boxes in ([[8, 8, 22, 24], [40, 20, 95, 70], [4, 2, 120, 94]], [[70, 50, 84, 62], [10, 10, 100, 90]]):
            sample = DetDataSample(
                metainfo=dict(img_shape=(height, width), ori_shape=(height, width), scale_factor=(1.0, 1.0))
            )
            sample.gt_instances = InstanceData(bboxes=torch.tensor(boxes).float(), labels=torch.arange(len(boxes)))
            sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
            samples.append(sample)
        images = torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8)
        return dict(inputs=list(images), data_samples=samples)

    def run(model):
        model = copy.deepcopy(dict(model))
        set_num_classes(model, 3)
        model = MODELS.build({'_scope_': 'mmdet', **model})
        model.init_weights()
        parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        optimizer = torch.optim.SGD(parameters.values(), lr=1e-3)

        model.train()
        data = model.data_preprocessor(batch(), True)
        loss, logged = model.parse_losses(model.loss(data['inputs'], data['data_samples']))
        assert loss.isfinite() and loss > 0, logged
        loss.backward()
        wrong = [name for name, p in parameters.items() if p.grad is None or not p.grad.isfinite().all()]
        assert not wrong, f'no finite gradient: {wrong}'
        first = next(name for name in parameters if name.startswith('backbone.'))
        assert parameters[first].grad.abs().sum() > 0, first
        optimizer.step()

        model.eval()
        data = model.data_preprocessor(batch(), False)
        with torch.no_grad():
            found = [sample.pred_instances for sample in model.predict(data['inputs'], data['data_samples'])]
        assert len(found) == 2 and all(len(each) for each in found)
        for each in found:
            count = len(each)
            assert each.bboxes.shape == (count, 4) and each.scores.shape == each.labels.shape == (count,)
            assert each.bboxes.isfinite().all() and each.scores.isfinite().all() and (each.scores <= 1).all()
            assert (each.bboxes[:, 2:] >= each.bboxes[:, :2]).all()
            assert each.labels.dtype == torch.long and 0 <= each.labels.min() <= each.labels.max() < 3
        return model

    return run


@pytest.fixture(scope='session')
def torchvision():
    """torchvision; with a CPU torch, PyPI's build can be imported after declaring its missing operators."""
    with contextlib.suppress(ImportError, RuntimeError):
        import torchvision

        return torchvision
    for op in ('nms', 'qnms'):
        with contextlib.suppress(RuntimeError):
            torch.library.define(f'torchvision::{op}', '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
    return pytest.importorskip('torchvision')


@pytest.fixture(scope='session')
def keras():
    os.environ['KERAS_BACKEND'] = 'torch'
    keras = pytest.importorskip('keras')
    if keras.backend.backend() != 'torch':
        pytest.skip('keras runs on another backend here')
    return keras


@pytest.fixture(scope='session')
def timm(torchvision):
    return pytest.importorskip('timm')


@pytest.fixture(scope='session')
def train_classifier(run_tool, shape_classes):
    """Train a tiny Darknet-53 to classify: ``train_classifier(work_dir, 'key=value', ..., args=['--epochs', 1])``."""

    def train(work_dir, *options, args=(), data=shape_classes):
        return run_tool(
            'train', 'classification/darknet53', '--data', data, *TINY['data'], '--work-dir', work_dir, *args,
            '--cfg-options', *TINY['model'][:2], *options,
        )  # fmt: skip

    return train


@pytest.fixture(scope='session')
def trained_classifier(train_classifier, tmp_path_factory):
    """Like ``trained``, for a classifier with three classes."""
    work_dir = tmp_path_factory.mktemp('trained_classifier') / 'run'
    result = train_classifier(work_dir, args=['--epochs', 2])
    assert result.code == 0, result.err
    return SimpleNamespace(work_dir=work_dir, checkpoint=work_dir / 'epoch_2.pth', out=result.out)


@pytest.fixture(scope='session')
def videos():
    """The functions of tests/videos.py: ``videos.make_video(path, count=12)``, ``videos.turn(path, 90)`` ..."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name('videos.py'))))
