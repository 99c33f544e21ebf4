import json

from mmcnn import cli

CLASSIFIER = 'classification/darknet53'
CONFIG = 'yolov4_cspdarknet53'


def with_boxes(root, sizes):
    """A config whose training boxes, on one image of 1280 x 640 pixels, have these widths and heights."""
    boxes = [dict(image_id=1, bbox=[0, 0, w, h]) for w, h in sizes]
    (root / 'boxes.json').write_text(json.dumps(dict(images=[dict(id=1, width=1280, height=640)], annotations=boxes)))
    cfg = cli.load_config(CONFIG)
    cfg.train_dataloader.dataset.dataset.update(data_root=str(root), ann_file='boxes.json')
    return cfg


def test_unfit_anchors_are_warned_of(tmp_path, capsys):
    # At 640 px 80 x 80, which many anchors match, and 200 x 5, which none can.
    for unfit, warned in ((1, False), (2, False), (3, True)):
        cfg = with_boxes(tmp_path, [(160, 160)] * (100 - unfit) + [(400, 10)] * unfit)
        cli.warn_of_anchors(cfg, None)
        line = capsys.readouterr().out
        assert bool(line) is warned
    assert line == (
        'warning: the best possible recall of the anchors on the training boxes is 0.9700; ones that fit better: '
        f'python tools/anchors.py --config {cfg.filename} --img-size 640\n'
    )
    cli.warn_of_anchors(cfg, 'my data')
    assert "anchors.py --data 'my data' --config" in capsys.readouterr().out
    cli.set_img_size(cfg, 1280)  # 160 x 160, and 400 x 10 still
    cli.warn_of_anchors(cfg, None)
    assert 'is 0.9700' in capsys.readouterr().out


def test_anchors_are_not_warned_of_where_there_is_nothing_to_say(tmp_path, capsys, monkeypatch):
    cfg = with_boxes(tmp_path, [(400, 10)])
    cfg.model.bbox_head.pop('anchors')
    cli.warn_of_anchors(cfg, None)  # a head without anchors
    cfg = with_boxes(tmp_path, [(400, 10)])
    cfg.train_dataloader.dataset.dataset.ann_file = 'train.txt'
    cli.warn_of_anchors(cfg, None)  # another format
    cli.warn_of_anchors(with_boxes(tmp_path, []), None)  # no boxes
    cli.warn_of_anchors(cli.load_config(CLASSIFIER), None)
    cfg = with_boxes(tmp_path, [(400, 10)])
    for variable in ('RANK', 'SLURM_PROCID'):
        with monkeypatch.context() as patch:
            patch.setenv(variable, '1')
            cli.warn_of_anchors(cfg, None)  # one of several processes
    assert capsys.readouterr().out == ''
    cli.warn_of_anchors(cfg, None)
    assert 'is 0.0000' in capsys.readouterr().out
