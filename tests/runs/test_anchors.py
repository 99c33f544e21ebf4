import json

from mmcnn.config.load import load_config
from mmcnn.runs.anchors import warn_of_anchors
from mmcnn.runs.img_size import set_img_size

CLASSIFIER = 'classification/darknet53'
CONFIG = 'yolov4_cspdarknet53'


def with_boxes(root, sizes):
    """Return a config whose training boxes, in one image of 1280 x 640 pixels, have these widths and heights."""
    boxes = [dict(image_id=1, bbox=[0, 0, w, h]) for w, h in sizes]
    (root / 'boxes.json').write_text(json.dumps(dict(images=[dict(id=1, width=1280, height=640)], annotations=boxes)))
    cfg = load_config(CONFIG)
    cfg.train_dataloader.dataset.dataset.update(data_root=str(root), ann_file='boxes.json')
    return cfg


def test_unfit_anchors_are_warned_of(tmp_path, capsys):
    # At 640 px: 80 x 80, which many anchors match, and 200 x 5, which none matches.
    for unfit, warned in ((1, False), (2, False), (3, True)):
        cfg = with_boxes(tmp_path, [(160, 160)] * (100 - unfit) + [(400, 10)] * unfit)
        warn_of_anchors(cfg, None)
        line = capsys.readouterr().out
        assert bool(line) is warned
    assert line == (
        'warning: the best possible recall of the anchors on the training boxes is 0.9700; to compute anchors '
        f'that fit better: mmcnn anchors --config {cfg.filename} --img-size 640\n'
    )
    warn_of_anchors(cfg, 'my data')
    assert "mmcnn anchors --data 'my data' --config" in capsys.readouterr().out
    set_img_size(cfg, 1280)  # at 1280 px: 160 x 160, and 400 x 10, which still none matches
    warn_of_anchors(cfg, None)
    assert 'is 0.9700' in capsys.readouterr().out


def test_the_boxes_of_all_data_sets_count(tmp_path, capsys):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'b').mkdir()
    cfg = with_boxes(tmp_path / 'a', [(160, 160)] * 97)
    other = with_boxes(tmp_path / 'b', [(400, 10)] * 3).train_dataloader.dataset.dataset
    both = [cfg.train_dataloader.dataset.dataset, other]
    cfg.train_dataloader.dataset.dataset = dict(type='ConcatDataset', datasets=both)
    warn_of_anchors(cfg, None)
    assert 'is 0.9700' in capsys.readouterr().out


def test_anchors_are_not_warned_of_where_there_is_nothing_to_say(tmp_path, capsys):
    cfg = with_boxes(tmp_path, [(400, 10)])
    cfg.model.bbox_head.pop('anchors')
    warn_of_anchors(cfg, None)  # a head without anchors
    cfg = with_boxes(tmp_path, [(400, 10)])
    cfg.train_dataloader.dataset.dataset.ann_file = 'train.txt'
    warn_of_anchors(cfg, None)  # another format
    warn_of_anchors(with_boxes(tmp_path, []), None)  # no boxes
    warn_of_anchors(load_config(CLASSIFIER), None)
    assert capsys.readouterr().out == ''
    warn_of_anchors(with_boxes(tmp_path, [(400, 10)]), None)
    assert 'is 0.0000' in capsys.readouterr().out
