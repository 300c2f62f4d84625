"""The judges: LeNet, ResNet18, FaceNet and FaceResNet, their training and their weights."""
