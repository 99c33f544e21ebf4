"""MMDetection's own tools: found by name, run with mmcnn imported."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import mmcv
import pytest
import torch

import mmcnn
from mmcnn.compat import mmdet_tools
from mmcnn.compat.extension_file import CONTENT
from mmcnn.compat.mmdet_tools import find_tool, run_tool, tools
from mmcnn.config.load import dicts_in
from mmcnn.errors import DependencyError, UsageError
from mmcnn.registry import MODELS
from mmcnn.runs.data import set_data

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def own_tools(tmp_path, monkeypatch):
    """The folder of the tools inside an MMDetection whose tools are ours."""
    folder = tmp_path / 'mmdet' / '.mim' / 'tools'
    (folder / 'deep' / 'deeper').mkdir(parents=True)
    monkeypatch.setattr(mmdet_tools, 'package_folder', lambda name: tmp_path / 'mmdet')
    return folder


def test_mmdetections_tools_are_there():
    assert {'test', 'train', 'analysis_tools/browse_dataset', 'model_converters/publish_model'} <= tools().keys()


@pytest.mark.parametrize(
    'name',
    ['browse_dataset', 'browse_dataset.py', 'analysis_tools/browse_dataset', 'tools/analysis_tools/browse_dataset.py'],
)
def test_a_tool_by_its_name_or_path(name):
    assert find_tool(name).as_posix().endswith('.mim/tools/analysis_tools/browse_dataset.py')


def test_of_several_the_outer_one_is_meant():
    assert find_tool('mot/browse_dataset').parent.name == 'mot'
    assert find_tool('test').parent.name == 'tools'


def test_a_tool_that_is_not_there_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match=r"has no tool 'brows_dataset'; did you mean browse_dataset .*lists all \d+\)"):
        run_tool('brows_dataset', [])


def test_without_mmdetection_or_its_tools(tmp_path, monkeypatch):
    monkeypatch.setattr(mmdet_tools, 'package_folder', lambda name: None)
    with pytest.raises(DependencyError, match='MMDetection is not installed: pip install mmdet'):
        tools()
    monkeypatch.setattr(mmdet_tools, 'package_folder', lambda name: tmp_path / 'mmdet')
    with pytest.raises(DependencyError, match='has no tools: looked in'):
        tools()
    (tmp_path / 'tools').mkdir()  # a checkout
    (tmp_path / 'tools' / 'mine.py').touch()
    assert [*tools()] == ['mine']


def test_a_tool_runs_as_its_path_would(own_tools, capsys):
    (own_tools / 'deep' / 'beside.py').write_text('NAME = "beside"\n')
    (own_tools / 'deep' / 'mine.py').write_text(
        'import sys\nimport beside\nimport mmcv._ext\nprint(__name__, sys.argv, beside.NAME, mmcv._ext.nms.__name__)\n'
    )
    before = sys.argv, sys.path[:]
    run_tool('mine', ['x.py', '--help'])
    assert capsys.readouterr().out == f"__main__ ['{own_tools / 'deep' / 'mine.py'}', 'x.py', '--help'] beside nms\n"
    assert (sys.argv, sys.path) == before


def test_configs_of_packages_reach_a_tool_as_paths(own_tools, capsys):
    (own_tools / 'mine.py').write_text('import sys\nprint(*sys.argv[1:], sep="\\n")\n')
    run_tool('mine', ['mmdet::retinanet/retinanet_r50_fpn_1x_coco', 'mmcnn::yolov5_s', 'a.b=mmdet', 'http://a:1'])
    first, second, *others = capsys.readouterr().out.splitlines()
    assert first.endswith('/retinanet_r50_fpn_1x_coco.py') and second.endswith('configs/yolov5_s.py')
    assert others == ['a.b=mmdet', 'http://a:1']
    with pytest.raises(UsageError, match="mmdet has no config 'x'"):
        run_tool('mine', ['mmdet::x'])


def test_errors_and_exit_codes_of_a_tool_are_its_own(own_tools):
    (own_tools / 'ends.py').write_text('raise SystemExit(3)\n')
    with pytest.raises(SystemExit, match='3'):
        run_tool('ends', [])
    (own_tools / 'fails.py').write_text('raise AttributeError("no anchor_generator")\n')
    with pytest.raises(AttributeError, match='no anchor_generator'):
        run_tool('fails', [])


def test_anchors_of_our_heads_have_a_command_of_their_own(tmp_path):
    with pytest.raises(UsageError, match=r'reads model.bbox_head.anchor_generator, .*: use mmcnn anchors'):
        run_tool('optimize_anchors', ['mmcnn::yolov5_s', '--device', 'cpu'])


# ------------------------------------------------------------------------------- each of MMDetection's own tools


def small(cfg, folder):
    """Set a packaged config to a folder of images of 64 pixels."""
    set_data(cfg, folder, say=lambda line: None)
    for step in dicts_in(cfg):
        if 'Resize' in str(step.get('type')) and 'scale' in step:
            step['scale'] = (64, 64)
    for name in ('train', 'val', 'test'):
        cfg[f'{name}_dataloader'].update(num_workers=0, persistent_workers=False)
    return cfg


@pytest.fixture(scope='module')
def detector(shapes, tmp_path_factory):
    """MMDetection's RetinaNet on MobileNetV2: its config, its checkpoint and the detections of its test."""
    folder = tmp_path_factory.mktemp('tools')
    cfg = mmcnn.swap_backbone('mmdet::retinanet/retinanet_r50_fpn_1x_coco', 'mobilenetv2', say=lambda line: None)
    small(cfg, shapes)
    cfg.train_cfg.max_epochs = 1
    cfg.model.neck.out_channels = cfg.model.bbox_head.in_channels = cfg.model.bbox_head.feat_channels = 16
    cfg.model.test_cfg.score_thr = 0.0
    cfg.dump(folder / 'own.py')
    torch.manual_seed(0)
    model = MODELS.build({'_scope_': 'mmdet', **cfg.model})
    classes = ('circle', 'square', 'triangle')
    meta = dict(dataset_meta=dict(classes=classes, palette=[(9, 9, 9)] * 3), cfg=cfg.pretty_text)
    torch.save(dict(state_dict=model.state_dict(), meta=meta, optimizer={}), folder / 'best.pth')
    return SimpleNamespace(folder=folder, config='own.py', checkpoint='best.pth', image=shapes / 'images/val_00000.jpg')


def process(command, folder, *path):
    environment = os.environ | dict(PYTHONPATH=os.pathsep.join(map(str, path or [ROOT])), OMP_NUM_THREADS='1')
    call = [sys.executable, '-W', 'ignore', *map(str, command)]
    done = subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout + done.stderr


def run_theirs(detector, tool, *args):
    return process(['-m', 'mmcnn', 'run', 'mmdet-tool', tool, *args], detector.folder)


@pytest.fixture(scope='module')
def tested(detector):
    """The output of ``test``; its detections are in found.pkl."""
    args = ['--work-dir', 'tested', '--out', 'found.pkl']
    return run_theirs(detector, 'test', detector.config, detector.checkpoint, *args)


@pytest.mark.slow
def test_their_test(detector, tested):
    assert 'coco/bbox_mAP: ' in tested and (detector.folder / 'found.pkl').stat().st_size > 1000


@pytest.mark.slow
def test_their_training(detector):
    assert 'Epoch(val)' in run_theirs(detector, 'train', detector.config, '--work-dir', 'trained')
    assert (detector.folder / 'trained' / 'epoch_1.pth').is_file()


@pytest.mark.slow
def test_print_config(detector):
    assert "type='mmcnn.mobilenetv2'" in run_theirs(detector, 'print_config', detector.config)


@pytest.mark.slow
def test_browse_dataset(detector):
    run_theirs(detector, 'browse_dataset', detector.config, '--not-show', '--output-dir', 'drawn')
    assert len([*(detector.folder / 'drawn').iterdir()]) == 8


@pytest.mark.slow
def test_confusion_matrix(detector, tested):
    run_theirs(detector, 'confusion_matrix', detector.config, 'found.pkl', 'matrix')
    assert (detector.folder / 'matrix' / 'confusion_matrix.png').stat().st_size > 1000


@pytest.mark.slow
def test_analyze_results(detector, tested):
    run_theirs(detector, 'analyze_results', detector.config, 'found.pkl', 'analyzed', '--topk', '2')
    for name in ('good', 'bad'):
        assert len([*(detector.folder / 'analyzed' / name).iterdir()]) == 2


@pytest.mark.slow
def test_optimize_anchors(detector, shapes):
    from mmcnn.config.load import load_config

    small(load_config('mmdet::yolo/yolov3_d53_8xb8-320-273e_coco'), shapes).dump(detector.folder / 'yolo.py')
    args = ['--algorithm', 'k-means', '--input-shape', '64', '64', '--device', 'cpu', '--output-dir', '.']
    assert 'Anchor optimize result:' in run_theirs(detector, 'optimize_anchors', 'yolo.py', *args)


@pytest.mark.slow
def test_publish_model(detector):
    run_theirs(detector, 'publish_model', detector.checkpoint, 'published.pth')
    (path,) = detector.folder.glob('published-*.pth')
    assert 'optimizer' not in torch.load(path, weights_only=True)


@pytest.mark.slow
def test_get_flops(detector):
    printed = run_theirs(detector, 'get_flops', detector.config, '--num-images', '1')
    assert re.search(r'\nFlops: [1-9.]+[0-9.]*[MG]', printed)


#: Both of MMDetection's interfaces, which find the same.
APIS = """
from mmdet.apis import DetInferencer, inference_detector, init_detector

found = inference_detector(init_detector('own.py', 'best.pth', device='cpu'), {image!r}).pred_instances
inferencer = DetInferencer(model='own.py', weights='best.pth', device='cpu', show_progress=False)
other = inferencer({image!r}, no_save_vis=True)['predictions'][0]
print(len(found), [round(each, 4) for each in found.scores.tolist()] == [round(each, 4) for each in other['scores']])
"""


@pytest.mark.slow
def test_their_functions_after_an_import_of_mmcnn(detector):
    code = 'import mmcnn\n' + APIS.format(image=str(detector.image))
    assert process(['-c', code], detector.folder).splitlines()[-1] == '100 True'


@pytest.mark.slow
@pytest.mark.skipif(any(Path(mmcv.__file__).parent.glob('_ext.*')), reason='this mmcv has its own operators')
def test_their_functions_after_compat_install(detector, tmp_path):
    """The file is written into a copy of the installed mmcv."""
    shutil.copytree(
        Path(mmcv.__file__).parent, tmp_path / 'mmcv', ignore=shutil.ignore_patterns('_ext*', '__pycache__')
    )
    process(['-m', 'mmcnn', 'compat', 'install'], detector.folder, tmp_path, ROOT)
    assert (tmp_path / 'mmcv' / '_ext.py').read_text() == CONTENT
    code = APIS.format(image=str(detector.image))
    assert process(['-c', code], detector.folder, tmp_path, ROOT).splitlines()[-1] == '100 True'
