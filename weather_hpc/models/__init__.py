"""Networks: the reproduced study's own, and torchvision's by their names."""
