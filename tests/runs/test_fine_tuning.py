"""Weights of an earlier training: what happens to the head, and the warm-start recipe."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import mmdet
import pytest
import torch
from mmengine.config import Config

import mmcnn
from mmcnn.config.load import load_config
from mmcnn.config.model import class_layers
from mmcnn.errors import CheckpointError, UsageError
from mmcnn.models.wiring import set_num_classes, wire
from mmcnn.registry import MODELS
from mmcnn.runs.fine_tuning import FineTuningHook, check_weights, load_for_classes, set_recipe
from mmcnn.runs.options import TrainOptions
from mmcnn.runs.prepare import prepare
from mmcnn.runs.process_state import kept_process_state
from mmcnn.weights.checkpoint import Checkpoint
from mmcnn.zoo.sizes import detector_configs
from tests.weights.conftest import yolov5  # noqa: F401  the fixture that stands in for ultralytics
from tests.weights.test_loading import detector, filled, saved, trainable, values

HEAD = 'bbox_head.predictions.'
SHAPES = ('circle', 'square', 'triangle')


def schedule(cfg):
    return next(hook for hook in cfg.custom_hooks if hook.type == 'mmcnn.ScheduleHook')


# ---------------------------------------------------------------------------------------------------------- the head


@pytest.mark.parametrize(
    ('theirs', 'kept', 'said'),
    [
        (('a', 'b'), True, 'the head is kept, because its classes are the same'),
        ((), True, 'the head is kept: like the data, it has 2 classes, which the file does not name'),
        (('b', 'a'), False, 'the head is newly initialised: the file has 2 classes (b, a), the data 2 classes (a, b)'),
        (('a', 'c'), False, 'the head is newly initialised: the file has 2 classes (a, c), the data 2 classes (a, b)'),
    ],
)
def test_the_head_is_kept_only_for_the_same_classes(theirs, kept, said, tmp_path):
    source, model = filled(detector(2)), filled(detector(2), 3)
    before = values(model)
    file = Checkpoint.open(saved(source.state_dict(), tmp_path / 'x.pth'))
    _, sentence = load_for_classes(model, file, theirs, ('a', 'b'))
    assert sentence == said
    for key, value in trainable(model.state_dict()).items():
        given = before if key.startswith(HEAD) and not kept else source.state_dict()
        assert torch.equal(value, given[key]), key


def test_another_number_of_classes_is_told_by_the_shapes_too(tmp_path):
    source, model = filled(detector(5)), filled(detector(2), 3)
    before = values(model)
    file = Checkpoint.open(saved(source.state_dict(), tmp_path / 'x.pth'))
    report, sentence = load_for_classes(model, file, (), ('a', 'b'))
    assert sentence.startswith(
        "the head is newly initialised: the file's does not fit SingleStageDetector: 6 of another shape"
    )
    assert torch.equal(model.state_dict()[f'{HEAD}0.bias'], before[f'{HEAD}0.bias'])
    assert torch.equal(model.backbone.stem.conv.weight, source.backbone.stem.conv.weight)
    assert len(report.left_out['the head, because its classes differ']) == 6


def test_weights_of_another_network_are_refused_and_nothing_is_changed(tmp_path):
    model = filled(detector(2))
    before = values(model)
    file = Checkpoint.open(saved(mmcnn.build_backbone('resnet18').state_dict(), tmp_path / 'x.pth'))
    with pytest.raises(CheckpointError, match=r'does not fit SingleStageDetector: .*; the file looks like resnet18$'):
        load_for_classes(model, file, (), ('a', 'b'))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_yolov5_file_says_its_classes_itself(yolov5, tmp_path):  # noqa: F811
    path = tmp_path / 'yolov5n.pt'
    peer = yolov5.model('n', focus=False, nc=2)
    peer.names = ['cat', 'dog']
    yolov5.save(peer, path)
    cfg = load_config('yolov5_n')
    cfg.model.bbox_head.num_classes = 2
    for classes, kept in ((('cat', 'dog'), True), (('dog', 'cat'), False)):
        model = MODELS.build({**wire(cfg.model), '_scope_': 'mmdet'})
        before = values(model)
        dataset = SimpleNamespace(metainfo=dict(classes=classes))
        hook = FineTuningHook(Checkpoint.open(path))
        hook.before_train(SimpleNamespace(model=model, cfg=cfg, train_dataloader=SimpleNamespace(dataset=dataset)))
        given = dict(peer.state_dict())['model.24.m.0.weight'].float() if kept else before[f'{HEAD}0.weight']
        assert torch.equal(model.state_dict()[f'{HEAD}0.weight'], given)
        assert torch.equal(model.backbone.stem.conv.weight, peer.state_dict()['model.0.conv.weight'].float())
        assert hook.story.startswith(f'{path}: the head {"is kept" if kept else "is newly initialised"}')


#: Detectors of MMDetection -> exactly the layers that depend on the number of classes.
CLASS_LAYERS_OF = {
    'retinanet_r50_fpn': ('bbox_head.retina_cls.',),
    'cascade-rcnn_r50_fpn': tuple(f'roi_head.bbox_head.{i}.fc_cls.' for i in range(3)),
    'mask-rcnn_r50_fpn': (
        'roi_head.bbox_head.fc_cls.',
        'roi_head.bbox_head.fc_reg.',
        'roi_head.mask_head.conv_logits.',
    ),
    'faster-rcnn_r50_fpn': ('roi_head.bbox_head.fc_cls.', 'roi_head.bbox_head.fc_reg.'),
}
MODELS_OF_MMDET = Path(mmdet.__file__).parent / '.mim/configs/_base_/models'


def of_mmdet(name, classes):
    """Return a config of MMDetection with a small backbone, and its network filled with distinct values."""
    cfg = Config.fromfile(MODELS_OF_MMDET / f'{name}.py')
    cfg.model.backbone = dict(type='mmcnn.mobilenetv2', out_indices=(2, 3, 4, 5))
    cfg.model.neck.pop('in_channels')
    cfg.model.neck.out_channels = 8
    set_channels(cfg.model)
    set_num_classes(cfg.model, classes)
    cfg.model = wire(cfg.model)
    return cfg, MODELS.build({**cfg.model, '_scope_': 'mmdet'})


def set_channels(node):
    """Reduce the 256 and 1024 channels of the heads to 8."""
    for key, value in node.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                set_channels(each)
        if value in (256, 1024) and key.endswith('channels'):
            node[key] = 8


@pytest.mark.skipif(not MODELS_OF_MMDET.is_dir(), reason='this MMDetection comes without its configs')
@pytest.mark.parametrize('name', CLASS_LAYERS_OF)
@pytest.mark.parametrize('theirs', [('dog', 'cat'), ('cat', 'dog', 'cow')])
def test_the_head_of_every_detector_starts_anew_for_other_classes(name, theirs, tmp_path):
    _, source = of_mmdet(name, len(theirs))
    content = dict(state_dict=filled(source).state_dict(), meta=dict(dataset_meta=dict(classes=theirs)))
    torch.save(content, tmp_path / 'x.pth')
    cfg, model = of_mmdet(name, 2)
    before = values(filled(model, 3))
    hook = FineTuningHook(Checkpoint.open(tmp_path / 'x.pth'))
    data = SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(classes=('cat', 'dog'))))
    hook.before_train(SimpleNamespace(model=model, cfg=cfg, train_dataloader=data))
    assert f'the head is newly initialised: the file has {len(theirs)} class' in hook.story
    anew = [key for key in before if key.startswith(CLASS_LAYERS_OF[name])]
    assert class_layers(cfg) == tuple(anew)
    for key, value in trainable(model.state_dict()).items():
        given = before if key in anew else source.state_dict()
        assert torch.equal(value, given[key]), key


def test_a_head_that_could_not_start_anew_is_no_head_that_does(tmp_path):
    source, model = filled(detector(2)), filled(detector(2), 3)
    before = values(model)
    file = Checkpoint.open(saved(source.state_dict(), tmp_path / 'x.pth'))
    with pytest.raises(CheckpointError, match='no layer of SingleStageDetector is known to depend on their number'):
        load_for_classes(model, file, ('b', 'a'), ('a', 'b'), ())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_layers_that_follow_the_number_of_classes_of_a_part_that_computes_while_it_is_built(monkeypatch):
    cfg, expected = load_config('yolov5_n'), class_layers(load_config('yolov5_n'))
    assert len(expected) == 6 and all(key.startswith(HEAD) for key in expected)

    def refuse(cfg):
        raise RuntimeError('Tensor.item() cannot be called on meta tensors')

    monkeypatch.setattr('mmcnn.config.model.build_on_meta', refuse)
    state = torch.get_rng_state()
    assert class_layers(cfg) == expected and torch.equal(torch.get_rng_state(), state)
    assert cfg.model.bbox_head.num_classes == 80


# --------------------------------------------------------------------------------------------------------- the recipe


@pytest.mark.parametrize('name', [*detector_configs(), 'classification/resnet50', 'classification/mobilenetv2'])
def test_warm_start_lowers_the_rate_and_shortens_the_warm_up_of_every_recipe(name):
    cfg, own, said = load_config(name), load_config(name), []
    set_recipe(cfg, 'warm-start', said.append)
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(own.optim_wrapper.optimizer.lr / 4)
    hook, before = schedule(cfg), schedule(own)
    assert hook.warmup_epochs <= 1 and hook.warmup_min_iters <= 100 and hook.warmup_max_fraction == 0.1
    assert hook.warmup_epochs <= before.get('warmup_epochs', 3)
    assert hook.warmup_bias_lr is None
    changed = {'warmup_epochs', 'warmup_min_iters', 'warmup_max_fraction', 'warmup_bias_lr'}
    assert {key for key in hook if hook[key] != before.get(key)} <= changed
    (sentence,) = said
    rate = own.optim_wrapper.optimizer.lr
    assert f'learning rate {rate / 4:.3g} instead of {rate:.3g}, a warm-up of at most a tenth of the run' in sentence
    assert ('the same learning rate for biases' in sentence) == (before.get('warmup_bias_lr', 0.1) is not None)


@pytest.mark.parametrize('recipe', [None, 'from-scratch'])
def test_from_scratch_is_the_configs_own(recipe):
    cfg, said = load_config('yolov5_s'), []
    set_recipe(cfg, recipe, said.append)
    assert cfg.pretty_text == load_config('yolov5_s').pretty_text and not said


def prepared(shapes, tmp_path, **options):
    with kept_process_state():
        return prepare(
            TrainOptions(
                config='yolov4_cspdarknet53_narrow', data=shapes, work_dir=tmp_path / 'run', device='cpu', **options
            )
        )


def test_weights_bring_the_recipe_and_what_is_typed_wins(shapes, trained, tmp_path):
    own = load_config('yolov4_cspdarknet53_narrow').optim_wrapper.optimizer.lr
    plain = prepared(shapes, tmp_path)
    warm = prepared(shapes, tmp_path, weights=trained.checkpoint)
    assert plain.cfg.optim_wrapper.optimizer.lr == own and 'recipe' not in plain.cfg
    assert warm.cfg.optim_wrapper.optimizer.lr == pytest.approx(own / 4) and warm.cfg.recipe == 'warm-start'
    assert warm.checkpoint.path == trained.checkpoint and warm.cfg.load_from is None
    assert any(note.startswith('note: recipe warm-start: learning rate') for note in warm.notes)
    scratch = prepared(shapes, tmp_path, weights=trained.checkpoint, recipe='from-scratch')
    assert scratch.cfg.optim_wrapper.optimizer.lr == own
    typed = {'optim_wrapper.optimizer.lr': 0.5}
    assert (
        prepared(shapes, tmp_path, weights=trained.checkpoint, cfg_options=typed).cfg.optim_wrapper.optimizer.lr == 0.5
    )
    assert prepared(shapes, tmp_path, recipe='warm-start').cfg.optim_wrapper.optimizer.lr == pytest.approx(own / 4)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(resume='y.pth'), r'weights=x\.pth and resume=y\.pth: weights start a new training; use one of them'),
        (dict(load_from='y.pth'), r'weights=x\.pth and load_from=y\.pth: weights start a new training'),
    ],
)
def test_weights_are_the_only_start(options, message):
    with pytest.raises(UsageError, match=message):
        TrainOptions(config='x', weights='x.pth', **options)
    cfg = load_config('yolov5_s')
    cfg.update(options)
    with pytest.raises(
        UsageError, match=r'weights=x\.pth and (resume|load_from)=\S+ in the config both set the initial'
    ):
        check_weights(cfg, 'x.pth')


@pytest.mark.parametrize(
    ('weights', 'message'),
    [
        ('nowhere.pth', r'nowhere\.pth does not exist'),
        ('mmcnn://yolov5_s/ultralytics-v9', r"there are no published weights named 'mmcnn://yolov5_s/.*did you mean"),
    ],
)
def test_weights_are_looked_at_before_the_run(weights, message):
    with pytest.raises(CheckpointError, match=message):
        check_weights(load_config('yolov5_s'), weights)


def test_the_backbones_own_weights_are_not_asked_for():
    cfg = load_config('faster_rcnn_resnet50_fpn')
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='torchvision://resnet50')
    assert check_weights(cfg, 'mmcnn://faster_rcnn_resnet50_fpn/mmdet') is None
    assert cfg.model.backbone.init_cfg is None


def test_the_same_command_starts_from_weights_and_goes_on(shapes, trained, tmp_path):
    """After a preemption, the resumed checkpoint already contains the weights and their recipe."""
    wide = {'model.widen_factor': 0.0625, 'model.deepen_factor': 0.33}
    options = dict(weights=trained.checkpoint, resume=True, cfg_options=wide)
    first = prepared(shapes, tmp_path, **options)
    assert first.options.weights == first.checkpoint.path == trained.checkpoint
    assert not first.cfg.get('resume') and first.cfg.recipe == 'warm-start'
    work_dir = tmp_path / 'run'
    shutil.copytree(trained.work_dir, work_dir)
    (work_dir / 'run_options.json').unlink()
    content = torch.load(trained.checkpoint, weights_only=False)
    content['meta']['cfg'] += "\nrecipe = 'warm-start'\n"
    torch.save(content, work_dir / 'epoch_2.pth')
    (work_dir / 'last_checkpoint').write_text('epoch_2.pth')
    then = prepared(shapes, tmp_path, **options)
    assert then.options.weights is None and then.checkpoint.path == work_dir / 'epoch_2.pth'
    assert then.cfg.resume and then.cfg.recipe == 'warm-start'
    assert then.cfg.optim_wrapper.optimizer.lr == first.cfg.optim_wrapper.optimizer.lr


@pytest.mark.slow
def test_a_run_that_was_warm_is_continued_warm(shapes, trained, tmp_path):
    content = torch.load(trained.checkpoint, weights_only=False)
    content['meta']['cfg'] += "\nrecipe = 'warm-start'\n"
    torch.save(content, tmp_path / 'x.pth')
    wide = {'model.widen_factor': 0.0625, 'model.deepen_factor': 0.33}
    run = prepared(shapes, tmp_path, resume=tmp_path / 'x.pth', cfg_options=wide)
    assert (run.cfg.optim_wrapper.optimizer.lr, run.cfg.recipe) == (0.0025, 'warm-start')
    assert any(note.startswith('note: recipe warm-start: learning rate 0.0025 instead of 0.01') for note in run.notes)
    typed = wide | {'optim_wrapper.optimizer.lr': 0.5}
    run = prepared(shapes, tmp_path, resume=tmp_path / 'x.pth', cfg_options=typed)
    assert run.cfg.optim_wrapper.optimizer.lr == 0.5
    run = prepared(shapes, tmp_path, resume=trained.checkpoint, cfg_options=wide)
    assert run.cfg.optim_wrapper.optimizer.lr == 0.01


@pytest.mark.parametrize('options', [dict(resume=True), dict(weights='x.pth'), dict(recipe='warm-start')])
def test_the_config_that_a_warm_run_has_left_is_not_warmed_again(shapes, trained, tmp_path, options):
    own = load_config('yolov4_cspdarknet53_narrow')
    set_recipe(own, 'warm-start', lambda line: None)
    rate, warm_up = own.optim_wrapper.optimizer.lr, dict(schedule(own))
    work_dir = tmp_path / 'run'
    if options.get('resume'):
        shutil.copytree(trained.work_dir, work_dir)
        (work_dir / 'run_options.json').unlink()
        content = torch.load(trained.checkpoint, weights_only=False)
        content['meta']['cfg'] += "\nrecipe = 'warm-start'\n"
        torch.save(content, work_dir / 'epoch_2.pth')
        (work_dir / 'last_checkpoint').write_text(str(work_dir / 'epoch_2.pth'))
    if 'weights' in options:
        options = dict(weights=trained.checkpoint)
    wide = {'model.widen_factor': 0.0625, 'model.deepen_factor': 0.33}
    with kept_process_state():
        run = prepare(
            TrainOptions(config=own, data=shapes, work_dir=work_dir, device='cpu', cfg_options=wide, **options)
        )
    assert run.cfg.optim_wrapper.optimizer.lr == rate
    assert {key: schedule(run.cfg)[key] for key in warm_up} == warm_up
    assert not any('instead of' in note for note in run.notes)
    assert any('recipe warm-start: it is not applied a second time' in note for note in run.notes)


def test_a_warm_config_stays_warm_and_says_so():
    cfg, said = load_config('yolov5_s'), []
    set_recipe(cfg, 'warm-start', lambda line: None)
    rate = cfg.optim_wrapper.optimizer.lr
    set_recipe(cfg, 'from-scratch', said.append)
    assert cfg.optim_wrapper.optimizer.lr == rate and cfg.recipe == 'warm-start'
    assert said == ['note: the config already has the recipe warm-start: recipe=from-scratch does not undo it']
    set_recipe(cfg, None, said.append)
    assert len(said) == 1 and cfg.optim_wrapper.optimizer.lr == rate


@pytest.mark.parametrize('kind', ['AdamW', torch.optim.AdamW])
def test_a_rate_that_the_config_leaves_to_the_optimizer(kind):
    cfg, said = load_config('yolov5_s'), []
    cfg.optim_wrapper.optimizer = dict(type=kind)
    set_recipe(cfg, 'warm-start', said.append)
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(1e-3 / 4)
    assert 'learning rate 0.00025 instead of 0.001' in said[0]


@pytest.mark.parametrize(
    ('optimizer', 'found'),
    [
        (dict(type='AdamW', lr=None), r"optim_wrapper\.optimizer=\{'type': 'AdamW', 'lr': None\}"),
        (dict(type='AdamW', lr='fast'), r"optim_wrapper\.optimizer\.lr='fast'"),
        (dict(type='NoSuchOptimizer'), r"optim_wrapper\.optimizer=\{'type': 'NoSuchOptimizer'\}"),
        (None, r'optim_wrapper\.optimizer=None'),
    ],
)
def test_a_rate_that_cannot_be_lowered(optimizer, found):
    cfg = load_config('yolov5_s')
    cfg.optim_wrapper.optimizer = optimizer
    with pytest.raises(UsageError, match=f'^the recipe warm-start lowers the learning rate, but {found} has no number'):
        set_recipe(cfg, 'warm-start', print)


@pytest.mark.slow
def test_one_line_from_a_finished_run_to_a_fine_tuned_one(train_tiny, trained, tmp_path):
    result = train_tiny(tmp_path / 'run', args=['--epochs', 1, '--weights', trained.checkpoint])
    assert result.code == 0, result.err
    assert 'the head is kept, because its classes are the same' in result.out
    assert 'note: recipe warm-start: learning rate 0.0025 instead of 0.01' in result.out
    checkpoint = Checkpoint.open(tmp_path / 'run' / 'epoch_1.pth')
    assert (checkpoint.config.recipe, checkpoint.config.optim_wrapper.optimizer.lr) == ('warm-start', 0.0025)
