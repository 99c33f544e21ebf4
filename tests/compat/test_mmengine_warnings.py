import logging

from mmengine.fileio import FileClient, HardDiskBackend
from mmengine.logging import MMLogger

from mmcnn.compat.mmengine_warnings import concerns_users


class Kept(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())


def test_what_mmengine_warns_itself_of_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(FileClient, '_instances', {})  # MMEngine gives the second warning once per process
    logger = MMLogger.get_instance('test_mmengine_warnings')
    whole, filtered = Kept(), Kept()
    filtered.addFilter(concerns_users)
    logger.handlers = [whole, filtered]
    # CheckpointHook does this. If a future MMEngine no longer gives both warnings, remove the filter.
    FileClient.infer_client(None, str(tmp_path))
    HardDiskBackend()  # the client creates it once per process
    assert {message.split()[0] for message in whole.messages} == {'"FileClient"', '"HardDiskBackend"'}
    assert filtered.messages == []
    logger.warning('FileClient is a word in a warning of ours')
    assert filtered.messages == ['FileClient is a word in a warning of ours']
