import pytest
import torch
from safetensors.torch import save_file

import mmcnn
from mmcnn.errors import CheckpointError
from mmcnn.weights.files import format_of, open_weights
from mmcnn.weights.record import of_row, to_json


def test_the_content_says_what_a_file_is(tmp_path):
    state = mmcnn.build_backbone('vgg11', widen_factor=0.125).state_dict()
    path = tmp_path / 'misnamed.weights'
    for zipped in (True, False):
        torch.save(state, path, _use_new_zipfile_serialization=zipped)
        assert format_of(path) == 'pytorch'
    save_file(state, path, metadata=dict(mmcnn=to_json(of_row('vgg11'))))
    assert format_of(path) == 'safetensors'
    file = open_weights(path)
    assert file.record == of_row('vgg11')
    assert file.state.keys() == state.keys()
    path.write_bytes(b'\x89HDF\r\n\x1a\n' + bytes(100))
    assert format_of(path) == 'keras'


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(CheckpointError, match='does not exist'):
        open_weights(tmp_path / 'x.weights')
    (tmp_path / 'x.weights').touch()
    with pytest.raises(CheckpointError, match='is empty'):
        open_weights(tmp_path / 'x.weights')
