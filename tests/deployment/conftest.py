"""Export modules to ONNX files and run them with ONNX Runtime."""

import warnings

import numpy as np
import pytest
import torch

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxscript')
onnxruntime = pytest.importorskip('onnxruntime')


@pytest.fixture(scope='session')
def exported():
    """``exported(module, inputs, dynamic_shapes, opset=18)`` returns a function that maps input to output tensors.

    It fails unless the file only has operators of ONNX's standard domain and passes ONNX's checker.
    """
    from mmcnn.deployment import deformable
    from mmcnn.deployment.operators import translations

    def export(module, inputs, dynamic_shapes=None, opset=18):
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            program = torch.onnx.export(
                module.eval(),
                inputs,
                dynamo=True,
                opset_version=opset,
                dynamic_shapes=dynamic_shapes,
                custom_translation_table={**translations(), **deformable.translations()},
                verbose=False,
            )
        file = program.model_proto
        assert {node.domain for node in file.graph.node} == {''}
        assert [(entry.domain, entry.version) for entry in file.opset_import] == [('', opset)]
        assert not file.functions
        onnx.checker.check_model(file, full_check=True)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(file.SerializeToString(), options, providers=['CPUExecutionProvider'])
        names = [entry.name for entry in session.get_inputs()]

        def run(*tensors):
            arrays = [np.ascontiguousarray(tensor.numpy()) for tensor in tensors]
            return [torch.from_numpy(array) for array in session.run(None, dict(zip(names, arrays, strict=True)))]

        return run

    return export
