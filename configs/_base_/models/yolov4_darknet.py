# YOLOv4 as yolov4.cfg trains and tests it; the same graph as yolov4.py. Kept from there: the prior of the biases, the
# limits of the test (score 0.001, 300 boxes an image).
_base_ = ['yolov4.py']
model = dict(
    data_preprocessor=dict(
        batch_augments=[
            # random=1: another size every 10 iterations. Darknet draws U(1, 1.4) of its size or the inverse;
            # MMDetection's part draws multiples of 32 evenly, without Darknet's largest size at start and end.
            dict(type='BatchSyncRandomResize', random_size_range=(480, 896), size_divisor=32, interval=10),
        ],
    ),
    bbox_head=dict(
        bbox_coder=dict(type='mmcnn.YOLOGridCoder', scale_xy=(1.2, 1.1, 1.05), size='exp', max_exp=None),
        loss=dict(_delete_=True, type='mmcnn.DarknetLoss', box_gain=4.0, ignore_iou=0.7, ignore_probability=0.25),
    ),
    train_cfg=dict(assigner=dict(_delete_=True, type='mmcnn.ShapeIoUAssigner', iou_threshold=0.213)),
    test_cfg=dict(nms=dict(type='greedy_diou', iou_threshold=0.6)),
)
