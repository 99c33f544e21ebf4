import runpy
from pathlib import Path

#: A stand-in for ultralytics' network, shared with the tests of its file format.
yolov5 = runpy.run_path(str(Path(__file__).parents[1] / 'weights' / 'conftest.py'))['yolov5']
