"""The operators that PyTorch runs."""

from mmcnn.compat.private_names import TorchDispatchMode


class Operators(TorchDispatchMode):
    """Records the names of all operators inside the ``with`` statement, such as ``aten::add``."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func._schema.name)
        return func(*args, **(kwargs or {}))
