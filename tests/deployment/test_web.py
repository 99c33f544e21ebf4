"""The folder of ``mmcnn export --web``, without a browser."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest

from mmcnn.deployment import export
from mmcnn.deployment.check import Checked
from mmcnn.deployment.export import run_export
from mmcnn.deployment.files import ExportError
from mmcnn.deployment.networks import exportable
from mmcnn.deployment.options import ExportOptions
from mmcnn.deployment.plan import plan_export
from mmcnn.deployment.web import LIBRARY, onnxruntime_web
from mmcnn.errors import DependencyError, UsageError
from mmcnn.runtime.metadata import Metadata

# ------------------------------------------------------------------------------------------------------ onnxruntime-web


@pytest.fixture
def package(tmp_path):
    """A folder as npm installs it, with small files."""
    folder = tmp_path / 'node_modules' / 'onnxruntime-web'
    (folder / 'dist').mkdir(parents=True)
    for name in (*LIBRARY, 'ort.webgpu.min.mjs'):
        (folder / 'dist' / name).write_text(name)
    (folder / 'package.json').write_text(
        json.dumps(dict(name='onnxruntime-web', version='1.19.0', license='MIT', scripts=dict(build='x')))
    )
    return folder


@pytest.mark.parametrize('part', ['.', 'dist'])
def test_the_files_of_a_folder(part, package):
    found = onnxruntime_web(package / part)
    assert {name: found[name].decode() for name in LIBRARY} == {name: name for name in LIBRARY}
    assert json.loads(found['package.json']) == dict(name='onnxruntime-web', version='1.19.0', license='MIT')
    assert b'MIT License' in found['LICENSE'] and b'Microsoft' in found['LICENSE']
    assert set(found) == {*LIBRARY, 'LICENSE', 'ThirdPartyNotices.txt', 'package.json'}


def test_the_licence_of_the_package_comes_first(package):
    (package / 'LICENSE.md').write_text('its own')
    found = onnxruntime_web(package)
    assert found['LICENSE.md'] == b'its own' and 'LICENSE' not in found


def test_a_folder_without_it_is_refused(package, tmp_path):
    (package / 'dist' / LIBRARY[0]).unlink()
    with pytest.raises(UsageError, match=r'is not the folder of onnxruntime-web 1\.19 or newer: .*dist has no ort\.wa'):
        onnxruntime_web(package)
    with pytest.raises(UsageError, match=r'gone has no ort\.wasm\.min\.mjs; use node_modules/onnxruntime-w'):
        onnxruntime_web(tmp_path / 'gone')


def test_without_npm(monkeypatch):
    monkeypatch.setenv('PATH', '')
    with pytest.raises(DependencyError, match=r'npm, which downloads it, is missing: .* or give a folder .* ort_we'):
        onnxruntime_web(None)


def test_npm_fetches_it_into_a_folder_of_its_own(package, tmp_path, monkeypatch):
    (tmp_path / 'bin').mkdir()
    npm = tmp_path / 'bin' / 'npm'
    npm.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/said\nmkdir node_modules\ncp -r {package} node_modules\n')
    npm.chmod(0o755)
    monkeypatch.setenv('PATH', f'{npm.parent}:/bin:/usr/bin')
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    assert onnxruntime_web(None)[LIBRARY[0]].decode() == LIBRARY[0]
    said = (tmp_path / 'said').read_text()
    assert said.startswith('install --ignore-scripts ') and said.endswith(' onnxruntime-web@1\n')
    assert set(tmp_path.iterdir()) - before == {tmp_path / 'said'}

    npm.write_text('#!/bin/sh\necho "npm error code ENOTFOUND\nnpm error more" >&2\nexit 1\n')
    with pytest.raises(DependencyError, match=r'onnxruntime-web failed \(npm error code ENOTFOUND\); check the netwo'):
        onnxruntime_web(None)


# -------------------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(ort_web='x'), r'ort_web=x can only be used with web=DIR'),
        (dict(web='p', triton='t'), r'web=p and triton=t: only one of them can be used'),
        (dict(web='p', to='openvino'), r'web=p needs an ONNX file; it cannot be used with to=openvino'),
        (dict(triton='t', to='torch-export'), r'triton=t needs an ONNX file; it cannot be used with to=torch-export'),
        (dict(web='p', out='m.onnx'), r'web=p determines the output file; omit out=m.onnx'),
        (dict(web='p', form='raw'), r'web=p: the page supports the forms nms and decoded, not form=raw'),
        (dict(web='p', form='nms', layout='deepstream'), r'web=p: the page supports layout=plain, not deepstream'),
    ],
)
def test_what_does_not_go_together(options, message):
    with pytest.raises(UsageError, match=message):
        ExportOptions(source='yolov5_n', **options)


def test_a_folder_that_is_not_empty_is_refused(tmp_path, package):
    (tmp_path / 'page').mkdir()
    (tmp_path / 'page' / 'index.html').write_text('mine')
    (tmp_path / 'models' / 'yolov5_n').mkdir(parents=True)
    (tmp_path / 'models' / 'yolov5_n' / 'config.pbtxt').write_text('mine')
    for options in (dict(web=tmp_path / 'page', ort_web=package), dict(triton=tmp_path / 'models')):
        with pytest.raises(UsageError, match=r'(page|yolov5_n) exists and would be overwritten; choose another folder'):
            run_export(ExportOptions(source='yolov5_n', **options))
    assert {path.read_text() for path in tmp_path.glob('*/**/*.*') if 'node' not in str(path)} == {'mine'}


def test_a_backbone_has_no_page(tmp_path, package):
    with pytest.raises(UsageError, match=r'page: the page needs a detector, but mobilenet is a backbone'):
        run_export(ExportOptions(source='mobilenet', web=tmp_path / 'page', ort_web=package), say=lambda line: None)
    assert not (tmp_path / 'page').exists()


@pytest.mark.parametrize(('kind', 'form'), [('iou', 'nms'), ('greedy_diou', 'decoded')])
def test_the_form_of_a_page_is_nms_where_it_has_an_operator(kind, form, tmp_path):
    changes = {'model.test_cfg.nms.type': kind}
    options = ExportOptions(source='yolov4_cspdarknet53_narrow', web=tmp_path / 'page', cfg_options=changes)
    found = exportable(options, say=lambda line: None)
    assert plan_export(found, options).form == form
    assert plan_export(found, replace(options, web=None)).form == 'decoded'


@pytest.mark.parametrize('fails', [False, True])
@pytest.mark.parametrize('kind', ['web', 'triton'])
def test_a_folder_is_there_once_it_was_checked(kind, fails, package, tmp_path, monkeypatch, request):
    files = request.config.pluginmanager.get_plugin('exported_files')

    def write(plan, path, metadata):
        onnx.save(files.model_of(files.metadata_of(form='nms')), path)

    def check(plan, path, images, more):
        assert path.is_file() and not list(place.rglob('*.onnx'))
        if fails:
            raise ExportError('it gives something else')
        return Checked('it gives the same', 1.0)

    place = tmp_path / 'new' / 'place'
    (tmp_path / 'new').mkdir()
    monkeypatch.setattr(export, 'write', write)
    monkeypatch.setattr(export, 'check_export', check)
    monkeypatch.setattr(export, 'images_to_check', lambda options: iter([np.zeros((64, 64, 3), np.uint8)]))
    ours = dict(web=place, ort_web=package) if kind == 'web' else dict(triton=place)
    options = ExportOptions(source='yolov4_cspdarknet53_narrow', form='nms', img_size=64, **ours)
    if fails:
        with pytest.raises(ExportError):
            run_export(options, say=lambda line: None)
        assert not list((tmp_path / 'new').iterdir())
        return
    result = run_export(options, say=lambda line: None)
    model = 'model.onnx' if kind == 'web' else 'yolov4_cspdarknet53_narrow/1/model.onnx'
    assert result.path == place / model and result.size == result.path.stat().st_size
    library = [f'ort/{name}' for name in (*LIBRARY, 'LICENSE', 'ThirdPartyNotices.txt', 'package.json')]
    expected = {
        'web': ['index.html', 'page.js', 'detector.js', 'model.json', *library],
        'triton': ['yolov4_cspdarknet53_narrow/config.pbtxt', 'yolov4_cspdarknet53_narrow/labels.txt'],
    }
    there = {str(path.relative_to(place)) for path in (tmp_path / 'new').rglob('*') if path.is_file()}
    assert there == {model, *expected[kind]}
    if kind == 'web':
        text = (place / 'model.json').read_text(encoding='utf-8')
        assert Metadata.from_json(text, place / 'model.json') == result.metadata
