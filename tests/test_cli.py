"""What the tools share, and that what a user gets wrong is answered with one sentence."""

import argparse
import re
import shutil

import pytest
from mmengine.config import Config

from mmcnn import cli
from mmcnn.datasets.coco_folder import DataError
from mmcnn.training_error import TrainingError
from mmcnn.weights.checkpoint import CheckpointError

CONFIG = 'yolov4_cspdarknet53'


@pytest.fixture
def finished_config(run_tool, shapes, monkeypatch, tmp_path):
    """The config that tools/train.py would train with: ``finished_config('--epochs', 3)``."""
    configs = []
    monkeypatch.setattr('mmcnn.engine.training.train', lambda cfg, summary, *_: configs.append((cfg, summary)))

    def finish(*args, config=CONFIG, data=shapes):
        result = run_tool('train', config, '--data', data, '--work-dir', tmp_path / 'run', '--device', 'cpu', *args)
        assert result.code == 0, result.err
        return configs.pop()

    return finish


def test_only_what_is_between_the_marks_is_written(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text('a\n<!-- x -->\nb\n<!-- end of x -->\nc <!-- y --> d <!-- end of y -->\n')
    cli.write_between_marks(page, 'x', 'é')
    assert page.read_text(encoding='utf-8') == (
        'a\n<!-- x -->\n\né\n\n<!-- end of x -->\nc <!-- y --> d <!-- end of y -->\n'
    )
    for path, mark in ((page, 'z'), (tmp_path / 'none.md', 'x')):
        with pytest.raises(cli.UsageError, match=rf'is no file with the marks <!-- {mark} -->'):
            cli.write_between_marks(path, mark, 'f')


# ---------------------------------------------------------------------------------------------- one sentence an error

ERRORS = {
    'config': (['yolov4_cspdarknet35'], r"no config file 'yolov4_cspdarknet35'.*did you mean yolov4_cspdarknet53"),
    'config path': (['configs/yolov4.py'], r"no config file 'configs/yolov4\.py'.*did you mean yolov4_cspdarknet53"),
    'backbone': (
        [CONFIG, 'model.backbone.type=mmcnn.cspdarknet35'],
        r"no backbone is called 'cspdarknet35'; did you mean cspdarknet53",
    ),
    'part': ([CONFIG, 'model.neck.type=mmcnn.YOLO4PAN'], r"'mmcnn\.YOLO4PAN'; did you mean mmcnn\.YOLOv4PAN"),
    'channels': (
        [CONFIG, 'model.neck.in_channels=[1,2,3]'],
        r'neck\.in_channels=\[1, 2, 3\] does not fit mmcnn\.cspdarknet53, which gives \[256, 512, 1024\]',
    ),
    'backbone argument': (
        [CONFIG, 'model.backbone.wide=2'],
        r"CSPDarknet has no argument 'wide'; did you mean widen_factor",
    ),
    'head argument': ([CONFIG, 'model.bbox_head.anchor=2'], r"YOLOHead.*unexpected keyword argument 'anchor'"),
    'levels': ([CONFIG, 'model.backbone.out_indices=(2,3,4,5)'], r'YOLOv4PAN joins three maps'),
    'classes': (
        [CONFIG, 'model.bbox_head.num_classes=2'],
        r"num_classes=2 of mmcnn\.YOLOHead, but the training images have 3 classes, \('circle', 'square', 'triangle'\)",
    ),
    "MMDetection's classes": (
        ['yolov3_darknet53', 'model.bbox_head.num_classes=80'],
        r'num_classes=80 of YOLOV3Head, but the training images have 3 classes',
    ),
    'classes of regions': (
        ['faster_rcnn_resnet-fpn', 'model.roi_head.bbox_head.num_classes=4'],
        r'num_classes=4 of Shared2FCBBoxHead, but the training images have 3 classes',
    ),
    'classes of a classifier': (
        ['classification/darknet53', 'model.num_classes=2'],
        r'num_classes=2 of mmcnn\.Classifier, but the training images have 3 classes',
    ),
    'no folder': ([CONFIG, '--data', 'nowhere'], r'nowhere does not exist; a data folder holds train\.json'),
    'img-size': ([CONFIG, '--img-size', 100], r'--img-size 100: it has to be a multiple of 32'),
    'small img-size': ([CONFIG, '--img-size', 0], r'--img-size 0: it has to be a multiple of 32'),
    'batch-size': ([CONFIG, '--batch-size', 0], r'--batch-size 0: it has to be at least 1'),
    'epochs': ([CONFIG, '--epochs', 0], r'--epochs 0: it has to be at least 1'),
    'workers': ([CONFIG, '--workers', -1], r'--workers -1: it has to be at least 0'),
    'seed': ([CONFIG, '--seed', -1], r'--seed -1: it has to be at least 0'),
    'cuda:7': ([CONFIG, '--device', 'cuda:99'], r'--device cuda:99: PyTorch sees \d+ CUDA devices here'),
    'device': ([CONFIG, '--device', 'nonsense'], r'--device nonsense: this is no device; say cpu, cuda or cuda:N'),
    'meta': ([CONFIG, '--device', 'meta'], r'--device meta: this is no device'),
    'amp': ([CONFIG, '--amp', '--device', 'cpu'], r'--amp needs a GPU'),
    'option': ([CONFIG, 'model.type.x=1'], r"--cfg-options \{'model\.type\.x': 1\} cannot be set"),
    'load_from': ([CONFIG, 'load_from=nowhere.pth'], r'nowhere\.pth does not exist'),
    'address': ([CONFIG, 'load_from=https://x.org/y.pth'], r'load_from=https://x\.org/y\.pth is an address: download'),
}


@pytest.mark.parametrize('case', ERRORS)
def test_errors_are_one_sentence(run_tool, shapes, request, tmp_path, case):
    (name, *args), pattern = ERRORS[case]
    options = [arg for arg in args if '=' in str(arg)]
    args = [arg for arg in args if arg not in options]
    if '--data' not in args:
        args += ['--data', request.getfixturevalue('shape_classes') if 'classification' in name else shapes]
    if options:
        args += ['--cfg-options', *options]
    result = run_tool('train', name, *args, cwd=tmp_path)
    assert result.code == 1
    assert re.fullmatch(rf'error: .*{pattern}.*\n', result.err), result.err
    assert not list(tmp_path.iterdir())


def test_option_without_value(run_tool):
    result = run_tool('train', CONFIG, '--cfg-options', 'model')
    assert result.code == 2
    assert result.err.splitlines()[-1] == "train.py: error: argument --cfg-options: 'model' is not KEY=VALUE"


@pytest.mark.parametrize('error', [cli.UsageError, DataError, CheckpointError])
def test_friendly_errors(error, monkeypatch):
    with pytest.raises(SystemExit, match=r'^error: what was wrong$'), cli.friendly_errors():
        raise error('what was wrong')
    monkeypatch.setenv('MMCNN_TRACEBACK', '1')
    with pytest.raises(error), cli.friendly_errors():
        raise error('what was wrong')


def test_faults_of_the_program_keep_their_traceback():
    with pytest.raises(ValueError, match='a bug'), cli.friendly_errors():
        raise ValueError('a bug')


# ------------------------------------------------------------------------------------------------------------- configs


@pytest.mark.parametrize('name', [CONFIG, f'{CONFIG}.py', f'configs/{CONFIG}.py', cli.config_folder() / f'{CONFIG}.py'])
def test_config_by_name_or_path(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = cli.load_config(str(name), {'model.bbox_head.num_classes': 7})
    assert cfg.filename == str(cli.config_folder() / f'{CONFIG}.py')
    assert cfg.model.bbox_head.num_classes == 7


def test_own_file_comes_before_the_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / CONFIG).with_suffix('.py').write_text('x = 1\n')
    assert cli.load_config(f'{CONFIG}.py').x == 1


@pytest.mark.parametrize(
    ('content', 'name'),
    [('x = (', 'x.py'), ("_base_ = 'nowhere.py'\n", 'x.py'), ('x', 'x.txt')],
)
def test_unusable_config(content, name, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(cli.UsageError, match=rf'{name}. is no usable config: .'):
        cli.load_config(str(tmp_path / name))


# ------------------------------------------------------------------------------------------------------------- batches


def batches(cfg, batch_size=None, launcher='none', num_images=None, workers=None):
    args = argparse.Namespace(batch_size=batch_size, launcher=launcher, workers=workers)
    cli.set_batches(cfg, args, num_images)
    return cli.describe_batches(cfg, launcher), cfg.optim_wrapper.accumulative_counts


@pytest.mark.parametrize(('launcher', 'variable'), [('pytorch', 'WORLD_SIZE'), ('slurm', 'SLURM_NTASKS')])
@pytest.mark.parametrize(
    ('processes', 'batch', 'counts'), [(1, 16, 4), (2, 16, 2), (4, 16, 1), (8, 8, 1), (16, 4, 1), (32, 2, 1)]
)
def test_a_step_sees_64_images_on_any_number_of_gpus(launcher, variable, processes, batch, counts, monkeypatch):
    monkeypatch.setenv(variable, str(processes))
    cfg = cli.load_config(CONFIG)
    line, found = batches(cfg, launcher=launcher, num_images=118_287)
    assert (cfg.train_dataloader.batch_size, found) == (batch, counts)
    images = batch * processes
    assert line == f'{images} images an iteration, {counts} iterations a step: 64 images a step'


def test_a_typed_batch_that_changes_the_recipe_is_said(monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '8')
    line, counts = batches(cli.load_config(CONFIG), batch_size=16, launcher='pytorch')
    assert counts == 1 and line.startswith('128 images an iteration, 1 iterations a step: 128 images a step')
    assert line.endswith('(the recipe is made for 64: it takes 0.5 times as many steps here)')


def test_misspelt_options_are_noticed(capsys):
    cli.load_config(CONFIG, {'optim_wrapper.optimzer.lr': 0.1, 'train_dataloader.dataset.pipeline.0.scale': (1, 1)})
    assert capsys.readouterr().out == (
        "note: optim_wrapper had no 'optimzer' before --cfg-options optim_wrapper.optimzer.lr; "
        'did you mean optimizer?\n'
    )


@pytest.mark.parametrize(
    ('checkpoint', 'error', 'words'),
    [
        ('torchvision://resnet51', CheckpointError, 'torchvision://resnet51: no such name; did you mean'),
        ('/not/there.pth', CheckpointError, '/not/there.pth does not exist'),
    ],
)
def test_pretrained_backbones_are_looked_at_first(checkpoint, error, words):
    cfg = cli.load_config(CONFIG, {'model.backbone.init_cfg': dict(type='Pretrained', checkpoint=checkpoint)})
    with pytest.raises(error, match=words):
        cli.check_initial_weights(cfg, None)


def test_processes_of_another_launcher_do_not_count(monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '8')
    assert batches(cli.load_config(CONFIG), batch_size=16)[1] == 4


@pytest.mark.parametrize(
    ('epochs', 'images', 'counts'),
    [
        (30, 200, 1),  # 390 iterations
        (100, 310, 2),  # 2,000 iterations
        (300, 160, 3),  # 3,000 iterations
        (300, 320, 4),  # 6,000 iterations, and never more than 64 images
    ],
)
def test_small_data_keeps_its_steps(epochs, images, counts):
    cfg = cli.load_config(CONFIG)
    cfg.train_cfg.max_epochs = epochs
    found = batches(cfg, batch_size=16, num_images=images)[1]
    iterations = epochs * -(-images // 16)
    assert found == counts
    assert found == 1 or iterations // found >= 1000


def test_workers_and_batch_sizes_of_all_loaders(monkeypatch):
    monkeypatch.setattr('os.cpu_count', lambda: 4)
    cfg = cli.load_config(CONFIG)
    batches(cfg, batch_size=3, workers=9)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert (loader.batch_size, loader.num_workers, loader.persistent_workers) == (3, 4, True)
    batches(cfg, workers=0)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert (loader.batch_size, loader.num_workers, loader.persistent_workers) == (3, 0, False)


def test_recipe_without_nominal_batch_is_left_alone():
    cfg = cli.load_config(CONFIG)
    cfg.pop('nominal_batch_size')
    assert batches(cfg, batch_size=1) == ('1 images an iteration, 4 iterations a step: 4 images a step', 4)


@pytest.mark.parametrize(
    ('batch', 'images', 'processes', 'counts', 'rate'),
    [
        (None, 1_281_167, 1, 4, 0.1),  # 64 images four times
        (None, 1_281_167, 16, 1, 0.1),  # 16 on each
        (32, 1_281_167, 1, 8, 0.1),
        (None, 1000, 1, 1, 0.025),  # 1,600 steps of 64 images
        (16, 1000, 1, 6, 0.0375),  # 6,300 iterations, 1,050 steps of 96
        (4, 40, 1, 1, 0.1 / 64),
    ],
)
def test_rate_of_a_classifier_follows_the_images_of_a_step(batch, images, processes, counts, rate, monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', str(processes))
    cfg = cli.load_config('classification/darknet53')
    line, found = batches(cfg, batch_size=batch, launcher='pytorch', num_images=images)
    assert found == counts
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(rate)
    assert line.endswith(f'images a step, learning rate {rate:.3g}')
    # The config that the run records means the same recipe, so it gives the same again.
    batches(cfg, batch_size=batch, launcher='pytorch', num_images=images)
    assert (cfg.optim_wrapper.accumulative_counts, cfg.optim_wrapper.optimizer.lr) == (counts, pytest.approx(rate))


@pytest.mark.parametrize(
    ('batch', 'images', 'processes', 'counts', 'rate', 'larger'),
    [
        (None, 118_287, 1, 8, 1e-3, 1),  # 8 images eight times
        (None, 118_287, 8, 1, 1e-3, 1),  # MMDetection's own 8 x 8
        (None, 118_287, 4, 2, 1e-3, 1),
        (None, 118_287, 16, 1, 1e-3 * 8 / 4, 4 / 8),  # 4 on each: sums half as large
        (16, 118_287, 1, 4, 1e-3 * 8 / 16, 16 / 8),
        (16, 118_287, 8, 1, 1e-3 * 128 / 64 * 8 / 16, 16 / 8),  # twice the images, twice the sums
        (64, 118_287, 1, 1, 1e-3 * 8 / 64, 64 / 8),
        (None, 29, 1, 1, 1e-3 * 8 / 64, 1),  # 273 epochs of 4 iterations: 1,092 steps of 8 images
        (16, 29, 1, 1, 1e-3 * 16 / 64 * 8 / 16, 16 / 8),
    ],
)
def test_rate_of_summed_losses(batch, images, processes, counts, rate, larger, monkeypatch):
    """YOLOv3: 1e-3 for 64 images of which 8 are summed; decay 5e-4 and clipping at 35 belong to those sums."""
    monkeypatch.setenv('WORLD_SIZE', str(processes))
    cfg = cli.load_config('yolov3_darknet53')
    for _ in range(2):  # the config that the run records gives the same again
        line, found = batches(cfg, batch_size=batch, launcher='pytorch', num_images=images)
        assert found == counts
        optimizer = cfg.optim_wrapper.optimizer
        assert (optimizer.lr, optimizer.weight_decay) == pytest.approx((rate, 5e-4 * larger))
        assert cfg.optim_wrapper.clip_grad.max_norm == pytest.approx(35 * larger)
        assert line.endswith(f'images a step, learning rate {rate:.3g}')


def test_what_summed_losses_do_not_have_is_left_out():
    cfg = cli.load_config('yolov3_darknet53', {'optim_wrapper.clip_grad': None})
    cfg.optim_wrapper.optimizer.pop('weight_decay')
    batches(cfg, batch_size=16)
    assert cfg.optim_wrapper.clip_grad is None
    assert 'weight_decay' not in cfg.optim_wrapper.optimizer


@pytest.mark.parametrize(
    ('batch', 'images', 'processes', 'counts', 'rate'),
    [
        (None, 118_287, 1, 8, 0.02),  # 2 images eight times
        (None, 118_287, 8, 1, 0.02),  # MMDetection's own 8 x 2
        (1, 118_287, 1, 16, 0.02),
        (None, 118_287, 32, 1, 0.02 * 32 / 16),  # an image on each at least
        (16, 118_287, 8, 1, 0.02 * 128 / 16),
        (2, 200, 1, 1, 0.02 * 2 / 16),  # 1,200 iterations
    ],
)
def test_rate_of_faster_rcnn(batch, images, processes, counts, rate, monkeypatch):
    """0.02 for 16 images. Its losses are means, so decay is the recipe's whatever the batch."""
    monkeypatch.setenv('WORLD_SIZE', str(processes))
    cfg = cli.load_config('faster_rcnn_resnet-fpn')
    for _ in range(2):
        line, found = batches(cfg, batch_size=batch, launcher='pytorch', num_images=images)
        assert found == counts
        assert (cfg.optim_wrapper.optimizer.lr, cfg.optim_wrapper.optimizer.weight_decay) == pytest.approx((rate, 1e-4))
        assert line.endswith(f'images a step, learning rate {rate:.3g}')


@pytest.mark.parametrize(('images', 'processes', 'drop'), [(17, 1, True), (18, 1, False), (33, 2, True), (1, 1, False)])
def test_a_batch_of_one_image_is_left_out(images, processes, drop, monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', str(processes))
    cfg = cli.load_config('classification/darknet53')
    batches(cfg, batch_size=16, launcher='pytorch', num_images=images)
    assert cfg.train_dataloader.drop_last is drop
    cfg = cli.load_config(CONFIG)
    batches(cfg, batch_size=16, launcher='pytorch', num_images=images)
    assert 'drop_last' not in cfg.train_dataloader


def test_what_is_typed_wins(finished_config):
    cfg, _ = finished_config('--epochs', 3, '--batch-size', 2, '--seed', 5)
    assert cfg.optim_wrapper.accumulative_counts == 1
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval, cfg.randomness.seed) == (3, 1, 5)
    cfg, summary = finished_config(
        '--epochs', 50, '--cfg-options', 'optim_wrapper.accumulative_counts=3', 'model.widen_factor=0.25'
    )
    assert cfg.optim_wrapper.accumulative_counts == 3
    assert summary.startswith('16 images an iteration, 3 iterations a step: 48 images a step (the recipe is')
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval) == (50, 5)
    assert cfg.model.neck.in_channels == [64, 128, 256]  # a quarter of 256, 512, 1024: wired, and dumped so


def test_swapping_the_backbone_takes_one_option(finished_config):
    cfg, _ = finished_config('--cfg-options', 'model.backbone.type=mmcnn.darknet53')
    assert cfg.model.backbone.type == 'mmcnn.darknet53'
    assert cfg.model.neck.in_channels == [256, 512, 1024]


def test_amp_on_a_gpu(monkeypatch):
    monkeypatch.setattr(cli, 'get_device', lambda: 'cuda')
    cfg = cli.load_config(CONFIG)
    cli.set_amp(cfg, False)
    assert cfg.optim_wrapper.type == 'OptimWrapper'
    cli.set_amp(cfg, True)
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.loss_scale) == ('AmpOptimWrapper', 'dynamic')
    assert cfg.optim_wrapper.constructor == 'mmcnn.YOLOOptimWrapperConstructor'


# -------------------------------------------------------------------------------------------------------------- pieces


def test_find_images(tmp_path):
    for name in ('b.JPG', 'a/c.png', 'a/notes.txt', 'x.json'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / 'folder.png').mkdir()
    assert cli.find_images(str(tmp_path)) == [tmp_path / 'a' / 'c.png', tmp_path / 'b.JPG']
    assert cli.find_images(str(tmp_path / 'x.json')) == [tmp_path / 'x.json']  # whoever names a file gets it read
    for path in (tmp_path / 'folder.png', tmp_path / 'gone'):
        with pytest.raises(cli.UsageError, match='is no image and no folder with images'):
            cli.find_images(str(path))


def test_work_dir():
    assert cli.default_work_dir(cli.load_config(CONFIG), None) == f'work_dirs/{CONFIG}'
    assert cli.default_work_dir(cli.load_config(CONFIG), 'mine') == 'mine'
    assert cli.default_work_dir(Config(dict(work_dir='recorded')), None) == 'recorded'


def test_nothing_to_resume_leaves_load_from(trained, tmp_path, capsys):
    cfg = Config(dict(work_dir=str(tmp_path), load_from=str(trained.checkpoint), resume=False))
    cli.check_initial_weights(cfg, 'auto')
    assert 'starting from the beginning' in capsys.readouterr().out
    assert (cfg.resume, cfg.load_from) == (False, str(trained.checkpoint))
    cli.check_initial_weights(cfg, str(trained.checkpoint))
    assert (cfg.resume, cfg.load_from) == (True, str(trained.checkpoint))


def test_a_damaged_last_checkpoint_is_passed_over_and_said_so(trained, tmp_path, capsys):
    shutil.copytree(trained.work_dir, tmp_path / 'run')
    torn = tmp_path / 'run' / 'epoch_2.pth'
    torn.write_bytes(torn.read_bytes()[:-1000])
    cfg = Config(dict(work_dir=str(tmp_path / 'run')))
    cli.check_initial_weights(cfg, 'auto')
    older = tmp_path / 'run' / 'epoch_1.pth'
    assert (cfg.resume, cfg.load_from) == (True, str(older))
    assert capsys.readouterr().out == (
        f'note: {torn} is cut short: the end of the file is missing; the run goes on from {older} instead\n'
    )


def test_an_earlier_run_s_checkpoints_are_pointed_out(tmp_path, capsys):
    (tmp_path / 'epoch_7.pth').touch()
    cfg = Config(dict(work_dir=str(tmp_path)))
    cli.check_initial_weights(cfg, 'auto')
    assert cfg.resume is False
    assert 'note: epoch_7.pth there are of an earlier run; --resume FILE goes on from one' in capsys.readouterr().out


def test_on_nan():
    cfg = cli.load_config(CONFIG)
    cli.set_on_nan(cfg, None)
    assert 'on_nan' not in cfg.train_cfg
    cli.set_on_nan(cfg, 'skip')
    assert cfg.train_cfg.on_nan == 'skip'
    cfg.train_cfg.type = 'EpochBasedTrainLoop'
    with pytest.raises(
        cli.UsageError, match=r'--on-nan stop needs train_cfg\.type=mmcnn\.ResumableTrainLoop, .* has Epoch'
    ):
        cli.set_on_nan(cfg, 'stop')


def test_friendly_ends(monkeypatch):
    ends = {TrainingError('rank 1 has died'): 'error: rank 1 has died', KeyboardInterrupt(): 130}
    for error, code in ends.items():
        with pytest.raises(SystemExit) as end, cli.friendly_errors():
            raise error
        assert end.value.code == code
    monkeypatch.setenv('MMCNN_TRACEBACK', '1')
    for error in ends:
        with pytest.raises(type(error)), cli.friendly_errors():
            raise error


def test_resume_option_is_the_same_as_the_flag(trained):
    for load_from in (None, str(trained.checkpoint)):
        cfg = Config(dict(work_dir=str(trained.work_dir), load_from=load_from, resume=True))
        cli.check_initial_weights(cfg, None)
        assert (cfg.resume, cfg.load_from) == (True, str(trained.checkpoint))


def test_config_and_checkpoint(trained):
    recorded, checkpoint = cli.config_and_checkpoint(None, str(trained.checkpoint), {'model.bbox_head.num_classes': 9})
    assert recorded.model.bbox_head.num_classes == 9
    assert checkpoint['meta']['epoch'] == 2
    named, _ = cli.config_and_checkpoint(CONFIG, str(trained.checkpoint), {})
    assert named.model.bbox_head.num_classes == 80


def options(backbone=None, **cfg_options):
    return cli.options_of(argparse.Namespace(backbone=backbone, cfg_options=cfg_options))


def test_backbone_is_one_of_the_options():
    key = 'model.backbone.type'
    assert options() == {}
    assert options('resnet18', **{'a.b': 1}) == {key: 'mmcnn.resnet18', 'a.b': 1}
    assert options('mmcnn.resnet18', **{key: 'mmcnn.resnet18'}) == {key: 'mmcnn.resnet18'}
    with pytest.raises(
        cli.UsageError, match=r'--backbone resnet18 and --cfg-options model\.backbone\.type=mmcnn\.vgg11'
    ):
        options('resnet18', **{key: 'mmcnn.vgg11'})


def test_a_swap_drops_what_belonged_to_the_old_backbone_and_says_so(capsys):
    cfg = cli.load_config('faster_rcnn_resnet-fpn', options('vgg16'))
    assert cfg.model.backbone == dict(type='mmcnn.vgg16', out_indices=(2, 3, 4, 5))
    assert cfg.model.data_preprocessor.mean == [103.939, 116.779, 123.68] and not cfg.model.data_preprocessor.bgr_to_rgb
    said = capsys.readouterr().out
    for words in ('vgg16 in place of mmcnn.resnet50-tv', 'init_cfg=', 'frozen_stages=2', 'norm_eval=True', 'bgr'):
        assert words in said
    cli.merge_options(cfg, options('vgg16'))  # again, as the tools do
    assert cfg.model.backbone.type == 'mmcnn.vgg16' and capsys.readouterr().out == ''
    cli.wire_model(cfg)
    assert cfg.model.neck.in_channels == [256, 512, 512, 512]


def test_with_weights_of_its_own_the_new_backbone_stays_frozen():
    weights = {'model.backbone.init_cfg.type': 'Pretrained', 'model.backbone.init_cfg.checkpoint': 'own.pth'}
    cfg = cli.load_config('faster_rcnn_resnet-fpn', options('resnet18', **weights))
    assert cfg.model.backbone == dict(
        type='mmcnn.resnet18',
        out_indices=(2, 3, 4, 5),
        frozen_stages=2,
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='own.pth'),
    )


@pytest.mark.parametrize(
    ('config', 'backbone', 'words'),
    [
        ('yolov4_cspdarknet53', 'fpn', r'\(fpn\) has no level 5; its levels are \[0, 1, 2, 3, 4\]'),
        ('yolov5_s', 'restnet50', "no backbone is called 'restnet50'; did you mean resnet50"),
    ],
)
def test_a_swap_that_cannot_work_is_refused(config, backbone, words):
    with pytest.raises(cli.UsageError, match=words):
        cli.load_config(config, options(backbone))


def test_a_classifier_swaps_too():
    cfg = cli.load_config('classification/resnet50', options('vgg11'))
    assert cfg.model.backbone == dict(type='mmcnn.vgg11')
