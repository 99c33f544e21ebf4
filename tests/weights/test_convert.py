import pytest
import torch

import mmcnn
from mmcnn.config.load import load_config
from mmcnn.errors import CheckpointError, UsageError
from mmcnn.weights.checkpoint import Checkpoint
from mmcnn.weights.convert import convert


def test_a_detector_is_what_its_config_says(tmp_path):
    """Config names are resolved one layer above (tests/runs/test_convert.py)."""
    path = tmp_path / 'x.pth'
    torch.save(mmcnn.build_classifier('mobilenet').state_dict(), path)
    with pytest.raises(UsageError, match=r"^unknown network 'yolov4_cspdarknet53'; did you mean cspdarknet53"):
        convert(path, tmp_path / 'y.pth', 'yolov4_cspdarknet53')
    report, record = convert(path, tmp_path / 'y.pth', 'mobilenet')
    assert (report.source, record.library, record.source) == ('mmcnn', 'mmcnn', 'x.pth')
    assert Checkpoint.open(tmp_path / 'y.pth').record == record
    cfg = load_config('yolov4_cspdarknet53_narrow').model
    with pytest.raises(CheckpointError, match=r'does not fit SingleStageDetector: '):
        convert(path, tmp_path / 'y.pth', 'anything', model_cfg=cfg)
