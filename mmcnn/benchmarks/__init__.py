"""What ``mmcnn benchmark`` measures."""
