import pytest

from mmcnn.models.families import list_backbones
from mmcnn.weights.likeliest import STORED, stored_sizes
from mmcnn.zoo.sizes import detector_configs, sizes_of_config, sizes_of_network, write_sizes

FAST = ('resnet18', 'mobilenetv2', 'cspdarknet-focus-s', 'yolov5_n')


def test_every_network_and_every_detector_is_stored():
    assert [*stored_sizes()] == [*list_backbones(), *detector_configs()]
    assert {'yolov5_s', 'yolov3_darknet53', 'faster_rcnn_resnet50_fpn'} <= {*detector_configs()}


@pytest.mark.parametrize(
    'name',
    [
        pytest.param(name, marks=() if name in FAST else pytest.mark.slow)
        for name in (*list_backbones(), *detector_configs())
    ],
)
def test_what_is_stored_is_what_is_built(name):
    built = sizes_of_network(name) if name in list_backbones() else sizes_of_config(name)
    assert stored_sizes()[name] == built, 'make table writes it anew'


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / 'sizes.json'
    write_sizes(stored_sizes(), path)
    assert path.read_bytes() == STORED.read_bytes()
