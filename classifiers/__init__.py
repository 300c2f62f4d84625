"""The judges: LeNet, ResNet18 and FaceNet, their training and their weights."""
