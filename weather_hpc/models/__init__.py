"""Networks: the reproduced study's, our own, and torchvision's, with or without its weights."""
